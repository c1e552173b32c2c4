//! Limits: how many of what, and how fast.

use std::time::{Duration, Instant};

use lightstick_types::Network;
use lightstick_types::rate::{AddressRates, Bucket, Limit, Rate};
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
    pub viewers_per_room_max: usize,
    /// Sessions of one address (an IPv6 /64 counts as one).
    pub sessions_per_address_max: usize,
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

/// What addresses may ask for, and how much of it is left.
#[derive(Debug)]
pub(super) struct Budgets {
    joins_per_address: AddressRates,
    joins: Bucket,
    joins_limit: Limit,
    refused_offers: AddressRates,
    requests: AddressRates,
}

impl Budgets {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_address = |rate| AddressRates::new(rate, limits.addresses_max);
        Self {
            joins_per_address: per_address(limits.joins_per_address),
            joins: Bucket::default(),
            joins_limit: limits.joins.into(),
            refused_offers: per_address(limits.refused_offers_per_address),
            requests: per_address(limits.requests_per_address),
        }
    }

    pub(super) fn take_join(&mut self, now: Instant, address: Network) -> Result<(), Refusal> {
        self.refused_offers
            .check(now, address)
            .map_err(|retry_after| Refusal::OffersRefused { retry_after })?;
        self.joins_per_address
            .take(now, address)
            .map_err(|retry_after| Refusal::AddressRate { retry_after })?;
        self.joins
            .try_take(now, self.joins_limit)
            .map_err(|retry_after| Refusal::JoinRate { retry_after })
    }

    /// A join came to nothing, as its offer was refused.
    pub(super) fn offer_refused(&mut self, now: Instant, address: Network) {
        self.joins_per_address.give_back(address);
        self.joins.give_back(self.joins_limit);
        // Its refusals are counted in a budget that may be used up meanwhile.
        let _ = self.refused_offers.take(now, address);
    }

    pub(super) fn take_request(&mut self, now: Instant, address: Network) -> Result<(), Duration> {
        self.requests.take(now, address)
    }
}
