//! The recent past of a room: what lost packets of video are sent again from, and what newcomers
//! start from.
//!
//! Each packet is kept once for all viewers of a shard. A viewer remembers sequence numbers.

mod audio;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{StreamId, TrackKind};

use crate::packet::MediaPacket;
use audio::Audio;

/// Slots beyond what is kept, until the first are let go.
const SPARE: usize = 64;
/// Packets let go with each that comes, at most.
const TRIM: usize = 32;

/// The last packets of each stream of one publisher.
#[derive(Clone, Debug, Default)]
pub struct History {
    audio: Audio,
    streams: [Recent; StreamId::COUNT],
    reach: Reach,
}

/// How far back a replay may begin, and so what is kept of a layer for newcomers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Since its keyframe.
    pub age: Duration,
    /// Payload since its keyframe.
    pub bytes: u64,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(12),
            bytes: 12 << 20,
        }
    }
}

/// One stream's last packets.
#[derive(Clone, Debug, Default)]
struct Recent {
    /// From the oldest on, one slot for each number: empty where a packet is missing.
    slots: VecDeque<Option<Arc<MediaPacket>>>,
    /// The number of the first slot.
    first: u64,
    highest: u64,
    bytes: u64,
    /// Where the last keyframe starts, and what has come since.
    keyframe: Option<Keyframe>,
    generation: u32,
}

/// Where a packet belongs in its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After all others.
    Head,
    /// Before others that have come.
    Late,
    /// Nowhere: it is held already, or older than what is kept.
    None,
}

#[derive(Clone, Copy, Debug)]
struct Keyframe {
    sequence: u64,
    timestamp: u32,
    received_at: Instant,
    since: Sum,
}

/// What a replay from a keyframe costs, kept up to date with each packet.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    frames: u32,
    bytes: u64,
    keyframe_bytes: u64,
    /// Payload of all frames, those included that are left out.
    kept_bytes: u64,
    missing: u64,
    /// The newest frame: it may not be whole yet, and counts whatever it says.
    newest: FrameSum,
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
    /// Packets kept of each layer at least, to be sent again: two seconds at 10 Mbit/s. More are kept
    /// only as far as a keyframe lies back, within the [`Reach`].
    pub const PACKETS: usize = 2_048;

    /// Sets how far back replays may begin.
    pub fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
    }

    /// Video streams of which something is kept, and its payload in bytes.
    #[must_use]
    pub fn held(&self) -> (usize, u64) {
        let kept = self.streams.iter().filter(|kept| !kept.slots.is_empty());
        kept.fold((0, 0), |(streams, bytes), kept| {
            (streams + 1, bytes + kept.bytes)
        })
    }

    /// Notes a packet. `generation` counts the gaps that a full ring has cut.
    pub fn push(&mut self, packet: &Arc<MediaPacket>, generation: u32) -> Place {
        match packet.kind() {
            TrackKind::Audio => self.audio.push(packet, generation),
            TrackKind::Video => {
                self.streams[packet.stream.index()].push(packet, generation, self.reach)
            }
        }
    }

    /// A packet by the number that its publisher gave it.
    #[must_use]
    pub fn get(&self, stream: StreamId, sequence: u64) -> Option<&Arc<MediaPacket>> {
        self.streams[stream.index()].get(sequence)
    }

    /// Whether it holds this packet already, or begins after it.
    #[must_use]
    pub fn is_past_or_held(&self, packet: &MediaPacket) -> bool {
        if packet.kind() == TrackKind::Audio {
            return self.audio.is_past_or_held(packet);
        }
        let recent = &self.streams[packet.stream.index()];
        recent.goes_on(packet)
            && (packet.sequence < recent.first || recent.get(packet.sequence).is_some())
    }

    /// Whether nothing is missing between what it holds of a packet's stream and the packet, or it
    /// holds nothing of that source.
    #[must_use]
    pub fn goes_on_with(&self, packet: &MediaPacket) -> bool {
        if packet.kind() == TrackKind::Audio {
            return self.audio.goes_on_with(packet);
        }
        let (head, _) = self.head(packet.stream);
        let last = self.get(packet.stream, head);
        last.is_none_or(|last| last.source != packet.source)
            || packet.sequence <= head.saturating_add(1)
    }

    /// The highest sequence number of a stream, and the ring gaps before it.
    #[must_use]
    pub fn head(&self, stream: StreamId) -> (u64, u32) {
        let recent = &self.streams[stream.index()];
        (recent.highest, recent.generation)
    }

    /// Whether a packet that a viewer has yet to get is not kept any more.
    #[must_use]
    pub fn is_past(&self, stream: StreamId, sequence: u64) -> bool {
        sequence < self.streams[stream.index()].first
    }

    /// When the last keyframe of `stream` that is kept began.
    #[must_use]
    pub fn keyframe_at(&self, stream: StreamId) -> Option<Instant> {
        let keyframe = self.streams[stream.index()].keyframe.as_ref()?;
        Some(keyframe.received_at)
    }

    /// Where a newcomer to `stream` starts, if the last keyframe is within reach and nothing is
    /// missing since.
    #[must_use]
    pub fn start(&self, stream: StreamId, now: Instant) -> Option<Start> {
        let recent = &self.streams[stream.index()];
        let keyframe = recent.keyframe?;
        let age = now.saturating_duration_since(keyframe.received_at);
        if age > self.reach.age || keyframe.since.missing > 0 {
            return None;
        }
        let since = keyframe.since.with_newest();
        Some(Start {
            from: keyframe.sequence,
            to: recent.highest,
            frames: since.frames,
            bytes: since.bytes,
            keyframe_bytes: since.keyframe_bytes,
            generation: recent.generation,
        })
    }

    /// Whether a replay up to the packet `to` may leave out the whole frame that begins with
    /// packet `sequence`: no later picture of the lowest temporal layer depends on it, and it is not
    /// the last one.
    #[must_use]
    pub fn may_leave_out(&self, stream: StreamId, sequence: u64, to: u64) -> bool {
        let Some(first) = self.get(stream, sequence) else {
            return false;
        };
        if first.info.temporal_id > 0 {
            return true;
        }
        for next in sequence..=to {
            match self.get(stream, next) {
                Some(packet) if packet.timestamp != first.timestamp => return true,
                Some(packet) if packet.info.discardable => {}
                _ => return false,
            }
        }
        false
    }

    /// The last moments of audio, and the gaps that full links have cut before their end.
    pub fn audio(&self, now: Instant) -> (u32, impl Iterator<Item = &Arc<MediaPacket>>) {
        self.audio.replay(now)
    }

    /// Lets go of audio that newcomers would not begin with any more.
    pub fn trim_audio(&mut self, now: Instant) {
        self.audio.trim(now);
    }

    /// For now nothing comes.
    pub fn rest(&mut self) {
        self.audio.rest();
    }

    /// It comes again. Nobody begins with audio from before, unless it goes on where it was left.
    pub fn resume(&mut self, now: Instant) {
        self.audio.resume(now);
    }

    /// Forgets all audio: its source is gone.
    pub fn forget_audio(&mut self) {
        self.audio = Audio::default();
    }

    /// Forgets all video: the publisher has none any more, or is gone.
    pub fn forget_video(&mut self) {
        self.streams = Default::default();
    }
}

/// One frame of a replay, summed up.
#[derive(Clone, Copy, Debug, Default)]
struct FrameSum {
    timestamp: u32,
    packets: u32,
    bytes: u64,
    /// A replay does without it.
    spared: bool,
}

impl FrameSum {
    fn add(&mut self, packet: &MediaPacket) {
        let spared = packet.info.discardable || packet.info.temporal_id > 0;
        self.spared = spared && (self.packets == 0 || self.spared);
        self.timestamp = packet.timestamp;
        self.packets += 1;
        self.bytes += packet.payload.len() as u64;
    }
}

impl Sum {
    /// Takes the next packet.
    fn add(&mut self, packet: &MediaPacket) {
        if self.newest.packets > 0 && self.newest.timestamp != packet.timestamp {
            let done = std::mem::take(&mut self.newest);
            if !done.spared {
                self.count(&done);
            }
        }
        self.kept_bytes += packet.payload.len() as u64;
        self.newest.add(packet);
    }

    /// Takes a packet that was missing. `alone`: none beside it is of the same frame. A frame that was
    /// lost whole may so be counted twice, never not at all.
    fn fill(&mut self, packet: &MediaPacket, alone: bool) {
        self.missing = self.missing.saturating_sub(1);
        let bytes = packet.payload.len() as u64;
        self.kept_bytes += bytes;
        if packet.timestamp == self.newest.timestamp {
            self.newest.add(packet);
        } else {
            self.bytes += bytes;
            self.frames += u32::from(alone);
        }
    }

    fn with_newest(mut self) -> Self {
        let newest = std::mem::take(&mut self.newest);
        self.count(&newest);
        self
    }

    fn count(&mut self, frame: &FrameSum) {
        if self.frames == 0 {
            self.keyframe_bytes = frame.bytes;
        }
        self.frames += 1;
        self.bytes += frame.bytes;
    }
}

impl Recent {
    /// Whether a packet is of the same source and numbering as what is kept.
    fn goes_on(&self, packet: &MediaPacket) -> bool {
        let last = self.get(self.highest);
        last.is_some_and(|last| last.source == packet.source)
            && packet.sequence.abs_diff(self.highest) < History::PACKETS as u64
    }

    fn push(&mut self, packet: &Arc<MediaPacket>, generation: u32, reach: Reach) -> Place {
        if !self.goes_on(packet) {
            let slots = std::mem::take(&mut self.slots);
            *self = Self {
                slots,
                first: packet.sequence,
                highest: packet.sequence.wrapping_sub(1),
                ..Self::default()
            };
            self.slots.clear();
            self.slots.reserve(History::PACKETS + SPARE);
        }
        if generation != self.generation {
            self.generation = generation;
            self.keyframe = None;
        }
        let place = self.place(packet);
        if place == Place::None {
            return place;
        }
        self.note_keyframe(packet);
        if self.keyframe.is_some_and(|keyframe| {
            let age = packet
                .received_at
                .saturating_duration_since(keyframe.received_at);
            age > reach.age || keyframe.since.kept_bytes > reach.bytes
        }) {
            self.keyframe = None;
        }
        self.trim();
        place
    }

    /// Puts a packet into its slot.
    fn place(&mut self, packet: &Arc<MediaPacket>) -> Place {
        let sequence = packet.sequence;
        if sequence < self.first {
            return Place::None;
        }
        let (at, len) = ((sequence - self.first) as usize, self.slots.len());
        let place = if at >= len {
            self.slots.resize(at, None);
            self.slots.push_back(Some(Arc::clone(packet)));
            self.highest = sequence;
            if let Some(keyframe) = &mut self.keyframe {
                keyframe.since.missing += (at - len) as u64;
                keyframe.since.add(packet);
            }
            Place::Head
        } else {
            if self.slots[at].is_some() {
                return Place::None;
            }
            let beside = [sequence.wrapping_sub(1), sequence + 1];
            let alone = !beside.into_iter().any(|beside| {
                let beside = self.get(beside);
                beside.is_some_and(|beside| beside.timestamp == packet.timestamp)
            });
            self.slots[at] = Some(Arc::clone(packet));
            if let Some(keyframe) = &mut self.keyframe
                && sequence > keyframe.sequence
            {
                keyframe.since.fill(packet, alone);
            }
            Place::Late
        };
        self.bytes += packet.payload.len() as u64;
        place
    }

    fn note_keyframe(&mut self, packet: &MediaPacket) {
        let starts = packet.info.keyframe && packet.info.starts_frame;
        // A frame of several slices starts more than once.
        let newer = self.keyframe.is_none_or(|keyframe| {
            packet.sequence > keyframe.sequence && packet.timestamp != keyframe.timestamp
        });
        if !starts || !newer {
            return;
        }
        let mut since = Sum::default();
        for sequence in packet.sequence..=self.highest {
            match self.get(sequence) {
                Some(packet) => since.add(packet),
                None => since.missing += 1,
            }
        }
        self.keyframe = Some(Keyframe {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            received_at: packet.received_at,
            since,
        });
    }

    /// Lets go of what neither a replay nor a lost packet needs. A few at a time: a keyframe that ends
    /// a long group of pictures frees thousands.
    fn trim(&mut self) {
        for _ in 0..TRIM {
            let needed = self.keyframe.is_some_and(|k| k.sequence <= self.first);
            if needed || self.slots.len() <= History::PACKETS {
                break;
            }
            if let Some(packet) = self.slots.pop_front().flatten() {
                self.bytes -= packet.payload.len() as u64;
            }
            self.first += 1;
        }
        // A long group of pictures is over.
        if self.slots.capacity() > 4 * (History::PACKETS + SPARE)
            && self.slots.len() <= History::PACKETS
        {
            self.slots.shrink_to(History::PACKETS + SPARE);
        }
    }

    fn get(&self, sequence: u64) -> Option<&Arc<MediaPacket>> {
        let at = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.slots.get(at)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::packet::{Format, PacketExtensions};
    use lightstick_types::{Codec, Layer, NodeId, SourceId, TrackId};

    const HIGH: StreamId = StreamId {
        track: TrackId::FIRST_VIDEO,
        layer: Layer::High,
    };

    fn packet(now: Instant, sequence: u64, key: bool) -> Arc<MediaPacket> {
        let mut info = crate::codec::PayloadInfo::default();
        (info.keyframe, info.starts_frame) = (key, true);
        Arc::new(MediaPacket {
            source: SourceId::new(NodeId(0), 1),
            stream: StreamId {
                track: TrackId::FIRST_VIDEO,
                layer: Layer::High,
            },
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
            received_at: now,
            sampled_at: now,
        })
    }

    fn span(history: &History, now: Instant) -> Option<(u64, u64, u32)> {
        let start = history.start(HIGH, now)?;
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
        assert!(span(&history, at(40 * 33 + 12_000)).is_some());
        assert_eq!(span(&history, at(40 * 33 + 12_001)), None);
        assert_eq!(
            history.start(TrackId::FIRST_VIDEO.layer(Layer::Low), at(0)),
            None
        );
        assert_eq!(history.head(HIGH), (59, 0));
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
        assert!(history.get(HIGH, 7).is_some());
        assert!(history.get(HIGH, 9).is_none());
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
        assert_eq!(with(&|h| _ = h.push(&packet(now, 7, false), 1)), None);
        assert_eq!(with(&History::forget_video), None);
        assert_eq!(
            with(&|h| _ = h.push(&packet(now, 9, true), 1)),
            Some((9, 9, 1))
        );
        assert_eq!(
            with(&|h| {
                let mut other = (*packet(now, 7, false)).clone();
                other.source.number = 2;
                h.push(&Arc::new(other), 0);
            }),
            None
        );
        let jump = 6 + History::PACKETS as u64;
        assert_eq!(with(&|h| _ = h.push(&packet(now, jump, false), 0)), None);
    }

    #[test]
    fn a_keyframe_is_kept_as_far_back_as_replays_reach() {
        let (start, mut history) = (Instant::now(), History::default());
        let at = |sequence| start + Duration::from_millis(sequence);
        history.set_reach(Reach {
            age: Duration::from_secs(10),
            bytes: 8_000_000,
        });
        let push = |history: &mut History, range: Range<u64>, key| {
            for sequence in range {
                history.push(&packet(at(sequence), sequence, key == sequence), 0);
            }
        };
        push(&mut history, 0..8_000, 0);
        assert_eq!(span(&history, at(8_000)), Some((0, 7_999, 8_000)));
        assert!(history.get(HIGH, 0).is_some());
        // A byte too many, and only what may be lost is kept.
        push(&mut history, 8_000..8_001, u64::MAX);
        assert_eq!(span(&history, at(8_001)), None);
        push(&mut history, 8_001..8_300, u64::MAX);
        assert!(history.is_past(HIGH, 8_299 - History::PACKETS as u64));
        assert!(!history.is_past(HIGH, 8_300 - History::PACKETS as u64));
        assert_eq!(history.held(), (1, History::PACKETS as u64 * 1_000));
        // Nor is what is too long ago.
        push(&mut history, 8_300..8_400, 8_300);
        assert_eq!(span(&history, at(8_400)), Some((8_300, 8_399, 100)));
        history.push(&packet(at(18_301), 8_400, false), 0);
        assert_eq!(span(&history, at(18_301)), None);
    }

    #[test]
    fn memory_shrinks_after_a_long_group_of_pictures() {
        let (now, mut history) = (Instant::now(), History::default());
        for sequence in 0..10_000 {
            history.push(&packet(now, sequence, sequence == 0), 0);
        }
        assert_eq!(history.held().1, 10_000 * 1_000);
        // Each keyframe from now on follows soon.
        for sequence in 10_000..10_300 {
            history.push(&packet(now, sequence, sequence % 100 == 0), 0);
        }
        assert_eq!(history.held().1, History::PACKETS as u64 * 1_000);
        let slots = history.streams[HIGH.index()].slots.capacity();
        assert!(slots <= 2 * History::PACKETS, "{slots}");
    }

    #[test]
    fn sums_are_those_of_a_recount_whatever_the_order() {
        // The same packets in order, and with pairs swapped or late.
        let now = Instant::now();
        let all: Vec<_> = (0..200)
            .map(|sequence| {
                let mut packet = (*packet(now, sequence, sequence == 0)).clone();
                packet.timestamp = sequence as u32 / 4;
                packet.payload = vec![0; 100 + sequence as usize].into();
                packet.info.discardable = sequence % 8 >= 4;
                Arc::new(packet)
            })
            .collect();
        let mut ordered = History::default();
        for packet in &all {
            ordered.push(packet, 0);
        }
        let expected = ordered.start(HIGH, now).unwrap();
        assert_eq!(expected.frames, 25 + 1);
        for late in 1..199 {
            let mut history = History::default();
            for packet in all.iter().filter(|packet| packet.sequence != late) {
                history.push(packet, 0);
            }
            assert_eq!(history.start(HIGH, now), None);
            history.push(&all[late as usize], 0);
            history.push(&all[late as usize], 0);
            let start = history.start(HIGH, now).unwrap();
            assert_eq!((start.from, start.to), (0, 199));
            assert!(start.frames >= expected.frames && start.bytes >= expected.bytes);
            assert_eq!(history.held(), ordered.held());
        }
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
        let start = history.start(HIGH, now).unwrap();
        assert_eq!((start.frames, start.bytes), (2, 6_000));
        assert_eq!(start.keyframe_bytes, 3_000);
        let leave_out = |sequence| history.may_leave_out(HIGH, sequence, start.to);
        assert!(leave_out(3));
        assert!(!leave_out(0));
        assert!(!leave_out(6), "a packet of it is needed");
        assert!(!leave_out(7), "the last frame may not be whole");
        assert!(!leave_out(100));
    }
}
