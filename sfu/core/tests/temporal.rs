//! Temporal layers in virtual time: VP8 in three of them, as Chromium's encoder makes them, towards
//! a viewer whose link changes; what arrives is held against a model of a receiver.

// Virtual time starts somewhere.
#![allow(clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lightstick_sfu_core::downtrack::DownTrack;
use lightstick_sfu_core::layers::LayerRates;
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::rewrite::Rewritten;
use lightstick_sfu_core::uptrack::{Incoming, Source};
use lightstick_types::{Bitrate, Codec, Layer, LayerChoice, TrackId};
use support::{FRAME, Random, ingest, source};

/// Temporal layer, Y, and how many pictures back those are that the picture refers to.
const PATTERN: [(u8, bool, &[u64]); 8] = [
    (0, false, &[4]),
    (2, true, &[1]),
    (1, true, &[2]),
    (2, false, &[1, 3]),
    (0, false, &[4]),
    (2, false, &[1, 3]),
    (1, false, &[2, 4]),
    (2, false, &[1, 3]),
];

/// One encoding: packets of picture after picture, a keyframe first.
struct Encoder {
    layer: Layer,
    /// Whether it has temporal layers.
    layered: bool,
    /// Whether padding comes amid some of its pictures.
    padded: bool,
    picture: u64,
    sequence: u64,
    first_id: u16,
    tl0: u8,
}

impl Encoder {
    fn new(layer: Layer, layered: bool, random: &mut Random) -> Self {
        Self {
            layer,
            layered,
            padded: false,
            picture: 0,
            sequence: random.below(60_000) + 1,
            // Close to its end, so that it wraps.
            first_id: 0x7fff - random.below(300) as u16,
            tl0: random.below(256) as u8,
        }
    }

    fn pattern(&self, picture: u64) -> (u8, bool, &'static [u64]) {
        if self.layered {
            PATTERN[picture as usize % PATTERN.len()]
        } else {
            (0, false, &[1])
        }
    }

    fn next(&mut self, now: Instant, key: bool) -> Vec<Incoming> {
        let key = key || self.picture == 0;
        if key {
            self.picture = self.picture.next_multiple_of(8);
        }
        let (temporal, sync, _) = self.pattern(self.picture);
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let id = (u64::from(self.first_id) + self.picture) & 0x7fff;
        let count = if key { 5 } else { 2 + self.picture % 2 };
        let packets = (0..count).map(|n| {
            // RFC 7741: X, and S at the beginning; I, L and T; 15 bits of picture id.
            let mut payload = vec![
                0x80 | if n == 0 { 0x10 } else { 0 },
                0xe0,
                0x80 | (id >> 8) as u8,
                id as u8,
                self.tl0,
                temporal << 6 | u8::from(sync) << 5,
                u8::from(!key),
            ];
            payload.resize(500, n as u8);
            if self.padded && n == 1 && count == 3 {
                payload.clear();
            }
            Incoming {
                track: TrackId::FIRST_VIDEO,
                layer: self.layer,
                format: Format {
                    codec: Codec::Vp8,
                    profile: 0,
                },
                sequence: self.sequence + n,
                timestamp: (self.picture as u32).wrapping_mul(3_000),
                marker: n + 1 == count,
                extensions: PacketExtensions::default(),
                payload: payload.into(),
                report: None,
                received_at: now,
            }
        });
        let packets = packets.collect();
        self.sequence += count;
        self.picture += 1;
        packets
    }
}

/// One picture as it arrived.
#[derive(Default)]
struct Arrived {
    original: u64,
    sequences: BTreeSet<u64>,
    begins: bool,
    ends: bool,
    id: u16,
    tl0: u8,
    temporal: u8,
    sync: bool,
    key: bool,
}

impl Arrived {
    fn is_whole(&self) -> bool {
        let span = self.sequences.last().zip(self.sequences.first());
        let span = span.map_or(0, |(last, first)| last - first + 1);
        self.begins && self.ends && span == self.sequences.len() as u64
    }
}

/// What a viewer got.
#[derive(Default)]
struct Receiver {
    sequences: BTreeSet<u64>,
    empty: usize,
    /// By their new timestamps.
    pictures: BTreeMap<u32, Arrived>,
}

impl Receiver {
    fn take(&mut self, packet: &MediaPacket, out: Rewritten) {
        assert!(self.sequences.insert(out.sequence), "{out:?} comes twice");
        if out.empty {
            self.empty += 1;
            return;
        }
        let vp8 = packet.info.vp8.expect("it is VP8");
        let (temporal, sync) = vp8.temporal.expect("it has layers");
        let (original_id, original_tl0) = (vp8.picture_id.expect("a number"), vp8.tl0_pic_idx);
        let arrived = self.pictures.entry(out.timestamp).or_default();
        arrived.original = u64::from(packet.timestamp / 3_000);
        arrived.sequences.insert(out.sequence);
        arrived.begins |= packet.info.starts_frame;
        arrived.ends |= packet.marker;
        arrived.key |= packet.info.keyframe;
        let (id, tl0) = out.vp8.map_or(
            (Some(original_id.value), original_tl0.map(|(tl0, _)| tl0)),
            |vp8| (vp8.picture_id, vp8.tl0_pic_idx),
        );
        arrived.id = id.expect("a number");
        arrived.tl0 = tl0.expect("a number");
        (arrived.temporal, arrived.sync) = (temporal, sync);
    }

    fn missing(&self) -> u64 {
        let span = self.sequences.last().zip(self.sequences.first());
        span.map_or(0, |(last, first)| last - first + 1) - self.sequences.len() as u64
    }

    /// Every picture is whole, and so is everything that it refers to.
    fn assert_references(&self, encoder: &Encoder) {
        let got: BTreeSet<u64> = self.pictures.values().map(|p| p.original).collect();
        for picture in self.pictures.values() {
            assert!(picture.is_whole(), "{} was cut in two", picture.original);
            let (temporal, _, references) = encoder.pattern(picture.original);
            for back in references.iter().filter(|_| !picture.key) {
                let reference = picture.original - back;
                assert!(
                    got.contains(&reference),
                    "{} of layer {temporal} refers to {reference}, which was left out",
                    picture.original
                );
            }
        }
    }

    /// How many pictures a receiver can show that goes by the numbers of RFC 7741: a picture of the
    /// base needs the one before it, one with Y its base, any other all of its base's layers up to
    /// its own, and no unknown picture in between.
    fn shown(&self) -> usize {
        // Of each base picture: the last picture of each layer since.
        let mut bases: BTreeMap<u8, [Option<u16>; 3]> = BTreeMap::new();
        let ids: BTreeSet<u16> = self.pictures.values().map(|p| p.id).collect();
        let mut shown = 0;
        for picture in self.pictures.values() {
            let layer = usize::from(picture.temporal);
            let mut known = if picture.key {
                [None; 3]
            } else {
                let base = if layer == 0 {
                    picture.tl0.wrapping_sub(1)
                } else {
                    picture.tl0
                };
                match bases.get(&base) {
                    Some(known) => *known,
                    None => continue,
                }
            };
            if layer > 0 && !picture.sync {
                let back = |id: u16| picture.id.wrapping_sub(id) & 0x7fff;
                let whole = known[..=layer].iter().all(|last| {
                    last.is_some_and(|last| {
                        (1..back(last))
                            .all(|n| ids.contains(&(picture.id.wrapping_sub(n) & 0x7fff)))
                    })
                });
                if !whole {
                    continue;
                }
            }
            known[layer] = Some(picture.id);
            bases.insert(picture.tl0, known);
            shown += 1;
        }
        shown
    }
}

/// Bits are divided two to one to two.
fn rates(layers: &[(Layer, u64, bool)]) -> LayerRates {
    let mut rates = LayerRates::default();
    for (layer, bps, layered) in layers {
        let own = if *layered {
            let fifth = bps / 5;
            [(2 * fifth, 7.5), (fifth, 7.5), (2 * fifth, 15.0), (0, 0.0)]
        } else {
            [(*bps, 30.0), (0, 0.0), (0, 0.0), (0, 0.0)]
        };
        rates.set(*layer, own);
    }
    rates
}

fn viewer() -> DownTrack {
    DownTrack::new(TrackId::FIRST_VIDEO, 90_000, LayerChoice::Auto)
}

fn give(source: &mut Source, viewer: &mut DownTrack, packet: Incoming, receiver: &mut Receiver) {
    let (packet, changes) = ingest(source, packet);
    if changes.layers {
        viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
    }
    if let Some(out) = viewer.forward(&packet, 0) {
        receiver.take(&packet, out);
    }
}

#[test]
fn a_falling_link_costs_pictures_then_size_and_gives_them_back() {
    let mut random = Random::new(1);
    let start = Instant::now();
    let mut low = Encoder::new(Layer::Low, false, &mut random);
    let mut high = Encoder::new(Layer::High, true, &mut random);
    let mut source = source(1, start);
    let mut viewer = viewer();
    let mut receiver = Receiver::default();
    let rates = rates(&[(Layer::Low, 200_000, false), (Layer::High, 1_000_000, true)]);
    let mut seconds = Vec::new();
    // In kbit/s, second by second.
    let links = [
        2_000, 850, 800, 300, 300, 850, 850, 850, 1_200, 1_200, 1_200,
    ];
    for (second, link) in links.into_iter().enumerate() {
        let before = receiver.pictures.len();
        for frame in 0..30 {
            let now = start + FRAME * (second as u32 * 30 + frame);
            let wanted = viewer.wanted().map(|wanted| wanted.0);
            for encoder in [&mut low, &mut high] {
                let key = wanted == Some(TrackId::FIRST_VIDEO.layer(encoder.layer));
                for packet in encoder.next(now, key) {
                    give(&mut source, &mut viewer, packet, &mut receiver);
                }
            }
            viewer.on_estimate(now, Bitrate::kbps(link), &rates);
        }
        let pictures = receiver.pictures.len() - before;
        seconds.push((viewer.stream().map(|stream| stream.layer), pictures));
    }
    let (low, high) = (Some(Layer::Low), Some(Layer::High));
    let layers: Vec<_> = seconds.iter().map(|(layer, _)| *layer).collect();
    assert_eq!(
        layers,
        [
            high, high, high, low, low, high, high, high, high, high, high
        ],
        "{seconds:?}"
    );
    let within = |second: usize, least, most| {
        let (_, pictures) = seconds[second];
        assert!(
            (least..=most).contains(&pictures),
            "second {second} of {seconds:?}"
        );
    };
    within(0, 30, 31);
    within(1, 15, 17);
    within(2, 15, 15);
    within(4, 30, 30);
    within(7, 15, 15);
    within(10, 30, 30);
    assert_eq!(receiver.missing(), 0);
    assert_eq!(receiver.empty, 0);
    assert!(receiver.pictures.values().all(Arrived::is_whole));
}

/// A single layer towards a link that carries all, some or little of it, in turns. `disturb`
/// decides what becomes of each packet.
fn run(
    seed: u64,
    padded: bool,
    mut disturb: impl FnMut(&mut Random, u64) -> Fate,
) -> (Encoder, Receiver, u64, usize) {
    let mut random = Random::new(seed);
    let start = Instant::now();
    let mut encoder = Encoder::new(Layer::High, true, &mut random);
    encoder.padded = padded;
    let mut source = source(1, start);
    let mut viewer = viewer();
    let mut receiver = Receiver::default();
    let rates = rates(&[(Layer::High, 1_000_000, true)]);
    let mut link = 2_000;
    let mut late: Vec<(u64, Incoming)> = Vec::new();
    let mut lost = 0;
    let mut rounds = BTreeSet::new();
    for frame in 0..1_200_u64 {
        let now = start + FRAME * frame as u32;
        if random.chance(2) {
            link = [450, 700, 2_000][random.below(3) as usize];
            rounds.insert(link);
        }
        viewer.on_estimate(now, Bitrate::kbps(link), &rates);
        let mut packets = Vec::new();
        for packet in encoder.next(now, false) {
            match disturb(&mut random, frame) {
                Fate::Pass => packets.push(packet),
                Fate::Swap => packets.insert(packets.len().saturating_sub(1), packet),
                Fate::Late(by) => late.push((frame + by, packet)),
                Fate::Lost => lost += 1,
            }
        }
        let due = late.extract_if(.., |(at, _)| *at <= frame);
        packets.extend(due.map(|(_, packet)| packet));
        for mut packet in packets {
            packet.received_at = now;
            give(&mut source, &mut viewer, packet, &mut receiver);
        }
    }
    assert_eq!(rounds.len(), 3, "seed {seed}");
    (encoder, receiver, lost, late.len())
}

enum Fate {
    Pass,
    /// It overtakes the one before it.
    Swap,
    /// It comes so many pictures later.
    Late(u64),
    Lost,
}

#[test]
fn without_loss_nothing_is_ever_waited_for() {
    for seed in 1..=30 {
        // Padding that is overtaken leaves a gap, so it is one or the other.
        let padded = seed % 2 == 0;
        let (encoder, receiver, ..) = run(seed, padded, |random, frame| {
            if frame > 0 && !padded && random.chance(10) {
                Fate::Swap
            } else {
                Fate::Pass
            }
        });
        assert_eq!(receiver.missing(), 0, "seed {seed}");
        receiver.assert_references(&encoder);
        let ids: Vec<u16> = receiver.pictures.values().map(|p| p.id).collect();
        let follow = |pair: &[u16]| pair[1] == (pair[0] + 1) & 0x7fff;
        assert!(ids.windows(2).all(follow), "seed {seed}: {ids:?}");
        let pictures = receiver.pictures.len();
        assert_eq!(receiver.shown(), pictures, "seed {seed}");
        assert!((300..1_150).contains(&pictures), "seed {seed}: {pictures}");
    }
}

#[test]
fn what_comes_late_finds_its_place() {
    let mut empty = 0;
    for seed in 1..=60 {
        let (encoder, receiver, _, late) = run(seed, false, |random, frame| {
            if frame > 0 && random.chance(4) {
                Fate::Late(random.below(6))
            } else {
                Fate::Pass
            }
        });
        // A few were still to come at the end.
        assert!(receiver.missing() <= late as u64, "seed {seed}");
        if late == 0 {
            receiver.assert_references(&encoder);
        }
        // A picture of which every packet was late, and which was left out then, keeps its number:
        // the next pictures that are no switching points wait for it.
        let (shown, all) = (receiver.shown(), receiver.pictures.len());
        assert!(shown * 100 >= all * 99, "seed {seed}: {shown} of {all}");
        empty += receiver.empty;
    }
    assert!(empty > 100, "{empty}");
}

#[test]
fn gaps_are_no_more_than_what_was_lost() {
    let mut saved = 0;
    for seed in 1..=30 {
        let (_, receiver, lost, _) = run(seed, false, |random, frame| {
            if frame > 0 && random.chance(5) {
                Fate::Lost
            } else {
                Fate::Pass
            }
        });
        assert!(receiver.missing() <= lost, "seed {seed}");
        saved += lost - receiver.missing();
    }
    // What is missing inside of a picture that is left out leaves no gap.
    assert!(saved > 0, "{saved}");
}
