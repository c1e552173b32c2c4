//! A publisher's packets in any order and of any content, on their way to one viewer.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use lightstick_sfu_core::clock::SenderReport;
use lightstick_sfu_core::codec::h264::ParameterSets;
use lightstick_sfu_core::downtrack::DownTrack;
use lightstick_sfu_core::layers::{LayerRates, LayerSet};
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::{Incoming, Source, SourceConfig};
use lightstick_types::{Bitrate, Codec, Layer, LayerChoice, NodeId, SourceId, TrackId};

/// A script: each step takes one byte for what happens and some for how.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }
}

/// Which packet of which publisher: nothing else may leave under its sequence number.
type Identity = (SourceId, Layer, u64);

struct Scene {
    format: Format,
    now: Instant,
    source: Source,
    number: u32,
    generation: u32,
    /// Next sequence number and timestamp of each layer.
    counters: [(u64, u32); Layer::COUNT],
    viewer: DownTrack,
    sent: HashMap<u64, Identity>,
}

const CODECS: [Codec; 4] = [Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1];

/// A keyframe's first packet of each of [`CODECS`].
const KEYFRAMES: [&[u8]; 4] = [
    &[0x90, 0xe0, 0x80, 0x05, 0x07, 0x00, 0x10, 0x9d],
    &[
        0x78, 0, 6, 0x67, 0x42, 0xc0, 0x1e, 0x95, 0xa0, 0, 4, 0x68, 0xce, 0x3c, 0x80, 0, 3, 0x65,
        0xb8, 0,
    ],
    &[0x88, 0x05, 0x82],
    &[0x18, 0x30, 0x10],
];

/// Packets of three layers with losses, jumps, reordering and padding; changes of layer, source and
/// wish. No two packets leave under one number, and a keyframe always gets the viewer going again.
pub fn forward(data: &[u8]) {
    let mut script = Script(data);
    let codec = usize::from(script.byte()) % CODECS.len();
    let mut scene = Scene::new(CODECS[codec]);
    while !script.0.is_empty() {
        scene.step(&mut script);
    }
    scene.recovers(KEYFRAMES[codec]);
}

impl Scene {
    fn new(codec: Codec) -> Self {
        let now = Instant::now();
        Self {
            format: Format { codec, profile: 0 },
            now,
            source: source(0, now),
            number: 0,
            generation: 0,
            counters: [(1 << 20, 0); Layer::COUNT],
            viewer: DownTrack::new(TrackId::FIRST_VIDEO, codec.clock_rate(), LayerChoice::Auto),
            sent: HashMap::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        let layer = Layer::ALL[usize::from(what >> 4) % Layer::COUNT];
        match what & 0x0f {
            0..=7 => {
                let ahead = i64::from(script.byte().cast_signed());
                let (sequence, timestamp) = &mut self.counters[layer.index()];
                let this = sequence.saturating_add_signed(ahead);
                *sequence = (*sequence).max(this + 1);
                *timestamp = timestamp.wrapping_add(u32::from(what & 0x01) * 3_000);
                let timestamp = *timestamp;
                let len = usize::from(script.byte() % 16).min(script.0.len());
                let (payload, rest) = script.0.split_at(len);
                script.0 = rest;
                self.packet(layer, this, timestamp, payload, what & 0x04 != 0);
            }
            8 => self.now += Duration::from_millis(u64::from(script.byte()) * 20),
            9 => {
                let choices = [
                    LayerChoice::Auto,
                    LayerChoice::Low,
                    LayerChoice::Medium,
                    LayerChoice::High,
                ];
                let _ = self.viewer.choose(choices[usize::from(script.byte() % 4)]);
            }
            10 => {
                let paused = Layer::ALL
                    .into_iter()
                    .filter(|layer| what >> 4 & (1 << layer.index()) != 0);
                self.source.set_paused(
                    self.now,
                    StreamSet::layers(TrackId::FIRST_VIDEO, paused.collect()),
                );
                let _ = self.source.poll_silence(self.now);
                let _ = self.source.poll_keyframe_requests(self.now);
                let late = self.source.deadline().is_some_and(|at| at < self.now);
                assert!(!late, "a deadline that is past would spin its shard");
                self.hear_supply();
            }
            11 => {
                let link = Bitrate(u64::from(script.byte()) << 14);
                let mut rates = LayerRates::whole([100_000, 0, 0]);
                let high = u64::from(script.byte()) << 14;
                // Some scripts have all of it in one temporal layer, some divide it.
                let above = if what & 0x10 == 0 { 0 } else { high / 3 };
                let half = (above, 15.0);
                rates.set(
                    Layer::High,
                    [(high - above, 15.0), half, (0, 0.0), (0, 0.0)],
                );
                let _ = self.viewer.on_estimate(self.now, link, &rates);
                let _ = self.viewer.better(&rates);
            }
            12 => self.generation += 1,
            13 => {
                self.number += 1;
                self.source = source(self.number, self.now);
            }
            14 => {
                // An outage, or a publisher that numbers anew.
                let (sequence, timestamp) = &mut self.counters[layer.index()];
                *sequence += u64::from(script.byte()) << 8;
                *timestamp = timestamp.wrapping_add(u32::from(script.byte()) << 24);
            }
            _ => self
                .source
                .request_keyframe(TrackId::FIRST_VIDEO.layer(layer)),
        }
    }

    fn hear_supply(&mut self) {
        let supply = self.source.supply();
        self.viewer
            .set_asleep(supply.asleep.of(TrackId::FIRST_VIDEO));
        let _ = self
            .viewer
            .set_live(supply.available.of(TrackId::FIRST_VIDEO));
        // Whoever waits for nothing has what there is to have.
        let waits = self.viewer.wanted().is_some()
            || self.viewer.stream().map(|stream| stream.layer).is_some();
        assert!(waits || supply.available.is_empty());
    }

    fn packet(
        &mut self,
        layer: Layer,
        sequence: u64,
        timestamp: u32,
        payload: &[u8],
        reported: bool,
    ) -> bool {
        let incoming = Incoming {
            track: TrackId::FIRST_VIDEO,
            layer,
            format: self.format,
            sequence,
            timestamp,
            marker: true,
            extensions: PacketExtensions::default(),
            payload: payload.to_vec().into(),
            report: reported.then_some(SenderReport {
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(timestamp)),
                timestamp,
            }),
            received_at: self.now,
        };
        let Ok((packet, changes)) = self.source.ingest(incoming, SystemTime::UNIX_EPOCH) else {
            return false;
        };
        assert!(packet.sampled_at <= packet.received_at);
        assert!(changes.missing <= u64::from(u16::MAX));
        if changes.layers {
            self.hear_supply();
        }
        if let Some(sets) = changes.inserted {
            assert!(sets.sequence < packet.sequence);
            self.give(&sets);
        }
        self.give(&packet)
    }

    /// Offers the viewer a packet. Whether it was sent.
    fn give(&mut self, packet: &MediaPacket) -> bool {
        let Some(rewritten) = self.viewer.forward(packet, self.generation) else {
            return false;
        };
        let layer = packet.stream.layer;
        assert!(!packet.payload.is_empty(), "padding is not media");
        assert_eq!(self.viewer.stream().map(|stream| stream.layer), Some(layer));
        assert!((1..1 << 40).contains(&rewritten.sequence), "{rewritten:?}");
        if let (Some(new), Some(old)) = (rewritten.vp8, packet.info.vp8) {
            let widths = new.picture_id.zip(old.picture_id);
            assert!(widths.is_none_or(|(id, old)| id < if old.u15 { 1 << 15 } else { 1 << 7 }));
            assert_eq!(new.picture_id.is_some(), old.picture_id.is_some());
            assert_eq!(new.tl0_pic_idx.is_some(), old.tl0_pic_idx.is_some());
        }
        let identity = (packet.source, layer, packet.sequence);
        let before = self.sent.insert(rewritten.sequence, identity);
        assert!(
            before.is_none_or(|before| before == identity),
            "{before:?} and {identity:?} both left as {}",
            rewritten.sequence
        );
        true
    }

    /// The publisher goes on with one layer, from a keyframe.
    fn recovers(&mut self, keyframe: &[u8]) {
        self.now += Duration::from_secs(60);
        let _ = self.source.poll_silence(self.now);
        let _ = self.viewer.set_live(LayerSet::default());
        let (sequence, timestamp) = self.counters[Layer::High.index()];
        for n in 0..2 {
            let timestamp = timestamp.wrapping_add(3_000 * (n + 1));
            let passed = self.packet(
                Layer::High,
                sequence + u64::from(n),
                timestamp,
                keyframe,
                false,
            );
            assert!(passed, "a viewer is stuck after a keyframe");
        }
    }
}

fn source(number: u32, now: Instant) -> Source {
    let config = SourceConfig {
        bitrate_max: Bitrate::kbps(1_000_000),
        keyframe_interval: Duration::from_secs(1),
        playout_delay: None,
    };
    let mut source = Source::new(SourceId::new(NodeId(0), number), config, now);
    // Keyframes without parameter sets of their own get these, and packets are numbered around them.
    let sets = ParameterSets::offered(["Z0LAHpWg,aM48gA=="]);
    source.offer_parameter_sets(vec![(TrackId::FIRST_VIDEO, sets)]);
    source
}
