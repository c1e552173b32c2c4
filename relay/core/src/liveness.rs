//! Whether the other end of a link is alive, and how far away it is. Clocks are not compared.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::envelope::Heartbeat;
use crate::limits::{CLOSE_AFTER, SUSPECT_AFTER};

/// Heartbeats whose echo is waited for. A later echo of an older one measures nothing.
const PENDING_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Liveness {
    heard_at: Instant,
    is_suspect: bool,
    sent: u32,
    pending: VecDeque<(u32, Instant)>,
    /// The last heartbeat of the other end, and when it came.
    last: Option<(u32, Instant)>,
    rtt: Option<Duration>,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Suspect,
    Dead,
}

impl Liveness {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard_at: now,
            is_suspect: false,
            sent: 0,
            pending: VecDeque::new(),
            last: None,
            rtt: None,
        }
    }

    /// Something was heard. Whether the peer was suspect.
    #[inline]
    pub(crate) fn heard(&mut self, now: Instant) -> bool {
        self.heard_at = now;
        std::mem::take(&mut self.is_suspect)
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to say, unless something is heard.
    pub(crate) fn timeout(&self) -> Instant {
        let silence = match self.is_suspect {
            true => CLOSE_AFTER,
            false => SUSPECT_AFTER,
        };
        self.heard_at + silence
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Change> {
        let silence = now.saturating_duration_since(self.heard_at);
        if silence >= CLOSE_AFTER {
            return Some(Change::Dead);
        }
        if silence >= SUSPECT_AFTER && !self.is_suspect {
            self.is_suspect = true;
            return Some(Change::Suspect);
        }
        None
    }

    pub(crate) fn beat(&mut self, now: Instant) -> Heartbeat {
        self.sent = self.sent.wrapping_add(1).max(1);
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back((self.sent, now));
        let (echo, held) = self.last.map_or((0, Duration::ZERO), |(number, at)| {
            (number, now.saturating_duration_since(at))
        });
        Heartbeat {
            number: self.sent,
            echo,
            held_us: u32::try_from(held.as_micros()).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now: Instant) {
        // One that was overtaken would make its echo older than it is.
        if self.last.is_none_or(|(last, _)| heartbeat.number > last) {
            self.last = Some((heartbeat.number, now));
        }
        let echoed = |(number, _): &(u32, Instant)| *number == heartbeat.echo;
        let Some(index) = self.pending.iter().position(echoed) else {
            return;
        };
        let (_, sent_at) = self.pending[index];
        self.pending.drain(..=index);
        let held = Duration::from_micros(heartbeat.held_us.into());
        let trip = now.saturating_duration_since(sent_at).saturating_sub(held);
        // As RFC 6298 smooths it.
        let smooth = |rtt: Duration| (rtt * 7 + trip) / 8;
        self.rtt = Some(self.rtt.map_or(trip, smooth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn round_trips_are_measured_whatever_the_clocks_say() {
        let here = Instant::now();
        // The other clock is five minutes ahead.
        let there = here + Duration::from_secs(300);
        let (mut ours, mut theirs) = (Liveness::new(here), Liveness::new(there));
        let mut lost = 0;
        for n in 0..50 {
            let at = ms(200 * n);
            let beat = ours.beat(here + at);
            if n % 3 == 1 {
                lost += 1;
            } else {
                theirs.handle_heartbeat(beat, there + at + ms(30));
            }
            // They beat at times of their own.
            let beat = theirs.beat(there + at + ms(110));
            ours.handle_heartbeat(beat, here + at + ms(160));
        }
        assert_eq!(ours.rtt(), Some(ms(80)));
        assert!(lost > 10 && ours.pending.len() <= PENDING_MAX);
    }

    #[test]
    fn lies_about_echoes_measure_nothing_or_zero() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now);
        for (echo, held_us, expected) in [
            (0, 0, None),
            (99, 0, None),
            (1, u32::MAX, Some(Duration::ZERO)),
            (1, 0, Some(Duration::ZERO)),
        ] {
            if echo == 1 && held_us > 0 {
                liveness.beat(now);
            }
            let heartbeat = Heartbeat {
                number: 1,
                echo,
                held_us,
            };
            liveness.handle_heartbeat(heartbeat, now + ms(50));
            assert_eq!(liveness.rtt(), expected, "{echo} {held_us}");
        }
        for _ in 0..100 {
            liveness.beat(now);
        }
        assert_eq!(liveness.pending.len(), PENDING_MAX);
    }

    #[test]
    fn silence_is_suspect_and_then_the_end() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now);
        assert_eq!(liveness.handle_timeout(now + ms(599)), None);
        let at = liveness.timeout();
        assert_eq!(liveness.handle_timeout(at), Some(Change::Suspect));
        assert_eq!(liveness.handle_timeout(now + ms(700)), None);
        assert!(liveness.heard(now + ms(700)));
        assert!(!liveness.heard(now + ms(700)));
        assert_eq!(liveness.handle_timeout(now + ms(1_299)), None);
        assert_eq!(
            liveness.handle_timeout(now + ms(1_300)),
            Some(Change::Suspect)
        );
        assert_eq!(
            liveness.handle_timeout(liveness.timeout()),
            Some(Change::Dead)
        );
    }
}
