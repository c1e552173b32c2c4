//! How much somebody may ask of us: so many of something in a span, and a burst.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Network;

/// What a [`Bucket`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In the long run one in this time. Zero: there is no limit.
    pub every: Duration,
    /// So many at once, after a pause. 0 is as good as 1.
    pub burst: u32,
}

impl Limit {
    /// `count` at once, and as many again over `span`.
    #[must_use]
    pub const fn over(count: u32, span: Duration) -> Self {
        let burst = if count == 0 { 1 } else { count };
        let every = span.checked_div(burst).expect("not by zero");
        Self { every, burst }
    }

    /// The time in which a bucket fills.
    fn span(self) -> Duration {
        self.every.saturating_mul(self.burst.max(1))
    }
}

/// A token bucket that is a single time: when it would be full again (the generic cell rate
/// algorithm). A new one is full.
///
/// The limit may differ from call to call: under one that fills faster, the bucket is empty at worst.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one at `now`. False: there is none left.
    #[inline]
    pub fn take(&mut self, now: Instant, limit: Limit) -> bool {
        self.try_take(now, limit).is_ok()
    }

    /// Takes one at `now`.
    ///
    /// # Errors
    /// After what time there is one.
    #[inline]
    pub fn try_take(&mut self, now: Instant, limit: Limit) -> Result<(), Duration> {
        let wait = self.wait(now, limit);
        if wait.is_zero() {
            self.spend(now, limit);
            return Ok(());
        }
        Err(wait)
    }

    /// After what time there is one; zero: there is one now. Nothing is taken.
    #[inline]
    pub fn wait(&mut self, now: Instant, limit: Limit) -> Duration {
        let span = limit.span();
        let owed = self.owed(now);
        if owed > span {
            self.full_at = Some(now + span);
        }
        (owed.min(span) + limit.every).saturating_sub(span)
    }

    /// Takes one, whether there is one or not.
    #[inline]
    pub fn spend(&mut self, now: Instant, limit: Limit) {
        self.full_at = Some(now.max(self.full_at.unwrap_or(now)) + limit.every);
    }

    /// Takes up to `wanted` at `now`. How many it got.
    pub fn take_up_to(&mut self, wanted: u32, now: Instant, limit: Limit) -> u32 {
        let left = limit.span().saturating_sub(self.owed(now));
        let there = left.as_nanos() / limit.every.as_nanos().max(1);
        let taken = wanted.min(u32::try_from(there).unwrap_or(u32::MAX));
        self.full_at = Some(now.max(self.full_at.unwrap_or(now)) + limit.every * taken);
        taken
    }

    /// Gives back one that was taken and did not count.
    pub fn give_back(&mut self, limit: Limit) {
        self.full_at = self.full_at.and_then(|at| at.checked_sub(limit.every));
    }

    /// Whether it is as good as a new one.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.owed(now).is_zero()
    }

    /// What it takes to be full, as time.
    #[inline]
    fn owed(&self, now: Instant) -> Duration {
        self.full_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

/// A rate with a burst, as it is configured. A rate of 0 a minute is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Sustained, a minute.
    pub per_minute: u32,
    /// At once, after a rest. At least 1 is allowed.
    pub burst: u32,
}

impl Rate {
    /// `per_minute` sustained, `burst` at once.
    #[must_use]
    pub const fn new(per_minute: u32, burst: u32) -> Self {
        Self { per_minute, burst }
    }
}

impl From<Rate> for Limit {
    fn from(rate: Rate) -> Self {
        let every = Duration::from_secs(60).checked_div(rate.per_minute);
        Self {
            every: every.unwrap_or(Duration::ZERO),
            burst: rate.burst,
        }
    }
}

/// Rates by address, in bounded memory: a full bucket says nothing and can go.
#[derive(Debug)]
pub struct AddressRates {
    limit: Limit,
    entries_max: usize,
    buckets: HashMap<Network, Bucket>,
    /// Of all that have none of their own.
    overflow: Bucket,
    swept: Option<Instant>,
}

/// A full table is searched for entries that can go at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl AddressRates {
    /// Remembers at most `entries_max` addresses; past it, new ones share one budget.
    #[must_use]
    pub fn new(rate: Rate, entries_max: usize) -> Self {
        Self {
            limit: rate.into(),
            entries_max,
            buckets: HashMap::new(),
            overflow: Bucket::default(),
            swept: None,
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// After what time to try again.
    pub fn take(&mut self, now: Instant, address: Network) -> Result<(), Duration> {
        if self.limit.every.is_zero() {
            return Ok(());
        }
        if let Some(bucket) = self.buckets.get_mut(&address) {
            return bucket.try_take(now, self.limit);
        }
        if self.buckets.len() >= self.entries_max {
            let due = self.swept.is_none_or(|at| now >= at + SWEEP_EVERY);
            if due {
                self.swept = Some(now);
                self.buckets.retain(|_, bucket| !bucket.is_full(now));
            }
            if self.buckets.len() >= self.entries_max {
                return self.overflow.try_take(now, self.limit);
            }
        }
        let bucket = self.buckets.entry(address).or_default();
        bucket.try_take(now, self.limit)
    }

    /// Whether one event could be taken now.
    ///
    /// # Errors
    /// After what time to try again.
    pub fn check(&self, now: Instant, address: Network) -> Result<(), Duration> {
        let is_full = self.buckets.len() >= self.entries_max;
        let shared = if is_full {
            self.overflow
        } else {
            Bucket::default()
        };
        let mut bucket = self.buckets.get(&address).copied().unwrap_or(shared);
        bucket.try_take(now, self.limit)
    }

    /// Gives back one event that was taken and did not count.
    pub fn give_back(&mut self, address: Network) {
        let bucket = self.buckets.get_mut(&address);
        bucket.unwrap_or(&mut self.overflow).give_back(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const LIMIT: Limit = Limit {
        every: Duration::from_millis(50),
        burst: 60,
    };

    fn taken(bucket: &mut Bucket, at: Instant, tries: u32) -> usize {
        (0..tries).filter(|_| bucket.take(at, LIMIT)).count()
    }

    fn address(n: u32) -> Network {
        IpAddr::V4(n.into()).into()
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

    #[test]
    fn who_is_refused_hears_when_to_try_again() {
        let limit = Limit::over(20, Duration::from_secs(30));
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..20 {
            assert_eq!(bucket.try_take(start, limit), Ok(()));
        }
        let wait = bucket.try_take(start, limit).unwrap_err();
        assert_eq!(wait, Duration::from_millis(1_500));
        assert_eq!(bucket.wait(start, limit), wait);
        let early = start + wait - Duration::from_millis(10);
        assert!(!bucket.take(early, limit));
        assert!(bucket.take(start + wait, limit));
        assert!(!bucket.is_full(start + wait));
        assert!(bucket.is_full(start + wait + limit.span()));
    }

    #[test]
    fn a_limit_may_change() {
        let seconds = Duration::from_secs;
        let slow = Limit::over(1, seconds(120));
        let quicker = Limit::over(1, seconds(5));
        let off = Limit::over(1, Duration::ZERO);
        let start = Instant::now();
        let mut bucket = Bucket::default();
        bucket.spend(start, slow);
        let later = start + seconds(10);
        assert_eq!(bucket.wait(later, slow), seconds(110));
        let mut other = bucket;
        assert_eq!(other.wait(later, off), Duration::ZERO);
        assert_eq!(bucket.wait(later, quicker), seconds(5));
        assert_eq!(bucket.wait(later + seconds(5), quicker), Duration::ZERO);
    }

    #[test]
    fn what_did_not_count_is_given_back() {
        let limit = Limit::over(3, Duration::from_secs(3));
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert!(bucket.take(start, limit));
        }
        bucket.give_back(limit);
        assert!(bucket.take(start, limit) && !bucket.take(start, limit));
    }

    #[test]
    fn each_address_has_its_own() {
        let start = Instant::now();
        let mut rates = AddressRates::new(Rate::new(60, 3), 10);
        for _ in 0..3 {
            assert_eq!(rates.check(start, address(1)), Ok(()));
            assert_eq!(rates.take(start, address(1)), Ok(()));
        }
        assert_eq!(rates.check(start, address(1)), Err(Duration::from_secs(1)));
        rates.give_back(address(1));
        assert_eq!(rates.check(start, address(1)), Ok(()));
        assert_eq!(rates.take(start, address(1)), Ok(()));
        assert_eq!(rates.take(start, address(1)), Err(Duration::from_secs(1)));
        assert_eq!(rates.take(start, address(2)), Ok(()), "another address");
        let later = start + Duration::from_millis(400);
        assert_eq!(
            rates.take(later, address(1)),
            Err(Duration::from_millis(600))
        );
        let later = start + Duration::from_secs(1);
        assert_eq!(rates.take(later, address(1)), Ok(()));
        assert!(rates.take(later, address(1)).is_err());
        // A clock that goes back refuses, and neither panics nor forgives.
        assert!(rates.take(start, address(1)).is_err());
    }

    #[test]
    fn memory_is_bounded_and_overflow_shares() {
        let start = Instant::now();
        let mut rates = AddressRates::new(Rate::new(60, 1), 100);
        let accepted = (0..1_000)
            .filter(|n| rates.take(start, address(*n)).is_ok())
            .count();
        assert_eq!(accepted, 101, "a hundred of their own, one shared");
        assert_eq!(rates.buckets.len(), 100);
        // Once the first are full again, they make room.
        assert_eq!(
            rates.take(start + Duration::from_secs(2), address(5_000)),
            Ok(())
        );
        assert_eq!(rates.buckets.len(), 1);
    }

    #[test]
    fn zero_is_no_limit() {
        let now = Instant::now();
        let mut rates = AddressRates::new(Rate::new(0, 0), 1);
        let mut bucket = Bucket::default();
        for _ in 0..10_000 {
            assert_eq!(rates.take(now, address(1)), Ok(()));
            assert!(bucket.take(now, Rate::new(0, 0).into()));
        }
    }
}
