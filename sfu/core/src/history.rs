//! The recent past of a room's video: what lost packets are sent again from, and what newcomers
//! start from.
//!
//! Each packet is kept once for all viewers of a shard. A viewer remembers sequence numbers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{Layer, TrackKind};

use crate::packet::MediaPacket;

/// The last packets of each video layer of one publisher.
#[derive(Clone, Debug, Default)]
pub struct History {
    layers: [Recent; Layer::COUNT],
}

/// One layer's last packets, each at the slot of its sequence number.
#[derive(Clone, Debug, Default)]
struct Recent {
    /// [`History::PACKETS`] of them, once there is one. Slots of packets that were lost hold
    /// nothing, or an older one.
    slots: Vec<Option<Arc<MediaPacket>>>,
    highest: u64,
    /// Where the last keyframe starts.
    keyframe: Option<Keyframe>,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Keyframe {
    sequence: u64,
    timestamp: u32,
    received_at: Instant,
}

/// From where a newcomer starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// First packet of the last keyframe.
    pub from: u64,
    /// Last packet so far.
    pub to: u64,
    /// Frames from the keyframe to the last packet, without those that may be left out.
    pub frames: u32,
    /// Payload of those frames, in bytes.
    pub bytes: u64,
    /// Payload of the keyframe, in bytes.
    pub keyframe_bytes: u64,
    /// Gaps that a full ring has cut before it.
    pub generation: u32,
}

impl History {
    /// Packets kept of each layer: two seconds at 10 Mbit/s.
    pub const PACKETS: usize = 2_048;
    /// A keyframe older than this is not replayed: a new one costs a newcomer's link and decoder
    /// less. A little more than the usual two seconds between keyframes, so that a publisher who
    /// sends them by itself is not asked for more.
    pub const AGE_MAX: Duration = Duration::from_millis(2_200);

    /// Notes a packet. `generation` counts the gaps that a full ring has cut.
    pub fn push(&mut self, packet: &Arc<MediaPacket>, generation: u32) {
        if packet.kind == TrackKind::Video {
            self.layers[packet.layer.index()].push(packet, generation);
        }
    }

    /// A packet by the number that its publisher gave it.
    #[must_use]
    pub fn get(&self, layer: Layer, sequence: u64) -> Option<&Arc<MediaPacket>> {
        self.layers[layer.index()].get(sequence)
    }

    /// The highest sequence number of a layer, and the ring gaps before it.
    #[must_use]
    pub fn head(&self, layer: Layer) -> (u64, u32) {
        let recent = &self.layers[layer.index()];
        (recent.highest, recent.generation)
    }

    /// Where a newcomer to `layer` starts, if the last keyframe is recent enough and nothing is
    /// missing since.
    #[must_use]
    pub fn start(&self, layer: Layer, now: Instant) -> Option<Start> {
        let recent = &self.layers[layer.index()];
        let keyframe = recent.keyframe?;
        if now.saturating_duration_since(keyframe.received_at) > Self::AGE_MAX {
            return None;
        }
        let mut start = Start {
            from: keyframe.sequence,
            to: recent.highest,
            frames: 0,
            bytes: 0,
            keyframe_bytes: 0,
            generation: recent.generation,
        };
        let mut frame = FrameSum::default();
        for sequence in keyframe.sequence..=recent.highest {
            let packet = recent.get(sequence)?;
            if frame.packets > 0 && frame.timestamp != packet.timestamp {
                start.add(&std::mem::take(&mut frame));
            }
            frame.add(packet);
        }
        // The last frame may not be whole yet: it is not left out, whatever it says.
        frame.discardable = false;
        start.add(&frame);
        Some(start)
    }

    /// Whether a replay up to the packet `to` may leave out the whole frame that begins with
    /// packet `sequence`: no later picture depends on it, and it is not the last one.
    #[must_use]
    pub fn may_leave_out(&self, layer: Layer, sequence: u64, to: u64) -> bool {
        let Some(first) = self.get(layer, sequence) else {
            return false;
        };
        for next in sequence..=to {
            match self.get(layer, next) {
                Some(packet) if packet.timestamp != first.timestamp => return true,
                Some(packet) if packet.info.discardable => {}
                _ => return false,
            }
        }
        false
    }

    /// The packets of every layer, each from its last keyframe on, where [`start`](Self::start)
    /// gives one.
    pub fn all(&self, now: Instant) -> impl Iterator<Item = &Arc<MediaPacket>> {
        Layer::ALL.into_iter().flat_map(move |layer| {
            let start = self.start(layer, now);
            start.into_iter().flat_map(move |start| {
                (start.from..=start.to).filter_map(move |s| self.get(layer, s))
            })
        })
    }

    /// Forgets everything: the publisher is gone.
    pub fn clear(&mut self) {
        self.layers = Default::default();
    }
}

/// One frame of a replay, summed up.
#[derive(Default)]
struct FrameSum {
    timestamp: u32,
    packets: u32,
    bytes: u64,
    discardable: bool,
}

impl FrameSum {
    fn add(&mut self, packet: &MediaPacket) {
        self.discardable = packet.info.discardable && (self.packets == 0 || self.discardable);
        self.timestamp = packet.timestamp;
        self.packets += 1;
        self.bytes += packet.payload.len() as u64;
    }
}

impl Start {
    fn add(&mut self, frame: &FrameSum) {
        if frame.discardable {
            return;
        }
        if self.frames == 0 {
            self.keyframe_bytes = frame.bytes;
        }
        self.frames += 1;
        self.bytes += frame.bytes;
    }
}

impl Recent {
    fn push(&mut self, packet: &Arc<MediaPacket>, generation: u32) {
        let span = History::PACKETS as u64;
        let same_source = self
            .get(self.highest)
            .is_some_and(|last| last.source == packet.source);
        if !same_source || packet.sequence.abs_diff(self.highest) >= span {
            *self = Self::default();
            self.slots.resize(History::PACKETS, None);
            self.highest = packet.sequence;
        }
        if generation != self.generation {
            self.generation = generation;
            self.keyframe = None;
        }
        self.highest = self.highest.max(packet.sequence);
        let starts = packet.info.keyframe && packet.info.starts_frame;
        // A frame of several slices starts more than once.
        let same_frame = self
            .keyframe
            .is_some_and(|keyframe| keyframe.timestamp == packet.timestamp);
        let newer = self
            .keyframe
            .is_none_or(|keyframe| packet.sequence > keyframe.sequence);
        if starts && newer && !same_frame {
            self.keyframe = Some(Keyframe {
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                received_at: packet.received_at,
            });
        }
        self.slots[(packet.sequence % span) as usize] = Some(Arc::clone(packet));
    }

    fn get(&self, sequence: u64) -> Option<&Arc<MediaPacket>> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = (sequence % self.slots.len() as u64) as usize;
        self.slots[slot]
            .as_ref()
            .filter(|packet| packet.sequence == sequence)
    }
}

/// Moves a replayed frame's timestamp close to the last one's: the frames behind it come at once,
/// and a player that took their spacing for real would start late and stay so.
///
/// `frames_after`: how many frames of the replay follow; each is moved to a millisecond before the
/// next.
#[must_use]
pub fn squeezed(last_timestamp: u32, frames_after: u32, clock_rate: u32) -> u32 {
    last_timestamp.wrapping_sub(frames_after.wrapping_mul(clock_rate / 1_000))
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

    fn span(history: &History, now: Instant) -> Option<(u64, u64, u32)> {
        let start = history.start(Layer::High, now)?;
        Some((start.from, start.to, start.frames))
    }

    #[test]
    fn a_newcomer_starts_at_the_last_keyframe_while_that_is_recent() {
        let (start, mut history) = (Instant::now(), History::default());
        let at = |ms| start + Duration::from_millis(ms);
        for sequence in 0..60 {
            let key = sequence % 30 == 10;
            history.push(&packet(at(sequence * 33), sequence, key), 0);
        }
        assert_eq!(span(&history, at(59 * 33)), Some((40, 59, 20)));
        assert_eq!(history.all(at(59 * 33)).count(), 20);
        assert_eq!(span(&history, at(40 * 33 + 2_201)), None);
        assert_eq!(history.start(Layer::Low, at(0)), None);
        assert_eq!(history.head(Layer::High), (59, 0));
    }

    #[test]
    fn what_is_missing_is_waited_for() {
        let (now, mut history) = (Instant::now(), History::default());
        for sequence in [5, 6, 8] {
            history.push(&packet(now, sequence, sequence == 5), 0);
        }
        assert_eq!(span(&history, now), None);
        history.push(&packet(now, 7, false), 0);
        assert_eq!(span(&history, now), Some((5, 8, 4)));
        assert!(history.get(Layer::High, 7).is_some());
        assert!(history.get(Layer::High, 9).is_none());
    }

    #[test]
    fn a_cut_another_source_or_a_jump_begins_anew() {
        let now = Instant::now();
        let with = |change: &dyn Fn(&mut History)| {
            let mut history = History::default();
            history.push(&packet(now, 5, true), 0);
            history.push(&packet(now, 6, false), 0);
            change(&mut history);
            span(&history, now)
        };
        assert_eq!(with(&|_| ()), Some((5, 6, 2)));
        assert_eq!(with(&|h| h.push(&packet(now, 7, false), 1)), None);
        assert_eq!(with(&History::clear), None);
        assert_eq!(with(&|h| h.push(&packet(now, 9, true), 1)), Some((9, 9, 1)));
        assert_eq!(
            with(&|h| {
                let mut other = (*packet(now, 7, false)).clone();
                other.source = 2;
                h.push(&Arc::new(other), 0);
            }),
            None
        );
        let jump = 6 + History::PACKETS as u64;
        assert_eq!(with(&|h| h.push(&packet(now, jump, false), 0)), None);
        assert_eq!(
            with(&|h| (7..3_000).for_each(|n| h.push(&packet(now, n, false), 0))),
            None,
            "the keyframe is not kept any more"
        );
    }

    #[test]
    fn a_replay_counts_what_it_costs() {
        let (now, mut history) = (Instant::now(), History::default());
        for sequence in 0..9 {
            let mut packet = (*packet(now, sequence, sequence == 0)).clone();
            // Three packets a frame; the second frame and the last can be spared.
            packet.timestamp = sequence as u32 / 3 * 3_000;
            packet.info.discardable = sequence >= 3 && sequence != 6;
            history.push(&Arc::new(packet), 0);
        }
        let start = history.start(Layer::High, now).unwrap();
        assert_eq!((start.frames, start.bytes), (2, 6_000));
        assert_eq!(start.keyframe_bytes, 3_000);
        let leave_out = |sequence| history.may_leave_out(Layer::High, sequence, start.to);
        assert!(leave_out(3));
        assert!(!leave_out(0));
        assert!(!leave_out(6), "a packet of it is needed");
        assert!(!leave_out(7), "the last frame may not be whole");
        assert!(!leave_out(100));
    }

    #[test]
    fn squeezed_frames_stay_in_order() {
        let stamps: Vec<u32> = (0..4)
            .rev()
            .map(|after| squeezed(100, after, 90_000))
            .collect();
        let before = |ticks| 100_u32.wrapping_sub(ticks);
        assert_eq!(stamps, [before(270), before(180), 10, 100]);
    }
}
