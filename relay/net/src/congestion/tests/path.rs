//! One direction of a path.

use std::time::{Duration, Instant};

/// Which packets are lost: in bursts of a mean length, or each for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    part: f64,
    burst: f64,
    seed: u64,
}

impl Loss {
    pub(super) const fn none() -> Self {
        Self::single(0.0)
    }

    pub(super) const fn single(part: f64) -> Self {
        Self::bursts(part, 1.0)
    }

    pub(super) const fn bursts(part: f64, burst: f64) -> Self {
        Self {
            part,
            burst,
            seed: 1,
        }
    }

    pub(super) const fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

/// A bottleneck with a queue, then a delay; loss behind it.
#[derive(Clone, Debug)]
pub(super) struct Path {
    rate: f64,
    delay: Duration,
    queue_bytes: usize,
    loss: Loss,
    random: fastrand::Rng,
    losing: bool,
    free_at: Option<Instant>,
    narrows: Option<(Duration, f64)>,
    began: Option<Instant>,
    pub(super) queued: Duration,
    pub(super) packets: u32,
}

impl Path {
    pub(super) fn new(rate: u32, delay: Duration, queue_bytes: usize, loss: Loss) -> Self {
        Self {
            rate: f64::from(rate),
            delay,
            queue_bytes,
            loss,
            random: fastrand::Rng::with_seed(loss.seed),
            losing: false,
            free_at: None,
            narrows: None,
            began: None,
            queued: Duration::ZERO,
            packets: 0,
        }
    }

    /// From some time on, another rate.
    pub(super) fn narrowing(mut self, after: Duration, rate: u32) -> Self {
        self.narrows = Some((after, f64::from(rate)));
        self
    }

    /// The way back: the same delay and loss, and no bottleneck.
    pub(super) fn back(&self) -> Self {
        let mut back = Self::new(1_000_000_000, self.delay, usize::MAX, self.loss);
        back.random = fastrand::Rng::with_seed(!self.loss.seed);
        back
    }

    /// When a packet arrives, if it does.
    pub(super) fn send(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let began = *self.began.get_or_insert(now);
        if let Some((after, rate)) = self.narrows
            && now >= began + after
        {
            self.rate = rate;
        }
        let leaves = self.free_at.map_or(now, |at| at.max(now));
        let waits = leaves - now;
        if waits.as_secs_f64() * self.rate / 8.0 > self.queue_bytes as f64 {
            return None;
        }
        self.queued += waits;
        self.packets += 1;
        let left = leaves + Duration::from_secs_f64(bytes as f64 * 8.0 / self.rate);
        self.free_at = Some(left);
        (!self.loses()).then_some(left + self.delay)
    }

    /// Two states (Gilbert): a burst ends with each packet by chance.
    fn loses(&mut self) -> bool {
        let Loss { part, burst, .. } = self.loss;
        let chance = self.random.f64();
        self.losing = if self.losing && burst > 1.0 {
            chance >= 1.0 / burst
        } else {
            chance < part / burst / (1.0 - part)
        };
        self.losing
    }
}
