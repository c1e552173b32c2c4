//! The review hook: messages that wait for its answer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::draft::Draft;
use crate::record::Asker;
use crate::roles;

/// What the review hook says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    Allow,
    Modify(String),
    /// Do not show it, for this reason.
    Deny(String),
    /// It failed, or took too long.
    Failed,
}

#[derive(Debug)]
struct Waiting {
    draft: Draft,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct Reviews {
    /// 0: there is no hook.
    max: usize,
    span: Duration,
    /// By message.
    waiting: HashMap<u64, Waiting>,
}

impl Reviews {
    /// The hook has `span` for each of at most `max` messages.
    pub(super) fn new(max: usize, span: Duration) -> Self {
        Self {
            max,
            span,
            waiting: HashMap::new(),
        }
    }

    /// Whether the hook is to be asked about a message.
    pub(super) fn wants(&self, draft: &Draft) -> bool {
        draft.visible && !roles::moderates(draft.role) && self.waiting.len() < self.max
    }

    pub(super) fn insert(&mut self, now: Instant, draft: Draft) {
        let until = now + self.span;
        self.waiting
            .insert(draft.message.id, Waiting { draft, until });
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Draft> {
        Some(self.waiting.remove(&id)?.draft)
    }

    /// The messages that were not reviewed in time, oldest first.
    pub(super) fn expired(&self, now: Instant) -> Vec<u64> {
        let waiting = self.waiting.iter();
        let late = waiting.filter(|(_, waiting)| waiting.until <= now);
        let mut late: Vec<u64> = late.map(|(id, _)| *id).collect();
        late.sort_unstable();
        late
    }

    /// Somebody asks again about a message that the hook has: whoever asked last is answered.
    pub(super) fn ask_again(&mut self, to: Asker, user: &str) {
        let mut waiting = self.waiting.values_mut();
        if let Some(waiting) = waiting.find(|waiting| waiting.is_of(to, user)) {
            waiting.draft.to = Some(to);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }
}

impl Waiting {
    fn is_of(&self, asked: Asker, user: &str) -> bool {
        let nonce = |asker| match asker {
            Asker::Client { nonce, .. } => Some(nonce),
            Asker::Request(_) => None,
        };
        self.draft.to.and_then(nonce) == nonce(asked) && self.draft.user() == user
    }
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto as proto;
    use lightstick_types::ChatRole;

    use super::*;
    use crate::record::ClientKey;

    fn asker(client: u64, nonce: u64) -> Asker {
        let client = ClientKey(client);
        Asker::Client { client, nonce }
    }

    fn draft(id: u64, user: &str, to: Asker) -> Draft {
        let message = proto::Message {
            id,
            author: Some(proto::Author {
                user: user.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        Draft {
            message,
            role: ChatRole::Guest,
            visible: true,
            suspicion: None,
            to: Some(to),
            key: String::new(),
            audit: None,
        }
    }

    #[test]
    fn the_hook_has_so_many_messages_for_so_long() {
        let now = Instant::now();
        let span = Duration::from_secs(1);
        let mut reviews = Reviews::new(2, span);
        for id in [2, 1] {
            let draft = draft(id, "mina", asker(1, id));
            assert!(reviews.wants(&draft));
            reviews.insert(now, draft);
        }
        let third = draft(3, "mina", asker(1, 3));
        assert!(!reviews.wants(&third));
        assert_eq!(reviews.deadline(), Some(now + span));
        assert!(reviews.expired(now).is_empty());
        assert_eq!(reviews.expired(now + span), [1, 2]);
        assert!(reviews.take(2).is_some() && reviews.take(2).is_none());
        let mut moderator = third;
        moderator.role = ChatRole::Moderator;
        assert!(!reviews.wants(&moderator));
        assert!(!Reviews::new(0, span).wants(&draft(4, "mina", asker(1, 4))));
    }

    #[test]
    fn whoever_asked_last_is_answered() {
        let mut reviews = Reviews::new(2, Duration::from_secs(1));
        reviews.insert(Instant::now(), draft(1, "mina", asker(1, 11)));
        reviews.ask_again(asker(2, 12), "mina");
        reviews.ask_again(asker(2, 11), "hana");
        reviews.ask_again(asker(3, 11), "mina");
        assert_eq!(reviews.take(1).unwrap().to, Some(asker(3, 11)));
        assert!(reviews.is_empty());
    }
}
