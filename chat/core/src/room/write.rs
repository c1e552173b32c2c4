//! From a request to an accepted message.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;
use lightstick_chat_proto::HoldPolicy;
use lightstick_types::{ChatMember, ChatRole};
use prost::Message as _;

use super::people::{author, folded};
use super::posts::{self, POSTED_KEY_BYTES_MAX};
use super::show::{Accepted, Urgent};
use super::{Actor, ClientKey, Output, Room};
use crate::command;
use crate::now::Now;
use crate::record::{Asker, AuditRecord, Done, MessageRecord, Record, RoomEvent};
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
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 50;
/// Currencies are three letters (ISO 4217).
const CURRENCY_LEN: usize = 3;
/// Longest name of a user in whose name is written, in bytes: that of a token's `sub`.
const USER_BYTES_MAX: usize = 128;
/// In the smallest unit of the currency. What is above is no payment, and no number of JavaScript's.
const AMOUNTS: std::ops::RangeInclusive<u64> = 1..=1 << 53;
const TIERS: std::ops::RangeInclusive<u32> = 1..=7;
/// Longest time on top of the chat, in seconds.
const PIN_SECONDS_MAX: u32 = 18_000;

/// A message that the integrator's server writes, in its own name or a user's.
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// In whose name; empty: the server's own.
    pub user: String,
    /// What is shown as the name.
    pub name: String,
    /// The text.
    pub text: String,
    /// The message that it answers; 0: none.
    pub reply_to: u64,
    /// Highlighted.
    pub paid: Option<proto::Paid>,
    /// The same key again gives the same answer and no second message; empty: none. At most
    /// [`POSTED_KEY_BYTES_MAX`].
    pub key: String,
}

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
    /// Show it.
    Allow,
    /// Show this instead.
    Modify(String),
    /// Do not show it, for this reason.
    Deny(String),
    /// It failed, or took too long.
    Failed,
}

/// A message on its way: what is known of it so far.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) message: proto::Message,
    pub(super) role: ChatRole,
    pub(super) visible: bool,
    /// Why a moderator should look at it.
    pub(super) suspicion: Option<String>,
    pub(super) to: Option<Asker>,
    /// Of [`Posted`].
    pub(super) key: String,
}

/// A message that the review hook has.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) until: Instant,
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
            Some(None) => {
                let waiting = self.reviews.values_mut();
                let mut mine =
                    waiting.filter(|waiting| is_same(waiting.draft.to, to, &waiting.draft, member));
                if let Some(waiting) = mine.next() {
                    waiting.draft.to = Some(to);
                }
                return;
            }
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
        let address = self.users.get(&*member.user).map_or(0, |user| user.address);
        let moderates = roles::moderates(member.role);
        let visible = match moderates {
            true => Visible::Everybody,
            false => self.sanctions.check(&member.user, address, now)?,
        };
        if self.accepted.len() >= ACCEPTED_MAX {
            return Err(Refusal::later(Code::Full, self.config.tick()));
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
        let wrote_at = self.users.get(&*member.user).and_then(|user| user.wrote_at);
        if let Some(at) = wrote_at
            && now.at < at + slow
        {
            return Err(Refusal::later(Code::SlowMode, at + slow - now.at));
        }
        if settings.unique_only && self.recent.contains(&hash(text)) {
            return Err(Code::NotUnique.into());
        }
        let hold_all = settings.hold() == HoldPolicy::HoldAll;
        let hold_none = settings.hold() == HoldPolicy::HoldNone && !settings.shield;
        let newcomer = settings.shield && member.role == ChatRole::Guest;
        let suspicion = match self.screen.judge(now.at, hash(&member.user), text) {
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
        let Some(user) = self.users.get_mut(&*member.user) else {
            return Ok(());
        };
        let allowance = match member.role {
            ChatRole::Bot => self.config.messages_per_bot,
            role if roles::moderates(role) => self.config.messages_per_moderator,
            _ => self.config.messages_per_user,
        };
        let span = Duration::from_secs(self.config.rate_seconds.into());
        let taken = user.messages.take(now.at, allowance, span);
        taken.map_err(|wait| Refusal::later(Code::RateLimited, wait))?;
        user.wrote_at = Some(now.at);
        Ok(())
    }

    fn note_recent(&mut self, text: &str) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(hash(text));
    }

    fn compose(
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

    /// Moves a draft on: to the moderators, to the review hook, or into the room.
    fn pass(&mut self, now: Now, draft: Draft) {
        if draft.suspicion.is_some() && draft.visible {
            return self.hold(now, draft);
        }
        let reviewed = self.review && draft.visible && !roles::moderates(draft.role);
        if reviewed && self.reviews.len() < self.config.reviews_max {
            let review = Review {
                id: draft.message.id,
                message: draft.message.clone(),
            };
            let until = now.at + Duration::from_millis(self.config.review_ms.into());
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

    /// The message has its place.
    pub(super) fn accept(&mut self, now: Now, draft: Draft) {
        let Draft {
            message,
            role,
            visible,
            to,
            key,
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
                Asker::Request(_) => self.answer(to, Ok(done)),
            }
        }
        let record = MessageRecord {
            message,
            shown: false,
            hidden: !visible,
            key,
        };
        self.accepted.push(Accepted { record });
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

    /// A message of the integrator's server. Filters and limits do not hold for it; a highlighted
    /// one is answered once it is safe. The shell says so with [`Room::settled`].
    ///
    /// # Errors
    /// None here: a refusal is an [`Output::Answer`].
    pub fn post(&mut self, now: Now, actor: &Actor, posted: Posted, to: Asker) {
        let print = posts::print_of(&posted);
        match self.posts.find(&posted.key, print) {
            Some(Ok(done)) => return self.answer(to, Ok(done)),
            Some(Err(refusal)) => return self.refuse(to, refusal),
            None => {}
        }
        match self.posted(now, actor, posted, to) {
            Ok(draft) => {
                self.posts.begin(&draft, print, to);
                if draft.message.paid.is_none() {
                    self.audit(
                        now,
                        actor,
                        "message",
                        &draft.message.id.to_string(),
                        "",
                        "",
                        &draft.message.text,
                    );
                }
                self.accept(now, draft);
            }
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    /// What a request over HTTP asked for is safe, or could not be kept: then it may be asked for
    /// again.
    pub fn settled(&mut self, to: Asker, kept: bool) {
        self.posts.settle(to, kept);
    }

    fn posted(
        &mut self,
        now: Now,
        actor: &Actor,
        posted: Posted,
        to: Asker,
    ) -> Result<Draft, Refusal> {
        if self.urgent.len() >= self.config.urgent_max {
            return Err(Refusal::later(Code::Full, self.config.urgent()));
        }
        if posted.key.len() > POSTED_KEY_BYTES_MAX || posted.user.len() > USER_BYTES_MAX {
            let detail = "the key and the user have at most 128 bytes";
            return Err(Refusal::because(Code::OutOfRange, detail));
        }
        let text = match posted.text.is_empty() && posted.paid.is_some() {
            // Paying without a word is fine.
            true => String::new(),
            false => self
                .screen
                .clean(&posted.text, self.config.text_chars_max)?,
        };
        let paid = posted.paid.map(checked_paid).transpose()?;
        let server = posted.user.is_empty();
        let name = match posted.name.is_empty() {
            true => posted.user.clone(),
            false => self.screen.clean(&posted.name, NAME_CHARS_MAX)?,
        };
        let known = self.users.get(&*posted.user).map(|user| user.role);
        let role = match server {
            true => ChatRole::Server,
            false => known.unwrap_or(ChatRole::Member),
        };
        let author = proto::Author {
            user: if server {
                actor.user.clone()
            } else {
                posted.user
            },
            name: if server && name.is_empty() {
                actor.user.clone()
            } else {
                name
            },
            role: roles::wire(role).into(),
        };
        let message = self.compose(now, author, text, posted.reply_to, paid);
        Ok(Draft {
            message,
            role: ChatRole::Server,
            visible: true,
            suspicion: None,
            to: Some(to),
            key: posted.key,
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "an audit record's fields, in their order"
    )]
    pub(super) fn audit(
        &mut self,
        now: Now,
        actor: &Actor,
        action: &'static str,
        target: &str,
        reason: &str,
        before: &str,
        after: &str,
    ) -> AuditRecord {
        let record = AuditRecord {
            at_ms: now.unix_ms,
            actor: actor.user.clone(),
            role: actor.role,
            action,
            target: target.to_owned(),
            reason: reason.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        self.records.push(Record::Audit(record.clone()));
        record
    }
}

fn checked_paid(mut paid: proto::Paid) -> Result<proto::Paid, Refusal> {
    let letters = paid.currency.bytes().all(|byte| byte.is_ascii_alphabetic());
    if paid.currency.len() != CURRENCY_LEN || !letters {
        return Err(Refusal::because(Code::OutOfRange, "currency: ISO 4217"));
    }
    if !AMOUNTS.contains(&paid.amount) {
        return Err(Refusal::because(Code::OutOfRange, "amount: 1 to 2^53"));
    }
    if !TIERS.contains(&paid.tier) {
        return Err(Refusal::because(Code::OutOfRange, "tier: 1 to 7"));
    }
    if paid.pin_seconds > PIN_SECONDS_MAX {
        return Err(Refusal::because(
            Code::OutOfRange,
            "pin_seconds: at most 18000",
        ));
    }
    paid.currency.make_ascii_uppercase();
    Ok(paid)
}

fn is_same(known: Option<Asker>, asked: Asker, draft: &Draft, member: &ChatMember) -> bool {
    let nonce = |asker| match asker {
        Asker::Client { nonce, .. } => Some(nonce),
        Asker::Request(_) => None,
    };
    known.and_then(nonce) == nonce(asked) && user_of(&draft.message) == member.user
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
