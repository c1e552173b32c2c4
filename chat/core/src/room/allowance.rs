//! How much is written, by what nobody can change for free: a token's subject, or an address.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::ChatMember;
use lightstick_types::rate::Bucket;

use crate::config::RoomConfig;
use crate::settings::SLOW_SECONDS_MAX;

/// Those that one generation remembers. When there are more, the older generation goes early: who
/// has not written for longest is forgotten first.
const REMEMBERED_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LimitKey {
    /// A token's subject.
    User(Arc<str>),
    /// Everybody without a token at an address, by its keyed hash.
    Address(u64),
}

impl LimitKey {
    pub(super) fn of(member: &ChatMember, address: Option<u64>) -> Self {
        match address {
            Some(address) => Self::Address(address),
            None => Self::User(member.user.as_str().into()),
        }
    }

    /// How many users' limits it has.
    pub(super) fn factor(&self, config: &RoomConfig) -> u32 {
        match self {
            Self::User(_) => 1,
            Self::Address(_) => config.guests_per_address,
        }
    }

    pub(super) fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// What somebody may still do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    pub(super) messages: Bucket,
    /// One message in the time of slow mode.
    pub(super) slow: Bucket,
}

/// The allowances of a room, over reconnects. Two generations: who has not written for one of
/// them has all of their allowance again, and is forgotten.
#[derive(Debug)]
pub(super) struct Allowances {
    recent: HashMap<LimitKey, Allowance>,
    older: HashMap<LimitKey, Allowance>,
    since: Instant,
    generation: Duration,
}

impl Allowances {
    pub(super) fn new(config: &RoomConfig, now: Instant) -> Self {
        Self {
            recent: HashMap::new(),
            older: HashMap::new(),
            since: now,
            generation: config
                .rate_window
                .max(Duration::from_secs(SLOW_SECONDS_MAX.into())),
        }
    }

    pub(super) fn of(&mut self, now: Instant, key: LimitKey) -> &mut Allowance {
        let over = now.saturating_duration_since(self.since) >= self.generation;
        if over || self.recent.len() >= REMEMBERED_MAX {
            self.older = std::mem::take(&mut self.recent);
            self.since = now;
        }
        let older = &mut self.older;
        self.recent
            .entry(key)
            .or_insert_with_key(|key| older.remove(key).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use lightstick_types::rate::Limit;

    use super::*;

    #[test]
    fn who_comes_back_finds_what_is_left() {
        let config = RoomConfig::default();
        let mut now = Instant::now();
        let mut all = Allowances::new(&config, now);
        let limit = Limit::over(config.messages_per_user, config.rate_window);
        let key = || LimitKey::Address(7);
        for _ in 0..config.messages_per_user {
            let messages = &mut all.of(now, key()).messages;
            assert!(messages.take(now, limit));
        }
        let refused = |all: &mut Allowances, now| {
            let messages = &mut all.of(now, key()).messages;
            !messages.take(now, limit)
        };
        assert!(refused(&mut all, now));
        // A generation that ends early takes nothing from who wrote a moment ago.
        for n in 0..REMEMBERED_MAX as u64 {
            all.of(now, LimitKey::Address(1_000 + n));
        }
        assert!(refused(&mut all, now));
        for _ in 0..3 {
            now += all.generation;
            all.of(now, LimitKey::Address(1));
        }
        assert!(!refused(&mut all, now));
        assert!(
            all.recent.len() + all.older.len() <= 3,
            "the others are forgotten"
        );
    }
}
