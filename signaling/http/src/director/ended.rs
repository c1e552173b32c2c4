//! Sessions that ended by themselves, remembered for a while: their clients may not know it yet, and
//! their DELETE is no error.

use std::collections::{HashSet, VecDeque};

use lightstick_types::SessionId;

/// Ended sessions remembered at most. Past it the oldest is forgotten: its DELETE gets 404.
const ENDED_MAX: usize = 8_192;

#[derive(Default)]
pub(super) struct RecentlyEnded {
    order: VecDeque<SessionId>,
    known: HashSet<SessionId>,
}

impl RecentlyEnded {
    pub(super) fn insert(&mut self, session: SessionId) {
        if !self.known.insert(session) {
            return;
        }
        self.order.push_back(session);
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether the session was known. It is not any more.
    pub(super) fn forget(&mut self, session: SessionId) -> bool {
        self.known.remove(&session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest() {
        let mut ended = RecentlyEnded::default();
        for n in 0..=ENDED_MAX as u128 {
            ended.insert(SessionId::from_u128(n));
            ended.insert(SessionId::from_u128(n));
        }
        assert_eq!(ended.known.len(), ENDED_MAX);
        assert!(!ended.forget(SessionId::from_u128(0)));
        for n in [1, ENDED_MAX as u128] {
            assert!(ended.forget(SessionId::from_u128(n)));
            assert!(!ended.forget(SessionId::from_u128(n)), "once");
        }
    }
}
