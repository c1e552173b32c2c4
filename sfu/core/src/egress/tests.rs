use super::sent::SentLog;
use super::*;
use crate::codec::PayloadInfo;
use crate::codec::red::Primary;
use crate::packet::Format;
use crate::packet::PacketExtensions;
use crate::rewrite::{Rewriter, Vp8Rewrite};
use crate::srtp::{self, End, Profile};
use lightstick_types::{Codec, Layer, NodeId, SourceId, StreamId, TrackId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

const VIDEO: u32 = 0x0B0B_0001;
const RESENT: u32 = 0x0B0B_0002;
const AUDIO: u32 = 0x0A0A_0001;
const VP8: Format = Format {
    codec: Codec::Vp8,
    profile: 0,
};
const OPUS: Format = Format {
    codec: Codec::Opus,
    profile: 0,
};
const RED: Format = Format {
    codec: Codec::Red,
    profile: 0,
};

fn configs() -> [StreamConfig; 2] {
    let ids = ExtensionIds {
        mid: Some(4),
        transport_sequence: Some(3),
        capture_time: Some(6),
        playout_delay: Some(5),
        audio_level: Some(1),
        orientation: None,
    };
    let accept = |format, payload_type, resend_payload_type| Accepted {
        format,
        payload_type,
        resend_payload_type,
    };
    [
        StreamConfig {
            kind: TrackKind::Audio,
            mid: "0".into(),
            cname: "show".into(),
            ssrc: AUDIO,
            resend_ssrc: None,
            clock_rate: 48_000,
            accepted: vec![accept(OPUS, 111, None), accept(RED, 63, None)],
            extensions: ids,
        },
        StreamConfig {
            kind: TrackKind::Video,
            mid: "1".into(),
            cname: "show".into(),
            ssrc: VIDEO,
            resend_ssrc: Some(RESENT),
            clock_rate: 90_000,
            accepted: vec![accept(VP8, 96, Some(97))],
            extensions: ids,
        },
    ]
}

/// The wall clock at the beginning of a session, after 1970.
const WALL: Duration = Duration::from_secs(1_000);

/// Our side and the peer's, which opens what we send and seals reports.
fn pair(profile: Profile, now: Instant) -> (Egress, srtp::RtpOpener, Sealer) {
    let material: Vec<u8> = (0..profile.material_len() as u8).collect();
    let ours = srtp::keys(&material, profile, End::Server).expect("of the right length");
    let (reports, _) = srtp::keys(&material, profile, End::Client).expect("the same");
    let opener = srtp::RtpOpener::new(&material, profile, End::Server);
    let egress = Egress::new(ours, configs(), 64, now, UNIX_EPOCH + WALL);
    (egress, opener, reports)
}

fn packet(now: Instant, track: TrackId, sequence: u64, bytes: usize) -> MediaPacket {
    MediaPacket {
        source: SourceId::new(NodeId(0), 1),
        stream: StreamId {
            track,
            layer: Layer::High,
        },
        format: if track == TrackId::AUDIO { OPUS } else { VP8 },
        sequence,
        timestamp: (sequence as u32).wrapping_mul(3_000).wrapping_add(1_000),
        marker: true,
        info: PayloadInfo::default(),
        extensions: PacketExtensions::default(),
        payload: (0..bytes).map(|byte| byte as u8).collect(),
        primary: None,
        received_at: now,
        sampled_at: now,
    }
}

fn numbered(sequence: u64, packet: &MediaPacket) -> Rewritten {
    Rewritten {
        sequence,
        timestamp: packet.timestamp,
        sampled_at: packet.sampled_at,
        vp8: None,
        empty: false,
    }
}

/// What stands in an opened RTP packet.
struct Opened {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
}

fn open(opener: &srtp::RtpOpener, sealed: &[u8]) -> Opened {
    let mut packet = sealed.to_vec();
    let mut header = 12;
    let mut extensions = Vec::new();
    if packet[0] & 0x10 != 0 {
        assert_eq!(packet[12..14], [0xBE, 0xDE]);
        let words = usize::from(packet[15]);
        header = 16 + 4 * words;
        let mut at = 16;
        while at < header {
            let length = usize::from(packet[at] & 15) + 1;
            if packet[at] != 0 {
                let data = packet[at + 1..at + 1 + length].to_vec();
                extensions.push((packet[at] >> 4, data));
                at += length;
            }
            at += 1;
        }
    }
    let word = |at: usize| {
        packet[at..at + 4]
            .iter()
            .fold(0, |w, b| w << 8 | u32::from(*b))
    };
    let (sequence, timestamp, ssrc) = (word(0) as u16, word(4), word(8));
    let plain = opener
        .open(ssrc, sequence.into(), &mut packet, header)
        .expect("it is authentic");
    let mut payload = packet[header..plain].to_vec();
    if packet[0] & 0x20 != 0 {
        let padding = usize::from(*payload.last().expect("there is padding"));
        payload.truncate(payload.len() - padding);
    }
    Opened {
        payload_type: packet[1] & 0x7F,
        sequence,
        timestamp,
        ssrc,
        extensions,
        payload,
    }
}

const PROFILES: [Profile; 3] = [
    Profile::Aes128CmSha1_80,
    Profile::Aes128Gcm,
    Profile::Aes256Gcm,
];

#[test]
fn media_arrives_as_it_was() {
    for profile in PROFILES {
        let now = Instant::now();
        let (mut egress, opener, _) = pair(profile, now);
        let mut video = packet(now, TrackId::FIRST_VIDEO, 7, 900);
        video.extensions.playout_delay = Some((1, 0x234));
        video.extensions.captured_at = Some(UNIX_EPOCH);
        let mut out = vec![9; 5];
        assert_eq!(
            egress.media(
                Place::Video(0),
                &video,
                &numbered(1, &video),
                Fit::Payload(0),
                now,
                &mut out
            ),
            Ok(())
        );
        let opened = open(&opener, &out[5..]);
        assert_eq!((opened.ssrc, opened.sequence), (VIDEO, 1));
        assert_eq!((opened.payload_type, opened.timestamp), (96, 22_000));
        assert_eq!(opened.payload, *video.payload);
        let capture = (2_208_988_800_u64 << 32).to_be_bytes().to_vec();
        assert_eq!(
            opened.extensions,
            [
                (3, vec![0, 0]),
                (4, b"1".to_vec()),
                (5, vec![0x00, 0x12, 0x34]),
                (6, capture)
            ]
        );
        let mut audio = packet(now, TrackId::AUDIO, 3, 80);
        audio.extensions.audio_level = Some((-30, true));
        out.clear();
        assert_eq!(
            egress.media(
                Place::Audio,
                &audio,
                &numbered(1, &audio),
                Fit::Payload(0),
                now,
                &mut out
            ),
            Ok(())
        );
        let opened = open(&opener, &out);
        assert_eq!((opened.ssrc, opened.payload_type), (AUDIO, 111));
        assert_eq!(
            opened.extensions[0],
            (3, vec![0, 1]),
            "one count for all streams"
        );
        assert_eq!(opened.extensions[2], (1, vec![0x80 | 30]));
    }
}

#[test]
fn a_little_padding_makes_packets_equal() {
    let now = Instant::now();
    let (mut egress, opener, _) = pair(Profile::Aes256Gcm, now);
    let mut lengths = HashSet::new();
    for (sequence, bytes) in [(1, 1_000), (2, 999), (3, 940), (4, 200)] {
        let video = packet(now, TrackId::FIRST_VIDEO, sequence, bytes);
        let mut out = Vec::new();
        let length = lengths.iter().max().copied().unwrap_or(0);
        assert_eq!(
            egress.media(
                Place::Video(0),
                &video,
                &numbered(sequence, &video),
                Fit::Datagram(length),
                now,
                &mut out
            ),
            Ok(())
        );
        lengths.insert(out.len());
        assert_eq!(open(&opener, &out).payload, *video.payload, "{bytes}");
    }
    assert_eq!(lengths.len(), 2, "200 bytes are left as they are");
}

#[test]
fn vp8_is_renumbered_in_place() {
    let now = Instant::now();
    let (mut egress, opener, _) = pair(Profile::Aes128Gcm, now);
    let mut video = packet(now, TrackId::FIRST_VIDEO, 1, 20);
    let payload: Vec<u8> = [0x90, 0xE0, 0x81, 0x02, 0x07, 0x20, 0x01, 0, 0].into();
    video.payload = payload.into();
    video.info = crate::codec::inspect(Codec::Vp8, &video.payload).expect("it is VP8");
    let rewritten = Rewritten {
        vp8: Some(Vp8Rewrite {
            picture_id: Some(0x1234),
            tl0_pic_idx: Some(9),
        }),
        ..numbered(1, &video)
    };
    let mut out = Vec::new();
    assert_eq!(
        egress.media(
            Place::Video(0),
            &video,
            &rewritten,
            Fit::Payload(0),
            now,
            &mut out
        ),
        Ok(())
    );
    assert_eq!(
        open(&opener, &out).payload,
        [0x90, 0xE0, 0x92, 0x34, 0x09, 0x20, 0x01, 0, 0]
    );

    // Sent again, it says the same behind its first number.
    let mut history = History::default();
    history.push(&Arc::new(video), 0);
    out.clear();
    assert_eq!(egress.resend((0, 1), &history, now, &mut out), Ok(()));
    assert_eq!(
        open(&opener, &out).payload,
        [0, 1, 0x90, 0xE0, 0x92, 0x34, 0x09, 0x20, 0x01, 0, 0]
    );
}

#[test]
fn an_empty_packet_takes_its_number_and_no_more() {
    let now = Instant::now();
    let (mut egress, opener, _) = pair(Profile::Aes128Gcm, now);
    let mut video = packet(now, TrackId::FIRST_VIDEO, 7, 300);
    video.marker = true;
    let rewritten = Rewritten {
        empty: true,
        ..numbered(7, &video)
    };
    let mut out = Vec::new();
    assert_eq!(
        egress.media(
            Place::Video(0),
            &video,
            &rewritten,
            Fit::Payload(300),
            now,
            &mut out
        ),
        Ok(())
    );
    let opened = open(&opener, &out);
    assert_eq!((opened.sequence, opened.payload.len()), (7, 0));
    let mut history = History::default();
    history.push(&Arc::new(video), 0);
    let again = egress.resend((0, 7), &history, now, &mut out);
    assert_eq!(
        again,
        Err(NotSent::Gone),
        "it is not to be had in full either"
    );
}

#[test]
fn red_goes_to_whom_it_fits() {
    let now = Instant::now();
    let (mut egress, opener, _) = pair(Profile::Aes128Gcm, now);
    let mut send = |sequence, block: u8| {
        let mut audio = packet(now, TrackId::AUDIO, sequence, 30);
        audio.format = RED;
        audio.primary = Some(Primary {
            payload_type: block,
            start: 27,
        });
        let mut out = Vec::new();
        assert_eq!(
            egress.media(
                Place::Audio,
                &audio,
                &numbered(sequence, &audio),
                Fit::Payload(0),
                now,
                &mut out
            ),
            Ok(())
        );
        let opened = open(&opener, &out);
        (opened.payload_type, opened.payload.len())
    };
    assert_eq!(send(1, 111), (63, 30), "the same numbers inside");
    assert_eq!(send(2, 100), (111, 3), "the Opus inside");
}

#[test]
fn a_number_is_sent_once() {
    let now = Instant::now();
    let (mut egress, ..) = pair(Profile::Aes128Gcm, now);
    let video = packet(now, TrackId::FIRST_VIDEO, 1, 100);
    let mut out = Vec::new();
    assert_eq!(
        egress.media(
            Place::Video(0),
            &video,
            &numbered(5, &video),
            Fit::Payload(0),
            now,
            &mut out
        ),
        Ok(())
    );
    let length = out.len();
    let again = egress.media(
        Place::Video(0),
        &video,
        &numbered(5, &video),
        Fit::Payload(0),
        now,
        &mut out,
    );
    assert_eq!((again, out.len()), (Err(NotSent::Number), length));
    let mut unknown = packet(now, TrackId::FIRST_VIDEO, 2, 100);
    unknown.format.codec = Codec::Av1;
    let refused = egress.media(
        Place::Video(0),
        &unknown,
        &numbered(6, &unknown),
        Fit::Payload(0),
        now,
        &mut out,
    );
    assert_eq!((refused, out.len()), (Err(NotSent::Format), length));
}

/// Sends `count` packets and returns what they are resent from.
fn show(egress: &mut Egress, now: Instant, count: u64) -> History {
    let (mut history, mut rewriter) = (History::default(), Rewriter::new(90_000));
    let mut out = Vec::new();
    for sequence in 500..500 + count {
        let video = Arc::new(packet(now, TrackId::FIRST_VIDEO, sequence, 1_000));
        history.push(&video, 0);
        let rewritten = rewriter.rewrite(&video).expect("it follows on");
        assert_eq!(
            egress.media(
                Place::Video(0),
                &video,
                &rewritten,
                Fit::Payload(0),
                now,
                &mut out
            ),
            Ok(())
        );
    }
    history
}

#[test]
fn lost_packets_are_sent_again_on_their_own_stream() {
    let now = Instant::now();
    let (mut egress, opener, _) = pair(Profile::Aes256Gcm, now);
    let history = show(&mut egress, now, 40);
    let mut again = |lost, at: Duration| {
        let mut out = Vec::new();
        egress
            .resend((0, lost), &history, now + at, &mut out)
            .map(|()| open(&opener, &out))
    };
    let ms = Duration::from_millis;
    let opened = again(3, ms(0)).expect("it is kept");
    assert_eq!((opened.ssrc, opened.payload_type), (RESENT, 97));
    assert_eq!(
        (opened.sequence, opened.timestamp),
        (0, 1_000 + 502 * 3_000)
    );
    assert_eq!(opened.payload[..2], [0, 3]);
    assert_eq!(
        opened.payload[2..],
        *packet(now, TrackId::FIRST_VIDEO, 502, 1_000).payload
    );
    assert_eq!(
        again(3, ms(5)).err(),
        Some(NotSent::Gone),
        "it may still arrive"
    );
    assert_eq!(again(3, ms(20)).map(|o| o.sequence), Ok(1));
    assert_eq!(again(0, ms(0)).err(), Some(NotSent::Gone), "was never sent");
    assert_eq!(again(41, ms(0)).err(), Some(NotSent::Gone));
}

#[test]
fn what_is_sent_again_has_a_budget() {
    let now = Instant::now();
    let (mut egress, ..) = pair(Profile::Aes256Gcm, now);
    let history = show(&mut egress, now, 60);
    let mut out = Vec::new();
    let (mut sent, mut refused) = (0, 0);
    for round in 0..10 {
        for lost in 1..=60 {
            let at = now + Duration::from_millis(100 * round);
            match egress.resend((0, lost), &history, at, &mut out) {
                Ok(()) => sent += 1,
                Err(error) => {
                    assert_eq!(error, NotSent::Budget);
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((sent, refused), (RESEND_BURST_BYTES / 1_000, 600 - sent));
}

#[test]
fn sender_reports_tell_the_time_of_what_was_sent() {
    let now = Instant::now();
    let (mut egress, ..) = pair(Profile::Aes128Gcm, now);
    let mut out = Vec::new();
    let due = egress.report_at();
    assert!(!egress.report(due, &mut out), "nothing was sent");
    show(&mut egress, now, 3);
    let due = egress.report_at();
    assert!(!egress.report(now, &mut out), "too early");
    assert!(egress.report(due, &mut out));
    let material: Vec<u8> = (0..Profile::Aes128Gcm.material_len() as u8).collect();
    let (_, mut opener) = srtp::keys(&material, Profile::Aes128Gcm, End::Client).expect("the same");
    let compound = opener.open(&mut out).expect("it is authentic");
    let word = |at: usize| {
        compound[at..at + 4]
            .iter()
            .fold(0, |w, b| w << 8 | u32::from(*b))
    };
    assert_eq!(word(4), VIDEO);
    assert_eq!(
        word(8),
        2_208_988_800 + (WALL + (due - now)).as_secs() as u32
    );
    let since = (due - now).as_millis() as u32;
    assert_eq!(word(16), 1_000 + 502 * 3_000 + since * 90);
    assert_eq!((word(20), word(24)), (3, 3_000));
}

#[test]
fn reports_are_heard() {
    let now = Instant::now();
    let (mut egress, _, mut peer) = pair(Profile::Aes256Gcm, now);
    let echo = crate::ntp::Ntp::from(UNIX_EPOCH + WALL).middle();
    let now = now + Duration::from_millis(500);
    let mut compound = vec![0x81, 201, 0, 7, 0, 0, 0, 1];
    compound.extend(VIDEO.to_be_bytes());
    compound.extend([128, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
    compound.extend(echo.to_be_bytes());
    compound.extend((65_536_u32 / 4).to_be_bytes());
    compound.extend([0x81, 205, 0, 3, 0, 0, 0, 1]);
    compound.extend(VIDEO.to_be_bytes());
    compound.extend([0, 9, 0, 1]);
    compound.extend([0x81, 206, 0, 2, 0, 0, 0, 1]);
    compound.extend(VIDEO.to_be_bytes());
    assert_eq!(peer.seal_rtcp(&mut compound, 0), Ok(()));
    let mut heard = Heard::default();
    assert_eq!(egress.hear(&mut compound.clone(), now, &mut heard), Ok(()));
    assert_eq!(heard.lost, [(0, 9), (0, 10)]);
    assert_eq!((heard.keyframe_requests, heard.newly_lost), (1, 5));
    assert!(heard.estimated);
    assert_eq!(egress.loss(), Some(0.5));
    assert_eq!(egress.round_trip(), Some(Duration::from_millis(250)));
    let replayed = egress.hear(&mut compound, now, &mut heard);
    assert_eq!(replayed, Err(NotHeard::Sealed(OpenError::Replayed)));
    assert_eq!(heard.lost, []);
}

#[test]
fn feedback_that_claims_too_much_is_passed_over() {
    let now = Instant::now();
    let (mut egress, _, mut peer) = pair(Profile::Aes256Gcm, now);
    // Each speaks of 4,000 packets that did not come, in one run.
    let mut compound = Vec::new();
    for _ in 0..3 {
        compound.extend([0x8F, 205, 0, 5, 0, 0, 0, 1]);
        compound.extend(VIDEO.to_be_bytes());
        compound.extend([0, 0, 0x0F, 0xA0, 0, 0, 0, 0, 0x0F, 0xA0, 0, 0]);
    }
    assert_eq!(peer.seal_rtcp(&mut compound, 0), Ok(()));
    let mut heard = Heard::default();
    assert_eq!(egress.hear(&mut compound, now, &mut heard), Ok(()));
    assert_eq!(heard.broken, 1);
}

/// Whatever is done with an egress, no SSRC and index come twice: they make the nonce.
#[test]
fn no_nonce_is_used_twice() {
    let start = Instant::now();
    let (mut egress, ..) = pair(Profile::Aes128Gcm, start);
    let mut highest: HashMap<u32, u64> = HashMap::new();
    let (mut history, mut rewriter) = (History::default(), Rewriter::new(90_000));
    let (mut seen, mut state) = (HashSet::new(), 1_u64);
    let mut sequence = 65_000_u64;
    for step in 0..200_000_u64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dice = state >> 40;
        let now = start + Duration::from_millis(step);
        let mut out = Vec::new();
        let outcome = match dice % 10 {
            0 => egress.resend((0, (dice >> 8) as u16 % 1_000), &history, now, &mut out),
            kind => {
                // Reordered, repeated, and now and then from somewhere else.
                sequence = match kind {
                    1 => sequence.saturating_sub(dice % 20),
                    2 if dice.is_multiple_of(64) => {
                        rewriter.cut();
                        sequence + dice % 5_000
                    }
                    _ => sequence + 1,
                };
                let video = Arc::new(packet(now, TrackId::FIRST_VIDEO, sequence, 30));
                history.push(&video, 0);
                match rewriter.rewrite(&video) {
                    Some(rewritten) => egress.media(
                        Place::Video(0),
                        &video,
                        &rewritten,
                        Fit::Payload(0),
                        now,
                        &mut out,
                    ),
                    None => {
                        rewriter.cut();
                        continue;
                    }
                }
            }
        };
        if outcome.is_ok() {
            let ssrc = u32::from_be_bytes([out[8], out[9], out[10], out[11]]);
            let number = u16::from_be_bytes([out[2], out[3]]);
            // Roll-overs as a receiver counts them (RFC 3711 section 3.3.1).
            let highest = highest.entry(ssrc).or_insert(u64::from(number));
            let ahead = i64::from(number.wrapping_sub(*highest as u16) as i16);
            let index = highest.checked_add_signed(ahead).expect("it is near");
            *highest = index.max(*highest);
            assert!(seen.insert((ssrc, index)), "{step}");
        }
    }
    assert!(highest[&VIDEO] > 1 << 16, "it has rolled over");
    assert!(seen.len() > 5_000, "{}", seen.len());
}

#[test]
fn a_sent_packet_is_found_where_it_came_from() {
    let (now, mut log) = (Instant::now(), SentLog::new(64));
    let from = |source: u32, number: u64| {
        let mut packet = packet(now, TrackId::FIRST_VIDEO, 1_000 + number, 10);
        packet.source.number = source;
        packet.stream.layer = Layer::ALL[source as usize % 3];
        packet
    };
    // Four packets of each of twelve sources, across the wrap of the numbers sent.
    let first = 65_520;
    for number in 0..48 {
        let packet = from(number as u32 / 4, number);
        log.note(&packet, &numbered(first + number, &packet));
    }
    for number in 0..48 {
        let (source, sent) = (number as u32 / 4, log.get((first + number) as u16));
        if source < 4 {
            assert!(sent.is_none(), "{source}: eight others came since");
            continue;
        }
        let (sent, packet) = (sent.expect("kept"), from(source, number));
        assert_eq!(sent.stream(), packet.stream);
        assert_eq!(sent.source_sequence(1_047), packet.sequence);
        assert!(sent.is_of(&packet) && !sent.is_of(&from(source + 1, number)));
    }
    // However long it goes on.
    for number in 48..100_000 {
        let packet = from(11, number);
        log.note(&packet, &numbered(first + number, &packet));
        assert!(log.get((first + number) as u16).is_some(), "{number}");
    }
    let late = Duration::from_secs(70);
    let apart = Duration::from_millis(20);
    let last = (first + 99_999) as u16;
    assert!(log.take(last, late, apart).is_some());
    assert!(log.take(last, late + apart / 2, apart).is_none());
    assert!(log.take(last, late + apart, apart).is_some());
}
