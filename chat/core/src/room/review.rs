//! The review hook: messages that wait for its word.

use std::time::Instant;

use lightstick_chat_proto as proto;

use super::write::{Draft, user_of};
use super::{Output, Room};
use crate::now::Now;
use crate::record::Asker;
use crate::refusal::{Code, Refusal};
use crate::roles;

/// A message that the review hook is asked about.
#[derive(Clone, Debug)]
pub struct Review {
    /// The number to answer with.
    pub id: u64,
    /// As it would be shown.
    pub message: proto::Message,
}

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

/// A message that the review hook has.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) until: Instant,
}

impl Room {
    /// Moves a draft on: to the moderators, to the review hook, or into the room.
    pub(super) fn pass(&mut self, now: Now, draft: Draft) {
        if draft.suspicion.is_some() && draft.visible {
            return self.hold(now, draft);
        }
        let reviewed = self.review && draft.visible && !roles::moderates(draft.role);
        if reviewed && self.reviews.len() < self.config.reviews_max {
            let review = Review {
                id: draft.message.id,
                message: draft.message.clone(),
            };
            let until = now.at + self.config.review_timeout;
            self.reviews.insert(review.id, Waiting { draft, until });
            self.outputs.push_back(Output::Review(review));
            return;
        }
        self.accept(now, draft);
    }

    /// The review hook has answered.
    pub fn reviewed(&mut self, now: Now, id: u64, reviewed: Reviewed) {
        let Some(Waiting { mut draft, .. }) = self.reviews.remove(&id) else {
            return;
        };
        match reviewed {
            Reviewed::Allow => self.accept(now, draft),
            Reviewed::Modify(text) => match self.screen.clean(&text, self.config.text_chars_max) {
                Ok(text) => {
                    draft.message.text = text;
                    self.accept(now, draft);
                }
                Err(refusal) => self.drop_draft(&draft, refusal),
            },
            Reviewed::Deny(reason) => {
                self.drop_draft(&draft, Refusal::because(Code::Denied, reason));
            }
            Reviewed::Failed if self.config.review_late_holds => {
                draft.suspicion = Some("not reviewed in time".to_owned());
                self.hold(now, draft);
            }
            Reviewed::Failed => self.accept(now, draft),
        }
    }

    pub(super) fn expire_reviews(&mut self, now: Now) {
        let late = self
            .reviews
            .iter()
            .filter(|(_, waiting)| waiting.until <= now.at);
        let mut late: Vec<u64> = late.map(|(id, _)| *id).collect();
        late.sort_unstable();
        for id in late {
            self.reviewed(now, id, Reviewed::Failed);
        }
    }

    /// A draft that comes to nothing: the same nonce may be tried again.
    pub(super) fn drop_draft(&mut self, draft: &Draft, refusal: Refusal) {
        if let Some(Asker::Client { nonce, .. }) = draft.to
            && let Some(user) = self.users.get_mut(user_of(&draft.message))
        {
            user.forget(nonce);
        }
        if let Some(to) = draft.to {
            self.refuse(to, refusal);
        }
    }

    /// Somebody asks again about a message that the hook has: whoever asked last is answered.
    pub(super) fn asks_again(&mut self, to: Asker, user: &str) {
        let mut waiting = self.reviews.values_mut();
        let same = waiting.find(|waiting| waiting.is_of(to, user));
        if let Some(waiting) = same {
            waiting.draft.to = Some(to);
        }
    }
}

impl Waiting {
    fn is_of(&self, asked: Asker, user: &str) -> bool {
        let nonce = |asker| match asker {
            Asker::Client { nonce, .. } => Some(nonce),
            Asker::Request(_) => None,
        };
        self.draft.to.and_then(nonce) == nonce(asked) && user_of(&self.draft.message) == user
    }
}
