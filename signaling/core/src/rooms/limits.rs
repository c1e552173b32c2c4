//! Limits: how many of what, and how fast.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lightstick_types::Network;
use serde::{Deserialize, Serialize};

use super::Refusal;

/// Limits of the registry. A refusal names the limit it met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Rooms that have, or had, a publisher.
    pub rooms_max: usize,
    /// Rooms in which viewers wait for a first publisher, opened by guests, and as many again
    /// opened by viewers with a token. Counted apart, so that viewers of rooms that nobody opens
    /// cannot keep artists out, nor guests those with a token.
    pub waiting_rooms_max: usize,
    /// Of them, those that one client has opened: an address, or a token's participant.
    pub waiting_rooms_per_client_max: usize,
    /// Viewers of one room.
    pub viewers_per_room_max: usize,
    /// Sessions of one address (an IPv6 /64 counts as one).
    pub sessions_per_address_max: usize,
    /// Joins of one address.
    pub joins_per_address: Rate,
    /// Joins of all addresses together.
    pub joins: Rate,
    /// Offers of one address that are refused. Past it, its offers are not looked at: what nobody
    /// can answer costs work too, and takes nothing of the budgets of joins.
    pub refused_offers_per_address: Rate,
    /// Requests on session URLs of one address: nobody guesses ids at leisure.
    pub requests_per_address: Rate,
    /// WebSockets of the chat that one address opens.
    pub chat_opens_per_address: Rate,
    /// Addresses whose rate is remembered at a time. Past it, new addresses share one budget.
    pub addresses_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms_max: 1_000,
            waiting_rooms_max: 1_000,
            waiting_rooms_per_client_max: 10,
            viewers_per_room_max: 20_000,
            sessions_per_address_max: 2_000,
            joins_per_address: Rate::new(3_000, 1_000),
            joins: Rate::new(30_000, 2_000),
            refused_offers_per_address: Rate::new(60, 30),
            requests_per_address: Rate::new(12_000, 2_000),
            chat_opens_per_address: Rate::new(600, 200),
            addresses_max: 50_000,
        }
    }
}

/// A rate with a burst. A rate of 0 a minute is no limit.
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

    /// What one event costs; none without a limit.
    fn interval(self) -> Option<Duration> {
        (self.per_minute > 0).then(|| Duration::from_secs(60) / self.per_minute)
    }
}

/// What addresses may ask for, and how much of it is left.
#[derive(Debug)]
pub(super) struct Budgets {
    joins_per_address: AddressRates,
    joins: TotalRate,
    refused_offers: AddressRates,
    requests: AddressRates,
}

impl Budgets {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_address = |rate| AddressRates::new(rate, limits.addresses_max);
        Self {
            joins_per_address: per_address(limits.joins_per_address),
            joins: TotalRate::new(limits.joins),
            refused_offers: per_address(limits.refused_offers_per_address),
            requests: per_address(limits.requests_per_address),
        }
    }

    /// Takes one join.
    pub(super) fn take_join(&mut self, now: Instant, address: Network) -> Result<(), Refusal> {
        self.refused_offers
            .check(now, address)
            .map_err(|retry_after| Refusal::OffersRefused { retry_after })?;
        self.joins_per_address
            .take(now, address)
            .map_err(|retry_after| Refusal::AddressRate { retry_after })?;
        self.joins
            .take(now)
            .map_err(|retry_after| Refusal::JoinRate { retry_after })
    }

    /// A join came to nothing, as its offer was refused.
    pub(super) fn offer_refused(&mut self, now: Instant, address: Network) {
        self.joins_per_address.give_back(address);
        self.joins.give_back();
        // Its refusals are counted in a budget that may be used up meanwhile.
        let _ = self.refused_offers.take(now, address);
    }

    pub(super) fn take_request(&mut self, now: Instant, address: Network) -> Result<(), Duration> {
        self.requests.take(now, address)
    }
}

/// Rates by address, in bounded memory.
///
/// Each address costs one instant: the time at which its burst is whole again (the generic cell
/// rate algorithm). An entry whose time has come says nothing and can go.
#[derive(Debug)]
pub struct AddressRates {
    rate: Rate,
    entries_max: usize,
    whole_at: HashMap<Network, Instant>,
    overflow: Option<Instant>,
    swept: Option<Instant>,
}

/// A full table is searched for entries that can go at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl AddressRates {
    /// Remembers at most `entries_max` addresses; past it, new ones share one budget.
    #[must_use]
    pub fn new(rate: Rate, entries_max: usize) -> Self {
        Self {
            rate,
            entries_max,
            whole_at: HashMap::new(),
            overflow: None,
            swept: None,
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// After what time to come again.
    pub fn take(&mut self, now: Instant, address: Network) -> Result<(), Duration> {
        if self.rate.interval().is_none() {
            return Ok(());
        }
        if let Some(whole_at) = self.whole_at.get_mut(&address) {
            return take(self.rate, now, whole_at);
        }
        if self.whole_at.len() >= self.entries_max {
            let due = self.swept.is_none_or(|at| now >= at + SWEEP_EVERY);
            if due {
                self.swept = Some(now);
                self.whole_at.retain(|_, whole_at| *whole_at > now);
            }
            if self.whole_at.len() >= self.entries_max {
                return take(self.rate, now, self.overflow.get_or_insert(now));
            }
        }
        take(self.rate, now, self.whole_at.entry(address).or_insert(now))
    }

    /// Whether one event could be taken now; if not, after what time to come again.
    pub(super) fn check(&self, now: Instant, address: Network) -> Result<(), Duration> {
        let full = self.whole_at.len() >= self.entries_max;
        let shared = self.overflow.filter(|_| full);
        let whole_at = self.whole_at.get(&address).copied().or(shared);
        take(self.rate, now, &mut whole_at.unwrap_or(now))
    }

    /// Gives back one event that was taken and did not count.
    pub(super) fn give_back(&mut self, address: Network) {
        let whole_at = self.whole_at.get_mut(&address);
        give_back(self.rate, whole_at.or(self.overflow.as_mut()));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.whole_at.len()
    }
}

/// One rate for all.
#[derive(Debug)]
struct TotalRate {
    rate: Rate,
    whole_at: Option<Instant>,
}

impl TotalRate {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            whole_at: None,
        }
    }

    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        take(self.rate, now, self.whole_at.get_or_insert(now))
    }

    fn give_back(&mut self) {
        give_back(self.rate, self.whole_at.as_mut());
    }
}

fn give_back(rate: Rate, whole_at: Option<&mut Instant>) {
    if let (Some(interval), Some(whole_at)) = (rate.interval(), whole_at)
        && let Some(before) = whole_at.checked_sub(interval)
    {
        *whole_at = before;
    }
}

fn take(rate: Rate, now: Instant, whole_at: &mut Instant) -> Result<(), Duration> {
    let Some(interval) = rate.interval() else {
        return Ok(());
    };
    let next = (*whole_at).max(now) + interval;
    let allowed = now + interval * rate.burst.max(1);
    if next > allowed {
        return Err(next - allowed);
    }
    *whole_at = next;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(n: u32) -> Network {
        IpAddr::V4(n.into()).into()
    }

    #[test]
    fn burst_then_rate() {
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
        assert_eq!(rates.len(), 100);
        // Once the first are whole again, they make room.
        assert_eq!(
            rates.take(start + Duration::from_secs(2), address(5_000)),
            Ok(())
        );
        assert_eq!(rates.len(), 1);
    }

    #[test]
    fn zero_is_no_limit() {
        let now = Instant::now();
        let mut rates = AddressRates::new(Rate::new(0, 0), 1);
        let mut total = TotalRate::new(Rate::new(0, 0));
        for _ in 0..10_000 {
            assert_eq!(rates.take(now, address(1)), Ok(()));
            assert_eq!(total.take(now), Ok(()));
        }
    }
}
