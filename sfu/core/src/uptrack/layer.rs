//! One layer of a source's track: whether it is there, how its keyframes come, and its numbers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::{Hint, HintCode};

use super::Incoming;
use super::starts::{Numbers, Start, Starts};
use crate::codec::PayloadInfo;
use crate::health::Hints;
use crate::keyframe::{KeyframeGate, KeyframeHabit};
use crate::meter::Meter;

/// A layer that brings nothing for this long is dead, as long as nothing else explains it.
const SILENCE: Duration = Duration::from_millis(1_500);
/// How long a layer may take to come back once it is wanted again: the wish goes over HTTP, and
/// the encoder starts anew.
const WAKING: Duration = Duration::from_secs(5);
/// Keyframes further apart than this make late viewers wait, or replay a lot.
const INTERVAL_MAX: Duration = Duration::from_secs(4);
/// Keyframes no further apart than this make up for requests that are ignored.
const INTERVAL_SHORT: Duration = Duration::from_millis(2_500);
/// Until then a keyframe has come, or something is wrong.
const KEYFRAME_WITHIN: Duration = Duration::from_secs(5);
/// A gap of more than this backwards, or of more than 16 bits forwards, is no loss: the publisher
/// numbers anew.
const JUMP_MAX: u64 = 3_000;
/// A timestamp that goes back by less stands for a picture that is shown before others; by more it
/// is another clock. Two seconds.
const REORDER_MAX: u32 = 180_000;

#[derive(Debug)]
pub(super) struct UpLayer {
    pub(super) meter: Meter,
    pub(super) presence: Presence,
    pub(super) keyframes: Keyframes,
    pub(super) pictures: Pictures,
    pub(super) numbers: Numbers,
    pub(super) capture_time_at: Option<Instant>,
    timestamp: Option<u32>,
    highest: u64,
    starts: Starts,
}

/// Whether a layer is there.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) live: bool,
    pub(super) last_packet: Instant,
    /// Since when it is live, or comes again.
    began: Instant,
    rest: Rest,
}

/// Whether a layer's silence is our own wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    None,
    /// The publisher is asked not to send it.
    Paused,
    /// It is asked to send it again, and has time to until then.
    Waking(Instant),
}

impl Presence {
    fn new(now: Instant) -> Self {
        Self {
            live: false,
            last_packet: now,
            began: now,
            rest: Rest::None,
        }
    }

    pub(super) fn is_available(&self) -> bool {
        self.live || self.rest != Rest::None
    }

    pub(super) fn is_paused(&self) -> bool {
        self.rest == Rest::Paused
    }

    /// An encoder at rest starts with a keyframe by itself, and some answer requests for it with
    /// keyframes of all layers.
    fn can_be_asked(&self) -> bool {
        self.live || self.rest == Rest::None
    }

    /// A packet has come. True: it was not live before.
    pub(super) fn packet(&mut self, now: Instant) -> bool {
        self.last_packet = now;
        let was_live = std::mem::replace(&mut self.live, true);
        if !was_live {
            self.began = now;
        }
        !was_live
    }

    /// An encoder that starts anew starts with a keyframe.
    pub(super) fn keyframe(&mut self) {
        if matches!(self.rest, Rest::Waking(_)) {
            self.rest = Rest::None;
        }
    }

    /// Notes that it has fallen silent, or did not come back in time. True: it was live, or could be
    /// had.
    pub(super) fn poll_silence(&mut self, now: Instant) -> bool {
        let silent = self.live && now.saturating_duration_since(self.last_packet) >= SILENCE;
        if silent {
            self.live = false;
        }
        let gone = matches!(self.rest, Rest::Waking(until) if until <= now);
        if gone {
            self.rest = Rest::None;
        }
        silent || (gone && !self.live)
    }

    /// The publisher is asked not to send it, or is not any more.
    pub(super) fn set_paused(&mut self, now: Instant, paused: bool) {
        self.rest = match self.rest {
            _ if paused => Rest::Paused,
            Rest::Paused => Rest::Waking(now + WAKING),
            rest => rest,
        };
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let waking = match self.rest {
            Rest::Waking(until) => Some(until),
            Rest::None | Rest::Paused => None,
        };
        let silent = self.live.then_some(self.last_packet + SILENCE);
        [waking, silent].into_iter().flatten().min()
    }
}

/// How a layer's keyframes come.
#[derive(Debug)]
pub(super) struct Keyframes {
    pub(super) gate: KeyframeGate,
    pub(super) at: Option<Instant>,
    /// Between the last two.
    gap: Option<Duration>,
    timestamp: Option<u32>,
}

impl Keyframes {
    /// One begins with a packet that came at `now`.
    pub(super) fn begin(&mut self, timestamp: u32, now: Instant) {
        let before = self.at.replace(now);
        self.gap = before.map(|before| now.saturating_duration_since(before));
        self.timestamp = Some(timestamp);
        self.gate.keyframe();
    }

    /// Whether the last one has this timestamp.
    pub(super) fn is_of(&self, timestamp: u32) -> bool {
        self.timestamp == Some(timestamp)
    }
}

/// The temporal layers of the last pictures. Not every packet tells its picture's: a fragment of
/// AV1 does not, nor does a delimiter of H.264. So it is what the first packet says.
#[derive(Clone, Debug, Default)]
pub(super) struct Pictures {
    last: [Option<(u32, u8)>; 4],
    newest: usize,
}

impl Pictures {
    pub(super) fn layer_of(&mut self, timestamp: u32, told: u8) -> u8 {
        if let Some((_, layer)) = self.last.iter().flatten().find(|(at, _)| *at == timestamp) {
            return *layer;
        }
        self.newest = (self.newest + 1) % self.last.len();
        self.last[self.newest] = Some((timestamp, told));
        told
    }
}

impl UpLayer {
    pub(super) fn new(packet: &Incoming, starts: Starts, keyframe_interval: Duration) -> Self {
        Self {
            meter: Meter::default(),
            presence: Presence::new(packet.received_at),
            keyframes: Keyframes {
                gate: KeyframeGate::new(keyframe_interval),
                at: None,
                gap: None,
                timestamp: None,
            },
            pictures: Pictures::default(),
            numbers: Numbers::default(),
            capture_time_at: None,
            timestamp: None,
            highest: packet.sequence.wrapping_sub(1),
            starts,
        }
    }

    /// Whether a request for a keyframe must go to the publisher now.
    pub(super) fn poll_keyframe_request(&mut self, now: Instant) -> bool {
        self.presence.can_be_asked() && self.keyframes.gate.poll(now)
    }

    /// When to poll again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let asking = self.keyframes.gate.deadline();
        let asking = asking.filter(|_| self.presence.can_be_asked());
        [asking, self.presence.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn count(&mut self, packet: &Incoming) -> Counted {
        self.presence.last_packet = packet.received_at;
        let before = self.timestamp.replace(packet.timestamp);
        let frames = u32::from(before != Some(packet.timestamp));
        self.meter
            .add(packet.received_at, packet.payload.len(), frames);
        let ahead = packet.sequence.wrapping_sub(self.highest);
        if ahead > u64::from(u16::MAX) && packet.sequence.abs_diff(self.highest) > JUMP_MAX {
            self.numbers.restart();
            self.highest = packet.sequence;
            return Counted {
                ahead: true,
                ..Counted::default()
            };
        }
        if ahead == 0 || ahead > u64::from(u16::MAX) {
            return Counted::default();
        }
        self.highest = packet.sequence;
        let back = before.map_or(0, |before| before.wrapping_sub(packet.timestamp));
        Counted {
            ahead: true,
            missing: ahead - 1,
            goes_back: !packet.payload.is_empty() && (1..REORDER_MAX).contains(&back),
        }
    }

    /// Finds out whether a decoder can start with an H.264 packet; gives the parameter sets that go
    /// before it.
    pub(super) fn find_start(
        &mut self,
        packet: &Incoming,
        info: &mut PayloadInfo,
        ahead: bool,
    ) -> Option<Bytes> {
        let (timestamp, now) = (packet.timestamp, packet.received_at);
        let what = (timestamp, info.nals);
        let (start, keyframe) = self.starts.take(&packet.payload, what, ahead, now);
        info.keyframe = keyframe;
        match start {
            // Later packets of such a picture are none to start from.
            Start::No => info.starts_frame &= !keyframe,
            Start::Here => info.starts_frame = true,
            Start::After(sets) => {
                info.starts_frame = false;
                return Some(sets);
            }
        }
        None
    }

    /// What its keyframes give reason to tell the artist.
    pub(super) fn diagnose(&mut self, now: Instant, habit: &KeyframeHabit, hints: &mut Hints) {
        if self.starts.lacks_sets() {
            hints.add(HintCode::NoParameterSets);
            return;
        }
        let age = now.saturating_duration_since(self.keyframes.at.unwrap_or(self.presence.began));
        if self.keyframes.at.is_none() && age >= KEYFRAME_WITHIN {
            hints.add(HintCode::NoKeyframes);
        }
        if age > INTERVAL_MAX && self.presence.rest == Rest::None && !habit.is_known() {
            self.keyframes.gate.request();
        }
        if !habit.is_deaf() {
            return;
        }
        // Whatever was asked for, keyframes come by themselves only.
        let interval = self.keyframes.gap;
        // One that is overdue says more than the last interval.
        let apart = interval.map_or(age, |interval| interval.max(age));
        if apart > INTERVAL_SHORT {
            hints.add(HintCode::KeyframeRequestsIgnored);
        }
        if apart > INTERVAL_MAX && self.keyframes.at.is_some() {
            let known = interval.filter(|interval| age <= *interval + *interval / 2);
            hints.add(Hint {
                code: HintCode::LongKeyframeInterval,
                seconds: known.map(|interval| (interval.as_secs_f64().round()) as u32),
            });
        }
    }
}

/// What a packet's number and timestamp say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// No later packet has come before it.
    pub(super) ahead: bool,
    /// Packets missing right before it.
    pub(super) missing: u64,
    /// Its timestamp lies before that of the packet before it.
    pub(super) goes_back: bool,
}
