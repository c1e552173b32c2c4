//! Who is there: connections, users, welcomes, presence, reactions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::{FRAME_BYTES_MAX, Frame};
use lightstick_types::{ChatMember, ChatRole};

use super::{ClientKey, LINGER, Output, Room};
use crate::bucket::Bucket;
use crate::effects::HEART;
use crate::now::Now;
use crate::record::{Asker, Done};
use crate::refusal::{Code, Refusal};
use crate::roles;

/// Answers that are remembered for each user.
const NONCES_MAX: usize = 64;
/// Hellos of one connection, at once and over this span.
const HELLOS: u32 = 5;
const HELLOS_SPAN: Duration = Duration::from_secs(30);
/// Kinds of reactions in one request.
const REACTIONS_MAX: usize = 16;
/// What a welcome takes beside what was missed, at most.
const WELCOME_BYTES: usize = 1_024;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) member: Arc<ChatMember>,
    reactions: Bucket,
    /// Each hello is answered with all that the room shows.
    hellos: Bucket,
}

/// Somebody, over all connections and for a while after the last.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) role: ChatRole,
    /// A keyed hash of the address of the latest connection.
    pub(super) address: u64,
    /// Came without a token.
    pub(super) anonymous: bool,
    pub(super) clients: Vec<ClientKey>,
    /// What was answered to the last requests; `None`: not yet.
    nonces: VecDeque<(u64, Option<Done>)>,
    /// When a personal copy of a message was last sent, for its own limit.
    pub(super) direct: Bucket,
    /// After its last connection: see `Room::leaving`.
    forget_at: Instant,
}

impl User {
    pub(super) fn answered(&self, nonce: u64) -> Option<&Option<Done>> {
        let found = self.nonces.iter().find(|(known, _)| *known == nonce);
        found.map(|(_, done)| done)
    }

    pub(super) fn remember(&mut self, nonce: u64, done: Option<Done>) {
        if let Some(known) = self.nonces.iter_mut().find(|(known, _)| *known == nonce) {
            known.1 = done;
            return;
        }
        if self.nonces.len() == NONCES_MAX {
            self.nonces.pop_front();
        }
        self.nonces.push_back((nonce, done));
    }

    pub(super) fn forget(&mut self, nonce: u64) {
        self.nonces.retain(|(known, _)| *known != nonce);
    }
}

impl Room {
    /// A client has connected. `address` is a keyed hash of where it came from. It is sent
    /// what is shown from now on; a [`proto::Hello`] brings it up to date.
    pub fn connect(&mut self, now: Now, client: ClientKey, member: Arc<ChatMember>, address: u64) {
        let user: Arc<str> = match self.users.get_key_value(&*member.user) {
            Some((user, _)) => Arc::clone(user),
            None => member.user.as_str().into(),
        };
        let state = self.users.entry(Arc::clone(&user)).or_insert_with(|| User {
            name: String::new(),
            role: member.role,
            address,
            anonymous: member.anonymous,
            clients: Vec::new(),
            nonces: VecDeque::new(),
            direct: Bucket::new(),
            forget_at: now.at,
        });
        (state.role, state.address) = (member.role, address);
        state.anonymous = member.anonymous;
        state.clients.push(client);
        if state.name != member.name {
            let before = std::mem::replace(&mut state.name, member.name.clone());
            self.forget_name(&before, &user);
            self.names.insert(folded(&member.name), user);
        }
        let state = Client {
            member,
            reactions: Bucket::new(),
            hellos: Bucket::new(),
        };
        self.clients.insert(client, state);
        self.crowd_changed(now);
    }

    /// A client is gone.
    pub fn disconnect(&mut self, now: Now, client: ClientKey) {
        let Some(state) = self.clients.remove(&client) else {
            return;
        };
        let Some((user, state)) = self.users.get_key_value(&*state.member.user) else {
            return;
        };
        let last = state.clients.len() == 1;
        let user = Arc::clone(user);
        let forget_at = now.at + LINGER;
        if let Some(state) = self.users.get_mut(&user) {
            state.clients.retain(|other| *other != client);
            state.forget_at = forget_at;
        }
        if last {
            self.leaving.push_back((forget_at, user));
        }
        self.crowd_changed(now);
    }

    /// A client whose link lost what must not be left out is brought up to date.
    pub fn resume(&mut self, now: Now, client: ClientKey) {
        if let Some(state) = self.clients.get(&client) {
            let member = Arc::clone(&state.member);
            self.greet(now, client, &member, None);
        }
    }

    /// Answers a hello, if it is not one too many.
    pub(super) fn on_hello(
        &mut self,
        now: Now,
        client: ClientKey,
        member: &ChatMember,
        position: Option<proto::Position>,
    ) {
        let Some(state) = self.clients.get_mut(&client) else {
            return;
        };
        match state.hellos.take(now.at, HELLOS, HELLOS_SPAN) {
            Ok(()) => self.greet(now, client, member, position),
            Err(wait) => {
                let to = Asker::Client { client, nonce: 0 };
                self.refuse(to, Refusal::later(Code::RateLimited, wait));
            }
        }
    }

    pub(super) fn greet(
        &mut self,
        now: Now,
        client: ClientKey,
        member: &ChatMember,
        position: Option<proto::Position>,
    ) {
        let missed = position.and_then(|position| self.missed(position));
        let address = self.address_of(member);
        let may_write = member.write && self.sanctions.check(&member.user, address, now).is_ok();
        let welcome = Frame::new([Part::Welcome(proto::Welcome {
            position: Some(self.stream.position()),
            recovered: missed.is_some(),
            you: Some(author(member)),
            may: Some(roles::permissions(member, may_write)),
            now_ms: now.unix_ms,
        })]);
        let rest = missed.unwrap_or_else(|| self.snapshot(now));
        let frame = Frame::joined([&welcome, &rest]);
        self.outputs.push_back(Output::Tell { client, frame });
    }

    /// The address that sanctions and limits go by; `None`: a token says who it is.
    pub(super) fn address_of(&self, member: &ChatMember) -> Option<u64> {
        let user = self.users.get(&*member.user)?;
        member.anonymous.then_some(user.address)
    }

    /// All that was shown since, where it is here and fits into one frame.
    fn missed(&mut self, position: proto::Position) -> Option<Frame> {
        let last = self.stream.position().offset;
        if let Some((known, at, frame)) = &self.recovery
            && (known, *at) == (&position, last)
        {
            return Some(frame.clone());
        }
        let frame = self.stream.since(position)?;
        if frame.len() > FRAME_BYTES_MAX - WELCOME_BYTES {
            return None;
        }
        // Who comes back after the same fault asks from the same place.
        self.recovery = Some((position, last, frame.clone()));
        Some(frame)
    }

    /// The room as a newcomer finds it, encoded once for all who come before it changes.
    pub(super) fn snapshot(&mut self, now: Now) -> Frame {
        let over = self.highlighted.iter().any(|(until, _)| *until <= now.at);
        if over {
            self.highlighted.retain(|(until, _)| *until > now.at);
            self.snapshot = None;
        }
        if let Some(frame) = &self.snapshot {
            return frame.clone();
        }
        let messages = self.stream.last_messages(self.config.snapshot_messages);
        let mut snapshot = proto::Snapshot {
            settings: Some(self.shown_settings()),
            messages,
            pinned: self.pinned.clone(),
            poll: self.poll.as_ref().map(|poll| poll.shown(false)),
            highlighted: self
                .highlighted
                .iter()
                .map(|(_, message)| message.clone())
                .collect(),
            present: self.clients.len() as u32,
            announcement: self.announcement.clone(),
        };
        let frame = loop {
            let frame = Frame::new([Part::Snapshot(snapshot.clone())]);
            let none = snapshot.messages.is_empty() && snapshot.highlighted.is_empty();
            if frame.len() <= FRAME_BYTES_MAX - WELCOME_BYTES || none {
                break frame;
            }
            if snapshot.messages.is_empty() {
                snapshot.highlighted.remove(0);
                continue;
            }
            // The oldest half is what a newcomer misses least.
            let half = snapshot.messages.len().div_ceil(2);
            snapshot.messages.drain(..half);
        };
        self.snapshot = Some(frame.clone());
        frame
    }

    /// What everybody may know of the settings: the blocked terms are for moderators.
    pub(super) fn shown_settings(&self) -> proto::Settings {
        proto::Settings {
            blocked_terms: Vec::new(),
            ..self.settings.clone()
        }
    }

    pub(super) fn react(&mut self, now: Now, client: ClientKey, react: proto::React) {
        let Some(state) = self.clients.get_mut(&client) else {
            return;
        };
        for reaction in react.reactions.into_iter().take(REACTIONS_MAX) {
            let mut emotes = self.settings.emotes.iter();
            let known = reaction.kind == HEART || emotes.any(|emote| emote.name == reaction.kind);
            let limit = self.config.reactions_per_second;
            let span = Duration::from_secs(1);
            let counted = match known {
                true => state
                    .reactions
                    .take_up_to(now.at, limit, span, reaction.count),
                false => 0,
            };
            self.totals.reactions += u64::from(counted);
            self.totals.reactions_dropped += u64::from(reaction.count - counted);
            if counted > 0 {
                self.counter.react(&reaction.kind, counted);
            }
        }
        self.wants_tick(now);
    }

    pub(super) fn vote(&mut self, member: &ChatMember, vote: proto::Vote) -> Result<Done, Refusal> {
        let address = self.address_of(member);
        let per_address = self.config.guests_per_address;
        let poll = self.poll.as_mut().filter(|poll| poll.id() == vote.poll);
        let poll = poll.ok_or(Code::NotFound)?;
        let (user, _) = self
            .users
            .get_key_value(&*member.user)
            .ok_or(Code::NotFound)?;
        if !member.write {
            return Err(Code::ReadOnly.into());
        }
        poll.vote(
            user,
            address.map(|address| (address, per_address)),
            vote.choice,
        )?;
        let at = self.ticked_at + Duration::from_secs(1);
        self.tick_at = Some(self.tick_at.map_or(at, |before| before.min(at)));
        Ok(Done {
            id: vote.poll,
            ..Done::default()
        })
    }

    fn crowd_changed(&mut self, now: Now) {
        self.counter.names_changed();
        self.wants_tick(now);
    }

    /// Names of who is there, in small rooms.
    pub(super) fn present_names(&self) -> Option<Vec<String>> {
        let small = self.users.len() <= self.config.names_max;
        small.then(|| {
            let here = self.users.values().filter(|user| !user.clients.is_empty());
            let mut names: Vec<_> = here.map(|user| user.name.clone()).collect();
            names.sort_unstable();
            names
        })
    }

    pub(super) fn forget_users(&mut self, now: Now) {
        while let Some((at, _)) = self.leaving.front()
            && *at <= now.at
        {
            let Some((at, user)) = self.leaving.pop_front() else {
                return;
            };
            // It may have come, and perhaps gone again, meanwhile.
            let gone = |state: &User| state.clients.is_empty() && state.forget_at == at;
            if self.users.get(&user).is_some_and(gone)
                && let Some(state) = self.users.remove(&user)
            {
                self.forget_name(&state.name, &user);
            }
        }
    }

    fn forget_name(&mut self, name: &str, user: &Arc<str>) {
        let name = folded(name);
        if self.names.get(&name) == Some(user) {
            self.names.remove(&name);
        }
    }
}

/// A name as it is mentioned: without case and spaces.
pub(super) fn folded(name: &str) -> Box<str> {
    let chars = name.chars().filter(|c| !c.is_whitespace());
    chars
        .flat_map(char::to_lowercase)
        .collect::<String>()
        .into()
}

pub(super) fn author(member: &ChatMember) -> proto::Author {
    proto::Author {
        user: member.user.clone(),
        name: member.name.clone(),
        role: roles::wire(member.role).into(),
    }
}
