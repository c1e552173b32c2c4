//! When a packet was sampled, on our clock: what lip sync and layer switches rest on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A sender report's pair of times (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The sender's wall clock.
    pub wall: SystemTime,
    /// The RTP timestamp of the same moment.
    pub timestamp: u32,
}

/// The sender's wall clock against ours, common to all streams of one publisher.
///
/// It follows the packet with the least delay: network jitter only ever adds to a delay.
#[derive(Clone, Debug)]
pub struct SenderClock {
    /// Two moments taken together at the start: how our `Instant`s relate to wall time.
    anchor: Instant,
    /// Smallest (arrival on our clock) - (sender's wall clock), in microseconds, since `since`.
    best: Option<i64>,
    /// The same over the window that is being filled.
    filling: Option<i64>,
    window_at: Instant,
}

/// How long the least delay is believed before a later one may replace it.
const WINDOW: Duration = Duration::from_secs(10);
/// A sender's clock that steps by more than this has been set, not drifted.
const STEP_US: i64 = 1_000_000;

impl SenderClock {
    /// A clock without any report from the sender yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            anchor: now,
            best: None,
            filling: None,
            window_at: now,
        }
    }

    /// When a packet was sampled, on our clock, and never later than it came in.
    ///
    /// `report` is the stream's last sender report; without one the arrival has to do.
    pub fn sampled_at(
        &mut self,
        received_at: Instant,
        timestamp: u32,
        clock_rate: u32,
        report: Option<SenderReport>,
    ) -> Instant {
        let Some(wall) = report.map(|report| wall_us(report, timestamp, clock_rate)) else {
            return received_at;
        };
        let arrival = received_at
            .saturating_duration_since(self.anchor)
            .as_micros() as i64;
        let delay = arrival.saturating_sub(wall);
        let stepped = self
            .best
            .is_some_and(|best| best.abs_diff(delay) > STEP_US as u64);
        if stepped {
            self.best = None;
            self.filling = None;
        }
        if received_at.saturating_duration_since(self.window_at) > WINDOW {
            self.window_at = received_at;
            self.best = self.filling.take().or(self.best);
        }
        self.filling = Some(self.filling.map_or(delay, |least| least.min(delay)));
        let best = self.best.map_or(delay, |best| best.min(delay));
        self.best = Some(best);
        let behind = (delay - best).max(0) as u64;
        received_at
            .checked_sub(Duration::from_micros(behind))
            .unwrap_or(received_at)
    }

    /// The sender's wall clock less ours, in seconds, as `abs-capture-time` wants it; `None`
    /// before the first sender report. `wall_now` is our wall clock at `now`.
    #[must_use]
    pub fn offset_seconds(&self, now: Instant, wall_now: SystemTime) -> Option<f64> {
        let best = self.best?;
        let sender_now = now.saturating_duration_since(self.anchor).as_micros() as i64 - best;
        let ours = wall_now.duration_since(UNIX_EPOCH).ok()?.as_micros() as i64;
        Some((sender_now - ours) as f64 / 1e6)
    }
}

/// The sender's wall clock at an RTP timestamp near the report's, in microseconds of Unix time.
fn wall_us(report: SenderReport, timestamp: u32, clock_rate: u32) -> i64 {
    let unix = match report.wall.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_micros() as i64,
        Err(before) => -(before.duration().as_micros() as i64),
    };
    // Signed distance: packets sampled before the report may come in after it.
    let ticks = i64::from(timestamp.wrapping_sub(report.timestamp) as i32);
    unix.saturating_add(ticks * 1_000_000 / i64::from(clock_rate.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(unix_ms: u64, timestamp: u32) -> SenderReport {
        SenderReport {
            wall: UNIX_EPOCH + Duration::from_millis(unix_ms),
            timestamp,
        }
    }

    #[test]
    fn without_a_report_the_arrival_counts() {
        let now = Instant::now();
        assert_eq!(SenderClock::new(now).sampled_at(now, 5, 90_000, None), now);
    }

    #[test]
    fn jitter_is_taken_out_and_audio_agrees_with_video() {
        let start = Instant::now();
        let mut clock = SenderClock::new(start);
        let video = report(1_000_000, u32::MAX - 1_000);
        let audio = report(1_000_000, 77);
        // Frames each 33 ms, some of them 0 to 20 ms late; the first with the least delay.
        for n in 0..60_u32 {
            let sent = start + Duration::from_micros(33_333) * n;
            let jitter = Duration::from_millis(u64::from(n * 7 % 20));
            let timestamp = video.timestamp.wrapping_add(3_000 * n);
            let got = clock.sampled_at(sent + jitter, timestamp, 90_000, Some(video));
            let error = got
                .duration_since(start)
                .abs_diff(sent.duration_since(start));
            assert!(
                error < Duration::from_millis(1),
                "frame {n}: off by {error:?}"
            );
        }
        let at = start + Duration::from_secs(1);
        let got = clock.sampled_at(
            at + Duration::from_millis(12),
            77 + 48_000,
            48_000,
            Some(audio),
        );
        assert!(
            got.duration_since(start).abs_diff(Duration::from_secs(1)) < Duration::from_millis(1)
        );
    }

    #[test]
    fn a_sender_clock_that_is_set_starts_anew() {
        let start = Instant::now();
        let mut clock = SenderClock::new(start);
        clock.sampled_at(start, 0, 90_000, Some(report(5_000_000, 0)));
        let later = start + Duration::from_secs(1);
        for wall in [9_000_000_000, 1_000] {
            assert_eq!(
                clock.sampled_at(later, 0, 90_000, Some(report(wall, 0))),
                later
            );
        }
    }

    #[test]
    fn the_offset_is_the_senders_clock_less_ours() {
        let start = Instant::now();
        let mut clock = SenderClock::new(start);
        clock.sampled_at(start, 0, 90_000, Some(report(10_000, 0)));
        let ours = UNIX_EPOCH + Duration::from_millis(7_500);
        let offset = clock.offset_seconds(start, ours).unwrap();
        assert!((offset - 2.5).abs() < 1e-3, "{offset}");
    }
}
