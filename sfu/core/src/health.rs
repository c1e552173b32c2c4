//! What is wrong with an artist's stream, as far as that can be seen without decoding: what the
//! artist should hear before the audience tells them.
//!
//! Packets are only counted; whoever owns the source lets it be looked at now and then.

use std::time::{Duration, Instant};

use lightstick_types::{Hint, HintCode, TrackKind};

use crate::offer::{Offer, Track};

/// A track that was agreed on brings nothing for so long: something is wrong.
const SILENT: Duration = Duration::from_secs(5);
/// How long a fault is remembered that was seen in a packet.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How long a change of SSRC is remembered.
const SSRC_REMEMBERED: Duration = Duration::from_secs(60);
/// What changes more often than this is told later: logs and event streams stay readable.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What a publisher's offer promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// Audio will be sent.
    pub audio: bool,
    /// Video will be sent.
    pub video: bool,
    /// Its Opus is labelled as mono.
    pub mono: bool,
}

impl Promise {
    /// Reads what a publisher's offer promises.
    #[must_use]
    pub fn read(offer: &Offer) -> Self {
        let sends = |kind| offer.tracks().any(|track| track.kind == kind);
        Self {
            audio: sends(TrackKind::Audio),
            video: sends(TrackKind::Video),
            mono: offer.tracks().any(Track::is_labelled_mono),
        }
    }
}

/// A fault that one packet shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A picture that others precede which are shown after it.
    Reordered,
    /// It belongs to nothing that was agreed on.
    Unplaced,
    /// It continues a track under another SSRC.
    ChangedSsrc,
}

/// A publisher's state of health.
#[derive(Clone, Debug, Default)]
pub struct Health {
    promise: Promise,
    connected_at: Option<Instant>,
    reordered: Seen,
    unplaced: Seen,
    changed_ssrc: Seen,
    told: Hints,
    told_at: Option<Instant>,
}

/// How often a fault was seen lately.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    times: u32,
    at: Option<Instant>,
}

impl Seen {
    fn note(&mut self, now: Instant) {
        if !self.is_fresh(now, REMEMBERED) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.at = Some(now);
    }

    fn is_fresh(self, now: Instant, within: Duration) -> bool {
        let fresh = |at| now.saturating_duration_since(at) < within;
        self.at.is_some_and(fresh)
    }
}

/// What a look finds: at most one hint of each code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints([Option<Hint>; HintCode::COUNT]);

impl Hints {
    pub fn add(&mut self, hint: impl Into<Hint>) {
        let hint = hint.into();
        self.0[hint.code.index()] = Some(hint);
    }

    /// In the order of their codes.
    pub fn iter(self) -> impl Iterator<Item = Hint> {
        self.0.into_iter().flatten()
    }

    fn has(&self, code: HintCode) -> Option<Hint> {
        self.0[code.index()]
    }
}

impl Health {
    /// Hears what the offer promises.
    pub fn promise(&mut self, promise: Promise) {
        self.promise = promise;
    }

    /// From now on media can come.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// A packet shows a fault.
    #[inline]
    pub fn note(&mut self, fault: Fault, now: Instant) {
        match fault {
            Fault::Reordered => self.reordered.note(now),
            Fault::Unplaced => self.unplaced.note(now),
            Fault::ChangedSsrc => self.changed_ssrc.note(now),
        }
    }

    /// What was told last.
    #[must_use]
    pub fn told(&self) -> Hints {
        self.told
    }

    /// Looks at the whole: `last_packet` is when each kind's last packet came, `hints` what the tracks
    /// show besides. True: there is something to tell.
    pub fn look(
        &mut self,
        now: Instant,
        last_packet: impl Fn(TrackKind) -> Option<Instant>,
        mut hints: Hints,
    ) -> bool {
        for (kind, promised, code) in [
            (
                TrackKind::Video,
                self.promise.video,
                HintCode::NoVideoPackets,
            ),
            (
                TrackKind::Audio,
                self.promise.audio,
                HintCode::NoAudioPackets,
            ),
        ] {
            let since = last_packet(kind).max(self.connected_at);
            let silent = |at| now.saturating_duration_since(at) >= SILENT;
            if promised && self.connected_at.is_some() && since.is_some_and(silent) {
                hints.add(code);
            }
        }
        // One picture may stand wrong after an encoder's own fault, and a few strange packets come
        // at the start.
        if self.reordered.is_fresh(now, REMEMBERED) && self.reordered.times >= 3 {
            hints.add(HintCode::BFrames);
        }
        if self.unplaced.is_fresh(now, REMEMBERED) && self.unplaced.times >= 10 {
            hints.add(HintCode::UnplacedPackets);
        }
        if self.changed_ssrc.is_fresh(now, SSRC_REMEMBERED) {
            hints.add(HintCode::ChangingSsrc);
        }
        if self.promise.mono && self.connected_at.is_some() {
            hints.add(HintCode::MonoAudio);
        }
        self.steady(&mut hints);
        let waits = |at| now.saturating_duration_since(at) < TELL_EVERY;
        if hints == self.told || self.told_at.is_some_and(waits) {
            return false;
        }
        (self.told, self.told_at) = (hints, Some(now));
        true
    }

    /// A value that changes by a second only is not worth another word.
    fn steady(&self, hints: &mut Hints) {
        let code = HintCode::LongKeyframeInterval;
        if let (Some(new), Some(old)) = (hints.has(code), self.told.has(code))
            && let (Some(new), Some(told)) = (new.seconds, old.seconds)
            && new.abs_diff(told) <= 1
        {
            hints.add(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightstick_types::Role;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn codes(health: &Health) -> Vec<HintCode> {
        health.told().iter().map(|hint| hint.code).collect()
    }

    #[test]
    fn an_offers_labels_are_read() {
        let promise = |audio: &str| {
            let sdp = format!(
                "v=0\r\na=group:BUNDLE 0\r\na=ice-ufrag:user\r\na=ice-pwd:0123456789012345678901\r\n\
                 a=fingerprint:sha-256 {}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                 a=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 {audio}\r\n",
                ["AA"; 32].join(":")
            );
            Promise::read(&Offer::read(&sdp, Role::Publisher).unwrap())
        };
        let stereo = promise("opus/48000/2");
        assert!(stereo.audio && !stereo.video && !stereo.mono);
        assert!(!promise("OPUS/48000/2").mono);
        assert!(promise("opus/48000").mono);
        assert!(promise("opus/48000/1").mono);
    }

    #[test]
    fn half_a_stream_is_told_after_five_seconds_and_taken_back() {
        let start = Instant::now();
        let mut health = Health::default();
        health.promise(Promise {
            audio: true,
            video: true,
            mono: false,
        });
        let mut look = |at: u64, video: Option<u64>, audio: Option<u64>| {
            if at == 10 {
                health.connected(start + seconds(10));
            }
            let last = |kind| {
                let at = match kind {
                    TrackKind::Video => video,
                    TrackKind::Audio => audio,
                };
                at.map(|at| start + seconds(at))
            };
            health.look(start + seconds(at), last, Hints::default());
            codes(&health)
        };
        assert_eq!(look(9, None, None), [], "not connected yet");
        assert_eq!(look(10, None, None), []);
        assert_eq!(look(14, Some(14), None), []);
        assert_eq!(look(15, Some(15), None), [HintCode::NoAudioPackets]);
        assert_eq!(look(20, Some(20), Some(19)), []);
        assert_eq!(look(30, Some(20), Some(30)), [HintCode::NoVideoPackets]);
    }

    #[test]
    fn what_was_not_promised_is_not_missed() {
        let start = Instant::now();
        let mut health = Health::default();
        health.promise(Promise {
            audio: true,
            ..Promise::default()
        });
        health.connected(start);
        let now = start + seconds(60);
        assert!(!health.look(now, |_| Some(now), Hints::default()));
        assert_eq!(codes(&health), []);
    }

    #[test]
    fn faults_are_told_when_they_repeat_and_forgotten_when_they_end() {
        let start = Instant::now();
        let mut health = Health::default();
        let look = |health: &mut Health, at| {
            health.look(start + seconds(at), |_| None, Hints::default());
            codes(health)
        };
        health.note(Fault::Reordered, start);
        health.note(Fault::Reordered, start);
        assert_eq!(look(&mut health, 0), []);
        health.note(Fault::Reordered, start + seconds(1));
        assert_eq!(look(&mut health, 1), [HintCode::BFrames]);
        assert_eq!(look(&mut health, 10), [HintCode::BFrames]);
        assert_eq!(look(&mut health, 11), []);
        health.note(Fault::Reordered, start + seconds(12));
        assert_eq!(look(&mut health, 13), [], "counted anew");
        for _ in 0..10 {
            health.note(Fault::Unplaced, start + seconds(20));
        }
        health.note(Fault::ChangedSsrc, start + seconds(20));
        let both = [HintCode::UnplacedPackets, HintCode::ChangingSsrc];
        assert_eq!(look(&mut health, 20), both);
        assert_eq!(look(&mut health, 40), [HintCode::ChangingSsrc]);
        assert_eq!(look(&mut health, 80), []);
    }

    #[test]
    fn changes_are_told_two_seconds_apart_and_seconds_are_not_counted() {
        let start = Instant::now();
        let mut health = Health::default();
        let mut look = |at: u64, interval: Option<u32>| {
            let mut hints = Hints::default();
            if let Some(seconds) = interval {
                hints.add(Hint {
                    code: HintCode::LongKeyframeInterval,
                    seconds: Some(seconds),
                });
            }
            health.look(start + seconds(at), |_| None, hints)
        };
        assert!(look(0, Some(10)));
        assert!(!look(1, None), "too soon");
        assert!(!look(3, Some(11)));
        assert!(look(4, Some(20)));
        assert!(look(6, None));
        assert!(!look(20, None));
    }
}
