//! Actions that wait for their records: nothing that somebody does with their power is in force
//! before the archive has taken what it will say of it.
//!
//! One action at a time is with the archive, so that each is planned on what the one before has
//! left. The others wait here, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lightstick_chat_proto::moderate::Action;
use lightstick_types::ChatMember;

use super::plan::Plan;
use crate::record::{Actor, Asker};
use crate::refusal::{Code, Refusal};

/// Actions that wait for the one that is being kept. More are refused.
const WAITING_MAX: usize = 256;
/// When to try again an action that found no place.
const AGAIN: Duration = Duration::from_secs(1);

/// What somebody wants done.
#[derive(Debug)]
pub(super) enum Wish {
    Moderate {
        actor: Actor,
        action: Box<Action>,
        reason: String,
    },
    Appeal {
        member: Arc<ChatMember>,
        text: String,
    },
    Erase {
        actor: Actor,
        user: String,
    },
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<(Wish, Asker)>,
    /// What the archive is given.
    keeping: Option<(u64, Plan, Asker)>,
    last: u64,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.keeping.is_none()
    }

    pub(super) fn push(&mut self, wish: Wish, to: Asker) -> Result<(), Refusal> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Refusal::later(Code::Full, AGAIN));
        }
        self.waiting.push_back((wish, to));
        Ok(())
    }

    /// The next to be planned, if none is with the archive.
    pub(super) fn next(&mut self) -> Option<(Wish, Asker)> {
        match self.keeping {
            Some(_) => None,
            None => self.waiting.pop_front(),
        }
    }

    /// A plan waits for its records. Returns the number that the archive's answer comes with.
    pub(super) fn keep(&mut self, plan: Plan, to: Asker) -> u64 {
        self.last += 1;
        self.keeping = Some((self.last, plan, to));
        self.last
    }

    /// The archive has answered.
    pub(super) fn take(&mut self, action: u64) -> Option<(Plan, Asker)> {
        let kept = self.keeping.take_if(|(id, ..)| *id == action);
        kept.map(|(_, plan, to)| (plan, to))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use lightstick_types::ChatRole;

    use super::*;
    use crate::now::Now;

    fn wish() -> Wish {
        let actor = Actor {
            user: "mod".into(),
            role: ChatRole::Moderator,
        };
        let user = "mina".into();
        Wish::Erase { actor, user }
    }

    #[test]
    fn one_action_at_a_time_is_with_the_archive() {
        let now = Now {
            at: Instant::now(),
            unix_ms: 0,
        };
        let mut pending = Pending::default();
        for n in 0..WAITING_MAX as u64 {
            assert!(pending.push(wish(), Asker::Request(n)).is_ok());
        }
        let refused = pending.push(wish(), Asker::Request(999)).unwrap_err();
        assert_eq!(refused, Refusal::later(Code::Full, AGAIN));
        let (_, to) = pending.next().unwrap();
        let action = pending.keep(Plan::new(now), to);
        assert!(pending.next().is_none());
        assert!(pending.take(action + 1).is_none(), "another action's");
        let (_, to) = pending.take(action).unwrap();
        assert_eq!(to, Asker::Request(0));
        assert!(pending.take(action).is_none());
        assert_eq!(pending.next().unwrap().1, Asker::Request(1));
        assert!(!pending.is_empty());
    }
}
