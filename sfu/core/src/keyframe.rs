//! Merging keyframe requests: however many viewers ask, a layer's publisher hears at most one
//! request in an interval.

use std::time::{Duration, Instant};

/// Merges the keyframe requests for one layer of one track.
#[derive(Clone, Debug)]
pub struct KeyframeGate {
    interval: Duration,
    sent_at: Option<Instant>,
    /// Asked since the last request or keyframe, and not yet sent on.
    wanted: bool,
}

impl KeyframeGate {
    /// A gate that lets one request through in each `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            sent_at: None,
            wanted: false,
        }
    }

    /// A viewer asks. Whether the request goes upstream is [`Self::poll`]'s answer.
    pub fn request(&mut self) {
        self.wanted = true;
    }

    /// A keyframe has begun to come in: it serves everyone who asked before.
    pub fn keyframe(&mut self) {
        self.wanted = false;
    }

    /// True when a request must be sent upstream now; the gate counts it as sent.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.sent_at.is_none_or(|at| at + self.interval <= now);
        if due {
            self.sent_at = Some(now);
            self.wanted = false;
        }
        due
    }

    /// When to [`Self::poll`] next, after a poll that said no; `None` while nobody waits.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.wanted {
            self.sent_at.map(|at| at + self.interval)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_thousand_joins_make_one_request_a_second() {
        let start = Instant::now();
        let mut gate = KeyframeGate::new(SECOND);
        let mut sent = Vec::new();
        // 1,000 viewers ask over ten seconds, one each 10 ms; a keyframe answers 80 ms after each
        // request that went upstream.
        let mut keyframe_due = None;
        for ms in 0..10_000_u64 {
            let now = start + Duration::from_millis(ms);
            if keyframe_due == Some(ms) {
                gate.keyframe();
            }
            if ms % 10 == 0 {
                gate.request();
            }
            if gate.poll(now) {
                sent.push(ms);
                keyframe_due = Some(ms + 80);
            }
        }
        assert_eq!(sent.first(), Some(&0), "the first request goes at once");
        assert!(sent.len() <= 10, "{sent:?}");
        assert!(sent.windows(2).all(|w| w[1] - w[0] >= 1_000), "{sent:?}");
    }

    #[test]
    fn a_keyframe_in_time_serves_those_who_wait() {
        let start = Instant::now();
        let mut gate = KeyframeGate::new(SECOND);
        gate.request();
        assert!(gate.poll(start));
        gate.request();
        assert!(!gate.poll(start + SECOND / 2));
        assert_eq!(gate.deadline(), Some(start + SECOND));
        gate.keyframe();
        assert_eq!(gate.deadline(), None);
        assert!(!gate.poll(start + 2 * SECOND));
    }

    #[test]
    fn a_request_that_waits_goes_when_the_interval_ends() {
        let start = Instant::now();
        let mut gate = KeyframeGate::new(SECOND);
        gate.request();
        assert!(gate.poll(start));
        gate.request();
        assert!(!gate.poll(start + SECOND - Duration::from_nanos(1)));
        assert!(gate.poll(start + SECOND));
        assert!(!gate.poll(start + 5 * SECOND), "nobody asked again");
    }
}
