//! From a request to an accepted message.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use lightstick_chat_proto as proto;
use lightstick_chat_proto::HoldPolicy;
use lightstick_types::{ChatMember, ChatRole};
use prost::Message as _;

use super::allowance::LimitKey;
use super::people::{author, folded};
use super::show::{Accepted, Urgent};
use super::{Actor, ClientKey, Output, Room};
use crate::command;
use crate::now::Now;
use crate::record::{Answer, Asker, AuditRecord, Done, MessageRecord, RoomEvent};
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::sample::Candidate;
use crate::sanctions::Visible;
use crate::screen::Verdict;
use crate::settings::is_emotes_only;

/// Mentions of one message; more are plain text.
const MENTIONS_MAX: usize = 5;
/// Highlighted messages that newcomers find on top. The oldest make room.
const HIGHLIGHTED_MAX: usize = 20;
/// Texts that "unique only" remembers.
const RECENT_MAX: usize = 500;
/// Beginning of a message that an answer to it repeats, in characters.
const EXCERPT_CHARS: usize = 60;
/// Messages of one tick. More are refused: nobody writes so fast but machines.
const ACCEPTED_MAX: usize = 20_000;
/// A message on its way: what is known of it so far.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) message: proto::Message,
    pub(super) role: ChatRole,
    pub(super) visible: bool,
    /// Why a moderator should look at it.
    pub(super) suspicion: Option<String>,
    pub(super) to: Option<Asker>,
    /// Of [`Posted`](super::Posted).
    pub(super) key: String,
    /// Somebody used their power to write it.
    pub(super) audit: Option<AuditRecord>,
}

impl Room {
    pub(super) fn on_send(
        &mut self,
        now: Now,
        client: ClientKey,
        member: &Arc<ChatMember>,
        send: proto::Send,
    ) {
        let to = Asker::Client {
            client,
            nonce: send.nonce,
        };
        let answered = self
            .users
            .get(&*member.user)
            .and_then(|user| user.answered(send.nonce));
        match answered.filter(|_| send.nonce != 0).cloned() {
            Some(Some(done)) => return self.acknowledge(to, done),
            // With the review hook: whoever asked last is answered.
            Some(None) => return self.asks_again(to, &member.user),
            None => {}
        }
        if send.text.starts_with('/') {
            let actor = Actor {
                user: member.user.clone(),
                role: member.role,
            };
            return self.obey(now, &actor, &send.text, to);
        }
        match self.draft(now, member, &send, to) {
            Ok(draft) => {
                if let Some(user) = self.users.get_mut(&*member.user) {
                    user.remember(send.nonce, None);
                }
                self.pass(now, draft);
            }
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    fn obey(&mut self, now: Now, actor: &Actor, text: &str, to: Asker) {
        if !roles::moderates(actor.role) {
            return self.refuse(to, Code::NotModerator.into());
        }
        match command::parse(text, &self.settings) {
            Ok(command) => self.moderate(now, actor, command.action, &command.reason, to),
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    /// Checks everything but what takes a moderator or the review hook.
    fn draft(
        &mut self,
        now: Now,
        member: &ChatMember,
        send: &proto::Send,
        to: Asker,
    ) -> Result<Draft, Refusal> {
        if !member.write {
            return Err(Code::ReadOnly.into());
        }
        let address = self.address_of(member);
        let moderates = roles::moderates(member.role);
        let visible = match moderates {
            true => Visible::Everybody,
            false => self.sanctions.check(&member.user, address, now)?,
        };
        if self.accepted.len() >= ACCEPTED_MAX {
            return Err(Refusal::later(Code::Full, self.config.tick));
        }
        let text = self.screen.clean(&send.text, self.config.text_chars_max)?;
        let mut suspicion = None;
        if !moderates {
            suspicion = self.judge(now, member, &text)?;
        }
        self.spend(now, member)?;
        if !moderates {
            self.note_recent(&text);
        }
        let message = self.compose(now, author(member), text, send.reply_to, None);
        Ok(Draft {
            message,
            role: member.role,
            visible: visible == Visible::Everybody,
            suspicion,
            to: Some(to),
            key: String::new(),
            audit: None,
        })
    }

    /// What the room's settings and the filter say of a text.
    fn judge(
        &mut self,
        now: Now,
        member: &ChatMember,
        text: &str,
    ) -> Result<Option<String>, Refusal> {
        let settings = &self.settings;
        if settings.muted {
            return Err(Code::Muted.into());
        }
        if settings.members_only && member.role == ChatRole::Guest {
            return Err(Code::MembersOnly.into());
        }
        if settings.emote_only && !is_emotes_only(text, settings) {
            return Err(Code::EmoteOnly.into());
        }
        let slow = Duration::from_secs(settings.slow_seconds.into());
        let who = LimitKey::of(member, self.address_of(member));
        let factor = who.factor(&self.config);
        let allowance = self.allowances.of(now.at, who.clone());
        if let Some(wait) = allowance.slow.wait(now.at, factor, slow) {
            return Err(Refusal::later(Code::SlowMode, wait));
        }
        if settings.unique_only && self.recent.contains(&hash(text)) {
            return Err(Code::NotUnique.into());
        }
        let hold_all = settings.hold() == HoldPolicy::HoldAll;
        let hold_none = settings.hold() == HoldPolicy::HoldNone && !settings.shield;
        let newcomer = settings.shield && member.role == ChatRole::Guest;
        let suspicion = match self.screen.judge(now.at, who.number(), text) {
            Verdict::Blocked(code) => return Err(code.into()),
            Verdict::Suspected(reason) if !hold_none => Some(reason),
            _ if hold_all => Some("hold_all".to_owned()),
            _ if newcomer => Some("shield".to_owned()),
            _ => None,
        };
        Ok(suspicion)
    }

    /// Takes one message from a user's allowance.
    fn spend(&mut self, now: Now, member: &ChatMember) -> Result<(), Refusal> {
        let who = LimitKey::of(member, self.address_of(member));
        let factor = who.factor(&self.config);
        let messages = match member.role {
            ChatRole::Bot => self.config.messages_per_bot,
            role if roles::moderates(role) => self.config.messages_per_moderator,
            _ => self.config.messages_per_user,
        };
        let span = self.config.rate_window;
        let slow = Duration::from_secs(self.settings.slow_seconds.into());
        let allowance = self.allowances.of(now.at, who);
        let taken = allowance
            .messages
            .take(now.at, messages.saturating_mul(factor), span);
        taken.map_err(|wait| Refusal::later(Code::RateLimited, wait))?;
        allowance.slow.spend(now.at, factor, slow);
        Ok(())
    }

    fn note_recent(&mut self, text: &str) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(hash(text));
    }

    pub(super) fn compose(
        &mut self,
        now: Now,
        author: proto::Author,
        text: String,
        reply_to: u64,
        paid: Option<proto::Paid>,
    ) -> proto::Message {
        let answered = self.stream.message(reply_to);
        let reply = answered.and_then(|message| {
            let author = message.author?;
            Some(proto::Reply {
                id: message.id,
                user: author.user,
                name: author.name,
                excerpt: message.text.chars().take(EXCERPT_CHARS).collect(),
            })
        });
        let named = text
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('@'));
        let trimmed = named.map(|name| name.trim_end_matches(|c: char| !c.is_alphanumeric()));
        let mut mentions: Vec<String> = Vec::new();
        for user in trimmed.filter_map(|name| self.names.get(&folded(name))) {
            if mentions.len() < MENTIONS_MAX && !mentions.iter().any(|known| **known == **user) {
                mentions.push(user.to_string());
            }
        }
        proto::Message {
            id: self.next_id(now),
            author: Some(author),
            text,
            at_ms: now.unix_ms,
            reply,
            mentions,
            paid,
        }
    }

    /// The message has its place.
    pub(super) fn accept(&mut self, now: Now, draft: Draft) {
        let Draft {
            message,
            role,
            visible,
            to,
            key,
            audit,
            ..
        } = draft;
        self.totals.accepted += 1;
        let user: Arc<str> = match self.users.get_key_value(user_of(&message)) {
            Some((user, _)) => Arc::clone(user),
            None => user_of(&message).into(),
        };
        let place = self.accepted.len();
        let always = message.paid.is_some() || roles::is_always_shown(role);
        if !visible {
            self.totals.hidden += 1;
        } else {
            let entry: bytes::Bytes = proto::Entry {
                entry: Some(proto::entry::Entry::Message(message.clone())),
            }
            .encode_to_vec()
            .into();
            if let Some(paid) = &message.paid {
                let until = now.at + Duration::from_secs(paid.pin_seconds.into());
                self.highlighted.retain(|(until, _)| *until > now.at);
                if self.highlighted.len() == HIGHLIGHTED_MAX {
                    self.highlighted.remove(0);
                }
                self.highlighted.push((until, message.clone()));
            }
            if always {
                self.urgent.push(Urgent {
                    entry,
                    id: message.id,
                    user,
                    place: Some(place),
                });
                self.wants_urgent(now);
            } else {
                let replies_up = message.reply.as_ref().is_some_and(|reply| {
                    let role = self.users.get(&*reply.user).map(|user| user.role);
                    role.is_some_and(roles::moderates)
                });
                let weight = roles::weight(role) * if replies_up { 2.0 } else { 1.0 };
                let candidate = Candidate {
                    id: message.id,
                    user,
                    entry,
                    place,
                };
                self.sampler.offer(candidate, weight);
            }
            let created = RoomEvent::MessageCreated(message.clone());
            self.outputs.push_back(Output::Event(Box::new(created)));
        }
        let mut asked = None;
        if let Some(to) = to {
            let text = message.text.clone();
            let done = Done {
                id: message.id,
                held: false,
                at_ms: message.at_ms,
                text: Some(text),
            };
            self.note_done(&message, to, &done);
            match to {
                Asker::Client { .. } => self.acknowledge(to, done),
                Asker::Request(_) => {
                    asked = Some(Answer {
                        to,
                        binding: true,
                        result: Ok(done),
                    });
                }
            }
        }
        let record = MessageRecord {
            message,
            shown: false,
            hidden: !visible,
            key,
        };
        self.accepted.push(Accepted {
            record,
            audit,
            asked,
        });
        self.wants_tick(now);
    }

    pub(super) fn note_done(&mut self, message: &proto::Message, to: Asker, done: &Done) {
        if let Asker::Client { nonce, .. } = to
            && nonce != 0
            && let Some(user) = self.users.get_mut(user_of(message))
        {
            user.remember(nonce, Some(done.clone()));
        }
    }
}

pub(super) fn user_of(message: &proto::Message) -> &str {
    message.author.as_ref().map_or("", |author| &author.user)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for word in text.split_whitespace() {
        word.to_lowercase().hash(&mut hasher);
    }
    hasher.finish()
}
