//! Whether the link is used beyond what it carries, told by how the delay of packets changes.
//!
//! draft-ietf-rmcat-gcc-02, section 5, with a line fitted through the delays in place of the Kalman
//! filter of section 5.3. `overuse.rs` judges the trend; `queue.rs` tells what stands in queues.

use super::Micros;
use super::overuse::{OveruseDetector, Usage};
use super::queue::StandingQueue;

/// Packets sent within this time are one group, and so are packets that came as a burst
/// (section 5.2): what a device held back and let go together says nothing about a queue.
const BURST: Micros = 5_000;
/// A burst ends after this time, however dense it is.
const BURST_MAX: Micros = 100_000;
/// A delay that changes so much from one packet to the next is a clock that was set.
const JUMP: Micros = 2_000_000;
/// Groups that the line is fitted through.
const TREND: usize = 20;
/// Weight of the past in the smoothed delay.
const SMOOTHING: f32 = 0.9;
/// Scale of the slope, so that the thresholds of section 5.6 fit: the slope is multiplied by the
/// number of groups, and by this.
const GAIN: f32 = 4.0;
const GROUPS_MAX: f32 = 60.0;

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: Micros,
    last_sent: Micros,
    first_arrival: Micros,
    last_arrival: Micros,
}

impl Group {
    fn holds(&self, sent: Micros, arrival: Micros) -> bool {
        if sent - self.first_sent <= BURST {
            return true;
        }
        let apart = arrival - self.last_arrival;
        apart <= BURST && apart < sent - self.last_sent && arrival - self.first_arrival < BURST_MAX
    }
}

#[derive(Clone, Debug)]
pub(super) struct DelayDetector {
    previous: Option<Group>,
    group: Option<Group>,
    trend: Trend,
    overuse: OveruseDetector,
    queue: StandingQueue,
    last_delay: Option<Micros>,
    /// Packets were left out since the last one.
    skipped: bool,
}

impl DelayDetector {
    pub(super) fn new() -> Self {
        Self {
            previous: None,
            group: None,
            trend: Trend::default(),
            overuse: OveruseDetector::new(),
            queue: StandingQueue::new(),
            last_delay: None,
            skipped: false,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.overuse.usage()
    }

    pub(super) fn queue(&self) -> &StandingQueue {
        &self.queue
    }

    /// Takes a packet in the order of sending. Late ones are left out.
    pub(super) fn on_packet(&mut self, sent: Micros, arrival: Micros) {
        if std::mem::take(&mut self.skipped) {
            self.restart_trend();
        }
        let delay = arrival - sent;
        if self
            .last_delay
            .is_some_and(|last| (delay - last).abs() > JUMP)
        {
            *self = Self::new();
        }
        self.last_delay = Some(delay);
        self.queue.add(arrival, delay);
        let Some(group) = &mut self.group else {
            self.group = Some(Group::of(sent, arrival));
            return;
        };
        if sent < group.first_sent {
            return;
        }
        if group.holds(sent, arrival) {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            return;
        }
        let closed = *group;
        self.group = Some(Group::of(sent, arrival));
        if let Some(previous) = self.previous.replace(closed) {
            self.compare(previous, closed);
        }
    }

    /// A packet was left out on purpose: what the delays do meanwhile is no trend.
    pub(super) fn skip(&mut self) {
        self.skipped = true;
    }

    fn restart_trend(&mut self) {
        self.previous = None;
        self.group = None;
        self.trend = Trend::default();
        self.overuse.restart();
    }

    fn compare(&mut self, before: Group, after: Group) {
        let sent_apart = after.last_sent - before.last_sent;
        let arrived_apart = after.last_arrival - before.last_arrival;
        let variation = (arrived_apart - sent_apart) as f32 / 1e3;
        let slope = self.trend.add(after.last_arrival, variation);
        let trend = slope * self.trend.groups.min(GROUPS_MAX) * GAIN;
        self.overuse.judge(trend, sent_apart, after.last_arrival);
    }
}

impl Group {
    fn of(sent: Micros, arrival: Micros) -> Self {
        Self {
            first_sent: sent,
            last_sent: sent,
            first_arrival: arrival,
            last_arrival: arrival,
        }
    }
}

/// A line through the smoothed delays of the last groups.
#[derive(Clone, Debug, Default)]
struct Trend {
    /// Arrival time and smoothed delay in milliseconds; the oldest is at `next`.
    points: [(f32, f32); TREND],
    groups: f32,
    next: usize,
    len: usize,
    origin: Option<Micros>,
    delay: f32,
    smoothed: f32,
}

impl Trend {
    /// Adds a group; the slope is milliseconds of delay in each millisecond.
    fn add(&mut self, arrival: Micros, variation: f32) -> f32 {
        let mut origin = *self.origin.get_or_insert(arrival);
        // Single precision resolves well below a millisecond for a quarter of an hour.
        if arrival - origin > 600_000_000 {
            let shift = (arrival - origin) as f32 / 1e3;
            self.points.iter_mut().for_each(|point| point.0 -= shift);
            self.origin = Some(arrival);
            origin = arrival;
        }
        self.groups += 1.0;
        self.delay += variation;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        self.points[self.next] = ((arrival - origin) as f32 / 1e3, self.smoothed);
        self.next = (self.next + 1) % TREND;
        self.len = (self.len + 1).min(TREND);
        if self.len < TREND {
            return 0.0;
        }
        let count = self.len as f32;
        let points = &self.points[..self.len];
        let (x_sum, y_sum) = points
            .iter()
            .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (x_mean, y_mean) = (x_sum / count, y_sum / count);
        let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
            let x = point.0 - x_mean;
            (above + x * (point.1 - y_mean), below + x * x)
        });
        if below > 0.0 { above / below } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups 20 ms apart, delayed by what `delay` says in microseconds.
    fn run(detector: &mut DelayDetector, groups: std::ops::Range<i64>, delay: impl Fn(i64) -> i64) {
        for n in groups {
            let sent = n * 20_000;
            detector.on_packet(sent, sent + 5_000_000 + delay(n));
        }
    }

    #[test]
    fn growth_is_over_use_and_decline_is_under_use() {
        let mut detector = DelayDetector::new();
        run(&mut detector, 0..100, |_| 0);
        assert_eq!(detector.usage(), Usage::Normal);
        assert_eq!(
            (detector.queue().delay(), detector.queue().busy_for()),
            (0, None)
        );
        // Two milliseconds more for each group: a tenth more is sent than comes through.
        run(&mut detector, 100..125, |n| (n - 100) * 2_000);
        assert_eq!(detector.usage(), Usage::Over);
        assert!(detector.queue().delay() >= 40_000, "{:?}", detector.queue());
        assert!(
            detector
                .queue()
                .busy_for()
                .is_some_and(|busy| busy >= 200_000)
        );
        run(&mut detector, 125..160, |n| (160 - n) * 1_400);
        assert_eq!(detector.usage(), Usage::Under);
        run(&mut detector, 160..300, |_| 0);
        assert_eq!(detector.usage(), Usage::Normal);
        assert_eq!(
            (detector.queue().delay(), detector.queue().busy_for()),
            (0, None)
        );
    }

    #[test]
    fn one_late_group_is_no_over_use() {
        let mut detector = DelayDetector::new();
        for n in 0..300 {
            let late = if n % 50 == 49 { 18_000 } else { 0 };
            run(&mut detector, n..n + 1, |_| late);
            assert_ne!(detector.usage(), Usage::Over, "at {n}");
            assert_eq!(detector.queue().busy_for(), None, "at {n}");
        }
    }

    #[test]
    fn bursts_are_one_group() {
        let first = Group::of(0, 10_000);
        let check = |sent, arrival, want| assert_eq!(first.holds(sent, arrival), want);
        check(5_000, 90_000, true);
        check(20_000, 12_000, true);
        check(20_000, 30_000, false);
        // As far apart as it was sent: nothing held it back.
        check(5_001, 15_001, false);
    }

    #[test]
    fn a_clock_that_is_set_begins_anew() {
        let mut detector = DelayDetector::new();
        run(&mut detector, 0..100, |_| 0);
        run(&mut detector, 100..200, |_| 3_000_000);
        assert_eq!(detector.usage(), Usage::Normal);
        assert_eq!(detector.queue().delay(), 0);
    }

    #[test]
    fn the_least_delay_is_forgotten_in_time() {
        let mut detector = DelayDetector::new();
        run(&mut detector, 0..100, |_| 0);
        run(&mut detector, 100..200, |_| 60_000);
        assert_eq!(detector.queue().delay(), 60_000);
        run(&mut detector, 200..1_300, |_| 60_000);
        assert_eq!(detector.queue().delay(), 0);
    }
}
