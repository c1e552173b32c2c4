//! A publisher in virtual time: VP8 simulcast frames as RTP packets, with seeded loss and
//! reordering on their way.

#![allow(dead_code)] // Each test file uses its part.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lightstick_sfu_core::clock::SenderReport;
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::uptrack::{Changes, Incoming, Source, SourceConfig};
use lightstick_types::{Bitrate, Codec, Layer, NodeId, SourceId, TrackId};

/// xorshift64*: the same seed, the same run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub(crate) const FRAME: Duration = Duration::from_micros(33_333);

/// One simulcast encoding of the virtual publisher.
struct Encoding {
    layer: Layer,
    sequence: u64,
    timestamp_base: u32,
    picture_id: u16,
    tl0: u8,
    keyframe_due: bool,
}

pub(crate) struct Publisher {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    frame: u32,
    encodings: Vec<Encoding>,
    pub(crate) keyframes: u32,
    pub(crate) gop: u32,
}

impl Publisher {
    /// A publisher with these layers; each has its own random numbering, as RFC 3550 wants.
    pub(crate) fn new(start: Instant, layers: &[Layer], random: &mut Random) -> Self {
        let encodings = layers
            .iter()
            .map(|layer| Encoding {
                layer: *layer,
                sequence: random.below(60_000) + 1,
                timestamp_base: random.below(u64::from(u32::MAX)) as u32,
                picture_id: random.below(0x7fff) as u16,
                tl0: random.below(256) as u8,
                keyframe_due: true,
            })
            .collect();
        Self {
            start,
            now: start,
            frame: 0,
            encodings,
            keyframes: 0,
            gop: 0,
        }
    }

    pub(crate) fn request_keyframe(&mut self, layer: Layer) {
        for encoding in self.encodings.iter_mut().filter(|e| e.layer == layer) {
            encoding.keyframe_due = true;
        }
    }

    /// The packets of the next frame of every layer.
    pub(crate) fn next_frame(&mut self) -> Vec<Incoming> {
        let mut packets = Vec::new();
        let forced = self.gop != 0 && self.frame.is_multiple_of(self.gop);
        for encoding in &mut self.encodings {
            let key = std::mem::take(&mut encoding.keyframe_due) || forced;
            self.keyframes += u32::from(key);
            let count = if key { 6 } else { 2 };
            let timestamp = encoding.timestamp_base.wrapping_add(self.frame * 3_000);
            for n in 0..count {
                packets.push(incoming(
                    encoding, timestamp, n, count, key, self.now, self.start,
                ));
                encoding.sequence += 1;
            }
            encoding.picture_id = (encoding.picture_id + 1) & 0x7fff;
            encoding.tl0 = encoding.tl0.wrapping_add(1);
        }
        self.frame += 1;
        self.now += FRAME;
        packets
    }
}

fn incoming(
    encoding: &Encoding,
    timestamp: u32,
    n: u32,
    count: u32,
    key: bool,
    now: Instant,
    start: Instant,
) -> Incoming {
    // RFC 7741: X, S at the partition's start; I, L, T; 15-bit picture id; TL0PICIDX; TID.
    let s = if n == 0 { 0x10 } else { 0 };
    let id = encoding.picture_id;
    let mut payload = vec![
        0x80 | s,
        0xe0,
        0x80 | (id >> 8) as u8,
        id as u8,
        encoding.tl0,
        0x20,
    ];
    // The first byte of the frame header: P bit 0 for a keyframe.
    payload.push(u8::from(!key));
    payload.extend_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    payload.resize(1_000, n as u8);
    Incoming {
        track: TrackId::FIRST_VIDEO,
        layer: encoding.layer,
        format: Format {
            codec: Codec::Vp8,
            profile: 0,
        },
        sequence: encoding.sequence,
        timestamp,
        marker: n + 1 == count,
        extensions: PacketExtensions::default(),
        payload: payload.into(),
        report: Some(SenderReport {
            wall: UNIX_EPOCH + Duration::from_secs(1_000_000),
            timestamp: encoding.timestamp_base,
        }),
        received_at: now.max(start),
    }
}

pub(crate) fn source(number: u32, now: Instant) -> Source {
    let config = SourceConfig {
        bitrate_max: Bitrate::kbps(50_000),
        keyframe_interval: Duration::from_secs(1),
        playout_delay: None,
    };
    Source::new(SourceId::new(NodeId(0), number), config, now)
}

/// Takes a packet in at the virtual wall clock.
pub(crate) fn ingest(source: &mut Source, packet: Incoming) -> (MediaPacket, Changes) {
    let wall: SystemTime = UNIX_EPOCH + Duration::from_secs(2_000_000);
    source.ingest(packet, wall).expect("a sane packet")
}

/// What a viewer sees of its stream, checked packet by packet.
#[derive(Default)]
pub(crate) struct Watcher {
    pub(crate) sequences: Vec<u64>,
    /// (timestamp, picture id) of each frame in order of first sight.
    pub(crate) frames: Vec<(u32, Option<u16>)>,
}

impl Watcher {
    pub(crate) fn see(
        &mut self,
        packet: &MediaPacket,
        out: lightstick_sfu_core::rewrite::Rewritten,
    ) {
        assert!(
            !self.sequences.contains(&out.sequence),
            "{} was sent twice",
            out.sequence
        );
        self.sequences.push(out.sequence);
        let original = packet
            .info
            .vp8
            .and_then(|d| d.picture_id)
            .map(|id| id.value);
        let picture = out.vp8.map_or(original, |vp8| vp8.picture_id);
        if !self
            .frames
            .iter()
            .any(|(timestamp, _)| *timestamp == out.timestamp)
        {
            self.frames.push((out.timestamp, picture));
        }
    }

    /// No number is missing between the first and the last.
    pub(crate) fn assert_no_gap(&self) {
        let mut sorted = self.sequences.clone();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            assert_eq!(pair[1], pair[0] + 1, "a gap after {}", pair[0]);
        }
    }

    /// Timestamps go forward by less than `max_ticks`, picture ids by one.
    pub(crate) fn assert_frames_follow(&self, max_ticks: u32) {
        for pair in self.frames.windows(2) {
            let ticks = pair[1].0.wrapping_sub(pair[0].0);
            assert!(
                (1..=max_ticks).contains(&ticks),
                "{} -> {}: {ticks}",
                pair[0].0,
                pair[1].0
            );
            if let (Some(a), Some(b)) = (pair[0].1, pair[1].1) {
                assert_eq!(b, (a + 1) & 0x7fff, "picture ids");
            }
        }
    }
}
