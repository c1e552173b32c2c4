//! How much a peer may ask of us: so many of something a second, and a burst.

use std::time::{Duration, Instant};

/// What a [`Bucket`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In the long run one in this time.
    pub every: Duration,
    /// So many at once, after a pause. At least 1.
    pub burst: u32,
}

/// A token bucket that is a single time: when it would be full again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one at `now`. False: there is none left.
    pub fn take(&mut self, now: Instant, limit: Limit) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let owed = full_at.saturating_duration_since(now);
        let takes = owed + limit.every <= limit.every * limit.burst;
        if takes {
            self.full_at = Some(full_at + limit.every);
        }
        takes
    }

    /// Takes up to `wanted` at `now`. How many it got.
    pub fn take_up_to(&mut self, wanted: u32, now: Instant, limit: Limit) -> u32 {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let owed = full_at.saturating_duration_since(now);
        let left = (limit.every * limit.burst).saturating_sub(owed);
        let there = left.as_nanos() / limit.every.as_nanos().max(1);
        let taken = wanted.min(u32::try_from(there).unwrap_or(u32::MAX));
        self.full_at = Some(full_at + limit.every * taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        every: Duration::from_millis(50),
        burst: 60,
    };

    fn taken(bucket: &mut Bucket, at: Instant, tries: u32) -> usize {
        (0..tries).filter(|_| bucket.take(at, LIMIT)).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, start, 1_000), 60);
        assert_eq!(taken(&mut bucket, start + LIMIT.every, 1_000), 1);
        assert_eq!(taken(&mut bucket, start + LIMIT.every * 21, 1_000), 20);
        // A pause earns no more than the burst.
        let later = start + Duration::from_secs(3_600);
        assert_eq!(taken(&mut bucket, later, 1_000), 60);
    }

    #[test]
    fn many_at_once_are_the_same_as_one_by_one() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take_up_to(50, start, LIMIT), 50);
        assert_eq!(taken(&mut bucket, start, 5), 5);
        assert_eq!(bucket.take_up_to(u32::MAX, start, LIMIT), 5);
        assert_eq!(bucket.take_up_to(9, start, LIMIT), 0);
        assert_eq!(bucket.take_up_to(9, start + LIMIT.every * 3, LIMIT), 3);
    }

    #[test]
    fn a_flood_gets_the_rate_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        let tries = (0..10_000).map(|ms| start + Duration::from_millis(ms));
        let passed = tries.filter(|at| bucket.take(*at, LIMIT)).count();
        assert_eq!(passed, 60 + 199);
    }
}
