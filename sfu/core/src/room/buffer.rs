//! What came in: the packets that are to be sent on, and the recent past.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{Bitrate, SourceId, StreamId, TrackKind};

use super::message::Batch;
use super::rates::Rates;
use crate::history::{History, Place};
use crate::keyframe::KeyframeHabit;
use crate::packet::MediaPacket;
use crate::start::{self, Choice, Situation};
use crate::streams::StreamSet;

/// Packets that came longer ago are no measure of what a layer takes.
const PRESENT: Duration = Duration::from_millis(500);

/// A packet that is to be sent on.
#[derive(Clone, Debug)]
pub(super) struct BatchedPacket {
    pub(super) packet: Arc<MediaPacket>,
    /// Gaps that full links have cut before it.
    pub(super) generation: u32,
    /// Later ones of its layer have come before it, and may have gone on.
    pub(super) is_late: bool,
    /// It is of what the hop has begun with: see [`Batch::is_past`].
    pub(super) is_past: bool,
}

impl BatchedPacket {
    /// Whether it can be in one [`Batch`] with another one.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        (self.generation, self.is_past) == (other.generation, other.is_past)
    }
}

/// A hop's packets.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Packets that wait to be sent on together.
    waiting: Vec<BatchedPacket>,
    release_at: Option<Instant>,
    /// What newcomers start from, and lost packets are sent again from.
    pub(super) history: History,
    /// The last packet of audio that viewers were given.
    heard: Option<(SourceId, u64)>,
    /// How each stream's keyframes come, as this hop sees it.
    pub(super) habits: [KeyframeHabit; StreamId::COUNT],
    /// What each stream takes.
    pub(super) rates: Rates,
}

impl Buffer {
    /// Takes a packet in. It is sent on with the rest of its frame, or `hold` later at the latest:
    /// what waits together costs each viewer one visit.
    pub(super) fn push(
        &mut self,
        packet: Arc<MediaPacket>,
        generation: u32,
        is_past: bool,
        now: Instant,
        hold: Duration,
    ) {
        let place = self.history.push(&packet, generation);
        if place == Place::None {
            return;
        }
        // What another hop sends of the past says nothing about now.
        if now.saturating_duration_since(packet.received_at) < PRESENT {
            self.rates.count(&packet, now);
        }
        if packet.starts_keyframe() {
            self.habits[packet.stream.index()].keyframe(packet.received_at);
        }
        // Viewers whose hop has turned to another one go on with what they have missed.
        let is_past = is_past && !self.is_heard_next(&packet);
        if packet.kind() == TrackKind::Audio && !is_past {
            self.hear(&packet);
        }
        let ends_frame = packet.kind() == TrackKind::Video && packet.marker;
        let at = if ends_frame { now } else { now + hold };
        self.release_at = Some(self.release_at.map_or(at, |before| before.min(at)));
        self.waiting.push(BatchedPacket {
            packet,
            generation,
            is_late: place == Place::Late,
            is_past,
        });
    }

    fn is_heard_next(&self, packet: &MediaPacket) -> bool {
        let before = packet.sequence.checked_sub(1);
        packet.kind() == TrackKind::Audio
            && before.is_some_and(|before| self.heard == Some((packet.source, before)))
    }

    fn hear(&mut self, packet: &MediaPacket) {
        let is_newest = |(source, last)| source != packet.source || last < packet.sequence;
        if self.heard.is_none_or(is_newest) {
            self.heard = Some((packet.source, packet.sequence));
        }
    }

    /// Nobody is there any more, and no more comes. Whoever is there next has heard nothing.
    pub(super) fn rest(&mut self) {
        self.heard = None;
        self.history.rest();
    }

    /// Somebody is there again, and what comes goes on.
    pub(super) fn resume(&mut self, now: Instant) {
        self.history.resume(now);
    }

    /// When packets are to be sent on.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.release_at
    }

    /// Moves what is to be sent on now into `batch`. Video first: a run of equal datagrams is one
    /// system call, and audio would break it.
    pub(super) fn release(&mut self, now: Instant, batch: &mut Vec<BatchedPacket>) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.release_at = None;
            batch.append(&mut self.waiting);
            batch.sort_by_key(|batched| batched.packet.kind() == TrackKind::Audio);
        }
    }

    /// A request for keyframes leaves.
    pub(super) fn asked(&mut self, streams: StreamSet, now: Instant) {
        for stream in streams.iter() {
            self.habits[stream.index()].asked(now);
        }
    }

    /// What a newcomer to a stream starts from who is sent so much in a second.
    pub(super) fn start(
        &mut self,
        stream: StreamId,
        pace: Bitrate,
        now: Instant,
        interval: Duration,
    ) -> Choice {
        let rates = self.rates.read(now).of(stream.track);
        let habit = &self.habits[stream.index()];
        start::choose(&Situation {
            replay: self.history.start(stream, now),
            answer: habit.answer(now, interval),
            deaf: habit.is_deaf(),
            asked: habit.is_asked(now),
            regular: habit.regular(now),
            pace,
            layer: rates.layer(stream.layer).unwrap_or(Bitrate(0)),
        })
    }

    /// The last moments of audio. What is yet to be sent on is no part of it.
    pub(super) fn audio_replay(&self, now: Instant) -> Batch {
        let (generation, packets) = self.history.audio(now);
        let packets = packets.filter(|packet| !self.waits(packet));
        Batch {
            generation,
            is_past: true,
            packets: packets.cloned().collect(),
        }
    }

    /// Whether a packet is yet to be sent on.
    pub(super) fn waits(&self, packet: &Arc<MediaPacket>) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| Arc::ptr_eq(&waiting.packet, packet))
    }

    /// The publisher has no video any more, or is gone, and with it what was kept of it.
    pub(super) fn forget(&mut self) {
        self.history.forget_video();
        self.habits = Default::default();
        self.rates.forget();
    }
}
