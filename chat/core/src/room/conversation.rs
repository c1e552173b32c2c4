//! What is said in a room and who hears it: people, what holds, what is shown, and what leaves.

use std::sync::Arc;
use std::time::Duration;

use lightstick_chat_proto as proto;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::{FRAME_BYTES_MAX, Frame, Tick};
use lightstick_types::ChatMember;

use super::board::{Board, WELCOME_BYTES};
use super::broadcast::{Accepted, Audience, Broadcast};
use super::budget::Due;
use super::crowd::Crowd;
use super::draft::{Draft, author, user_of};
use super::outbox::{Outbox, Output};
use crate::config::RoomConfig;
use crate::effects::HEART;
use crate::now::Now;
use crate::poll::Poll;
use crate::record::{Answer, Asker, ClientKey, Done, MessageRecord, Record, RoomEvent};
use crate::refusal::{Code, Refusal};
use crate::roles;

/// Mentions of one message; more are plain text.
const MENTIONS_MAX: usize = 5;
/// Beginning of a message that an answer to it repeats, in characters.
const EXCERPT_CHARS: usize = 60;
/// Kinds of reactions in one request.
const REACTIONS_MAX: usize = 16;
/// Votes are shown so long after a tick, unless something else is shown earlier.
const VOTES_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) config: Arc<RoomConfig>,
    pub(super) crowd: Crowd,
    pub(super) board: Board,
    pub(super) broadcast: Broadcast,
    pub(super) out: Outbox,
    pub(super) last_id: u64,
}

impl Conversation {
    /// A number that rises with time, also where the clock does not.
    pub(super) fn next_id(&mut self, now: Now) -> u64 {
        // Milliseconds leave twenty bits for messages within one: years until 2500 fit.
        self.last_id = (self.last_id + 1).max(now.unix_ms << 20);
        self.last_id
    }

    /// Somebody came or went.
    pub(super) fn crowd_changed(&mut self, now: Now) {
        self.broadcast.counter.names_changed();
        self.broadcast.schedule.want_tick(now.at);
    }

    /// Brings a client up to date. `may_write` says whether it may write now.
    pub(super) fn greet(
        &mut self,
        now: Now,
        client: ClientKey,
        member: &ChatMember,
        may_write: bool,
        position: Option<proto::Position>,
    ) {
        let stream = &mut self.broadcast.stream;
        let missed =
            position.and_then(|from| stream.recover(from, FRAME_BYTES_MAX - WELCOME_BYTES));
        let welcome = Frame::new([Part::Welcome(proto::Welcome {
            position: Some(stream.position()),
            recovered: missed.is_some(),
            you: Some(author(member)),
            may: Some(roles::permissions(member, may_write)),
            now_ms: now.unix_ms,
        })]);
        let messages_max = self.config.snapshot_messages;
        let rest = missed.unwrap_or_else(|| {
            let present = self.crowd.present();
            self.board.snapshot(now.at, stream, messages_max, present)
        });
        self.out.tell(client, Frame::joined([&welcome, &rest]));
    }

    pub(super) fn react(&mut self, now: Now, client: ClientKey, react: proto::React) {
        for reaction in react.reactions.into_iter().take(REACTIONS_MAX) {
            let mut emotes = self.board.settings().emotes.iter();
            let known = reaction.kind == HEART || emotes.any(|emote| emote.name == reaction.kind);
            let limit = self.config.reactions_per_second;
            let counted = match known {
                true => self
                    .crowd
                    .take_reactions(now.at, client, limit, reaction.count),
                false => 0,
            };
            let totals = &mut self.out.totals;
            totals.reactions += u64::from(counted);
            totals.reactions_dropped += u64::from(reaction.count - counted);
            if counted > 0 {
                self.broadcast.counter.react(&reaction.kind, counted);
            }
        }
        self.broadcast.schedule.want_tick(now.at);
    }

    pub(super) fn vote(&mut self, member: &ChatMember, vote: proto::Vote) -> Result<Done, Refusal> {
        let address = self.crowd.address_of(member);
        let per_address = self.config.guests_per_address;
        let poll = self.board.poll_mut().filter(|poll| poll.id() == vote.poll);
        let poll = poll.ok_or(Code::NotFound)?;
        if self.crowd.user(&member.user).is_none() {
            return Err(Code::NotFound.into());
        }
        if !member.write {
            return Err(Code::ReadOnly.into());
        }
        poll.vote(
            &self.crowd.key(&member.user),
            address.map(|address| (address, per_address)),
            vote.choice,
        )?;
        self.broadcast.schedule.want_tick_after(VOTES_WITHIN);
        Ok(Done {
            id: vote.poll,
            ..Done::default()
        })
    }

    pub(super) fn compose(
        &mut self,
        now: Now,
        author: proto::Author,
        text: String,
        reply_to: u64,
        paid: Option<proto::Paid>,
    ) -> proto::Message {
        let answered = self.broadcast.stream.message(reply_to);
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
        for user in trimmed.filter_map(|name| self.crowd.mentioned(name)) {
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
        let audience = self.audience(&draft);
        let done = draft.done(false);
        let Draft {
            message,
            to,
            key,
            audit,
            ..
        } = draft;
        self.out.totals.accepted += 1;
        if audience == Audience::Author {
            self.out.totals.hidden += 1;
        } else {
            if let Some(paid) = &message.paid {
                let span = Duration::from_secs(paid.pin_seconds.into());
                self.board.highlight(now.at, message.clone(), span);
            }
            self.out.event(RoomEvent::MessageCreated(message.clone()));
        }
        let mut asked = None;
        if let Some(to) = to {
            self.crowd.remember(user_of(&message), to, &done);
            match to {
                Asker::Client { .. } => self.out.acknowledge(to, done),
                Asker::Request(_) => {
                    asked = Some(Answer {
                        to,
                        binding: true,
                        result: Ok(done),
                    });
                }
            }
        }
        let user = self.crowd.key(user_of(&message));
        let record = MessageRecord {
            message,
            shown: false,
            hidden: audience == Audience::Author,
            key,
        };
        let accepted = Accepted {
            record,
            audit,
            asked,
        };
        self.broadcast.accept(now.at, user, audience, accepted);
    }

    fn audience(&self, draft: &Draft) -> Audience {
        if !draft.visible {
            return Audience::Author;
        }
        if draft.message.paid.is_some() || roles::is_always_shown(draft.role) {
            return Audience::Everybody;
        }
        let answered = draft.message.reply.as_ref();
        let role = answered.and_then(|reply| self.crowd.role_of(&reply.user));
        let replies_up = role.is_some_and(roles::moderates);
        Audience::Chosen(roles::weight(draft.role) * if replies_up { 2.0 } else { 1.0 })
    }

    /// Shows something that is never left out.
    pub(super) fn show_entry(&mut self, now: Now, entry: Entry) {
        self.broadcast.show_entry(now.at, entry);
    }

    /// Takes messages out of everything that somebody could still be sent, by their id and user.
    /// Returns the ids of those that had been shown.
    pub(super) fn withdraw(
        &mut self,
        now: Now,
        by: &str,
        gone: impl Fn(u64, &str) -> bool,
    ) -> Vec<u64> {
        let withdrawn = self.broadcast.withdraw(&gone);
        self.out.totals.hidden += withdrawn.unshown;
        if !withdrawn.unkept.is_empty() {
            // The archive gets these messages after the action that took them away.
            self.out.record(Record::Removed {
                ids: withdrawn.unkept,
                user: None,
                by: by.to_owned(),
                at_ms: now.unix_ms,
            });
        }
        self.board.remove(gone);
        withdrawn.shown
    }

    /// Tells a user something, on all connections.
    pub(super) fn notice(&mut self, user: &str, code: &str, detail: &str, seconds: u32) {
        let Some(state) = self.crowd.user(user) else {
            return;
        };
        let frame = Frame::new([Part::Notice(proto::Notice {
            code: code.to_owned(),
            detail: detail.to_owned(),
            seconds,
        })]);
        for client in &state.clients {
            self.out.tell(*client, frame.clone());
        }
    }

    pub(super) fn start_poll(&mut self, now: Now, poll: Poll) {
        self.show_entry(now, Entry::Poll(poll.shown(false)));
        self.board.start_poll(poll);
    }

    pub(super) fn end_poll(&mut self, now: Now) {
        if let Some(poll) = self.board.end_poll() {
            let shown = poll.shown(true);
            self.show_entry(now, Entry::Poll(shown.clone()));
            self.out.event(RoomEvent::PollEnded(shown));
        }
    }

    /// Shows a caption to everybody at once.
    pub(super) fn caption(&mut self, cue: proto::CaptionCue) {
        self.out.push(Output::Caption(cue.clone()));
        self.out.push(Output::Show(Tick {
            ctl: Some(Frame::new([Part::Caption(cue)])),
            ..Tick::default()
        }));
    }

    pub(super) fn show_due(&mut self, now: Now) {
        match self.broadcast.schedule.due(now.at) {
            Some(Due::Tick) => self.tick(now),
            Some(Due::Urgent) => {
                self.broadcast.refill(now.at);
                let ctl = self.broadcast.urgent_frame(now.at, &mut self.out.totals);
                self.out.push(Output::Show(Tick {
                    ctl,
                    ..Tick::default()
                }));
            }
            None => {}
        }
    }

    fn tick(&mut self, now: Now) {
        self.broadcast.refill(now.at);
        self.broadcast.schedule.tick(now.at);
        let totals = &mut self.out.totals;
        let ctl = self.broadcast.urgent_frame(now.at, totals);
        let chosen = self.broadcast.chosen_frame(totals);
        if chosen.as_ref().is_some_and(|(_, _, skipped)| *skipped > 0) {
            self.send_direct(now);
        }
        let fx = self.effects_frame(now);
        if ctl.is_some() || chosen.is_some() || fx.is_some() {
            let messages = chosen.as_ref().map_or(0, |(_, messages, _)| *messages);
            self.out.push(Output::Show(Tick {
                ctl,
                chat: chosen.map(|(frame, ..)| frame),
                fx,
                messages,
            }));
        }
        self.commit();
        // Presence is said once a second, and may have changed since.
        let present = self.crowd.present() as u32;
        if let Some(after) = self.broadcast.counter.owed_after(present) {
            self.broadcast.schedule.want_tick_after(after);
        }
    }

    /// Hands the messages of a tick that is over to the archive.
    fn commit(&mut self) {
        let mut records = Vec::new();
        for Accepted {
            record,
            audit,
            asked,
        } in self.broadcast.take_accepted()
        {
            let Some(answer) = asked else {
                records.push(Record::Message(record));
                continue;
            };
            // By itself: what is wrong with one must not keep out the others.
            let audit = audit.map(Record::Audit);
            let message = Record::Message(record);
            self.out.push(Output::Commit {
                records: audit.into_iter().chain([message]).collect(),
                answers: vec![answer],
                action: None,
            });
        }
        // Messages before what was done to them.
        self.out.commit(records);
    }

    /// Whoever is answered or named hears of it, also where the room does not.
    fn send_direct(&mut self, now: Now) {
        for message in self.broadcast.left_out() {
            let answered = message.reply.iter().map(|reply| &reply.user);
            let named = answered.chain(&message.mentions);
            let author = user_of(message);
            let mut frame = None;
            for user in named.filter(|user| **user != author) {
                let Some(user) = self.crowd.user_mut(user) else {
                    continue;
                };
                if user.take_direct(now.at) {
                    let frame =
                        frame.get_or_insert_with(|| Frame::new([Part::Direct(message.clone())]));
                    for client in &user.clients {
                        self.out.tell(*client, frame.clone());
                    }
                }
            }
        }
    }

    fn effects_frame(&mut self, now: Now) -> Option<Frame> {
        let votes = self.board.poll_mut().and_then(Poll::take_counts);
        let present = self.crowd.present() as u32;
        let names = || self.crowd.present_names(self.config.names_max);
        self.broadcast.effects_frame(now.at, present, votes, names)
    }
}
