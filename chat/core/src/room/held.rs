//! Messages that wait for a moderator, and appeals.

use std::time::Instant;

use lightstick_chat_proto as proto;
use lightstick_types::ChatMember;

use super::apply::Change;
use super::pending::Plan;
use super::write::{Draft, user_of};
use super::{Appeal, Output, Room};
use crate::now::Now;
use crate::record::{Done, RoomEvent};
use crate::refusal::{Code, Refusal};
use crate::sanctions::SanctionKind;

/// A message that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: proto::Message,
    pub(super) reason: String,
    pub(super) until: Instant,
    draft: Draft,
}

impl Room {
    pub(super) fn hold(&mut self, now: Now, mut draft: Draft) {
        if self.held.len() >= self.config.held_max {
            self.deny_oldest();
        }
        self.totals.held += 1;
        let reason = draft.suspicion.take().unwrap_or_default();
        if let Some(to) = draft.to.take() {
            let done = Done {
                id: draft.message.id,
                held: true,
                at_ms: draft.message.at_ms,
                text: Some(draft.message.text.clone()),
            };
            self.note_done(&draft.message, to, &done);
            self.acknowledge(to, done);
        }
        let message = draft.message.clone();
        let event = RoomEvent::MessageHeld {
            message: message.clone(),
            reason: reason.clone(),
        };
        self.outputs.push_back(Output::Event(Box::new(event)));
        let until = now.at + self.config.held_timeout;
        self.held.push_back(Held {
            message,
            reason,
            until,
            draft,
        });
    }

    pub(super) fn take_held(&mut self, id: u64) -> Option<Held> {
        let at = self.held.iter().position(|held| held.message.id == id)?;
        self.held.remove(at)
    }

    pub(super) fn approve(&mut self, now: Now, held: Held) {
        self.notice(
            user_of(&held.message).to_owned().as_str(),
            "approved",
            &held.message.text,
            0,
        );
        self.accept(now, held.draft);
    }

    pub(super) fn deny(&mut self, held: &Held) {
        self.notice(
            user_of(&held.message).to_owned().as_str(),
            "denied",
            &held.message.text,
            0,
        );
    }

    pub(super) fn expire_held(&mut self, now: Now) {
        while self.held.front().is_some_and(|held| held.until <= now.at) {
            self.deny_oldest();
        }
    }

    fn deny_oldest(&mut self) {
        if let Some(held) = self.held.pop_front() {
            self.deny(&held);
        }
    }

    /// Gives back what was taken to be decided on, in its place.
    pub(super) fn put_back(&mut self, held: Held) {
        let later = |other: &Held| other.until <= held.until;
        let at = self.held.partition_point(later);
        self.held.insert(at, held);
    }

    /// An appeal is against a sanction, and there is one of each: a guest who comes back under
    /// another name appeals against the same.
    pub(super) fn plan_appeal(
        &mut self,
        now: Now,
        member: &ChatMember,
        text: &str,
    ) -> Result<Plan, Refusal> {
        let address = self.address_of(member);
        let held = self.sanctions.holds(&member.user, address, now);
        let shadow = |kind| kind == SanctionKind::Shadow;
        let Some(user) = held.and_then(|(user, it)| (!shadow(it.kind)).then(|| user.to_owned()))
        else {
            return Err(Code::NoAppeal.into());
        };
        if self.appeals.contains_key(&user) {
            return Err(Code::NoAppeal.into());
        }
        if self.appeals.len() >= self.config.appeals_max {
            return Err(Code::Full.into());
        }
        let text = self.screen.clean(text, self.config.text_chars_max)?;
        let appeal = Appeal {
            text,
            at_ms: now.unix_ms,
            closed: false,
        };
        let mut plan = Plan::new(Done {
            at_ms: now.unix_ms,
            ..Done::default()
        });
        plan.state(format!("appeal/{user}"), Some(&appeal));
        plan.changes.push(Change::AppealOpened { user, appeal });
        Ok(plan)
    }
}
