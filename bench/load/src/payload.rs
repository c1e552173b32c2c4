//! RTP payloads in the shape of each codec, around a [`Stamp`].
//!
//! They parse as what they claim to be: a server sees parameter sets, key and delta frames and
//! frame edges where a real encoder would have put them. No decoder would enjoy the rest.

use lightstick_types::Codec;

use crate::stamp::{Found, STAMP_LEN, Stamp};

/// Largest payload that is built, in bytes: with its RTP header, extensions and SRTP tag a
/// packet comes to about 1,210 bytes.
pub const PAYLOAD_MAX: usize = 1_170;

/// Smallest payload that [`video`] can build.
pub const PAYLOAD_MIN: usize = 40;

/// Constrained baseline, level 3.1, 1280x720.
const SPS: [u8; 22] = [
    0x67, 0x42, 0xC0, 0x1F, 0xDA, 0x01, 0x40, 0x16, 0xEC, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40,
    0x00, 0x00, 0x0F, 0x03, 0xC6, 0x0C,
];
const PPS: [u8; 5] = [0x68, 0xCE, 0x3C, 0x80, 0x80];

const NAL_SLICE: u8 = 1;
const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;
/// `nal_ref_idc` 3, as encoders set it for frames that others refer to.
const REF_IDC: u8 = 0x60;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// The first bytes of a slice as encoders write them: `first_mb_in_slice` 0 and a slice type.
const SLICE_HEAD_KEY: [u8; 3] = [0x88, 0x84, 0x80];
const SLICE_HEAD_DELTA: [u8; 3] = [0x9A, 0x84, 0x80];

/// Extended and I bits, a 15-bit picture id (RFC 7741 section 4.2).
const VP8_DESCRIPTOR_LEN: usize = 4;
const VP8_HEAD_KEY: [u8; 10] = [0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x00, 0x05, 0xD0, 0x02];
const VP8_HEAD_DELTA: [u8; 3] = [0x11, 0x02, 0x00];

/// Opus table of contents: CELT, full band, 20 ms, stereo, one frame (RFC 6716 section 3.1).
const OPUS_TOC: u8 = 0xFC;

/// Where in its frame a payload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which payload of the frame, from 0.
    pub index: usize,
    /// How many payloads the frame has; an H.264 keyframe has at least three.
    pub count: usize,
    /// Counts frames; VP8 shows it as the picture id.
    pub frame: u32,
}

/// One Opus packet of `len` bytes, or the shortest that holds a stamp.
#[must_use]
pub fn opus(stamp: Stamp, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    out.push(OPUS_TOC);
    stamp.write(&mut out, len);
    out
}

/// One payload of a video frame, of `len` bytes where the codec's shape allows it: the parameter
/// sets of an H.264 keyframe (index 0) have the length they have.
///
/// # Panics
/// For a codec other than H.264 and VP8.
#[must_use]
pub fn video(codec: Codec, stamp: Stamp, place: Place, len: usize) -> Vec<u8> {
    match codec {
        Codec::H264 => h264(stamp, place, len),
        Codec::Vp8 => vp8(stamp, place, len),
        other => panic!("no synthetic {other:?}"),
    }
}

fn h264(stamp: Stamp, place: Place, len: usize) -> Vec<u8> {
    if stamp.keyframe && place.index == 0 {
        return parameter_sets(stamp);
    }
    let mut out = Vec::with_capacity(len);
    let nal_type = if stamp.keyframe { NAL_IDR } else { NAL_SLICE };
    let first = place.index == usize::from(stamp.keyframe);
    let last = place.index + 1 == place.count;
    let head = if stamp.keyframe {
        SLICE_HEAD_KEY
    } else {
        SLICE_HEAD_DELTA
    };
    if first && last {
        out.push(REF_IDC | nal_type);
    } else {
        // RFC 6184 section 5.8.
        out.push(REF_IDC | NAL_FU_A);
        let start = if first { FU_START } else { 0 };
        let end = if last { FU_END } else { 0 };
        out.push(start | end | nal_type);
    }
    if first {
        out.extend_from_slice(&head);
    }
    stamp.write(&mut out, len);
    out
}

/// SPS, PPS and, for the stamp, an SEI of user data (RFC 6184 section 5.7.1).
fn parameter_sets(stamp: Stamp) -> Vec<u8> {
    let mut sei = vec![NAL_SEI, 5, STAMP_LEN as u8];
    let len = sei.len() + STAMP_LEN;
    stamp.write(&mut sei, len);
    sei.push(0x80);
    let mut out = vec![REF_IDC | NAL_STAP_A];
    for nal in [&SPS[..], &PPS[..], &sei[..]] {
        out.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        out.extend_from_slice(nal);
    }
    out
}

fn vp8(stamp: Stamp, place: Place, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len);
    let start = if place.index == 0 { 0x10 } else { 0 };
    let picture_id = place.frame & 0x7FFF;
    out.extend_from_slice(&[
        0x80 | start,
        0x80,
        0x80 | (picture_id >> 8) as u8,
        picture_id as u8,
    ]);
    if place.index == 0 {
        if stamp.keyframe {
            out.extend_from_slice(&VP8_HEAD_KEY);
        } else {
            out.extend_from_slice(&VP8_HEAD_DELTA);
        }
    }
    stamp.write(&mut out, len);
    out
}

/// The stamp in a payload, wherever the codec's headers leave it. None for media that is not ours.
#[must_use]
pub fn stamp_of(codec: Codec, payload: &[u8]) -> Option<Found> {
    match codec {
        Codec::Opus => Stamp::read(payload.get(1..)?),
        Codec::Vp8 => {
            let (at, start) = vp8_payload(payload)?;
            let head = match (start, payload.get(at)?) {
                (false, _) => 0,
                (true, tag) if tag & 1 == 0 => VP8_HEAD_KEY.len(),
                (true, _) => VP8_HEAD_DELTA.len(),
            };
            Stamp::read(payload.get(at + head..)?)
        }
        Codec::H264 => match payload.first()? & 0x1F {
            NAL_FU_A => {
                let start = payload.get(1)? & FU_START != 0;
                let head = if start { SLICE_HEAD_KEY.len() } else { 0 };
                Stamp::read(payload.get(2 + head..)?)
            }
            NAL_STAP_A => {
                let sei = aggregated(payload).find(|nal| nal[0] & 0x1F == NAL_SEI)?;
                Stamp::read(sei.get(3..sei.len() - 1)?)
            }
            _ => Stamp::read(payload.get(1 + SLICE_HEAD_KEY.len()..)?),
        },
        _ => None,
    }
}

/// Whether the payload is the first of a keyframe. None where the codec is not known here.
#[must_use]
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> Option<bool> {
    match codec {
        Codec::Vp8 => {
            let Some((at, start)) = vp8_payload(payload) else {
                return Some(false);
            };
            Some(start && payload.get(at).is_some_and(|tag| tag & 1 == 0))
        }
        Codec::H264 => {
            let nal_type = payload.first()? & 0x1F;
            Some(match nal_type {
                NAL_SPS | NAL_IDR => true,
                NAL_STAP_A => {
                    aggregated(payload).any(|nal| [NAL_SPS, NAL_IDR].contains(&(nal[0] & 0x1F)))
                }
                NAL_FU_A => payload
                    .get(1)
                    .is_some_and(|h| h & FU_START != 0 && h & 0x1F == NAL_IDR),
                _ => false,
            })
        }
        _ => None,
    }
}

/// The NAL units of a STAP-A; none is empty. Ends at the first that is cut short.
fn aggregated(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = &payload[1..];
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let (nal, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
        rest = tail;
        (!nal.is_empty()).then_some(nal)
    })
}

/// Where the VP8 data starts behind its descriptor, and whether a frame starts there.
fn vp8_payload(payload: &[u8]) -> Option<(usize, bool)> {
    let first = *payload.first()?;
    let start = first & 0x10 != 0 && first & 0x0F == 0;
    let mut at = 1;
    if first & 0x80 != 0 {
        let extended = *payload.get(1)?;
        at = 2;
        if extended & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extended & 0x40 != 0);
        at += usize::from(extended & 0x30 != 0);
    }
    Some((at, start))
}

const _: () = assert!(VP8_DESCRIPTOR_LEN + VP8_HEAD_KEY.len() + STAMP_LEN <= PAYLOAD_MIN);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codec: Codec, keyframe: bool, count: usize, len: usize) {
        for index in 0..count {
            let seq = 77 + index as u32;
            let stamp = Stamp {
                sent_us: 5_000_000_000,
                seq,
                keyframe,
            };
            let place = Place {
                index,
                count,
                frame: 40_000,
            };
            let payload = video(codec, stamp, place, len);
            assert!(payload.len() <= PAYLOAD_MAX);
            let intact = true;
            assert_eq!(stamp_of(codec, &payload), Some(Found { stamp, intact }));
            // An IDR behind its parameter sets starts a keyframe just as well.
            let starts = keyframe && (index == 0 || codec == Codec::H264 && index == 1);
            assert_eq!(starts_keyframe(codec, &payload), Some(starts), "{index}");
        }
    }

    #[test]
    fn stamps_are_found_in_every_shape() {
        check(Codec::H264, true, 63, PAYLOAD_MAX);
        check(Codec::H264, true, 3, 90);
        check(Codec::H264, false, 8, 1_000);
        check(Codec::H264, false, 1, 200);
        check(Codec::Vp8, true, 63, PAYLOAD_MAX);
        check(Codec::Vp8, false, 8, 1_000);
        check(Codec::Vp8, false, 1, PAYLOAD_MIN);
    }

    #[test]
    fn opus_has_the_length_asked_for() {
        let stamp = Stamp {
            sent_us: 1,
            seq: 2,
            keyframe: false,
        };
        let payload = opus(stamp, 160);
        assert_eq!(payload.len(), 160);
        assert_eq!(stamp_of(Codec::Opus, &payload).unwrap().stamp, stamp);
    }

    #[test]
    fn junk_has_no_stamp() {
        for codec in [Codec::H264, Codec::Vp8, Codec::Opus, Codec::Av1] {
            for len in 0..64 {
                for byte in [0x00, 0x18, 0x1C, 0x90, 0xFF] {
                    assert_eq!(stamp_of(codec, &vec![byte; len]), None);
                    let _ = starts_keyframe(codec, &vec![byte; len]);
                }
            }
        }
    }
}
