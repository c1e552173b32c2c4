//! The picture so far: what a newcomer needs to start at once instead of at the next keyframe.
//!
//! Keyframes cost everybody, so a publisher is asked for one a second at most. Whoever comes
//! between two of them gets the last one and what followed it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{Layer, TrackKind};

use crate::packet::MediaPacket;

/// The last keyframe of each layer and all that followed.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    layers: [Recent; Layer::COUNT],
}

/// One layer since its last keyframe. Empty: that is too long ago, or there was none.
#[derive(Clone, Debug, Default)]
struct Recent {
    packets: Vec<Arc<MediaPacket>>,
    bytes: usize,
    generation: u32,
}

impl Replay {
    /// A keyframe older than this is not replayed: asking for a new one is allowed by then, and
    /// costs a newcomer's link less.
    pub const AGE_MAX: Duration = Duration::from_millis(1_200);
    /// Bytes of payload kept for a layer at most.
    pub const BYTES_MAX: usize = 1 << 20;

    /// Notes a packet. `generation` counts the gaps that a full ring has cut.
    pub fn push(&mut self, packet: &Arc<MediaPacket>, generation: u32) {
        if packet.kind == TrackKind::Audio {
            return;
        }
        let recent = &mut self.layers[packet.layer.index()];
        if packet.info.keyframe && packet.info.starts_frame {
            // A frame of several slices starts more than once.
            let same = |first: &Arc<MediaPacket>| first.timestamp == packet.timestamp;
            if !recent.packets.first().is_some_and(same) {
                recent.clear();
            }
            recent.generation = generation;
        } else if !recent.goes_on_with(packet, generation) {
            recent.clear();
            return;
        }
        recent.bytes += packet.payload.len();
        recent.packets.push(Arc::clone(packet));
        if recent.bytes > Self::BYTES_MAX {
            recent.clear();
        }
    }

    /// The packets of `layer` from its last keyframe on, if that is recent enough.
    #[must_use]
    pub fn of(&self, layer: Layer, now: Instant) -> &[Arc<MediaPacket>] {
        let recent = &self.layers[layer.index()];
        let age = |first: &Arc<MediaPacket>| now.saturating_duration_since(first.received_at);
        match recent.packets.first() {
            Some(first) if age(first) <= Self::AGE_MAX => &recent.packets,
            _ => &[],
        }
    }

    /// The packets of every layer, each from its last keyframe on.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = &Arc<MediaPacket>> {
        Layer::ALL
            .into_iter()
            .flat_map(move |layer| self.of(layer, now))
    }

    /// The ring gaps that the packets of `layer` follow.
    #[must_use]
    pub fn generation(&self, layer: Layer) -> u32 {
        self.layers[layer.index()].generation
    }

    /// Forgets everything: the publisher is gone.
    pub fn clear(&mut self) {
        self.layers.iter_mut().for_each(Recent::clear);
    }
}

impl Recent {
    fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
    }

    fn goes_on_with(&self, packet: &MediaPacket, generation: u32) -> bool {
        self.packets.first().is_some_and(|first| {
            let age = packet
                .received_at
                .saturating_duration_since(first.received_at);
            first.source == packet.source
                && self.generation == generation
                && age <= Replay::AGE_MAX
                && packet.sequence >= first.sequence
        })
    }
}

/// Moves a replayed frame's timestamp close to the last one's: the frames behind it come at once,
/// and a player that took their spacing for real would start late and stay so.
///
/// `frames_after`: how many frames of the replay follow; each is moved to a millisecond before the
/// next.
#[must_use]
pub fn squeezed(last_timestamp: u32, frames_after: u32, clock_rate: u32) -> u32 {
    last_timestamp.wrapping_sub(frames_after * (clock_rate / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Format, PacketExtensions};
    use lightstick_types::Codec;

    fn packet(now: Instant, sequence: u64, key: bool) -> Arc<MediaPacket> {
        let mut info = crate::codec::PayloadInfo::default();
        (info.keyframe, info.starts_frame) = (key, true);
        Arc::new(MediaPacket {
            source: 1,
            kind: TrackKind::Video,
            layer: Layer::High,
            format: Format {
                codec: Codec::Vp8,
                profile: 0,
            },
            sequence,
            timestamp: sequence as u32 * 3_000,
            marker: true,
            info,
            extensions: PacketExtensions::default(),
            payload: vec![0; 1_000].into(),
            primary: None,
            block_type: None,
            received_at: now,
            sampled_at: now,
        })
    }

    fn numbers(replay: &Replay, now: Instant) -> Vec<u64> {
        replay
            .of(Layer::High, now)
            .iter()
            .map(|p| p.sequence)
            .collect()
    }

    #[test]
    fn it_starts_at_the_last_keyframe_while_that_is_recent() {
        let (start, mut replay) = (Instant::now(), Replay::default());
        let at = |ms| start + Duration::from_millis(ms);
        for sequence in 0..60 {
            replay.push(&packet(at(sequence * 33), sequence, sequence % 30 == 10), 0);
        }
        assert_eq!(numbers(&replay, at(59 * 33)), (40..60).collect::<Vec<_>>());
        assert_eq!(numbers(&replay, at(40 * 33 + 1_201)), [0; 0]);
        assert_eq!(replay.of(Layer::Low, at(0)).len(), 0);
        for sequence in 60..90 {
            replay.push(&packet(at(sequence * 33), sequence, false), 0);
        }
        assert_eq!(
            numbers(&replay, at(1_400)),
            [0; 0],
            "too old while it was written"
        );
    }

    #[test]
    fn a_gap_another_source_or_too_much_ends_it() {
        let now = Instant::now();
        let with = |change: &dyn Fn(&mut Replay)| {
            let mut replay = Replay::default();
            replay.push(&packet(now, 5, true), 0);
            replay.push(&packet(now, 6, false), 0);
            change(&mut replay);
            numbers(&replay, now)
        };
        assert_eq!(with(&|_| ()), [5, 6]);
        assert_eq!(with(&|r| r.push(&packet(now, 8, false), 1)), [0; 0]);
        assert_eq!(with(&|r| r.clear()), [0; 0]);
        assert_eq!(with(&|r| r.push(&packet(now, 9, true), 1)), [9]);
        assert_eq!(
            with(&|r| {
                let mut other = (*packet(now, 7, false)).clone();
                other.source = 2;
                r.push(&Arc::new(other), 0);
            }),
            [0; 0]
        );
        assert_eq!(
            with(&|r| (7..1_200).for_each(|n| r.push(&packet(now, n, false), 0))),
            [0; 0]
        );
    }

    #[test]
    fn squeezed_frames_stay_in_order() {
        let stamps: Vec<u32> = (0..4)
            .rev()
            .map(|after| squeezed(100, after, 90_000))
            .collect();
        assert_eq!(
            stamps,
            [
                100_u32.wrapping_sub(270),
                100_u32.wrapping_sub(180),
                10,
                100
            ]
        );
    }
}
