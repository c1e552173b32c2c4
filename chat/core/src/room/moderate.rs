//! What moderators do, whether by command, by button or over HTTP: what it would change, and the
//! records of it. `pending` keeps these, `apply` does it then.

use lightstick_chat_proto as proto;
use lightstick_chat_proto::moderate::Action;
use lightstick_types::ChatRole;

use super::apply::Change;
use super::audit::Deed;
use super::pending::{Plan, Request};
use super::write::user_of;
use super::{Actor, Room, STATE_PINNED};
use crate::now::Now;
use crate::poll::Poll;
use crate::record::{Asker, Done, Record};
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::sanctions::{Sanction, SanctionKind};
use crate::screen::Screen;
use crate::settings;

const TIMEOUT_SECONDS: std::ops::RangeInclusive<u32> = 10..=86_400;
/// Longest reason, in characters; the rest is cut.
const REASON_CHARS_MAX: usize = 300;
/// Longest name of a user, in bytes: that of a token's `sub`.
pub(super) const USER_BYTES_MAX: usize = 128;
/// What one audit record says of before and after, in bytes of JSON: the archive takes 256 KiB.
const DETAIL_BYTES_MAX: usize = 250 * 1_024;

impl Room {
    /// Does what a moderator asks for, once the audit log has it; the answer comes as an output.
    pub fn moderate(&mut self, now: Now, actor: &Actor, action: Action, reason: &str, to: Asker) {
        let allowed = match roles::needs_lead(&action) {
            true => roles::leads(actor.role),
            false => roles::moderates(actor.role),
        };
        if !allowed {
            return self.refuse(to, Code::NotModerator.into());
        }
        let request = Request::Moderate {
            actor: actor.clone(),
            action: Box::new(action),
            reason: self.screen.cut(reason, REASON_CHARS_MAX),
        };
        self.request(now, request, to);
    }

    /// What an action would change, and its records. Nothing has changed yet.
    pub(super) fn plan_action(
        &mut self,
        now: Now,
        actor: &Actor,
        action: Action,
        reason: &str,
        to: Asker,
    ) -> Result<Plan, Refusal> {
        if self.urgent.len() >= self.config.urgent_max {
            return Err(Refusal::later(Code::Full, self.config.urgent_wait));
        }
        let mut plan = Plan::new(Done {
            at_ms: now.unix_ms,
            ..Done::default()
        });
        let deed = Deed { now, actor, reason };
        match action {
            Action::Delete(id) => self.delete(&mut plan, deed, id)?,
            Action::ClearUser(user) => {
                self.clear_user(&mut plan, deed, &user)?;
                plan.clear(user, actor);
            }
            Action::Timeout(timeout) => {
                if !TIMEOUT_SECONDS.contains(&timeout.seconds) {
                    return Err(Refusal::because(Code::OutOfRange, "seconds: 10 to 86400"));
                }
                let until = now.unix_ms + u64::from(timeout.seconds) * 1_000;
                let user = timeout.user;
                self.sanction(&mut plan, deed, &user, SanctionKind::Timeout, Some(until))?;
                self.clear_user(&mut plan, deed, &user)?;
                plan.clear(user.clone(), actor);
                plan.notice(user, "timed_out", reason, timeout.seconds);
            }
            Action::Ban(user) => {
                self.sanction(&mut plan, deed, &user, SanctionKind::Ban, None)?;
                self.clear_user(&mut plan, deed, &user)?;
                plan.clear(user.clone(), actor);
                plan.notice(user, "banned", reason, 0);
            }
            Action::Shadow(user) => {
                self.sanction(&mut plan, deed, &user, SanctionKind::Shadow, None)?;
            }
            Action::Unban(user) => {
                self.lift(&mut plan, deed, "unban", &user)?;
                plan.notice(user, "unbanned", reason, 0);
            }
            Action::Unshadow(user) => self.lift(&mut plan, deed, "unshadow", &user)?,
            Action::Approve(id) => {
                let held = self.take_held(id).ok_or(Code::NotFound)?;
                plan.audit(
                    deed.of("approve", &id.to_string())
                        .after(&held.message.text),
                );
                plan.changes.push(Change::Approve(Box::new(held)));
            }
            Action::Deny(id) => {
                let held = self.take_held(id).ok_or(Code::NotFound)?;
                plan.audit(deed.of("deny", &id.to_string()).before(&held.message.text));
                plan.changes.push(Change::Deny(Box::new(held)));
            }
            Action::Pin(id) => self.pin(&mut plan, deed, id)?,
            Action::Settings(settings) => self.set_settings(&mut plan, deed, settings)?,
            Action::Announce(text) => {
                let text = self.screen.clean(&text, self.config.text_chars_max)?;
                plan.audit(deed.of("announce", "").after(&text));
                let at_ms = now.unix_ms;
                let announcement = proto::Announcement { text, at_ms };
                plan.changes.push(Change::Announce(announcement));
            }
            Action::PollStart(start) => {
                if self.poll.is_some() {
                    return Err(Refusal::because(Code::Full, "a poll is running"));
                }
                let start = self.screen.clean_poll(start)?;
                let poll = Poll::start(self.next_id(now), start, now)?;
                plan.done.id = poll.id();
                let question = poll.shown(false).question;
                plan.audit(
                    deed.of("poll_start", &poll.id().to_string())
                        .after(&question),
                );
                plan.changes.push(Change::PollStart(Box::new(poll)));
            }
            Action::PollEnd(id) => {
                let running = self.poll.as_ref().filter(|poll| id == 0 || poll.id() == id);
                plan.done.id = running.ok_or(Code::NotFound)?.id();
                plan.audit(deed.of("poll_end", &plan.done.id.to_string()));
                plan.changes.push(Change::PollEnd);
            }
            Action::Warn(user) => {
                self.check_target(actor, &user)?;
                plan.audit(deed.of("warn", &user));
                plan.notice(user, "warned", reason, 0);
            }
            Action::Queue(_) => {
                if let Asker::Client { client, .. } = to {
                    plan.changes.push(Change::TellQueue(client));
                }
            }
            Action::Appeal(decision) => self.decide(&mut plan, deed, &decision)?,
        }
        Ok(plan)
    }

    /// Nobody acts against their equals; the artist and the integrator's server may.
    fn check_target(&self, actor: &Actor, user: &str) -> Result<(), Refusal> {
        if user.is_empty() {
            return Err(Code::NotFound.into());
        }
        if user.len() > USER_BYTES_MAX {
            return Err(Refusal::because(
                Code::OutOfRange,
                "user: at most 128 bytes",
            ));
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

    fn delete(&self, plan: &mut Plan, deed: Deed<'_>, id: u64) -> Result<(), Refusal> {
        if id == 0 || id > self.last_id {
            return Err(Code::NotFound.into());
        }
        let Deed { now, actor, .. } = deed;
        if let Some(user) = self.author_of(id).filter(|user| **user != actor.user) {
            self.check_target(actor, &user)?;
        }
        // Of an older message the archive knows the text.
        let before = self.text_of(id).unwrap_or_default();
        plan.audit(deed.of("delete", &id.to_string()).before(&before));
        plan.records.push(Record::Removed {
            ids: vec![id],
            user: None,
            by: actor.user.clone(),
            at_ms: now.unix_ms,
        });
        self.unpin_taken(plan, |message, _| message == id);
        plan.changes.push(Change::Delete {
            id,
            by: actor.user.clone(),
        });
        Ok(())
    }

    fn clear_user(&self, plan: &mut Plan, deed: Deed<'_>, user: &str) -> Result<(), Refusal> {
        let Deed { now, actor, .. } = deed;
        self.check_target(actor, user)?;
        let count = self.stream.count(|_, author| author == user);
        plan.audit(
            deed.of("clear_user", user)
                .before(&format!("{count} messages")),
        );
        plan.records.push(Record::Removed {
            ids: Vec::new(),
            user: Some(user.into()),
            by: actor.user.clone(),
            at_ms: now.unix_ms,
        });
        self.unpin_taken(plan, |_, author| author == user);
        Ok(())
    }

    /// The pinned message goes with those that are taken away.
    fn unpin_taken(&self, plan: &mut Plan, gone: impl Fn(u64, &str) -> bool) {
        let taken = |message: &proto::Message| gone(message.id, user_of(message));
        if self.pinned.as_ref().is_some_and(taken) {
            plan.state(STATE_PINNED, None::<&proto::Message>);
        }
    }

    /// Forgets what a user has said and what was said about it. Bans and timeouts hold on: they are
    /// all that is left. The answer comes when everything of before is kept.
    pub fn erase(&mut self, now: Now, actor: &Actor, user: &str, to: Asker) {
        let request = Request::Erase {
            actor: actor.clone(),
            user: user.to_owned(),
        };
        self.request(now, request, to);
    }

    pub(super) fn plan_erasure(&self, now: Now, actor: &Actor, user: &str) -> Plan {
        let mut plan = Plan::new(Done {
            at_ms: now.unix_ms,
            ..Done::default()
        });
        let by_user = |message: &proto::Message| user_of(message) == user;
        let mut found = self.stream.count(|_, author| author == user) > 0
            || self.held.iter().any(|held| by_user(&held.message));
        self.unpin_taken(&mut plan, |_, author| author == user);
        if self.appeals.contains_key(user) {
            plan.state(format!("appeal/{user}"), None::<&Sanction>);
            found = true;
        }
        let sanctions = self.sanctions.erased(user, now);
        for (whose, sanction) in &sanctions {
            plan.state(format!("sanction/{whose}"), sanction.as_ref());
            found = true;
        }
        if found {
            // The audit log must not name whom it is to forget.
            let reason = "";
            plan.audit(Deed { now, actor, reason }.of("erase", ""));
        }
        plan.changes.push(Change::Erase {
            user: user.to_owned(),
            sanctions,
            found,
        });
        plan
    }

    fn sanction(
        &mut self,
        plan: &mut Plan,
        deed: Deed<'_>,
        user: &str,
        kind: SanctionKind,
        until_ms: Option<u64>,
    ) -> Result<(), Refusal> {
        let Deed { now, actor, reason } = deed;
        self.check_target(actor, user)?;
        let past = self.sanctions.past(now);
        let known = self.sanctions.of(user, now);
        if known.is_none() && self.sanctions.len() - past.len() >= self.config.sanctions_max {
            return Err(Code::Full.into());
        }
        for past in past.iter().filter(|past| *past != user) {
            plan.state(format!("sanction/{past}"), None::<&Sanction>);
        }
        // A guest's name costs nothing: what is meant is whoever is behind it.
        let state = self.users.get(user).filter(|state| state.anonymous);
        let sanction = Sanction {
            kind,
            until_ms,
            by: actor.user.clone(),
            reason: reason.to_owned(),
            at_ms: now.unix_ms,
            address: state.map(|state| state.address),
        };
        plan.state(format!("sanction/{user}"), Some(&sanction));
        if self.appeals.contains_key(user) {
            plan.state(format!("appeal/{user}"), None::<&Sanction>);
        }
        let action = match kind {
            SanctionKind::Ban => "ban",
            SanctionKind::Timeout => "timeout",
            SanctionKind::Shadow => "shadow",
        };
        let before = known.map_or_else(String::new, json);
        let deed = deed
            .of(action, user)
            .before(&before)
            .after(&json(&sanction));
        let event = plan.audit(deed);
        plan.changes.push(Change::Sanction {
            user: user.to_owned(),
            sanction,
            past,
            event,
        });
        Ok(())
    }

    fn lift(
        &self,
        plan: &mut Plan,
        deed: Deed<'_>,
        action: &'static str,
        user: &str,
    ) -> Result<(), Refusal> {
        let before = self.sanctions.get(user).ok_or(Code::NotFound)?;
        plan.state(format!("sanction/{user}"), None::<&Sanction>);
        if self.appeals.contains_key(user) {
            plan.state(format!("appeal/{user}"), None::<&Sanction>);
        }
        let event = plan.audit(deed.of(action, user).before(&json(before)));
        plan.changes.push(Change::Lift {
            user: user.to_owned(),
            event,
        });
        Ok(())
    }

    fn decide(
        &self,
        plan: &mut Plan,
        deed: Deed<'_>,
        decision: &proto::AppealDecision,
    ) -> Result<(), Refusal> {
        let user = &*decision.user;
        let appeal = self.appeals.get(user).filter(|appeal| !appeal.closed);
        let mut appeal = appeal.ok_or(Code::NotFound)?.clone();
        if decision.accepted {
            plan.state(format!("appeal/{user}"), None::<&Sanction>);
            plan.audit(deed.of("appeal_accepted", user).before(&appeal.text));
            plan.changes.push(Change::Appeal {
                user: user.to_owned(),
                appeal: None,
            });
            // The sanction may have ended by itself.
            if self.sanctions.get(user).is_some() {
                self.lift(plan, deed, "unban", user)?;
            }
            plan.notice(user.to_owned(), "unbanned", deed.reason, 0);
        } else {
            plan.audit(deed.of("appeal_denied", user).before(&appeal.text));
            appeal.closed = true;
            plan.state(format!("appeal/{user}"), Some(&appeal));
            plan.changes.push(Change::Appeal {
                user: user.to_owned(),
                appeal: Some(appeal),
            });
            plan.notice(user.to_owned(), "appeal_denied", deed.reason, 0);
        }
        Ok(())
    }

    fn pin(&self, plan: &mut Plan, deed: Deed<'_>, id: u64) -> Result<(), Refusal> {
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
        plan.audit(deed.of(action, &target).before(&before));
        plan.state(STATE_PINNED, message.as_ref());
        plan.changes.push(Change::Pin(message.map(Box::new)));
        Ok(())
    }

    fn set_settings(
        &self,
        plan: &mut Plan,
        deed: Deed<'_>,
        settings: proto::Settings,
    ) -> Result<(), Refusal> {
        let settings = settings::checked(settings, &self.config.emote_hosts)?;
        let screen = Screen::new(&self.config.filter, &settings)
            .map_err(|error| Refusal::because(Code::OutOfRange, error.to_string()))?;
        let (before, after) = (json(&self.settings), json(&settings));
        // The record's detail is JSON that holds this JSON as a text.
        let size = |text: &String| json(text).len();
        if size(&after) > DETAIL_BYTES_MAX {
            let detail = "settings: at most 250 KiB as JSON";
            return Err(Refusal::because(Code::OutOfRange, detail));
        }
        let deed = deed.of("settings", "");
        match size(&before) + size(&after) <= DETAIL_BYTES_MAX {
            true => {
                plan.audit(deed.before(&before).after(&after));
            }
            // Too long for one record: both in full, one after the other.
            false => {
                plan.audit(deed.clone().before(&before));
                plan.audit(deed.after(&after));
            }
        }
        plan.state("settings", Some(&settings));
        let settings = Box::new((settings, screen));
        plan.changes.push(Change::Settings(settings));
        Ok(())
    }

    fn author_of(&self, id: u64) -> Option<std::sync::Arc<str>> {
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

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
