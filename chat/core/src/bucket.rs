//! A token bucket in virtual time.

use std::time::{Duration, Instant};

/// Lets `capacity` through at once, and as many again over `span`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Tokens at `at`.
    level: f32,
    at: Option<Instant>,
}

impl Bucket {
    pub(crate) const fn new() -> Self {
        Self {
            level: 0.0,
            at: None,
        }
    }

    /// Takes as many of `wanted` as there are. The bucket's size may differ from call to call.
    pub(crate) fn take_up_to(
        &mut self,
        now: Instant,
        capacity: u32,
        span: Duration,
        wanted: u32,
    ) -> u32 {
        self.fill(now, capacity, span);
        let taken = (self.level as u32).min(wanted);
        self.level -= taken as f32;
        taken
    }

    /// Takes one, or says how long until there is one.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        capacity: u32,
        span: Duration,
    ) -> Result<(), Duration> {
        match self.take_up_to(now, capacity, span, 1) {
            0 => Err(span.mul_f32((1.0 - self.level) / capacity as f32)),
            _ => Ok(()),
        }
    }

    /// How long until there is one; `None`: there is. Nothing is taken. Without a span there always
    /// is.
    pub(crate) fn wait(&mut self, now: Instant, capacity: u32, span: Duration) -> Option<Duration> {
        self.fill(now, capacity, span);
        (self.level < 1.0).then(|| span.mul_f32((1.0 - self.level) / capacity as f32))
    }

    /// Takes one, whether there is one or not.
    pub(crate) fn spend(&mut self, now: Instant, capacity: u32, span: Duration) {
        self.fill(now, capacity, span);
        self.level = (self.level - 1.0).max(0.0);
    }

    fn fill(&mut self, now: Instant, capacity: u32, span: Duration) {
        let capacity = capacity as f32;
        self.level = match self.at {
            None => capacity,
            Some(_) if span.is_zero() => capacity,
            Some(at) => {
                let passed = now.saturating_duration_since(at).as_secs_f32();
                (self.level + passed / span.as_secs_f32() * capacity).min(capacity)
            }
        };
        self.at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_with_time() {
        let span = Duration::from_secs(30);
        let mut bucket = Bucket::new();
        let now = Instant::now();
        for _ in 0..20 {
            assert_eq!(bucket.take(now, 20, span), Ok(()));
        }
        let wait = bucket.take(now, 20, span).unwrap_err();
        assert_eq!(wait, Duration::from_millis(1_500));
        assert!(
            bucket
                .take(now + wait - Duration::from_millis(10), 20, span)
                .is_err()
        );
        assert_eq!(bucket.take(now + wait, 20, span), Ok(()));
        assert_eq!(bucket.take_up_to(now + 10 * span, 20, span, 50), 20);
    }
}
