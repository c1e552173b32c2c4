//! What moderators decide on: sanctions, appeals against them, and messages that wait.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;
use serde::{Deserialize, Serialize};

use super::draft::Draft;
use crate::now::Now;
use crate::record::Stored;
use crate::sanctions::{Sanction, Sanctions};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Appeal {
    pub(super) text: String,
    pub(super) at_ms: u64,
    /// Decided against: no second one for the same sanction.
    #[serde(default)]
    pub(super) closed: bool,
}

/// A message that waits for a moderator.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) draft: Draft,
    pub(super) reason: String,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct Moderation {
    pub(super) sanctions: Sanctions,
    /// By user.
    pub(super) appeals: BTreeMap<String, Appeal>,
    pub(super) held: HeldQueue,
}

impl Moderation {
    pub(super) fn new(stored: &Stored, held: HeldQueue) -> Self {
        let mut sanctions = Sanctions::default();
        let mut appeals = BTreeMap::new();
        for (key, value) in stored {
            if let Some(user) = key.strip_prefix("sanction/")
                && let Ok(sanction) = serde_json::from_str::<Sanction>(value)
            {
                sanctions.impose(user, sanction);
            }
            if let Some(user) = key.strip_prefix("appeal/")
                && let Ok(appeal) = serde_json::from_str::<Appeal>(value)
            {
                appeals.insert(user.to_owned(), appeal);
            }
        }
        Self {
            sanctions,
            appeals,
            held,
        }
    }

    /// What waits for moderators.
    pub(super) fn queue(&self) -> proto::Queue {
        let held = self.held.waiting.iter().map(|held| proto::Held {
            message: Some(held.draft.message.clone()),
            reason: held.reason.clone(),
        });
        let open = self.appeals.iter().filter(|(_, appeal)| !appeal.closed);
        let appeals = open.map(|(user, appeal)| proto::AppealOpen {
            user: user.clone(),
            text: appeal.text.clone(),
            at_ms: appeal.at_ms,
        });
        proto::Queue {
            held: held.collect(),
            appeals: appeals.collect(),
        }
    }
}

/// Messages that wait for a moderator, oldest first.
#[derive(Debug)]
pub(super) struct HeldQueue {
    waiting: VecDeque<Held>,
    max: usize,
    span: Duration,
}

impl HeldQueue {
    /// Holds `max` messages, each for `span`.
    pub(super) fn new(max: usize, span: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            max,
            span,
        }
    }

    /// Holds a message. The oldest is returned where there was no room.
    pub(super) fn push(&mut self, now: Now, draft: Draft, reason: String) -> Option<Held> {
        let full = self.waiting.len() >= self.max;
        let oldest = if full { self.waiting.pop_front() } else { None };
        let until = now.at + self.span;
        self.waiting.push_back(Held {
            draft,
            reason,
            until,
        });
        oldest
    }

    /// Takes a message to be decided on.
    pub(super) fn take(&mut self, id: u64) -> Option<Held> {
        let mut waiting = self.waiting.iter();
        let at = waiting.position(|held| held.draft.message.id == id)?;
        self.waiting.remove(at)
    }

    /// Gives back what was taken to be decided on, in its place.
    pub(super) fn put_back(&mut self, held: Held) {
        let later = |other: &Held| other.until <= held.until;
        let at = self.waiting.partition_point(later);
        self.waiting.insert(at, held);
    }

    /// Takes a message that has waited too long.
    pub(super) fn take_expired(&mut self, now: Now) -> Option<Held> {
        self.waiting.pop_front_if(|held| held.until <= now.at)
    }

    /// Forgets messages, by their id and user.
    pub(super) fn remove(&mut self, gone: impl Fn(u64, &str) -> bool) {
        self.waiting
            .retain(|held| !gone(held.draft.message.id, held.draft.user()));
    }

    pub(super) fn has_of(&self, user: &str) -> bool {
        self.waiting.iter().any(|held| held.draft.user() == user)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|held| held.until)
    }
}

#[cfg(test)]
mod tests {
    use lightstick_types::ChatRole;

    use super::*;

    fn draft(id: u64) -> Draft {
        let message = proto::Message {
            id,
            author: Some(proto::Author {
                user: format!("user-{id}"),
                ..Default::default()
            }),
            ..Default::default()
        };
        Draft {
            message,
            role: ChatRole::Guest,
            visible: true,
            suspicion: None,
            to: None,
            key: String::new(),
            audit: None,
        }
    }

    #[test]
    fn held_messages_keep_their_order_and_their_bound() {
        let now = Now {
            at: Instant::now(),
            unix_ms: 0,
        };
        let at = |seconds| now.after(Duration::from_secs(seconds));
        let id = |held: Option<Held>| held.map(|held| held.draft.message.id);
        let mut queue = HeldQueue::new(3, Duration::from_secs(10));
        for number in 1..=3 {
            assert!(
                queue
                    .push(at(number), draft(number), String::new())
                    .is_none()
            );
        }
        assert_eq!(id(queue.push(at(4), draft(4), String::new())), Some(1));
        let taken = queue.take(3).unwrap();
        assert!(!queue.has_of("user-3") && queue.take(3).is_none());
        queue.put_back(taken);
        assert_eq!(queue.deadline(), Some(at(12).at));
        assert_eq!(id(queue.take_expired(at(11))), None);
        assert_eq!(id(queue.take_expired(at(13))), Some(2));
        assert_eq!(id(queue.take_expired(at(13))), Some(3), "back in its place");
        queue.remove(|_, user| user == "user-4");
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_stored_is_in_force_and_closed_appeals_wait_no_more() {
        let stored: Stored = [
            (
                "sanction/mina",
                r#"{"kind":"ban","by":"mod","reason":"","at_ms":1}"#,
            ),
            ("sanction/hana", "no JSON"),
            ("appeal/mina", r#"{"text":"sorry","at_ms":2}"#),
            ("appeal/yuri", r#"{"text":"no","at_ms":2,"closed":true}"#),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let moderation = Moderation::new(&stored, HeldQueue::new(1, Duration::ZERO));
        assert_eq!(moderation.sanctions.len(), 1);
        assert_eq!(moderation.appeals.len(), 2);
        let open = moderation.queue().appeals;
        assert_eq!(open.len(), 1);
        assert_eq!((&*open[0].user, &*open[0].text), ("mina", "sorry"));
    }
}
