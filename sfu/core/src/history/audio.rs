//! The last moments of a room's audio: what hops below and taps begin with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::SourceId;

use super::Place;
use crate::packet::{HEADERS, MediaPacket};

/// How far back it goes.
const AGE: Duration = Duration::from_secs(1);
/// Where a hop has left the room, it is still near enough to the present for so long: whoever turns to
/// the hop goes on without a gap.
const REST: Duration = Duration::from_millis(200);
/// Payload and headers of what is kept at most: more than a second at the highest bit rate of Opus.
const BYTES: usize = 192 << 10;
/// A packet further from the last one is of another numbering.
const JUMP: u64 = 2_048;

/// A source's last packets of audio.
#[derive(Clone, Debug, Default)]
pub(super) struct Audio {
    source: Option<SourceId>,
    /// The one before: what comes of it now is late.
    before: Option<SourceId>,
    /// In the order of their numbers.
    packets: VecDeque<Arc<MediaPacket>>,
    bytes: usize,
    /// What has a lower number is past.
    first: u64,
    highest: u64,
    /// Of the last packet.
    generation: u32,
    /// Nothing has come since the hop left the room: what is held may be followed by a gap.
    is_resting: bool,
}

impl Audio {
    pub(super) fn push(&mut self, packet: &Arc<MediaPacket>, generation: u32) -> Place {
        if self.is_of_before(packet) {
            return Place::None;
        }
        if !self.goes_on(packet) {
            let left = self.source.filter(|source| *source != packet.source);
            let mut packets = std::mem::take(&mut self.packets);
            packets.clear();
            *self = Self {
                source: Some(packet.source),
                before: left.or(self.before),
                packets,
                first: packet.sequence,
                highest: packet.sequence,
                ..Self::default()
            };
        }
        let Some(at) = self.place_of(packet) else {
            return Place::None;
        };
        let place = match at == self.packets.len() {
            true => Place::Head,
            false => Place::Late,
        };
        if place == Place::Head {
            let follows = packet.sequence <= self.highest.saturating_add(1);
            if std::mem::take(&mut self.is_resting) && !follows {
                self.forget_before(packet.sequence);
            }
        }
        let at = at.min(self.packets.len());
        self.packets.insert(at, Arc::clone(packet));
        self.bytes += weight(packet);
        self.highest = self.highest.max(packet.sequence);
        self.generation = generation;
        self.trim(packet.received_at);
        place
    }

    pub(super) fn is_past_or_held(&self, packet: &MediaPacket) -> bool {
        self.is_of_before(packet) || (self.goes_on(packet) && self.place_of(packet).is_none())
    }

    /// Whether nothing is missing before a packet, or it is of another source.
    pub(super) fn goes_on_with(&self, packet: &MediaPacket) -> bool {
        self.source != Some(packet.source) || packet.sequence <= self.highest.saturating_add(1)
    }

    /// The packets that came within the last moments, and the gaps that full links have cut before
    /// the last one.
    pub(super) fn replay(&self, now: Instant) -> (u32, impl Iterator<Item = &Arc<MediaPacket>>) {
        // Times of arrival differ a little where packets came from different hops: no number between
        // others is left out.
        let recent = self.packets.iter().rev();
        let recent = recent.take_while(|packet| is_recent(packet, now)).count();
        let past = self.packets.len() - recent;
        (self.generation, self.packets.iter().skip(past))
    }

    /// Lets go of what is too old. Its numbers stay known.
    pub(super) fn trim(&mut self, now: Instant) {
        while let Some(first) = self.packets.front()
            && (self.bytes > BYTES || !is_recent(first, now))
        {
            self.first = first.sequence.saturating_add(1);
            self.bytes -= weight(first);
            self.packets.pop_front();
        }
    }

    /// Nothing comes for now.
    pub(super) fn rest(&mut self) {
        self.is_resting = true;
    }

    /// It comes again. What has come too long ago is forgotten, so that it comes again too: whoever is
    /// there now was not there for it.
    pub(super) fn resume(&mut self, now: Instant) {
        let is_near =
            |last: &Arc<MediaPacket>| now.saturating_duration_since(last.received_at) <= REST;
        if self.is_resting && !self.packets.back().is_some_and(is_near) {
            *self = Self::default();
        }
    }

    fn forget_before(&mut self, sequence: u64) {
        self.packets.clear();
        self.bytes = 0;
        self.first = sequence;
    }

    fn is_of_before(&self, packet: &MediaPacket) -> bool {
        self.before == Some(packet.source)
    }

    /// Whether a packet is of the same source and numbering as what is kept.
    fn goes_on(&self, packet: &MediaPacket) -> bool {
        self.source == Some(packet.source) && packet.sequence.abs_diff(self.highest) < JUMP
    }

    /// Where a packet belongs. None: it is held already, or past.
    fn place_of(&self, packet: &MediaPacket) -> Option<usize> {
        let sequence = packet.sequence;
        if self
            .packets
            .back()
            .is_none_or(|last| last.sequence < sequence)
        {
            return (sequence >= self.first).then_some(self.packets.len());
        }
        let found = self
            .packets
            .binary_search_by_key(&sequence, |held| held.sequence);
        found.err().filter(|_| sequence >= self.first)
    }
}

fn is_recent(packet: &MediaPacket, now: Instant) -> bool {
    now.saturating_duration_since(packet.received_at) <= AGE
}

fn weight(packet: &MediaPacket) -> usize {
    packet.payload.len() + HEADERS
}

#[cfg(test)]
mod tests {
    use lightstick_types::{Layer, StreamId, TrackId};

    use super::*;
    use crate::room::tests::packet as picture;

    fn packet(start: Instant, sequence: u64, bytes: usize) -> Arc<MediaPacket> {
        Arc::new(MediaPacket {
            stream: StreamId {
                track: TrackId::AUDIO,
                layer: Layer::High,
            },
            sequence,
            payload: vec![0; bytes].into(),
            received_at: start + Duration::from_millis(20 * sequence),
            ..picture(Layer::High, sequence, false)
        })
    }

    fn numbers(audio: &Audio, now: Instant) -> Vec<u64> {
        let (_, packets) = audio.replay(now);
        packets.map(|packet| packet.sequence).collect()
    }

    #[test]
    fn it_keeps_a_second_in_order_and_each_packet_once() {
        let start = Instant::now();
        let mut audio = Audio::default();
        let mut push = |sequence| {
            let packet = packet(start, sequence, 100);
            let held = audio.is_past_or_held(&packet);
            let place = audio.push(&packet, 3);
            assert_eq!(held, place == Place::None, "{sequence}");
            place
        };
        assert_eq!(push(0), Place::Head);
        assert_eq!(push(2), Place::Head);
        assert_eq!(push(1), Place::Late);
        for again in 0..3 {
            assert_eq!(push(again), Place::None);
        }
        for sequence in 3..100 {
            assert_eq!(push(sequence), Place::Head);
        }
        assert_eq!(push(40), Place::None, "older than what is kept");
        let now = start + Duration::from_millis(20 * 99);
        assert_eq!(numbers(&audio, now), (49..100).collect::<Vec<_>>());
        // Silence makes it old, without a packet.
        let later = now + Duration::from_millis(500);
        assert_eq!(numbers(&audio, later), (74..100).collect::<Vec<_>>());
        audio.trim(now + Duration::from_secs(5));
        assert!(audio.packets.is_empty() && audio.bytes == 0);
        assert_eq!(audio.push(&packet(start, 99, 100), 3), Place::None);
        assert_eq!(audio.push(&packet(start, 100, 100), 3), Place::Head);
    }

    #[test]
    fn what_is_held_from_too_long_ago_comes_again() {
        let start = Instant::now();
        let mut audio = Audio::default();
        let held: Vec<_> = (0..10).map(|n| packet(start, n, 100)).collect();
        for packet in &held {
            audio.push(packet, 0);
        }
        audio.rest();
        let left_at = held[9].received_at;
        // Whoever turns to it at once goes on from what it holds.
        audio.resume(left_at + REST);
        assert_eq!(audio.replay(left_at).1.count(), 10);
        assert_eq!(audio.push(&held[9], 0), Place::None);
        audio.rest();
        audio.resume(left_at + REST + Duration::from_millis(1));
        assert_eq!(audio.replay(left_at).1.count(), 0);
        assert_eq!(audio.push(&held[3], 0), Place::Head);
    }

    #[test]
    fn it_takes_so_much_at_most() {
        let start = Instant::now();
        let mut audio = Audio::default();
        for sequence in 0..2_000 {
            let packet = MediaPacket {
                received_at: start,
                ..MediaPacket::clone(&packet(start, sequence, 1_200 * (sequence as usize % 2)))
            };
            audio.push(&Arc::new(packet), 0);
            let bytes: usize = audio.packets.iter().map(|packet| weight(packet)).sum();
            assert!(bytes <= BYTES && bytes == audio.bytes, "{bytes}");
        }
        assert_eq!(audio.packets.back().map(|last| last.sequence), Some(1_999));
        assert!(audio.packets.len() > 200);
    }

    #[test]
    fn another_source_or_numbering_begins_anew() {
        let start = Instant::now();
        let mut audio = Audio::default();
        audio.push(&packet(start, 7, 100), 0);
        let mut other = MediaPacket::clone(&packet(start, 3, 100));
        other.source.number += 1;
        assert_eq!(audio.push(&Arc::new(other.clone()), 1), Place::Head);
        assert_eq!(numbers(&audio, start), [3]);
        let late = packet(start, 8, 100);
        assert!(audio.is_past_or_held(&late));
        assert_eq!(audio.push(&late, 1), Place::None, "of the source before");
        other.sequence = 1 << 20;
        assert_eq!(audio.push(&Arc::new(other), 1), Place::Head);
        assert_eq!(numbers(&audio, start), [1 << 20]);
    }
}
