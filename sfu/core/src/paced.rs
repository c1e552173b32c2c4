//! One viewer's video in time: a viewer is at the head of its room's history, or behind with a
//! cursor into it.
//!
//! At the head it takes packets as they come. What does not fit into a burst it does not take: it
//! falls behind, and reads the rest out of the [`History`], in runs that its [`Pacer`] times, until
//! it is at the head again. A newcomer begins behind: at the last keyframe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{Bitrate, SourceId, StreamId};

use crate::downtrack::{DownTrack, KeyframeWanted};
use crate::history::{History, Start};
use crate::layers::LayerRates;
use crate::pace::Pacer;
use crate::packet::MediaPacket;
use crate::rewrite::Rewritten;

/// A viewer who falls behind is through before the next frame or two.
const LATE_MAX: Duration = Duration::from_millis(60);
/// A newcomer's first packets leave a moment after its handshake.
const START_AFTER: Duration = Duration::from_millis(4);
/// A frame of a replay goes by a timestamp so far before the present: frames that are taken while it
/// is sent come with their own, which must lie behind it.
const BEHIND: Duration = Duration::from_millis(66);
/// After so much of a replay the link's estimate has seen it.
const LONG: Duration = Duration::from_millis(700);
/// Viewers who fall behind together go on in so many turns, a millisecond apart.
const PLACES: u32 = 5;
/// Packets of a run that are looked at for the longest: more than a run has.
const RUN_MAX: u64 = 32;
/// Assumed of a packet that is not looked at, in bytes.
const PACKET: u64 = 1_200;

/// A video track of one viewer, and when its packets may leave.
#[derive(Clone, Debug)]
pub struct PacedTrack {
    track: DownTrack,
    pacer: Pacer,
    cursor: Option<Cursor>,
    clock_rate: u32,
    stagger: Duration,
}

/// Where a viewer is who is behind.
#[derive(Clone, Debug)]
struct Cursor {
    stream: StreamId,
    source: SourceId,
    generation: u32,
    /// The publisher's number of the next packet.
    next: u64,
    /// Of the next packet's frame something was sent already.
    within_frame: bool,
    replay: Option<Replay>,
    /// A keyframe that this frame is followed by, instead of what comes next.
    then: Option<(StreamId, u32, u64)>,
    /// When the next run may leave.
    at: Instant,
    /// When the viewer is to be at the head again. A replay has no such time.
    due: Instant,
}

/// What a newcomer begins with: the past, until it is at the present.
///
/// The past goes by as if it were the present. A player takes the clock of a stream from when its
/// frames come: of frames that come faster than they were taken it would learn a wrong one, and stay
/// late, or play at a wrong speed, for long after.
#[derive(Clone, Copy, Debug)]
struct Replay {
    /// The timestamp of the last packet before, and when it came: from there on time is counted.
    present: (u32, Instant),
    /// Frame that was begun last, and the timestamp it goes by; none where it is left out.
    frame: Option<(u32, Option<u32>)>,
    /// The last timestamp that was given out.
    last: Option<u32>,
    /// From then on it has taken so long that the link's estimate can be believed.
    long_at: Instant,
}

impl Replay {
    /// The timestamp that a frame goes by which begins now: no later than `most`, which leaves room
    /// for what follows it. `None`: the viewer is at the present.
    fn timestamp(&self, own: u32, most: u32, clock_rate: u32, now: Instant) -> Option<u32> {
        let after = |timestamp: u32, other: u32| timestamp.wrapping_sub(other).cast_signed() > 0;
        let (timestamp, at) = self.present;
        let passed = now.saturating_duration_since(at).as_micros() as i64;
        let passed = passed - BEHIND.as_micros() as i64;
        let ticks = passed * i64::from(clock_rate) / 1_000_000;
        let present = timestamp.wrapping_add(ticks as u32);
        let present = if after(present, most) { most } else { present };
        let next = self.last.map_or(present, |last| last.wrapping_add(1));
        let least = if after(next, present) { next } else { present };
        (!after(own, least)).then_some(least)
    }
}

/// What a viewer who is behind does next.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// It gets this packet; [`PacedTrack::sent`] is to be told.
    Packet(&'a Arc<MediaPacket>, Rewritten),
    /// It waits for its next run; see [`PacedTrack::deadline`].
    Wait,
    /// It is at the head, where packets come by [`PacedTrack::live`].
    Head,
    /// What it had to get next is not kept any more. It waits for a keyframe, which is to be asked
    /// for.
    Lost,
}

impl PacedTrack {
    /// A track of a viewer at the head. Viewers with different numbers, `number`, are not all served
    /// at once where many have to wait.
    #[must_use]
    pub fn new(track: DownTrack, clock_rate: u32, number: u32, now: Instant) -> Self {
        Self {
            track,
            pacer: Pacer::new(now),
            cursor: None,
            clock_rate,
            stagger: Duration::from_millis((number % PLACES).into()),
        }
    }

    #[must_use]
    pub fn track(&self) -> &DownTrack {
        &self.track
    }

    /// What is forwarded, to choose.
    pub fn track_mut(&mut self) -> &mut DownTrack {
        &mut self.track
    }

    /// Hears what of the viewer's link the track may take, and what its layers do.
    pub fn on_estimate(
        &mut self,
        now: Instant,
        share: Bitrate,
        rates: &LayerRates,
    ) -> Option<KeyframeWanted> {
        self.track.on_estimate(now, share, rates)
    }

    /// Hears what the viewer's link carries without its audio, and what is sent of video: this
    /// track's layer, and others.
    pub fn set_pace(&mut self, link: Bitrate, sent: Option<Bitrate>) {
        self.pacer.set(Some(link), sent);
    }

    /// What may leave in a second.
    #[must_use]
    pub fn rate(&self) -> Bitrate {
        self.pacer.rate()
    }

    /// Whether the viewer has seen no picture, and none is on its way out of the history.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.cursor.is_none() && self.track.is_fresh()
    }

    /// When a viewer who is behind may have its next run; `None` for one at the head.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.cursor.as_ref().map(|cursor| cursor.at)
    }

    /// Counts bytes that have left: of this track, and of what is sent again or as padding.
    #[inline]
    pub fn sent(&mut self, now: Instant, bytes: u64) {
        self.pacer.spend(now, bytes);
    }

    /// Takes a packet of the room as it comes. `generation` is the history's, see
    /// [`History::head`]; `is_late` says that later packets of its layer came before it.
    ///
    /// `None`: the viewer does not get it, or not now; then [`deadline`](Self::deadline) says when.
    #[inline]
    pub fn live(
        &mut self,
        packet: &MediaPacket,
        generation: u32,
        is_late: bool,
        now: Instant,
    ) -> Option<Rewritten> {
        if !self.track.is_of(packet) {
            return None;
        }
        match &mut self.cursor {
            Some(cursor) if cursor.is_of(packet, generation) => {
                // Either it gets it in turn, or it is late for a place that was passed.
                let late = packet.stream == cursor.stream && packet.sequence < cursor.next;
                if !late {
                    cursor.note_keyframe(packet, generation, &self.track);
                    return None;
                }
            }
            // What it was behind with has ended.
            Some(_) => self.at_head(),
            None => {
                self.pacer.refill(now);
                if self.pacer.is_spent() && self.track.takes(packet) && !self.track.is_late(packet)
                {
                    self.fall_behind(packet, generation, now);
                    return None;
                }
            }
        }
        if is_late && self.track.switches_at(packet) {
            // What follows it has gone by, and is read out of the history.
            if self.cursor.is_none() {
                self.fall_behind(packet, generation, now);
            }
            return None;
        }
        self.track.forward(packet, generation)
    }

    /// Lets a newcomer start from a keyframe that is past; see [`History::start`].
    ///
    /// The first packets leave a moment after `now`: nothing may overtake the end of the handshake,
    /// and there are stacks that drop what they read together with it.
    pub fn start(&mut self, stream: StreamId, start: Start, history: &History, now: Instant) {
        let Some(last) = history.get(stream, start.to) else {
            return;
        };
        let at = now + START_AFTER;
        self.cursor = Some(Cursor {
            stream,
            source: last.source,
            generation: start.generation,
            next: start.from,
            within_frame: false,
            replay: Some(Replay {
                present: (last.timestamp, last.received_at),
                frame: None,
                last: None,
                long_at: at + LONG,
            }),
            then: None,
            at,
            due: at,
        });
    }

    /// Longest payload of the next run, in bytes: what its packets are padded to.
    #[must_use]
    pub fn longest(&self, history: &History) -> usize {
        let Some(cursor) = &self.cursor else {
            return 0;
        };
        let mut credit = self.pacer.credit();
        let mut longest = 0;
        for sequence in cursor.next..cursor.next + RUN_MAX {
            if credit == 0 {
                break;
            }
            if let Some(packet) = history.get(cursor.stream, sequence) {
                longest = packet.payload.len().max(longest);
                credit = credit.saturating_sub(packet.payload.len() as u64);
            }
        }
        longest
    }

    /// Lets time pass for a viewer who is behind. To be called when its run is due, before
    /// [`next`](Self::next). False: it is not due, or the viewer is at the head.
    pub fn begin_run(&mut self, now: Instant, history: &History) -> bool {
        let Some(cursor) = self.cursor.as_ref().filter(|cursor| cursor.at <= now) else {
            return false;
        };
        if cursor.replay.is_none() {
            let backlog = cursor.backlog(history);
            self.pacer.hurry(now, backlog, cursor.due);
        }
        self.pacer
            .set_long(cursor.replay.is_some_and(|replay| replay.long_at <= now));
        self.pacer.refill(now);
        true
    }

    /// The next packet of a run.
    pub fn next<'a>(&mut self, now: Instant, history: &'a History) -> Step<'a> {
        loop {
            let Some(cursor) = &mut self.cursor else {
                return Step::Head;
            };
            let (head, generation) = history.head(cursor.stream);
            if generation != cursor.generation {
                // What it was behind with has ended, and what is left of it must not be forwarded.
                self.at_head();
                self.track.restart();
                return Step::Head;
            }
            if (!cursor.within_frame || cursor.next > head)
                && let Some(keyframe) = cursor.then.take()
            {
                cursor.turn_to(keyframe, now, &mut self.track);
                continue;
            }
            let is_gone = history.get(cursor.stream, head).is_none();
            if cursor.next > head && !is_gone {
                self.at_head();
                return Step::Head;
            }
            if is_gone || history.is_past(cursor.stream, cursor.next) {
                self.at_head();
                self.track.restart();
                return Step::Lost;
            }
            if self.pacer.is_spent() {
                cursor.at = self.pacer.next(now, cursor.backlog(history));
                return Step::Wait;
            }
            let sequence = cursor.next;
            cursor.next += 1;
            // A place is empty where a packet is missing: should it come, it comes by `live`.
            let Some(packet) = history.get(cursor.stream, sequence) else {
                continue;
            };
            if packet.source != cursor.source {
                self.at_head();
                self.track.restart();
                return Step::Head;
            }
            if packet.info.starts_frame && !self.track.takes(packet) {
                // What it was behind with is not wanted any more, and what it had before has gone on.
                let fresh = self.track.is_fresh();
                self.at_head();
                self.track.restart();
                return if fresh { Step::Head } else { Step::Lost };
            }
            cursor.within_frame = !packet.marker;
            let Some(timestamp) = cursor.timestamp(packet, history, self.clock_rate, now) else {
                self.track.leave_out(packet);
                continue;
            };
            if let Some(rewritten) = self.track.forward_at(packet, timestamp, generation) {
                return Step::Packet(packet, rewritten);
            }
        }
    }

    fn at_head(&mut self) {
        self.cursor = None;
        self.pacer.calm();
        self.pacer.set_long(false);
    }

    #[cold]
    fn fall_behind(&mut self, packet: &MediaPacket, generation: u32, now: Instant) {
        let at = self.pacer.next(now, u64::MAX >> 1) + self.stagger;
        self.cursor = Some(Cursor {
            stream: packet.stream,
            source: packet.source,
            generation,
            next: packet.sequence,
            within_frame: !packet.info.starts_frame,
            replay: None,
            then: None,
            at,
            due: now + LATE_MAX,
        });
    }
}

impl Cursor {
    /// Whether a packet leaves what it reads as it is: gaps that are cut into other streams do.
    fn is_of(&self, packet: &MediaPacket, generation: u32) -> bool {
        let is_cut = packet.stream == self.stream && generation != self.generation;
        packet.source == self.source && !is_cut
    }

    /// Bytes up to the head, about.
    fn backlog(&self, history: &History) -> u64 {
        let (head, _) = history.head(self.stream);
        (head + 1).saturating_sub(self.next) * PACKET
    }

    /// Sees a live packet that waits: is it where the viewer should rather go on?
    fn note_keyframe(&mut self, packet: &MediaPacket, generation: u32, track: &DownTrack) {
        if !(packet.info.keyframe && packet.info.starts_frame) {
            return;
        }
        let switches = track.switches_at(packet) && packet.stream != self.stream;
        // What a newcomer has yet to catch up with is not worth its time any more.
        let shortens = packet.stream == self.stream
            && self.replay.is_some()
            && track.wanted().is_none_or(|wanted| wanted.0 == self.stream);
        if switches || shortens {
            self.then = Some((packet.stream, generation, packet.sequence));
        }
    }

    /// Goes on at a keyframe, if that is still wanted.
    fn turn_to(&mut self, keyframe: (StreamId, u32, u64), now: Instant, track: &mut DownTrack) {
        let (stream, ..) = keyframe;
        if stream == self.stream {
            track.restart();
        } else if track.wanted() != Some(KeyframeWanted(stream)) {
            return;
        }
        (self.stream, self.generation, self.next) = keyframe;
        self.replay = None;
        self.within_frame = false;
        self.due = now + LATE_MAX;
    }

    /// The timestamp that a packet goes by. `None`: it is left out.
    fn timestamp(
        &mut self,
        packet: &MediaPacket,
        history: &History,
        clock_rate: u32,
        now: Instant,
    ) -> Option<u32> {
        let Some(replay) = &mut self.replay else {
            return Some(packet.timestamp);
        };
        if let Some((own, timestamp)) = replay.frame
            && own == packet.timestamp
        {
            return timestamp;
        }
        let (head, _) = history.head(packet.stream);
        // A publisher that falters does not keep up with the clock, and time must not go back when
        // its own timestamps are used again.
        let newest = history.get(packet.stream, head);
        let newest = newest.map_or(packet.timestamp, |newest| newest.timestamp);
        let most = newest.wrapping_sub((head - packet.sequence.min(head)) as u32);
        let Some(timestamp) = replay.timestamp(packet.timestamp, most, clock_rate, now) else {
            self.replay = None;
            self.due = now + LATE_MAX;
            return Some(packet.timestamp);
        };
        let left_out = history.may_leave_out(packet.stream, packet.sequence, head);
        let timestamp = (!left_out).then_some(timestamp);
        replay.frame = Some((packet.timestamp, timestamp));
        replay.last = timestamp.or(replay.last);
        timestamp
    }
}

#[cfg(test)]
mod tests;
