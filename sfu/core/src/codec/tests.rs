//! Payloads of Chromium 156 (their first bytes, taken from the wire without encryption) and
//! payloads put together by hand from the payload formats.

use lightstick_types::Codec;

use super::{PayloadInfo, SwitchUp, inspect, red};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    assert_eq!(digits.len() % 2, 0, "{hex}");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn words(info: PayloadInfo) -> String {
    let mut words = Vec::new();
    for (said, word) in [
        (info.starts_frame, "start"),
        (info.keyframe, "key"),
        (info.discardable, "discardable"),
    ] {
        if said {
            words.push(word.to_owned());
        }
    }
    if info.padding > 0 {
        words.push(format!("padding={}", info.padding));
    }
    if info.temporal_id > 0 {
        words.push(format!("t{}", info.temporal_id));
    }
    if let Some(vp8) = info.vp8 {
        if let Some(id) = vp8.picture_id {
            let bits = if id.u15 { 15 } else { 7 };
            words.push(format!("id{bits}={}@{}", id.value, id.offset));
        }
        if let Some((value, offset)) = vp8.tl0_pic_idx {
            words.push(format!("tl0={value}@{offset}"));
        }
        if let Some((tid, sync)) = vp8.temporal {
            words.push(format!("tid={tid}{}", if sync { "y" } else { "" }));
        }
        if let Some((value, offset)) = vp8.key_idx {
            words.push(format!("keyidx={value}@{offset}"));
        }
        words.push(format!("len={}", vp8.len));
    }
    words.join(" ")
}

/// Reads each payload, and every beginning of it: those must be answered, whatever the answer,
/// with offsets that lie inside.
fn check(codec: Codec, table: &[(&str, Option<&str>)]) {
    for (hex, expected) in table {
        let payload = bytes(hex);
        let info = inspect(codec, &payload);
        assert_eq!(info.map(words).as_deref(), *expected, "{codec:?} {hex}");
        for len in 0..payload.len() {
            let info = inspect(codec, &payload[..len]);
            assert!(len > 0 || info.is_none(), "{codec:?} {hex}");
            if let Some(vp8) = info.and_then(|info| info.vp8) {
                assert!(vp8.len < len, "{hex}");
                assert!(
                    vp8.picture_id
                        .is_none_or(|id| id.offset + usize::from(id.u15) < vp8.len)
                );
            }
        }
    }
}

#[test]
fn h264_of_chromium() {
    check(
        Codec::H264,
        &[
            // STAP-A of SPS and PPS, then the IDR picture in fragments.
            (
                "78 0013 6742c0158c8d40a0cbcf350606060784423500 0004 68ce3c80",
                Some("start key"),
            ),
            (
                "7c85 b80004000005388c500010458e000203f1c000",
                Some("start key"),
            ),
            ("7c05 6f830d5304af7bb4d34226b8c45401985bb44d6d", Some("key")),
            ("7c45 ae9e82f7f08fc063398b9b11df4bb1aaa5540c3c", Some("key")),
            // The same IDR picture in one packet.
            (
                "65 b8000600001bffcbfcd140004047aafaac700010518e",
                Some("start key"),
            ),
            // Inter pictures: one packet, fragments, and the upper of two temporal layers.
            (
                "61 e0004000be405381ba080e2f8035508fc86c032c52bb",
                Some("start"),
            ),
            (
                "7c81 e00080023e408e6e2bc38b5178c35f19d3cf3104",
                Some("start"),
            ),
            ("7c41 c3d82804a200a032126dc6cccd76a9a045441edc", Some("")),
            (
                "01 e0004000be40a73f361c4471cdcd87111c72a1520919",
                Some("start discardable t1"),
            ),
        ],
    );
}

#[test]
fn h264_by_hand() {
    check(
        Codec::H264,
        &[
            // Parameter sets, SEI and a delimiter of their own.
            ("67 42c015", Some("start key")),
            ("68 ce3c80", Some("start")),
            ("06 0504", Some("start")),
            ("09 f0", Some("start")),
            // Not the first slice of its picture: first_mb_in_slice is 1 (code 010).
            ("61 40", Some("")),
            ("65 40", Some("key")),
            // STAP-A: delimiter + picture that nothing refers to; SEI + reference picture.
            ("78 0002 09f0 0002 0180", Some("start discardable t1")),
            ("78 0002 0605 0002 4180", Some("start")),
            // SVC: a prefix names the layer of the slice behind it, in one packet or alone; so does a
            // slice of an upper layer, here in fragments. Layers beyond the third are one.
            ("78 0004 6ee00027 0002 6180", Some("start t1")),
            ("78 0004 0ee00047 0002 0180", Some("start discardable t2")),
            ("78 0004 6ee00007 0002 6180", Some("start")),
            ("0e e00047", Some("start t2")),
            ("7c94 80c05f 00", Some("t2")),
            ("6e e000e7", Some("start t3")),
            // The same of MVC, and one that is cut off.
            ("6e 600047", Some("start")),
            ("6e e000", Some("start")),
            // STAP-A whose sizes do not fit, or which holds no NAL unit, or a nested one.
            ("78 0002 09f0 0003 0180", None),
            ("78 0002 09f0 01", None),
            ("78 0002 09f0 0000 09f0", None),
            ("78 0000", None),
            // Zeros behind the last one.
            ("78 0002 09f0 00", Some("start padding=1")),
            ("78 0002 09f0 0000000000", Some("start padding=5")),
            ("78", None),
            ("78 0003 78 0001", None),
            // A slice without a byte of its header.
            ("61", None),
            // FU-A: first and last at once, as some send it; without a body, of an aggregate.
            ("7cc5 b8", Some("start key")),
            ("7c85", None),
            ("7c9c 8501", None),
            // Start codes of Annex B, which have no place in RTP.
            ("00000001 65b8", None),
            ("000001 65b8", None),
            // Interleaved mode: STAP-B, MTAP16, MTAP24, FU-B. Undefined types, the forbidden bit.
            ("7a 0001 0001 00 0000 65", None),
            ("7b 0001 0001 00 000000 65", None),
            ("79 0001 0001 09", None),
            ("7d85 0001 b8", None),
            ("00 80", None),
            ("1f 80", None),
            ("e5 b8", None),
        ],
    );
}

#[test]
fn vp8_of_chromium() {
    check(
        Codec::Vp8,
        &[
            // One layer: picture ids only; no reference in a temporal layer's pictures.
            (
                "9080bcb2 101d009d012a4001b400393100191c2216",
                Some("start key id15=15538@2 len=4"),
            ),
            (
                "9080bcb3 110d00e4e0a87b77a747a7d88517f24960",
                Some("start id15=15539@2 len=4"),
            ),
            // With a dependency descriptor extension Chromium leaves all of it out.
            (
                "10 5029009d012a4001b400396b00391c240c2c2c44",
                Some("start key len=1"),
            ),
            ("00 d04890a05fb16f84e0bd67202917fb42f91e57", Some("len=1")),
            (
                "30 9111003d1c240c2c2c44cc2441a80006dbf7b0e4",
                Some("start discardable t1 len=1"),
            ),
            // Simulcast without that extension.
            (
                "90e0cdafbb20 5053009d012a80026801394b001b1c",
                Some("start key id15=19887@2 tl0=187@4 tid=0y len=6"),
            ),
            (
                "80e0cdafbb20 a7fb250ed889a0d26a8f8731e968a4",
                Some("id15=19887@2 tl0=187@4 tid=0y len=6"),
            ),
            (
                "b0e0cdb0bba0 110a001d1c240c2c2c44cc2441a800",
                Some("start discardable t2 id15=19888@2 tl0=187@4 tid=2y len=6"),
            ),
            (
                "90e0cdb1bb60 910b001d1c240c2c2c44cc2441a810",
                Some("start t1 id15=19889@2 tl0=187@4 tid=1y len=6"),
            ),
            (
                "b0e0cdb2bb80 110900351c240c2c2c44cc2441a800",
                Some("start discardable t2 id15=19890@2 tl0=187@4 tid=2 len=6"),
            ),
        ],
    );
}

#[test]
fn vp8_by_hand() {
    check(
        Codec::Vp8,
        &[
            // Everything there is, with a short and a long picture id.
            (
                "90f0 7f 2a 95 00",
                Some("start key t2 id7=127@2 tl0=42@3 tid=2 keyidx=21@4 len=5"),
            ),
            (
                "90f0 ffff 2a b5 01",
                Some("start t2 id15=32767@2 tl0=42@4 tid=2y keyidx=21@5 len=6"),
            ),
            // KEYIDX without TID: the layer bits mean nothing.
            ("9010 ff 00", Some("start key keyidx=31@2 len=3")),
            ("9040 07 00", Some("start key tl0=7@2 len=3")),
            ("9000 00", Some("start key len=2")),
            // The start of a later partition has no frame header.
            ("11 00", Some("len=1")),
            // Nothing behind the descriptor, or not even all of it.
            ("10", None),
            ("90", None),
            ("9080 80", None),
            ("9080 8000", None),
            ("90f0 7f2a95", None),
        ],
    );
}

#[test]
fn vp9_of_chromium() {
    check(
        Codec::Vp9,
        &[
            // One layer, flexible mode: a keyframe in two packets, then an inter picture.
            (
                "9be063 10014000b4 824983420013f00b34103824",
                Some("start key"),
            ),
            ("95e063 f0610c64a6d1989df860b5407734265ca9", Some("key")),
            ("dde06402 86004092b83c5323c06030180c060301", Some("start")),
            // Two temporal layers, without and with inter-picture prediction.
            (
                "bbae0810 10014000b4834983420013f00b3068e0",
                Some("start key"),
            ),
            ("b1ae0810 6a567ee9e49958aec6d9cfba0e296216", Some("key")),
            (
                "fdae093002 87000000027e0166b2e1c120e0cbe0",
                Some("start t1"),
            ),
            // Three spatial layers, of which the upper ones use the base of the same picture.
            (
                "baaf4410 50014000b402800168050002d0 834983",
                Some("start key"),
            ),
            ("b8af4413 8702020004fe02cf04ff02cfb0f1c120", Some("")),
        ],
    );
}

#[test]
fn vp9_by_hand() {
    check(
        Codec::Vp9,
        &[
            // No picture id, no layers; a 7-bit picture id.
            ("08 82", Some("start key")),
            ("00 82", Some("key")),
            ("88 7f 82", Some("start key")),
            // Non-flexible mode has TL0PICIDX after the layer indices.
            ("68 20 05 86", Some("start t1")),
            ("68 20 05", None),
            // The upper spatial layer starts no picture, even where it predicts from no other.
            ("28 02 05 82", Some("")),
            // Three references at most.
            ("5c 03 05 06 86", Some("start")),
            ("5c 03 05 07 86", None),
            // A structure with a picture group: two pictures, with no and with two references.
            ("0a 08 02 00 08 0102 82", Some("start key")),
            ("0a 08 02 00 08 0102", None),
            ("0a 18 0140 00b4 00 82", Some("start key")),
            ("0a f8 0140 00b4 00 82", None),
            ("88", None),
            ("08", None),
        ],
    );
}

#[test]
fn av1_of_chromium() {
    check(
        Codec::Av1,
        &[
            // A sequence header and a keyframe.
            (
                "28 0b 08000000043cfecc01a008 30104ad018618605091b00",
                Some("start key"),
            ),
            (
                "10 3030c040fdf8012ac3403bb01d600000000000028a28",
                Some("start"),
            ),
            // Three temporal layers: the middle and the top one.
            (
                "10 34403000000000012800410410149020004000983 0",
                Some("start t2"),
            ),
            (
                "10 34203000400000411dc0249249128820004000983 0",
                Some("start t1"),
            ),
            // Two spatial layers: the upper one's frame is part of the picture that has begun.
            (
                "28 12 0800030330989440c22021989fece00d0040 34001 2",
                Some("start key"),
            ),
            ("10 340830e0400200013400ffffff16a240004000992 0", Some("")),
            ("10 34283400040000026801fffffe2d4480008000a3 4d", Some("t1")),
        ],
    );
}

#[test]
fn av1_by_hand() {
    check(
        Codec::Av1,
        &[
            // N alone, before the frame header of a keyframe without a sequence header.
            ("18 30 10", Some("start key")),
            // A fragment that goes on, alone and with another frame behind it.
            ("90 aabbcc", Some("")),
            ("a0 02 aabb 30 10", Some("")),
            // Lengths for all; a tile group starts nothing, metadata neither.
            ("00 02 30 10", Some("start")),
            ("00 02 20 10", Some("")),
            ("10 28 10", Some("")),
            ("10 1a 00", Some("start")),
            // The layer stands in the first extension header that there is.
            ("20 01 12 36 60 10", Some("start t3")),
            // Fewer elements than promised, lengths beyond the end or without an end.
            ("20 02 30 10", None),
            ("20 03 30 10", None),
            ("00 80808080808080808001 30", None),
            ("00 ffffffff7f 30", None),
            ("00 ffffffff0f 30", None),
            // An empty element is nothing; an extension must be there; no forbidden bit.
            ("00 00 01 30", Some("start")),
            ("10 34", None),
            ("10 b0 10", None),
            // A sequence that starts amid an OBU; a header alone.
            ("98 30", None),
            ("10", None),
        ],
    );
}

#[test]
fn where_more_temporal_layers_may_be_entered() {
    use SwitchUp::{Above, Itself, No};
    for (codec, hex, expected) in [
        // Y, and not; without layers, only what nothing refers to is ever left out.
        (Codec::Vp8, "90e0cdb1bb60 910b", Itself),
        (Codec::Vp8, "b0e0cdb2bb80 1109", No),
        (Codec::Vp8, "9080bcb3 110d", Above),
        // U, and not.
        (Codec::Vp9, "bbae0810 10014000b4834983", Above),
        (Codec::Vp9, "fdae093002 87000000", Above),
        (Codec::Vp9, "fdae092002 87000000", No),
        // The base picture, an upper one, and one whose layer this packet does not tell.
        (Codec::Av1, "10 34003000400000411d", Above),
        (Codec::Av1, "10 34203000400000411d", No),
        (Codec::Av1, "90 aabbcc", No),
        (Codec::H264, "61 e0004000", Above),
        (Codec::H264, "01 e0004000", No),
        (Codec::H264, "78 0004 6ee00027 0002 6180", No),
    ] {
        let info = inspect(codec, &bytes(hex));
        assert_eq!(info.map(|info| info.switch_up), Some(expected), "{hex}");
    }
}

#[test]
fn opus_and_red() {
    check(
        Codec::Opus,
        &[
            (
                "780be4c136ecc58d8c49469904c5aaed92e7634a",
                Some("start key"),
            ),
            ("78", Some("start key")),
        ],
    );
    check(
        Codec::Red,
        &[
            ("6f 780be4c136ec", Some("start key")),
            ("ef000003 6f 7807c9 7807c972", Some("start key")),
            ("ef000002 ef000001 6f 7807 78 7807", Some("start key")),
            // The newest block would be empty, or its header is missing.
            ("6f", None),
            ("ef000003 6f 7807c9", None),
            ("ef000003 6f 7807", None),
            ("ef000003", None),
            ("ef0003ff 6f 78", None),
        ],
    );
}

#[test]
fn the_newest_block_of_red() {
    for (hex, expected) in [
        ("6f 780be4", Some((111, "780be4"))),
        ("ef000003 6f 7807c9 7807c972", Some((111, "7807c972"))),
        ("ff000002 ef000001 60 7807 78 aa", Some((96, "aa"))),
        // A redundant block may be empty, as after silence.
        ("ef000000 6f aa", Some((111, "aa"))),
        ("ef000001 6f aa", None),
        ("", None),
    ] {
        let payload = bytes(hex);
        let found = red::primary(&payload);
        let found = found.map(|block| (block.payload_type, block.of(&payload).unwrap().to_vec()));
        let expected = expected.map(|(pt, hex): (u8, &str)| (pt, bytes(hex)));
        assert_eq!(found, expected, "{hex}");
    }
}

#[test]
fn no_codec_has_empty_payloads_or_stumbles_over_short_ones() {
    let codecs = [
        Codec::H264,
        Codec::Vp8,
        Codec::Vp9,
        Codec::Av1,
        Codec::Opus,
        Codec::Red,
    ];
    for codec in codecs {
        assert_eq!(inspect(codec, &[]), None, "{codec:?}");
        for short in 0..=u16::MAX {
            let [first, second] = short.to_be_bytes();
            let _ = inspect(codec, &[first]);
            let _ = inspect(codec, &[first, second]);
            let _ = inspect(codec, &[first, second, 0xff, 0x00, 0xff]);
        }
    }
}

#[test]
fn nal_units_of_interest_are_told() {
    use super::h264::Nals;
    let none = Nals::default();
    for (hex, nals) in [
        ("67 42c015", Nals::SPS),
        ("68 ce3c80", Nals::PPS),
        (
            "78 0004 6742c015 0003 68ce3c 0002 65b8",
            Nals::SPS.or(Nals::PPS).or(Nals::IDR),
        ),
        ("7c85 b8000400", Nals::IDR),
        ("7c05 b8000400", none),
        ("65 40", none),
        // Types 1 and 6 are B, 0 and 5 are P, 2 and 7 are I; only the first slice tells.
        ("01 a8", Nals::B_SLICE),
        ("01 9f", Nals::B_SLICE),
        ("41 e0", none),
        ("41 9a", none),
        ("41 b8", none),
        ("41 88", none),
        ("41 54", none),
        // Messages of SEI: one alone, behind another, with sizes in several bytes, cut off.
        ("06 0601c480", Nals::RECOVERY_POINT),
        ("06 0102aabb 0601c4 80", Nals::RECOVERY_POINT),
        ("06 0504aabbccdd 80", none),
        ("06 05ff00", none),
        ("06 ffff", none),
        ("06 ff0701aa 0601c4 80", Nals::RECOVERY_POINT),
        ("06 80", none),
    ] {
        let info = inspect(Codec::H264, &bytes(hex)).unwrap();
        assert_eq!(info.nals, nals, "{hex}");
    }
}
