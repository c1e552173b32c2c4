//! H.264 from encoders that do not repeat their parameter sets, on its way to viewers.

#![allow(clippy::disallowed_methods)] // Virtual time starts somewhere.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu_core::codec::h264::{Nals, ParameterSets};
use lightstick_sfu_core::downtrack::DownTrack;
use lightstick_sfu_core::history::History;
use lightstick_sfu_core::paced::{PacedTrack, Step};
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::uptrack::{Incoming, Source};
use lightstick_types::{Codec, Layer, LayerChoice, TrackId};
use support::{FRAME, Random, source};

const SETS: &[u8] = &[
    0x78, 0, 6, 0x67, 0x42, 0xc0, 0x1e, 0x95, 0xa0, 0, 4, 0x68, 0xce, 0x3c, 0x80,
];
const OFFERED: &str = "Z0LAHpWg,aM48gA==";
const GOP: u32 = 30;

/// An encoder with a keyframe a second, of five packets, and frames of two.
struct Encoder {
    now: Instant,
    sequence: u64,
    frame: u32,
    sets_in: fn(keyframe: u32) -> bool,
}

impl Encoder {
    fn new(sets_in: fn(u32) -> bool) -> Self {
        Self {
            now: Instant::now(),
            sequence: 60_000,
            frame: 0,
            sets_in,
        }
    }

    fn frame(&mut self) -> Vec<Incoming> {
        let key = self.frame.is_multiple_of(GOP);
        let count = if key { 5 } else { 2 };
        let mut payloads = Vec::new();
        if key && (self.sets_in)(self.frame / GOP) {
            payloads.push(SETS.to_vec());
        }
        for n in 0..count {
            // Fragments, section 5.8 of RFC 6184.
            let start = if n == 0 { 0x80 } else { 0 };
            let end = if n + 1 == count { 0x40 } else { 0 };
            let kind = if key { 5 } else { 1 };
            payloads.push(vec![0x7c, start | end | kind, 0xb8, n as u8]);
        }
        let (last, now) = (payloads.len() - 1, self.now);
        let mut packets = Vec::new();
        for (n, payload) in payloads.into_iter().enumerate() {
            packets.push(Incoming {
                track: TrackId::FIRST_VIDEO,
                layer: Layer::High,
                format: Format {
                    codec: Codec::H264,
                    profile: 0x42c0,
                },
                sequence: self.sequence,
                timestamp: self.frame * 3_000,
                marker: n == last,
                extensions: PacketExtensions::default(),
                payload: payload.into(),
                report: None,
                received_at: now,
            });
            self.sequence += 1;
        }
        self.frame += 1;
        self.now += FRAME;
        packets
    }
}

/// A publisher's source, the room's history and a viewer at the head.
struct Show {
    source: Source,
    history: History,
    viewer: DownTrack,
    /// What the viewer got, by its numbers.
    got: HashMap<u64, Arc<MediaPacket>>,
}

impl Show {
    fn new(now: Instant, offered: &str) -> Self {
        let mut source = source(1, now);
        let sets = ParameterSets::offered([offered]);
        source.offer_parameter_sets(vec![(TrackId::FIRST_VIDEO, sets)]);
        let mut viewer = DownTrack::new(TrackId::FIRST_VIDEO, 90_000, LayerChoice::Auto);
        viewer.set_live([Layer::High].into_iter().collect());
        Self {
            source,
            history: History::default(),
            viewer,
            got: HashMap::new(),
        }
    }

    fn take(&mut self, packet: Incoming) {
        let wall = std::time::UNIX_EPOCH;
        let (packet, changes) = self.source.ingest(packet, wall).unwrap();
        for packet in changes.inserted.into_iter().chain([Arc::new(packet)]) {
            self.history.push(&packet, 0);
            if let Some(out) = self.viewer.forward(&packet, 0) {
                let before = self.got.insert(out.sequence, packet);
                assert!(before.is_none(), "{} was sent twice", out.sequence);
            }
        }
    }

    /// What a decoder gets: parameter sets stand before each IDR picture, and nothing is missing.
    fn assert_decodable(&self, idrs: usize) {
        let mut numbers: Vec<_> = self.got.keys().copied().collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        let mut sets_for = None;
        let mut found = 0;
        for number in numbers {
            let packet = &self.got[&number];
            if packet.info.nals.contains(Nals::SPS.or(Nals::PPS)) {
                assert_eq!(&packet.payload[..], SETS);
                assert!(!packet.marker);
                sets_for = Some(packet.timestamp);
            }
            if packet.info.nals.contains(Nals::IDR) {
                assert_eq!(sets_for, Some(packet.timestamp), "an IDR picture without");
                found += 1;
            }
        }
        assert_eq!(found, idrs);
    }
}

#[test]
fn every_keyframe_reaches_viewers_with_its_sets() {
    for (sets_in, offered) in [
        ((|n| n == 0) as fn(u32) -> bool, ""),
        (|_| true, ""),
        (|n| n % 3 == 0, ""),
        (|_| false, OFFERED),
    ] {
        let mut encoder = Encoder::new(sets_in);
        let mut show = Show::new(encoder.now, offered);
        for _ in 0..5 * GOP {
            encoder
                .frame()
                .into_iter()
                .for_each(|packet| show.take(packet));
        }
        show.assert_decodable(5);
    }
}

#[test]
fn nobody_starts_at_what_no_decoder_can_show() {
    let mut encoder = Encoder::new(|n| n >= 2);
    let mut show = Show::new(encoder.now, "");
    for _ in 0..2 * GOP {
        encoder
            .frame()
            .into_iter()
            .for_each(|packet| show.take(packet));
    }
    assert!(show.got.is_empty());
    assert_eq!(
        show.history
            .start(TrackId::FIRST_VIDEO.layer(Layer::High), encoder.now),
        None
    );
    for _ in 0..GOP {
        encoder
            .frame()
            .into_iter()
            .for_each(|packet| show.take(packet));
    }
    show.assert_decodable(1);
}

#[test]
fn loss_and_reordering_around_inserted_sets_leave_gaps_only_where_packets_are_missing() {
    for seed in 1..=30 {
        let mut random = Random::new(seed);
        let mut encoder = Encoder::new(|n| n == 0);
        let mut show = Show::new(encoder.now, "");
        let (mut lost, mut late) = (0, Vec::new());
        for frame in 0..20 * GOP {
            for packet in encoder.frame() {
                // A keyframe's first packet that is late takes no sets with it.
                let first = packet.payload[1] == 0x85;
                match random.below(100) {
                    0..4 if frame > 0 && !first => lost += 1,
                    4..14 if frame > 0 && !first => late.push(packet),
                    _ => show.take(packet),
                }
            }
            if random.chance(30) {
                late.drain(..).for_each(|packet| show.take(packet));
            }
        }
        let (first, last) = (
            *show.got.keys().min().unwrap(),
            *show.got.keys().max().unwrap(),
        );
        let missing = (last - first + 1) as usize - show.got.len();
        let lost = lost + late.len();
        assert!(
            missing <= lost && missing + 4 >= lost,
            "seed {seed}: {missing} of {lost}"
        );
    }
}

#[test]
fn a_newcomer_replays_the_sets_and_finds_lost_ones_in_the_history() {
    let mut encoder = Encoder::new(|n| n == 0);
    let mut show = Show::new(encoder.now, "");
    for _ in 0..2 * GOP + GOP / 2 {
        encoder
            .frame()
            .into_iter()
            .for_each(|packet| show.take(packet));
    }
    let mut track = DownTrack::new(TrackId::FIRST_VIDEO, 90_000, LayerChoice::Auto);
    track.set_live([Layer::High].into_iter().collect());
    let mut newcomer = PacedTrack::new(track, 90_000, 0, encoder.now);
    let start = show
        .history
        .start(TrackId::FIRST_VIDEO.layer(Layer::High), encoder.now)
        .unwrap();
    newcomer.start(
        TrackId::FIRST_VIDEO.layer(Layer::High),
        start,
        &show.history,
        encoder.now,
    );
    let mut replayed = Vec::new();
    let mut now = encoder.now;
    while let Some(at) = newcomer.deadline() {
        now = at.max(now + Duration::from_millis(1));
        newcomer.begin_run(now, &show.history);
        while let Step::Packet(packet, out) = newcomer.next(now, &show.history) {
            // As a NACK of its would find it.
            let kept = show
                .history
                .get(TrackId::FIRST_VIDEO.layer(Layer::High), packet.sequence)
                .unwrap();
            assert!(Arc::ptr_eq(kept, packet));
            replayed.push((out.sequence, Arc::clone(packet)));
        }
    }
    assert_eq!(&replayed[0].1.payload[..], SETS);
    assert!(replayed[1].1.info.nals.contains(Nals::IDR));
    assert!(replayed.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
    assert_eq!(replayed.len(), 1 + 5 + 14 * 2);
}

/// Two encoders may give their sets the same numbers.
#[test]
fn each_track_has_the_sets_of_its_own_section() {
    let second = TrackId::video(1).unwrap();
    let mut encoder = Encoder::new(|_| false);
    let mut source = source(1, encoder.now);
    let others = "Z0LAH5Wg,aM48gA==";
    source.offer_parameter_sets(vec![
        (TrackId::FIRST_VIDEO, ParameterSets::offered([OFFERED])),
        (second, ParameterSets::offered([others])),
    ]);
    let keyframe = encoder.frame();
    for (track, level) in [(TrackId::FIRST_VIDEO, 0x1e), (second, 0x1f)] {
        let packet = Incoming {
            track,
            ..keyframe[0].clone()
        };
        let (_, changes) = source.ingest(packet, std::time::UNIX_EPOCH).unwrap();
        let inserted = changes.inserted.expect("sets go before it");
        // Of a STAP-A: its type, the length of the SPS, and the SPS.
        assert_eq!(inserted.payload[6], level, "{track}");
    }
}
