//! What moderators do, whether by command, by button or over HTTP: what it would change, and the
//! records of it. Nothing changes before these are kept.

use std::sync::Arc;

use lightstick_chat_proto as proto;
use lightstick_chat_proto::moderate::Action;
use lightstick_types::{ChatMember, ChatRole};

use super::audit::Deed;
use super::draft::{USER_BYTES_MAX, user_of};
use super::moderation::Appeal;
use super::pending::Wish;
use super::plan::{Change, Plan};
use super::state::{RoomState, STATE_PINNED, STATE_SETTINGS};
use crate::now::Now;
use crate::poll::Poll;
use crate::record::{Actor, Asker, Record};
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::sanctions::{Sanction, SanctionKind};
use crate::screen::Screen;
use crate::settings;

const TIMEOUT_SECONDS: std::ops::RangeInclusive<u32> = 10..=86_400;
/// What one audit record says of before and after, in bytes of JSON: the archive takes 256 KiB.
const DETAIL_BYTES_MAX: usize = 250 * 1_024;

/// Plans what somebody wishes.
pub(super) fn plan(
    state: &mut RoomState,
    now: Now,
    wish: Wish,
    to: Asker,
) -> Result<Plan, Refusal> {
    match wish {
        Wish::Moderate {
            actor,
            action,
            reason,
        } => {
            let deed = Deed {
                now,
                actor: &actor,
                reason: &reason,
            };
            Planner::new(state, deed).action(*action, to)
        }
        Wish::Appeal { member, text } => plan_appeal(state, now, &member, &text),
        Wish::Erase { actor, user } => {
            // The audit log must not name whom it is to forget.
            let deed = Deed {
                now,
                actor: &actor,
                reason: "",
            };
            Ok(Planner::new(state, deed).erasure(&user))
        }
    }
}

/// An appeal is against a sanction, and there is one of each: a guest who comes back under another
/// name appeals against the same.
fn plan_appeal(
    state: &RoomState,
    now: Now,
    member: &ChatMember,
    text: &str,
) -> Result<Plan, Refusal> {
    let address = state.talk.crowd.address_of(member);
    let moderation = &state.moderation;
    let holds = moderation.sanctions.holds(&member.user, address, now);
    let open = holds.filter(|(_, sanction)| sanction.kind != SanctionKind::Shadow);
    let (user, _) = open.ok_or(Code::NoAppeal)?;
    if moderation.appeals.contains_key(user) {
        return Err(Code::NoAppeal.into());
    }
    if moderation.appeals.len() >= state.config.appeals_max {
        return Err(Code::Full.into());
    }
    let appeal = Appeal {
        text: state.rules.clean(text)?,
        at_ms: now.unix_ms,
        closed: false,
    };
    let user = user.to_owned();
    let mut plan = Plan::new(now);
    plan.state(format!("appeal/{user}"), Some(&appeal));
    plan.changes.push(Change::AppealOpened { user, appeal });
    Ok(plan)
}

/// One action on its way to a plan.
struct Planner<'a> {
    state: &'a mut RoomState,
    deed: Deed<'a>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(state: &'a mut RoomState, deed: Deed<'a>) -> Self {
        let plan = Plan::new(deed.now);
        Self { state, deed, plan }
    }

    fn action(mut self, action: Action, to: Asker) -> Result<Plan, Refusal> {
        if self.state.talk.broadcast.is_urgent_full() {
            return Err(Refusal::later(Code::Full, self.state.config.urgent_wait));
        }
        let Deed { now, actor, reason } = self.deed;
        match action {
            Action::Delete(id) => self.delete(id)?,
            Action::ClearUser(user) => {
                self.clear_user(&user)?;
                self.plan.clear(user, actor);
            }
            Action::Timeout(timeout) => {
                if !TIMEOUT_SECONDS.contains(&timeout.seconds) {
                    return Err(Refusal::because(Code::OutOfRange, "seconds: 10 to 86400"));
                }
                let until = now.unix_ms + u64::from(timeout.seconds) * 1_000;
                let user = timeout.user;
                self.sanction(&user, SanctionKind::Timeout, Some(until))?;
                self.clear_user(&user)?;
                self.plan.clear(user.clone(), actor);
                self.plan.notice(user, "timed_out", reason, timeout.seconds);
            }
            Action::Ban(user) => {
                self.sanction(&user, SanctionKind::Ban, None)?;
                self.clear_user(&user)?;
                self.plan.clear(user.clone(), actor);
                self.plan.notice(user, "banned", reason, 0);
            }
            Action::Shadow(user) => self.sanction(&user, SanctionKind::Shadow, None)?,
            Action::Unban(user) => {
                self.lift("unban", &user)?;
                self.plan.notice(user, "unbanned", reason, 0);
            }
            Action::Unshadow(user) => self.lift("unshadow", &user)?,
            Action::Approve(id) => {
                let held = self.state.moderation.held.take(id);
                let held = held.ok_or(Code::NotFound)?;
                let record = self.deed.of("approve", &id.to_string());
                self.plan.audit(record.after(&held.draft.message.text));
                self.plan.changes.push(Change::Approve(Box::new(held)));
            }
            Action::Deny(id) => {
                let held = self.state.moderation.held.take(id);
                let held = held.ok_or(Code::NotFound)?;
                let record = self.deed.of("deny", &id.to_string());
                self.plan.audit(record.before(&held.draft.message.text));
                self.plan.changes.push(Change::Deny(Box::new(held)));
            }
            Action::Pin(id) => self.pin(id)?,
            Action::Settings(settings) => self.set_settings(settings)?,
            Action::Announce(text) => {
                let text = self.state.rules.clean(&text)?;
                self.plan.audit(self.deed.of("announce", "").after(&text));
                let at_ms = now.unix_ms;
                let announcement = proto::Announcement { text, at_ms };
                self.plan.changes.push(Change::Announce(announcement));
            }
            Action::PollStart(start) => self.start_poll(start)?,
            Action::PollEnd(id) => {
                let running = self.state.talk.board.poll();
                let running = running.filter(|poll| id == 0 || poll.id() == id);
                let id = running.ok_or(Code::NotFound)?.id();
                self.plan.done.id = id;
                self.plan.audit(self.deed.of("poll_end", &id.to_string()));
                self.plan.changes.push(Change::PollEnd);
            }
            Action::Warn(user) => {
                self.check_target(&user)?;
                self.plan.audit(self.deed.of("warn", &user));
                self.plan.notice(user, "warned", reason, 0);
            }
            Action::Queue(_) => {
                if let Asker::Client { client, .. } = to {
                    self.plan.changes.push(Change::TellQueue(client));
                }
            }
            Action::Appeal(decision) => self.decide(&decision)?,
        }
        Ok(self.plan)
    }

    /// Nobody acts against their equals; the artist and the integrator's server may.
    fn check_target(&self, user: &str) -> Result<(), Refusal> {
        if user.is_empty() {
            return Err(Code::NotFound.into());
        }
        if user.len() > USER_BYTES_MAX {
            return Err(Refusal::because(
                Code::OutOfRange,
                "user: at most 128 bytes",
            ));
        }
        let actor: &Actor = self.deed.actor;
        let role = self.state.talk.crowd.role_of(user).unwrap_or_default();
        let above = actor.role >= ChatRole::Idol && user != actor.user;
        match !roles::moderates(role) || above || role < actor.role {
            true => Ok(()),
            false => Err(Code::RoleTooHigh.into()),
        }
    }

    fn delete(&mut self, id: u64) -> Result<(), Refusal> {
        let talk = &self.state.talk;
        if id == 0 || id > talk.last_id {
            return Err(Code::NotFound.into());
        }
        let by = self.deed.actor.user.clone();
        let author: Option<Arc<str>> = talk.broadcast.author_of(id);
        if let Some(user) = author.filter(|user| **user != by) {
            self.check_target(&user)?;
        }
        // Of an older message the archive knows the text.
        let before = talk.broadcast.text_of(id).unwrap_or_default();
        let record = self.deed.of("delete", &id.to_string());
        self.plan.audit(record.before(&before));
        self.plan.records.push(Record::Removed {
            ids: vec![id],
            user: None,
            by: by.clone(),
            at_ms: self.deed.now.unix_ms,
        });
        self.unpin_removed(|message, _| message == id);
        self.plan.changes.push(Change::Delete { id, by });
        Ok(())
    }

    fn clear_user(&mut self, user: &str) -> Result<(), Refusal> {
        self.check_target(user)?;
        let stream = &self.state.talk.broadcast.stream;
        let count = stream.count(|_, author| author == user);
        let record = self.deed.of("clear_user", user);
        self.plan.audit(record.before(&format!("{count} messages")));
        self.plan.records.push(Record::Removed {
            ids: Vec::new(),
            user: Some(user.into()),
            by: self.deed.actor.user.clone(),
            at_ms: self.deed.now.unix_ms,
        });
        self.unpin_removed(|_, author| author == user);
        Ok(())
    }

    /// The pinned message goes with those that are taken away.
    fn unpin_removed(&mut self, gone: impl Fn(u64, &str) -> bool) {
        let pinned = self.state.talk.board.pinned();
        if pinned.is_some_and(|message| gone(message.id, user_of(message))) {
            self.plan.forget(STATE_PINNED);
        }
    }

    fn forget_appeal(&mut self, user: &str) {
        if self.state.moderation.appeals.contains_key(user) {
            self.plan.forget(format!("appeal/{user}"));
        }
    }

    /// Bans and timeouts hold on: they are all that is left of an erased user.
    fn erasure(mut self, user: &str) -> Plan {
        let stream = &self.state.talk.broadcast.stream;
        let moderation = &self.state.moderation;
        let mut found =
            stream.count(|_, author| author == user) > 0 || moderation.held.has_of(user);
        found |= moderation.appeals.contains_key(user);
        let sanctions = moderation.sanctions.erased(user, self.deed.now);
        found |= !sanctions.is_empty();
        self.unpin_removed(|_, author| author == user);
        self.forget_appeal(user);
        for (whose, sanction) in &sanctions {
            self.plan
                .state(format!("sanction/{whose}"), sanction.as_ref());
        }
        if found {
            self.plan.audit(self.deed.of("erase", ""));
        }
        self.plan.changes.push(Change::Erase {
            user: user.to_owned(),
            sanctions,
            found,
        });
        self.plan
    }

    fn sanction(
        &mut self,
        user: &str,
        kind: SanctionKind,
        until_ms: Option<u64>,
    ) -> Result<(), Refusal> {
        let Deed { now, actor, reason } = self.deed;
        self.check_target(user)?;
        let sanctions = &self.state.moderation.sanctions;
        let past = sanctions.past(now);
        let known = sanctions.of(user, now);
        let max = self.state.config.sanctions_max;
        if known.is_none() && sanctions.len() - past.len() >= max {
            return Err(Code::Full.into());
        }
        for past in past.iter().filter(|past| *past != user) {
            self.plan.forget(format!("sanction/{past}"));
        }
        // A guest's name costs nothing: what is meant is whoever is behind it.
        let target = self.state.talk.crowd.user(user);
        let target = target.filter(|target| target.anonymous);
        let sanction = Sanction {
            kind,
            until_ms,
            by: actor.user.clone(),
            reason: reason.to_owned(),
            at_ms: now.unix_ms,
            address: target.map(|target| target.address),
        };
        let before = known.map_or_else(String::new, json);
        self.plan.state(format!("sanction/{user}"), Some(&sanction));
        self.forget_appeal(user);
        let action = match kind {
            SanctionKind::Ban => "ban",
            SanctionKind::Timeout => "timeout",
            SanctionKind::Shadow => "shadow",
        };
        let record = self.deed.of(action, user).before(&before);
        let event = self.plan.audit(record.after(&json(&sanction)));
        self.plan.changes.push(Change::Sanction {
            user: user.to_owned(),
            sanction,
            past,
            event,
        });
        Ok(())
    }

    fn lift(&mut self, action: &'static str, user: &str) -> Result<(), Refusal> {
        let sanction = self.state.moderation.sanctions.get(user);
        let before = json(sanction.ok_or(Code::NotFound)?);
        self.plan.forget(format!("sanction/{user}"));
        self.forget_appeal(user);
        let record = self.deed.of(action, user).before(&before);
        let event = self.plan.audit(record);
        self.plan.changes.push(Change::Lift {
            user: user.to_owned(),
            event,
        });
        Ok(())
    }

    fn decide(&mut self, decision: &proto::AppealDecision) -> Result<(), Refusal> {
        let user = &*decision.user;
        let appeal = self.state.moderation.appeals.get(user);
        let appeal = appeal.filter(|appeal| !appeal.closed);
        let mut appeal = appeal.ok_or(Code::NotFound)?.clone();
        if decision.accepted {
            self.plan.forget(format!("appeal/{user}"));
            let record = self.deed.of("appeal_accepted", user);
            self.plan.audit(record.before(&appeal.text));
            self.plan.changes.push(Change::Appeal {
                user: user.to_owned(),
                appeal: None,
            });
            // The sanction may have ended by itself.
            if self.state.moderation.sanctions.get(user).is_some() {
                self.lift("unban", user)?;
            }
            self.plan
                .notice(user.to_owned(), "unbanned", self.deed.reason, 0);
        } else {
            let record = self.deed.of("appeal_denied", user);
            self.plan.audit(record.before(&appeal.text));
            appeal.closed = true;
            self.plan.state(format!("appeal/{user}"), Some(&appeal));
            self.plan.changes.push(Change::Appeal {
                user: user.to_owned(),
                appeal: Some(appeal),
            });
            self.plan
                .notice(user.to_owned(), "appeal_denied", self.deed.reason, 0);
        }
        Ok(())
    }

    fn start_poll(&mut self, start: proto::PollStart) -> Result<(), Refusal> {
        if self.state.talk.board.poll().is_some() {
            return Err(Refusal::because(Code::Full, "a poll is running"));
        }
        let start = self.state.rules.screen().clean_poll(start)?;
        let id = self.state.talk.next_id(self.deed.now);
        let poll = Poll::start(id, start, self.deed.now)?;
        self.plan.done.id = id;
        let record = self.deed.of("poll_start", &id.to_string());
        self.plan.audit(record.after(&poll.shown(false).question));
        self.plan.changes.push(Change::PollStart(Box::new(poll)));
        Ok(())
    }

    fn pin(&mut self, id: u64) -> Result<(), Refusal> {
        let talk = &self.state.talk;
        let message = match id {
            0 => None,
            id => Some(talk.broadcast.stream.message(id).ok_or(Code::NotFound)?),
        };
        let pinned = talk.board.pinned();
        let before = pinned.map_or_else(String::new, |pinned| pinned.id.to_string());
        let (action, target) = match &message {
            Some(message) => ("pin", message.id.to_string()),
            None => ("unpin", before.clone()),
        };
        self.plan
            .audit(self.deed.of(action, &target).before(&before));
        self.plan.state(STATE_PINNED, message.as_ref());
        self.plan.changes.push(Change::Pin(message.map(Box::new)));
        Ok(())
    }

    fn set_settings(&mut self, settings: proto::Settings) -> Result<(), Refusal> {
        let config = &self.state.config;
        let settings = settings::checked(settings, &config.emote_hosts)?;
        let screen = Screen::new(&config.filter, &settings)
            .map_err(|error| Refusal::because(Code::OutOfRange, error.to_string()))?;
        let before = json(self.state.talk.board.settings());
        let after = json(&settings);
        // The record's detail is JSON that holds this JSON as a text.
        let size = |text: &String| json(text).len();
        if size(&after) > DETAIL_BYTES_MAX {
            let detail = "settings: at most 250 KiB as JSON";
            return Err(Refusal::because(Code::OutOfRange, detail));
        }
        let record = self.deed.of("settings", "");
        match size(&before) + size(&after) <= DETAIL_BYTES_MAX {
            true => {
                self.plan.audit(record.before(&before).after(&after));
            }
            // Too long for one record: both in full, one after the other.
            false => {
                self.plan.audit(record.clone().before(&before));
                self.plan.audit(record.after(&after));
            }
        }
        self.plan.state(STATE_SETTINGS, Some(&settings));
        let settings = Box::new((settings, screen));
        self.plan.changes.push(Change::Settings(settings));
        Ok(())
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
