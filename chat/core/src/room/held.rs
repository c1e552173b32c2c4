//! Messages that wait for a moderator, and appeals.

use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;
use lightstick_types::ChatMember;

use super::write::{Draft, user_of};
use super::{Appeal, Output, Room};
use crate::now::Now;
use crate::record::{Done, RoomEvent};
use crate::refusal::{Code, Refusal};

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
        let until = now.at + Duration::from_secs(self.config.held_seconds.into());
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

    pub(super) fn appeal(
        &mut self,
        now: Now,
        member: &ChatMember,
        text: &str,
    ) -> Result<Done, Refusal> {
        let address = self.users.get(&*member.user).map_or(0, |user| user.address);
        let sanctioned = self.sanctions.check(&member.user, address, now).is_err();
        if !sanctioned || self.appeals.contains_key(&member.user) {
            return Err(Code::NoAppeal.into());
        }
        if self.appeals.len() >= self.config.appeals_max {
            return Err(Code::Full.into());
        }
        let text = self.screen.clean(text, self.config.text_chars_max)?;
        let appeal = Appeal {
            text: text.clone(),
            at_ms: now.unix_ms,
            closed: false,
        };
        self.keep_state(format!("appeal/{}", member.user), Some(&appeal));
        self.appeals.insert(member.user.clone(), appeal);
        let event = RoomEvent::AppealOpened {
            user: member.user.clone(),
            text,
        };
        self.outputs.push_back(Output::Event(Box::new(event)));
        Ok(Done {
            at_ms: now.unix_ms,
            ..Done::default()
        })
    }
}
