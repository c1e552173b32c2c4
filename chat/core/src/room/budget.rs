//! What may be shown, in bytes, and when.

use std::time::{Duration, Instant};

/// Bytes that may be shown now: fills with time, to half a second's at most.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_per_second: f64,
    bytes: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn new(bytes_per_second: f64, now: Instant) -> Self {
        Self {
            bytes_per_second,
            bytes: bytes_per_second / 2.0,
            at: now,
        }
    }

    pub(super) fn refill(&mut self, now: Instant) {
        let rate = self.bytes_per_second;
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        // What is never left out may run into debt; not for longer than two seconds.
        self.bytes = (self.bytes + passed * rate).clamp(-2.0 * rate, rate / 2.0);
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes -= bytes as f64;
    }

    pub(super) fn bytes(&self) -> f64 {
        self.bytes
    }
}

/// When a room shows something next.
#[derive(Debug)]
pub(super) struct Schedule {
    tick: Duration,
    urgent: Duration,
    ticked_at: Instant,
    /// `None`: nothing waits for a tick.
    tick_at: Option<Instant>,
    urgent_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Everything.
    Tick,
    /// Only what is never left out.
    Urgent,
}

impl Schedule {
    /// The first tick may come at once.
    pub(super) fn new(tick: Duration, urgent: Duration, now: Instant) -> Self {
        Self {
            tick,
            urgent,
            ticked_at: now - tick,
            tick_at: None,
            urgent_at: None,
        }
    }

    /// Something waits for the next tick.
    pub(super) fn want_tick(&mut self, now: Instant) {
        self.want_tick_at((self.ticked_at + self.tick).max(now));
    }

    /// Something waits that is to be shown so long after the last tick.
    pub(super) fn want_tick_after(&mut self, span: Duration) {
        self.want_tick_at(self.ticked_at + span);
    }

    fn want_tick_at(&mut self, at: Instant) {
        self.tick_at = Some(self.tick_at.map_or(at, |before| before.min(at)));
    }

    /// Something that is never left out waits.
    pub(super) fn want_urgent(&mut self, now: Instant) {
        self.urgent_at.get_or_insert(now + self.urgent);
    }

    /// A tick is shown now.
    pub(super) fn tick(&mut self, now: Instant) {
        (self.tick_at, self.ticked_at) = (None, now);
    }

    /// What is never left out is shown now.
    pub(super) fn urgent(&mut self) {
        self.urgent_at = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tick_at.into_iter().chain(self.urgent_at).min()
    }

    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.tick_at) {
            Some(Due::Tick)
        } else {
            is_due(self.urgent_at).then_some(Due::Urgent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_fills_to_half_a_second_and_its_debt_ends() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut budget = Budget::new(1_000.0, now);
        budget.refill(after(10_000));
        assert_eq!(budget.bytes(), 500.0);
        budget.spend(700);
        budget.refill(after(10_100));
        assert!((budget.bytes() + 100.0).abs() < 1.0, "{}", budget.bytes());
        budget.spend(1_000_000);
        budget.refill(after(10_100));
        assert_eq!(budget.bytes(), -2_000.0);
    }

    #[test]
    fn ticks_keep_their_distance_and_what_is_urgent_need_not_wait_for_them() {
        let ms = Duration::from_millis;
        let now = Instant::now();
        let mut schedule = Schedule::new(ms(200), ms(40), now);
        assert_eq!(schedule.deadline(), None);
        schedule.want_tick(now);
        assert_eq!(schedule.due(now), Some(Due::Tick));
        schedule.tick(now);
        schedule.want_tick_after(ms(1_000));
        schedule.want_tick(now + ms(10));
        assert_eq!(schedule.deadline(), Some(now + ms(200)));
        schedule.want_urgent(now + ms(10));
        schedule.want_urgent(now + ms(30));
        assert_eq!(schedule.deadline(), Some(now + ms(50)));
        assert_eq!(schedule.due(now + ms(50)), Some(Due::Urgent));
        schedule.urgent();
        assert_eq!(schedule.due(now + ms(199)), None);
        assert_eq!(schedule.due(now + ms(200)), Some(Due::Tick));
    }
}
