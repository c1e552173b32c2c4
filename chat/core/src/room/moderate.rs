//! What moderators do, whether by command, by button or over HTTP.

use std::sync::Arc;

use lightstick_chat_proto as proto;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::moderate::Action;
use lightstick_chat_proto::part::Part;
use lightstick_types::ChatRole;
use prost::Message as _;

use super::show::Urgent;
use super::write::user_of;
use super::{Actor, Output, Room};
use crate::frame::Frame;
use crate::now::Now;
use crate::poll::Poll;
use crate::record::{Asker, AuditRecord, Done, Record, RoomEvent};
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::sanctions::{Sanction, SanctionKind};
use crate::screen::Screen;
use crate::settings;

const TIMEOUT_SECONDS: std::ops::RangeInclusive<u32> = 10..=86_400;
/// Longest reason, in characters; the rest is cut.
const REASON_CHARS_MAX: usize = 300;

impl Room {
    /// Does what a moderator asks for; the answer comes as an output.
    pub fn moderate(&mut self, now: Now, actor: &Actor, action: Action, reason: &str, to: Asker) {
        let allowed = match roles::needs_lead(&action) {
            true => roles::leads(actor.role),
            false => roles::moderates(actor.role),
        };
        if !allowed {
            return self.refuse(to, Code::NotModerator.into());
        }
        if self.urgent.len() >= self.config.urgent_max {
            return self.refuse(to, Refusal::later(Code::Full, self.config.urgent()));
        }
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let result = self.act(now, actor, action, &reason, to);
        self.answer(to, result);
    }

    fn act(
        &mut self,
        now: Now,
        actor: &Actor,
        action: Action,
        reason: &str,
        to: Asker,
    ) -> Result<Done, Refusal> {
        let mut done = Done {
            at_ms: now.unix_ms,
            ..Done::default()
        };
        match action {
            Action::Delete(id) => self.delete(now, actor, id, reason)?,
            Action::ClearUser(user) => self.clear_user(now, actor, &user, reason)?,
            Action::Timeout(timeout) => {
                if !TIMEOUT_SECONDS.contains(&timeout.seconds) {
                    return Err(Refusal::because(Code::OutOfRange, "seconds: 10 to 86400"));
                }
                let until = now.unix_ms + u64::from(timeout.seconds) * 1_000;
                let kind = SanctionKind::Timeout;
                self.sanction(now, actor, &timeout.user, kind, Some(until), reason)?;
                self.clear_user(now, actor, &timeout.user, reason)?;
                self.notice(&timeout.user, "timed_out", reason, timeout.seconds);
            }
            Action::Ban(user) => {
                self.sanction(now, actor, &user, SanctionKind::Ban, None, reason)?;
                self.clear_user(now, actor, &user, reason)?;
                self.notice(&user, "banned", reason, 0);
            }
            Action::Shadow(user) => {
                self.sanction(now, actor, &user, SanctionKind::Shadow, None, reason)?;
            }
            Action::Unban(user) => {
                self.lift(now, actor, "unban", &user, reason)?;
                self.notice(&user, "unbanned", reason, 0);
            }
            Action::Unshadow(user) => {
                self.lift(now, actor, "unshadow", &user, reason)?;
            }
            Action::Approve(id) => {
                let held = self.take_held(id).ok_or(Code::NotFound)?;
                self.audit(
                    now,
                    actor,
                    "approve",
                    &id.to_string(),
                    reason,
                    "",
                    &held.message.text,
                );
                self.approve(now, held);
            }
            Action::Deny(id) => {
                let held = self.take_held(id).ok_or(Code::NotFound)?;
                self.audit(
                    now,
                    actor,
                    "deny",
                    &id.to_string(),
                    reason,
                    &held.message.text,
                    "",
                );
                self.deny(&held);
            }
            Action::Pin(id) => self.pin(now, actor, id, reason)?,
            Action::Settings(settings) => self.set_settings(now, actor, settings, reason)?,
            Action::Announce(text) => self.announce(now, actor, &text, reason)?,
            Action::PollStart(start) => {
                if self.poll.is_some() {
                    return Err(Refusal::because(Code::Full, "a poll is running"));
                }
                let poll = Poll::start(self.next_id(now), start, now)?;
                done.id = poll.id();
                let shown = poll.shown(false);
                self.audit(
                    now,
                    actor,
                    "poll_start",
                    &done.id.to_string(),
                    reason,
                    "",
                    &shown.question,
                );
                self.show_entry(now, Entry::Poll(shown));
                self.poll = Some(poll);
            }
            Action::PollEnd(id) => {
                let running = self.poll.as_ref().filter(|poll| id == 0 || poll.id() == id);
                done.id = running.ok_or(Code::NotFound)?.id();
                self.audit(now, actor, "poll_end", &done.id.to_string(), reason, "", "");
                self.finish_poll(now);
            }
            Action::Warn(user) => {
                self.check_target(actor, &user)?;
                self.audit(now, actor, "warn", &user, reason, "", "");
                self.notice(&user, "warned", reason, 0);
            }
            Action::Queue(_) => {
                if let Asker::Client { client, .. } = to {
                    let frame = Frame::new([Part::Queue(self.queue())]);
                    self.outputs.push_back(Output::Tell { client, frame });
                }
            }
            Action::Appeal(decision) => self.decide(now, actor, &decision, reason)?,
        }
        Ok(done)
    }

    /// Nobody acts against their equals; the artist and the integrator's server may.
    fn check_target(&self, actor: &Actor, user: &str) -> Result<(), Refusal> {
        if user.is_empty() {
            return Err(Code::NotFound.into());
        }
        let role = self
            .users
            .get(user)
            .map_or(ChatRole::Guest, |user| user.role);
        let above = actor.role >= ChatRole::Idol && user != actor.user;
        match !roles::moderates(role) || above || role < actor.role {
            true => Ok(()),
            false => Err(Code::RoleTooHigh.into()),
        }
    }

    fn delete(&mut self, now: Now, actor: &Actor, id: u64, reason: &str) -> Result<(), Refusal> {
        if id == 0 || id > self.last_id {
            return Err(Code::NotFound.into());
        }
        if let Some(user) = self.author_of(id).filter(|user| **user != actor.user) {
            self.check_target(actor, &user)?;
        }
        // Of an older message the archive knows the text.
        let before = self.text_of(id).unwrap_or_default();
        self.take_away(|message, _| message == id);
        self.audit(now, actor, "delete", &id.to_string(), reason, &before, "");
        self.records.push(Record::Removed {
            ids: vec![id],
            user: None,
            by: actor.user.clone(),
            at_ms: now.unix_ms,
        });
        self.show_entry(now, Entry::Deleted(proto::Deleted { ids: vec![id] }));
        let event = RoomEvent::MessagesDeleted { ids: vec![id] };
        self.outputs.push_back(Output::Event(Box::new(event)));
        Ok(())
    }

    fn clear_user(
        &mut self,
        now: Now,
        actor: &Actor,
        user: &str,
        reason: &str,
    ) -> Result<(), Refusal> {
        self.check_target(actor, user)?;
        let ids = self.take_away(|_, author| author == user);
        self.audit(
            now,
            actor,
            "clear_user",
            user,
            reason,
            &format!("{} messages", ids.len()),
            "",
        );
        self.records.push(Record::Removed {
            ids: Vec::new(),
            user: Some(user.into()),
            by: actor.user.clone(),
            at_ms: now.unix_ms,
        });
        self.show_entry(now, Entry::UserCleared(user.to_owned()));
        if !ids.is_empty() {
            let event = RoomEvent::MessagesDeleted { ids };
            self.outputs.push_back(Output::Event(Box::new(event)));
        }
        Ok(())
    }

    /// Takes messages out of everything that somebody could still be sent.
    fn take_away(&mut self, gone: impl Fn(u64, &str) -> bool) -> Vec<u64> {
        let ids = self.stream.remove(&gone);
        let before = self.sampler.offered();
        self.sampler.withdraw(&gone);
        self.totals.hidden += u64::from(before - self.sampler.offered());
        let is_gone = |message: &proto::Message| gone(message.id, user_of(message));
        for urgent in &mut self.urgent {
            if urgent.id != 0 && gone(urgent.id, &urgent.user) {
                urgent.take_away();
                self.totals.hidden += 1;
            }
        }
        for accepted in &mut self.accepted {
            if is_gone(&accepted.record.message) {
                accepted.record.hidden = true;
            }
        }
        self.highlighted.retain(|(_, message)| !is_gone(message));
        self.held.retain(|held| !is_gone(&held.message));
        if self.pinned.as_ref().is_some_and(is_gone) {
            self.pinned = None;
            self.keep_state("pinned", None::<&proto::Message>);
        }
        self.recovery = None;
        self.snapshot_is_old();
        ids
    }

    /// Forgets what a user has said and what was said about it. Bans and timeouts hold on: they are
    /// all that is left. The answer comes when everything of before is kept.
    pub fn erase(&mut self, now: Now, actor: &Actor, user: &str, to: Asker) {
        let before = self.held.len();
        let ids = self.take_away(|_, author| author == user);
        let mut found = !ids.is_empty() || self.held.len() != before;
        if self.appeals.remove(user).is_some() {
            self.keep_state(format!("appeal/{user}"), None::<&Sanction>);
            found = true;
        }
        for whose in self.sanctions.erase(user) {
            let sanction = self.sanctions.of(&whose, now).cloned();
            self.keep_state(format!("sanction/{whose}"), sanction.as_ref());
            found = true;
        }
        self.posts.erase(user);
        if found {
            // The audit log must not name whom it is to forget.
            self.audit(now, actor, "erase", "", "", "", "");
            self.show_entry(now, Entry::UserCleared(user.to_owned()));
        }
        let done = Done {
            at_ms: now.unix_ms,
            ..Done::default()
        };
        self.answer(to, Ok(done));
    }

    fn sanction(
        &mut self,
        now: Now,
        actor: &Actor,
        user: &str,
        kind: SanctionKind,
        until_ms: Option<u64>,
        reason: &str,
    ) -> Result<(), Refusal> {
        self.check_target(actor, user)?;
        for past in self.sanctions.forget_past(now) {
            self.keep_state(format!("sanction/{past}"), None::<&Sanction>);
        }
        let known = self.sanctions.of(user, now).is_some();
        if !known && self.sanctions.len() >= self.config.sanctions_max {
            return Err(Code::Full.into());
        }
        // A guest's name costs nothing: what is meant is whoever is behind it.
        let state = self
            .users
            .get(user)
            .filter(|state| state.role == ChatRole::Guest);
        let address = state
            .filter(|_| kind != SanctionKind::Timeout)
            .map(|state| state.address);
        let sanction = Sanction {
            kind,
            until_ms,
            by: actor.user.clone(),
            reason: reason.to_owned(),
            at_ms: now.unix_ms,
            address,
        };
        self.keep_state(format!("sanction/{user}"), Some(&sanction));
        let after = json(&sanction);
        let before = self
            .sanctions
            .impose(user, sanction)
            .map_or_else(String::new, |s| json(&s));
        if self.appeals.remove(user).is_some() {
            self.keep_state(format!("appeal/{user}"), None::<&Sanction>);
        }
        let action = match kind {
            SanctionKind::Ban => "ban",
            SanctionKind::Timeout => "timeout",
            SanctionKind::Shadow => "shadow",
        };
        let record = self.audit(now, actor, action, user, reason, &before, &after);
        self.tell_moderated(record);
        Ok(())
    }

    fn lift(
        &mut self,
        now: Now,
        actor: &Actor,
        action: &'static str,
        user: &str,
        reason: &str,
    ) -> Result<(), Refusal> {
        let before = self.sanctions.lift(user).ok_or(Code::NotFound)?;
        self.keep_state(format!("sanction/{user}"), None::<&Sanction>);
        if self.appeals.remove(user).is_some() {
            self.keep_state(format!("appeal/{user}"), None::<&Sanction>);
        }
        let record = self.audit(now, actor, action, user, reason, &json(&before), "");
        self.tell_moderated(record);
        Ok(())
    }

    fn decide(
        &mut self,
        now: Now,
        actor: &Actor,
        decision: &proto::AppealDecision,
        reason: &str,
    ) -> Result<(), Refusal> {
        let user = &*decision.user;
        let appeal = self.appeals.get_mut(user).filter(|appeal| !appeal.closed);
        let appeal = appeal.ok_or(Code::NotFound)?;
        let text = appeal.text.clone();
        if decision.accepted {
            self.appeals.remove(user);
            self.keep_state(format!("appeal/{user}"), None::<&Sanction>);
            self.audit(now, actor, "appeal_accepted", user, reason, &text, "");
            // The sanction may have ended by itself.
            let _ = self.lift(now, actor, "unban", user, reason);
            self.notice(user, "unbanned", reason, 0);
        } else {
            appeal.closed = true;
            let closed = appeal.clone();
            self.keep_state(format!("appeal/{user}"), Some(&closed));
            self.audit(now, actor, "appeal_denied", user, reason, &text, "");
            self.notice(user, "appeal_denied", reason, 0);
        }
        Ok(())
    }

    fn pin(&mut self, now: Now, actor: &Actor, id: u64, reason: &str) -> Result<(), Refusal> {
        let message = match id {
            0 => None,
            id => Some(self.stream.message(id).ok_or(Code::NotFound)?),
        };
        let before = self
            .pinned
            .as_ref()
            .map_or_else(String::new, |m| m.id.to_string());
        let (action, target) = match &message {
            Some(message) => ("pin", message.id.to_string()),
            None => ("unpin", before.clone()),
        };
        self.audit(now, actor, action, &target, reason, &before, "");
        self.keep_state("pinned", message.as_ref());
        self.pinned = message.clone();
        self.show_entry(now, Entry::Pinned(message.unwrap_or_default()));
        Ok(())
    }

    fn set_settings(
        &mut self,
        now: Now,
        actor: &Actor,
        settings: proto::Settings,
        reason: &str,
    ) -> Result<(), Refusal> {
        let settings = settings::checked(settings, &self.config.emote_hosts)?;
        let screen = Screen::new(&self.config.filter, &settings)
            .map_err(|error| Refusal::because(Code::OutOfRange, error.to_string()))?;
        self.screen.replace(screen);
        let (before, after) = (json(&self.settings), json(&settings));
        self.audit(now, actor, "settings", "", reason, &before, &after);
        self.keep_state("settings", Some(&settings));
        self.settings = settings;
        self.show_entry(now, Entry::Settings(self.shown_settings()));
        Ok(())
    }

    fn announce(
        &mut self,
        now: Now,
        actor: &Actor,
        text: &str,
        reason: &str,
    ) -> Result<(), Refusal> {
        let text = self.screen.clean(text, self.config.text_chars_max)?;
        self.audit(now, actor, "announce", "", reason, "", &text);
        let announcement = proto::Announcement {
            text,
            at_ms: now.unix_ms,
        };
        self.announcement = Some(announcement.clone());
        self.show_entry(now, Entry::Announcement(announcement));
        Ok(())
    }

    pub(super) fn end_poll(&mut self, now: Now) {
        if self
            .poll
            .as_ref()
            .is_some_and(|poll| poll.ends_at <= now.at)
        {
            self.finish_poll(now);
        }
    }

    fn finish_poll(&mut self, now: Now) {
        if let Some(poll) = self.poll.take() {
            let shown = poll.shown(true);
            self.show_entry(now, Entry::Poll(shown.clone()));
            let event = RoomEvent::PollEnded(shown);
            self.outputs.push_back(Output::Event(Box::new(event)));
        }
    }

    fn tell_moderated(&mut self, record: AuditRecord) {
        let event = RoomEvent::UserModerated(record);
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    /// Shows something that is never left out.
    fn show_entry(&mut self, now: Now, entry: Entry) {
        let entry = proto::Entry { entry: Some(entry) };
        self.urgent.push(Urgent {
            entry: entry.encode_to_vec().into(),
            id: 0,
            user: Arc::from(""),
            place: None,
        });
        self.snapshot_is_old();
        self.wants_urgent(now);
    }

    fn author_of(&self, id: u64) -> Option<Arc<str>> {
        let accepted = self
            .accepted
            .iter()
            .map(|accepted| &accepted.record.message);
        let mut waiting = accepted.filter(|message| message.id == id);
        let waiting = waiting.next().map(|message| user_of(message).into());
        waiting.or_else(|| self.stream.author(id).cloned())
    }

    fn text_of(&self, id: u64) -> Option<String> {
        let accepted = self
            .accepted
            .iter()
            .map(|accepted| &accepted.record.message);
        let mut waiting = accepted.filter(|message| message.id == id);
        let waiting = waiting.next().map(|message| message.text.clone());
        waiting.or_else(|| Some(self.stream.message(id)?.text))
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
