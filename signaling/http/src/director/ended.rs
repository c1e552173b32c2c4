//! Sessions that are over, remembered for a while so that a repeated DELETE is no error.

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

    pub(super) fn contains(&self, session: SessionId) -> bool {
        self.known.contains(&session)
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
        assert!(!ended.contains(SessionId::from_u128(0)));
        assert!(ended.contains(SessionId::from_u128(1)));
        assert!(ended.contains(SessionId::from_u128(ENDED_MAX as u128)));
        assert_eq!(ended.known.len(), ENDED_MAX);
    }
}
