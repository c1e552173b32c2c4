//! A timer wheel: each session's next deadline, without a scan over the sessions.

use std::time::{Duration, Instant};

/// Slots of one millisecond; a deadline further off waits in the last one and is looked at again then.
const SLOTS: u64 = 4_096;

/// Deadlines of the things that a shard holds, by a small index that the shard gives out.
///
/// Each index has at most one live deadline. A timer that is moved later stays where it was and
/// is put on again when it fires: most are moved later all the time.
#[derive(Debug)]
pub struct TimerWheel {
    start: Instant,
    /// Ticks up to and including this one have fired.
    now: u64,
    slots: Vec<Vec<u32>>,
    /// By index: the tick in whose slot it waits, if it does.
    armed: Vec<Option<u64>>,
    waiting: usize,
}

impl TimerWheel {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            now: 0,
            slots: vec![Vec::new(); SLOTS as usize],
            armed: Vec::new(),
            waiting: 0,
        }
    }

    /// Sees to it that `index` fires at `deadline` or before; early fires are for the caller to
    /// arm again.
    pub fn arm(&mut self, index: u32, deadline: Instant) {
        let tick = self.tick_of(deadline);
        let slot = index as usize;
        if self.armed.len() <= slot {
            self.armed.resize(slot + 1, None);
        }
        match self.armed[slot] {
            Some(armed) if armed <= tick => {}
            before => {
                self.waiting += usize::from(before.is_none());
                self.armed[slot] = Some(tick);
                self.slots[(tick % SLOTS) as usize].push(index);
            }
        }
    }

    /// Forgets `index`.
    pub fn disarm(&mut self, index: u32) {
        if let Some(armed) = self.armed.get_mut(index as usize)
            && armed.take().is_some()
        {
            self.waiting -= 1;
        }
    }

    /// Moves on to `now` and puts what is due into `fired`.
    pub fn advance(&mut self, now: Instant, fired: &mut Vec<u32>) {
        let target = now.saturating_duration_since(self.start).as_millis() as u64;
        if target <= self.now {
            return;
        }
        // After a long sleep one round over the wheel sees every slot.
        let first = (self.now + 1).max(target.saturating_sub(SLOTS - 1));
        for tick in first..=target {
            let slot = (tick % SLOTS) as usize;
            let mut due = std::mem::take(&mut self.slots[slot]);
            for index in due.drain(..) {
                let armed = &mut self.armed[index as usize];
                // Entries left behind by an earlier deadline or a disarm no longer match.
                if armed.is_some_and(|at| at <= target && at % SLOTS == tick % SLOTS) {
                    *armed = None;
                    self.waiting -= 1;
                    fired.push(index);
                }
            }
            self.slots[slot] = due;
        }
        self.now = target;
    }

    /// How many timers run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.waiting
    }

    /// A time by which [`Self::advance`] must be called; `None` while nothing waits.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        let tick = (self.now + 1..self.now + SLOTS)
            .find(|tick| !self.slots[(tick % SLOTS) as usize].is_empty())
            .unwrap_or(self.now + SLOTS);
        Some(self.start + Duration::from_millis(tick))
    }

    /// The first tick not before `deadline`, within one round of the wheel.
    fn tick_of(&self, deadline: Instant) -> u64 {
        let after = deadline.saturating_duration_since(self.start);
        let tick = after.as_micros().div_ceil(1_000) as u64;
        tick.clamp(self.now + 1, self.now + SLOTS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn fires_in_time_and_once() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start);
        let mut fired = Vec::new();
        wheel.arm(0, ms(start, 10));
        wheel.arm(1, ms(start, 5));
        wheel.arm(0, ms(start, 3));
        assert_eq!(wheel.next(), Some(ms(start, 3)));
        wheel.advance(ms(start, 4), &mut fired);
        assert_eq!(fired, [0]);
        fired.clear();
        wheel.advance(ms(start, 20), &mut fired);
        assert_eq!(fired, [1], "the stale entry of 0 must not fire");
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn against_a_model() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start);
        let mut model: Vec<Option<u64>> = vec![None; 64];
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let (mut now, mut fired) = (0_u64, Vec::new());
        for _ in 0..20_000 {
            let index = random(64);
            match random(4) {
                0 => {
                    wheel.disarm(index as u32);
                    model[index as usize] = None;
                }
                1 => {
                    now += random(700);
                    fired.clear();
                    wheel.advance(ms(start, now), &mut fired);
                    for &index in &fired {
                        // It may fire early only when its deadline lay beyond the wheel.
                        match model[index as usize].take() {
                            Some(at) if at > now => {
                                model[index as usize] = Some(at);
                                wheel.arm(index, ms(start, at));
                            }
                            Some(_) => {}
                            None => panic!("{index} fired without a deadline"),
                        }
                    }
                    for (index, at) in model.iter().enumerate() {
                        assert!(
                            at.is_none_or(|at| at > now),
                            "{index} is late: {at:?} at {now}"
                        );
                    }
                }
                _ => {
                    let at = now + 1 + random(9_000);
                    let kept = model[index as usize].map_or(at, |before| before.min(at));
                    model[index as usize] = Some(kept);
                    wheel.arm(index as u32, ms(start, at));
                }
            }
        }
    }
}
