//! One room: who is there, what they write, what is shown.
//!
//! Order of calls: any of the entry points below, then [`ChatRoom::poll`] until it returns `None`,
//! then [`ChatRoom::turn`] when [`ChatRoom::deadline`] has come. When the records of an
//! [`Output::Commit`] are kept, or could not be, [`ChatRoom::kept`] and [`ChatRoom::settled`] are told.
//!
//! Each part owns its state: `crowd` (who is there), `board` (what holds until it is changed),
//! `broadcast` (what is shown), `outbox` (what leaves), `rules` (what a message has to pass),
//! `moderation`, `reviews`, `posting` with `post_keys`, and `pending` (actions that wait for their
//! records). `conversation` and `state` lead a message through them; `planner` says what an action
//! would change, and `apply` changes it.
//!
//! Actions in the audit log: `delete`, `clear_user`, `timeout`, `ban`, `unban`, `shadow`,
//! `unshadow`, `approve`, `deny`, `pin`, `unpin`, `settings`, `announce`, `poll_start`, `poll_end`,
//! `warn`, `appeal_accepted`, `appeal_denied`, `message` (written by the integrator's server), `erase`.

mod allowance;
mod apply;
mod audit;
mod board;
mod broadcast;
mod budget;
mod conversation;
mod crowd;
mod draft;
mod moderation;
mod outbox;
mod pending;
mod plan;
mod planner;
mod post_keys;
mod posting;
mod reviews;
mod rules;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lightstick_chat_proto as proto;
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::moderate::Action;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::Frame;
use lightstick_types::ChatMember;

use crate::command;
use crate::config::RoomConfig;
use crate::now::Now;
pub use crate::record::{Actor, ClientKey, Stored};
use crate::record::{Asker, Done};
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::sanctions::Sanction;
pub use outbox::{Output, Review, Totals};
use pending::{Pending, Wish};
use plan::Plan;
pub use post_keys::KeptPost;
pub use posting::{POSTED_KEY_BYTES_MAX, Posted};
pub use reviews::Reviewed;
use state::RoomState;

/// Longest reason of an action, in characters; the rest is cut.
const REASON_CHARS_MAX: usize = 300;
/// Longest language tag of a caption (RFC 5646 section 4.4.1), in bytes.
const LANGUAGE_BYTES_MAX: usize = 35;
/// How long a caption is shown that does not say so, and at most, in milliseconds.
const CAPTION_DEFAULT_MS: u32 = 4_000;
const CAPTION_MAX_MS: u32 = 30_000;

#[derive(Debug)]
pub struct ChatRoom {
    state: RoomState,
    pending: Pending,
}

/// A room as moderators and integrators see it.
#[derive(Clone, Debug)]
pub struct Overview {
    pub present: usize,
    pub settings: proto::Settings,
    /// The place of the last entry that was shown.
    pub position: proto::Position,
    pub pinned: Option<proto::Message>,
    /// The poll that runs, with its votes so far.
    pub poll: Option<proto::Poll>,
    pub announcement: Option<proto::Announcement>,
    /// Held messages and open appeals.
    pub queue: proto::Queue,
    /// Bans, timeouts and shadows, by user.
    pub sanctions: BTreeMap<String, Sanction>,
    pub totals: Totals,
}

impl ChatRoom {
    /// A room that nobody is in, of a configuration that was validated. `epoch` must differ from
    /// that of every earlier life of the room; `review` says whether messages go to the review hook.
    ///
    /// # Panics
    /// On a configuration that [`RoomConfig::validate`] refuses.
    #[must_use]
    pub fn new(
        config: RoomConfig,
        epoch: u64,
        seed: u64,
        review: bool,
        stored: &Stored,
        now: Now,
    ) -> Self {
        Self {
            state: RoomState::new(config, epoch, seed, review, stored, now),
            pending: Pending::default(),
        }
    }

    /// A client has connected. `address` is a keyed hash of where it came from. It is sent
    /// what is shown from now on; a [`proto::Hello`] brings it up to date.
    pub fn connect(&mut self, now: Now, client: ClientKey, member: Arc<ChatMember>, address: u64) {
        let talk = &mut self.state.talk;
        talk.crowd.connect(now, client, member, address);
        talk.crowd_changed(now);
    }

    pub fn disconnect(&mut self, now: Now, client: ClientKey) {
        let talk = &mut self.state.talk;
        if talk.crowd.disconnect(now, client) {
            talk.crowd_changed(now);
        }
    }

    /// A client whose link lost what must not be left out is brought up to date.
    pub fn resume(&mut self, now: Now, client: ClientKey) {
        if let Some(member) = self.state.talk.crowd.member(client) {
            self.state.greet(now, client, &member, None);
        }
    }

    pub fn receive(&mut self, now: Now, client: ClientKey, request: Request) {
        let Some(member) = self.state.talk.crowd.member(client) else {
            return;
        };
        let to = |nonce| Asker::Client { client, nonce };
        match request {
            Request::Hello(hello) => match self.state.talk.crowd.take_hello(now.at, client) {
                Ok(()) => self.state.greet(now, client, &member, hello.position),
                Err(wait) => self.refuse(to(0), Refusal::later(Code::RateLimited, wait)),
            },
            Request::Send(send) => self.send(now, to(send.nonce), &member, &send),
            Request::React(react) => self.state.talk.react(now, client, react),
            Request::Vote(vote) => {
                let to = to(vote.nonce);
                match self.state.talk.vote(&member, vote) {
                    Ok(done) => self.state.talk.out.acknowledge(to, done),
                    Err(refusal) => self.refuse(to, refusal),
                }
            }
            Request::Moderate(request) => {
                let to = to(request.nonce);
                match request.action {
                    Some(action) => {
                        self.moderate(now, &actor(&member), action, &request.reason, to);
                    }
                    None => self.refuse(to, Code::Malformed.into()),
                }
            }
            Request::Caption(mut cue) => {
                let to = to(std::mem::take(&mut cue.nonce));
                let result = match roles::permissions(&member, false).caption {
                    true => self.caption(now, cue),
                    false => Err(Code::ReadOnly.into()),
                };
                if let Err(refusal) = result {
                    self.refuse(to, refusal);
                }
            }
            Request::Appeal(appeal) => {
                let text = appeal.text;
                self.wish(now, Wish::Appeal { member, text }, to(appeal.nonce));
            }
            Request::Ping(ping) => {
                let number = ping.number;
                let pong = Frame::new([Part::Pong(proto::Pong { number })]);
                self.state.talk.out.tell(client, pong);
            }
        }
    }

    /// A frame of a client that could not be read, with its nonce as far as that could.
    pub fn malformed(&mut self, client: ClientKey, nonce: u64) {
        if self.state.talk.crowd.member(client).is_some() {
            self.refuse(Asker::Client { client, nonce }, Code::Malformed.into());
        }
    }

    /// Does what a moderator asks for, once the audit log has it; the answer comes as an output.
    pub fn moderate(&mut self, now: Now, actor: &Actor, action: Action, reason: &str, to: Asker) {
        let allowed = match roles::needs_lead(&action) {
            true => roles::leads(actor.role),
            false => roles::moderates(actor.role),
        };
        if !allowed {
            return self.refuse(to, Code::NotModerator.into());
        }
        let wish = Wish::Moderate {
            actor: actor.clone(),
            action: Box::new(action),
            reason: self.state.rules.screen().cut(reason, REASON_CHARS_MAX),
        };
        self.wish(now, wish, to);
    }

    /// Forgets what a user has said and what was said about it. Bans and timeouts hold on: they are
    /// all that is left. The answer comes when everything of before is kept.
    pub fn erase(&mut self, now: Now, actor: &Actor, user: &str, to: Asker) {
        let wish = Wish::Erase {
            actor: actor.clone(),
            user: user.to_owned(),
        };
        self.wish(now, wish, to);
    }

    /// A message of the integrator's server. Filters and limits do not hold for it; a highlighted
    /// one is answered once it is kept, which the shell reports with [`ChatRoom::settled`]. A refusal is
    /// an [`Output::Answer`].
    pub fn post(&mut self, now: Now, actor: &Actor, posted: Posted, to: Asker) {
        self.state.post(now, actor, posted, to);
    }

    /// What a request over HTTP asked for is kept, or could not be: then its message is taken away
    /// again, and it may be asked for once more.
    pub fn settled(&mut self, now: Now, to: Asker, kept: bool) {
        self.state.settled(now, to, kept);
    }

    /// The review hook has answered.
    pub fn reviewed(&mut self, now: Now, id: u64, reviewed: Reviewed) {
        self.state.reviewed(now, id, reviewed);
    }

    /// A live caption, from whoever may write one.
    ///
    /// # Errors
    /// [`Code::Empty`], [`Code::TooLong`], [`Code::OutOfRange`].
    pub fn caption(&mut self, now: Now, mut cue: proto::CaptionCue) -> Result<(), Refusal> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if cue.language.len() > LANGUAGE_BYTES_MAX || !cue.language.bytes().all(plain) {
            return Err(Refusal::because(Code::OutOfRange, "language: BCP 47"));
        }
        cue.text = self.state.rules.clean(&cue.text)?;
        if cue.at_ms == 0 {
            cue.at_ms = now.unix_ms;
        }
        cue.duration_ms = match cue.duration_ms {
            0 => CAPTION_DEFAULT_MS,
            ms => ms.min(CAPTION_MAX_MS),
        };
        self.state.talk.caption(cue);
        Ok(())
    }

    /// The records of an action are kept, or could not be: see [`Output::Commit`].
    pub fn kept(&mut self, now: Now, action: u64, kept: bool) {
        if let Some((plan, to)) = self.pending.take(action) {
            self.finish(now, plan, to, kept);
            self.next_wish(now);
        }
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        let will_tick = self.state.talk.broadcast.has_accepted();
        self.state.talk.out.poll(will_tick)
    }

    /// When [`ChatRoom::turn`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline()
    }

    /// Does what is due.
    pub fn turn(&mut self, now: Now) {
        self.state.handle_timeout(now);
    }

    #[must_use]
    pub fn totals(&self) -> Totals {
        self.state.talk.out.totals
    }

    #[must_use]
    pub fn overview(&self) -> Overview {
        let RoomState {
            talk, moderation, ..
        } = &self.state;
        let sanctions = moderation.sanctions.iter();
        Overview {
            present: talk.crowd.present(),
            settings: talk.board.settings().clone(),
            position: talk.broadcast.stream.position(),
            pinned: talk.board.pinned().cloned(),
            poll: talk.board.poll().map(|poll| poll.shown(false)),
            announcement: talk.board.announcement().cloned(),
            queue: moderation.queue(),
            sanctions: sanctions
                .map(|(user, sanction)| (user.to_owned(), sanction.clone()))
                .collect(),
            totals: talk.out.totals,
        }
    }

    /// Nobody is there and nothing waits: the room may be dropped.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state.is_idle() && self.pending.is_empty()
    }

    /// A message, or a command that stands in its place.
    fn send(&mut self, now: Now, to: Asker, member: &ChatMember, send: &proto::Send) {
        if self.state.answer_again(to, member, send.nonce) {
            return;
        }
        if !send.text.starts_with('/') {
            return self.state.write(now, member, send, to);
        }
        if !roles::moderates(member.role) {
            return self.refuse(to, Code::NotModerator.into());
        }
        match command::parse(&send.text, self.state.talk.board.settings()) {
            Ok(command) => {
                self.moderate(now, &actor(member), command.action, &command.reason, to);
            }
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    fn refuse(&mut self, to: Asker, refusal: Refusal) {
        self.state.talk.out.refuse(to, refusal);
    }

    /// Does what is wished, once its records are kept.
    fn wish(&mut self, now: Now, wish: Wish, to: Asker) {
        match self.pending.push(wish, to) {
            Ok(()) => self.next_wish(now),
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    fn next_wish(&mut self, now: Now) {
        while let Some((wish, to)) = self.pending.next() {
            match planner::plan(&mut self.state, now, wish, to) {
                Ok(plan) if plan.records.is_empty() => self.finish(now, plan, to, true),
                Ok(mut plan) => {
                    let records = std::mem::take(&mut plan.records);
                    let action = Some(self.pending.keep(plan, to));
                    self.state.talk.out.push(Output::Commit {
                        records,
                        answers: Vec::new(),
                        action,
                    });
                }
                Err(refusal) => self.refuse(to, refusal),
            }
        }
    }

    fn finish(&mut self, now: Now, plan: Plan, to: Asker, kept: bool) {
        for change in plan.changes {
            match kept {
                true => self.state.apply(now, change),
                false => self.state.give_up(change),
            }
        }
        match kept {
            true => self.state.talk.out.answer(to, plan.done),
            false => self.refuse(to, Code::NotKept.into()),
        }
    }
}

fn actor(member: &ChatMember) -> Actor {
    Actor {
        user: member.user.clone(),
        role: member.role,
    }
}

/// The frame of an answer to a client's request.
#[must_use]
pub fn answer_frame(nonce: u64, result: &Result<Done, Refusal>) -> Frame {
    Frame::new([match result {
        Ok(done) => Part::Ack(proto::Ack {
            nonce,
            id: done.id,
            held: done.held,
            at_ms: done.at_ms,
            text: done.text.clone().unwrap_or_default(),
        }),
        Err(refusal) => refusal.part(nonce),
    }])
}

/// The frame that says why the chat of a session ends, in the words of a WebSocket's close.
#[must_use]
pub fn closed_frame(reason: &str) -> Frame {
    Frame::new([Part::Notice(proto::Notice {
        code: "closed".to_owned(),
        detail: reason.to_owned(),
        seconds: 0,
    })])
}

#[cfg(test)]
mod tests;
