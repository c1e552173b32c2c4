//! The parts of a room, and a message's way through them.

use std::sync::Arc;
use std::time::Instant;

use lightstick_chat_proto as proto;
use lightstick_chat_proto::entry::Entry;
use lightstick_types::ChatMember;

use super::audit::Deed;
use super::board::Board;
use super::broadcast::Broadcast;
use super::conversation::Conversation;
use super::crowd::Crowd;
use super::draft::{Draft, author};
use super::moderation::{Held, HeldQueue, Moderation};
use super::outbox::{Outbox, Output, Review};
use super::post_keys::{self, Posts};
use super::posting::Posted;
use super::reviews::{Reviewed, Reviews};
use super::rules::Rules;
use crate::config::RoomConfig;
use crate::now::Now;
use crate::record::{Actor, Asker, ClientKey, RoomEvent, Stored};
use crate::refusal::{Code, Refusal};
use crate::roles;
use crate::sanctions::Visible;
use crate::screen::Screen;

/// Where the pinned message is kept.
pub(super) const STATE_PINNED: &str = "pinned";
/// Where the settings are kept.
pub(super) const STATE_SETTINGS: &str = "settings";

#[derive(Debug)]
pub(super) struct RoomState {
    pub(super) config: Arc<RoomConfig>,
    pub(super) talk: Conversation,
    pub(super) rules: Rules,
    pub(super) moderation: Moderation,
    pub(super) reviews: Reviews,
    pub(super) posts: Posts,
}

impl RoomState {
    pub(super) fn new(
        config: RoomConfig,
        epoch: u64,
        seed: u64,
        review: bool,
        stored: &Stored,
        now: Now,
    ) -> Self {
        let config = Arc::new(config);
        let mut settings = read::<proto::Settings>(stored, STATE_SETTINGS).unwrap_or_default();
        let screen = Screen::new(&config.filter, &settings).or_else(|_| {
            // The operator's list has grown meanwhile: a room without its own terms is better
            // than none.
            settings.blocked_terms.clear();
            Screen::new(&config.filter, &settings)
        });
        let screen = screen.expect("the configuration was validated");
        let reviews_max = if review { config.reviews_max } else { 0 };
        Self {
            talk: Conversation {
                config: Arc::clone(&config),
                crowd: Crowd::default(),
                board: Board::new(settings, read(stored, STATE_PINNED)),
                broadcast: Broadcast::new(&config, epoch, seed, now.at),
                out: Outbox::default(),
                last_id: read(stored, "last_id").unwrap_or(0),
            },
            rules: Rules::new(Arc::clone(&config), screen, now.at),
            moderation: Moderation::new(
                stored,
                HeldQueue::new(config.held_max, config.held_timeout),
            ),
            reviews: Reviews::new(reviews_max, config.review_timeout),
            posts: Posts::new(read(stored, "posted").unwrap_or_default()),
            config,
        }
    }

    /// Brings a client up to date.
    pub(super) fn greet(
        &mut self,
        now: Now,
        client: ClientKey,
        member: &ChatMember,
        position: Option<proto::Position>,
    ) {
        let address = self.talk.crowd.address_of(member);
        let sanctions = &self.moderation.sanctions;
        let may_write = member.write && sanctions.check(&member.user, address, now).is_ok();
        self.talk.greet(now, client, member, may_write, position);
    }

    /// Answers a request that came before. False: it is new.
    pub(super) fn answer_again(&mut self, to: Asker, member: &ChatMember, nonce: u64) -> bool {
        let answered = self.talk.crowd.answered(&member.user, nonce);
        match answered.filter(|_| nonce != 0).cloned() {
            Some(Some(done)) => self.talk.out.acknowledge(to, done),
            // With the review hook: whoever asked last is answered.
            Some(None) => self.reviews.ask_again(to, &member.user),
            None => return false,
        }
        true
    }

    /// A message that a client wants to write.
    pub(super) fn write(&mut self, now: Now, member: &ChatMember, send: &proto::Send, to: Asker) {
        match self.draft(now, member, send, to) {
            Ok(draft) => {
                if let Some(user) = self.talk.crowd.user_mut(&member.user) {
                    user.remember(send.nonce, None);
                }
                self.pass(now, draft);
            }
            Err(refusal) => self.talk.out.refuse(to, refusal),
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
        let address = self.talk.crowd.address_of(member);
        let moderates = roles::moderates(member.role);
        let sanctions = &self.moderation.sanctions;
        let visible = match moderates {
            true => Visible::Everybody,
            false => sanctions.check(&member.user, address, now)?,
        };
        if self.talk.broadcast.is_full() {
            return Err(Refusal::later(Code::Full, self.config.tick));
        }
        let text = self.rules.clean(&send.text)?;
        let settings = self.talk.board.settings();
        let suspicion = match moderates {
            true => None,
            false => self.rules.judge(now.at, settings, member, address, &text)?,
        };
        self.rules.spend(now.at, settings, member, address)?;
        if !moderates {
            self.rules.remember(&text);
        }
        let author = author(member);
        Ok(Draft {
            message: self.talk.compose(now, author, text, send.reply_to, None),
            role: member.role,
            visible: visible == Visible::Everybody,
            suspicion,
            to: Some(to),
            key: String::new(),
            audit: None,
        })
    }

    /// Moves a draft on: to the moderators, to the review hook, or into the room.
    fn pass(&mut self, now: Now, draft: Draft) {
        if draft.suspicion.is_some() && draft.visible {
            self.hold(now, draft);
        } else if self.reviews.wants(&draft) {
            let review = Review {
                id: draft.message.id,
                message: draft.message.clone(),
            };
            self.reviews.insert(now.at, draft);
            self.talk.out.push(Output::Review(review));
        } else {
            self.talk.accept(now, draft);
        }
    }

    fn hold(&mut self, now: Now, mut draft: Draft) {
        self.talk.out.totals.held += 1;
        let reason = draft.suspicion.take().unwrap_or_default();
        let to = draft.to.take();
        let message = draft.message.clone();
        let done = draft.done(true);
        if let Some(oldest) = self.moderation.held.push(now, draft, reason.clone()) {
            self.deny(&oldest);
        }
        if let Some(to) = to {
            let user = message.author.as_ref().map_or("", |author| &author.user);
            self.talk.crowd.remember(user, to, &done);
            self.talk.out.acknowledge(to, done);
        }
        self.talk
            .out
            .event(RoomEvent::MessageHeld { message, reason });
    }

    pub(super) fn approve(&mut self, now: Now, held: Held) {
        let message = &held.draft.message;
        self.talk
            .notice(held.draft.user(), "approved", &message.text, 0);
        self.talk.accept(now, held.draft);
    }

    pub(super) fn deny(&mut self, held: &Held) {
        let message = &held.draft.message;
        self.talk
            .notice(held.draft.user(), "denied", &message.text, 0);
    }

    /// The review hook has answered.
    pub(super) fn reviewed(&mut self, now: Now, id: u64, reviewed: Reviewed) {
        let Some(mut draft) = self.reviews.take(id) else {
            return;
        };
        match reviewed {
            Reviewed::Allow => self.talk.accept(now, draft),
            Reviewed::Modify(text) => match self.rules.clean(&text) {
                Ok(text) => {
                    draft.message.text = text;
                    self.talk.accept(now, draft);
                }
                Err(refusal) => self.give_up_draft(&draft, refusal),
            },
            Reviewed::Deny(reason) => {
                self.give_up_draft(&draft, Refusal::because(Code::Denied, reason));
            }
            Reviewed::Failed if self.config.review_late_holds => {
                draft.suspicion = Some("not reviewed in time".to_owned());
                self.hold(now, draft);
            }
            Reviewed::Failed => self.talk.accept(now, draft),
        }
    }

    /// A draft that comes to nothing: the same nonce may be tried again.
    fn give_up_draft(&mut self, draft: &Draft, refusal: Refusal) {
        if let Some(Asker::Client { nonce, .. }) = draft.to
            && let Some(user) = self.talk.crowd.user_mut(draft.user())
        {
            user.forget(nonce);
        }
        if let Some(to) = draft.to {
            self.talk.out.refuse(to, refusal);
        }
    }

    /// A message of the integrator's server. Filters and limits do not hold for it.
    pub(super) fn post(&mut self, now: Now, actor: &Actor, posted: Posted, to: Asker) {
        let print = post_keys::print_of(&posted);
        match self.posts.find(&posted.key, print) {
            Some(Ok(done)) => return self.talk.out.acknowledge(to, done),
            Some(Err(refusal)) => return self.talk.out.refuse(to, refusal),
            None => {}
        }
        match self.posted(now, actor, posted, to) {
            Ok(draft) => {
                self.posts.begin(&draft, print, to);
                self.talk.accept(now, draft);
            }
            Err(refusal) => self.talk.out.refuse(to, refusal),
        }
    }

    fn posted(
        &mut self,
        now: Now,
        actor: &Actor,
        posted: Posted,
        to: Asker,
    ) -> Result<Draft, Refusal> {
        if self.talk.broadcast.is_urgent_full() {
            return Err(Refusal::later(Code::Full, self.config.urgent_wait));
        }
        let role = self.talk.crowd.role_of(&posted.user);
        let post = posted.check(&self.rules, actor, role)?;
        let message = self
            .talk
            .compose(now, post.author, post.text, post.reply_to, post.paid);
        let reason = "";
        let deed = Deed { now, actor, reason };
        let audit = message.paid.is_none().then(|| {
            let record = deed.of("message", &message.id.to_string());
            record.after(&message.text)
        });
        Ok(Draft {
            message,
            role: lightstick_types::ChatRole::Server,
            visible: true,
            suspicion: None,
            to: Some(to),
            key: post.key,
            audit,
        })
    }

    /// What a request over HTTP asked for is kept, or could not be: then its message is taken away
    /// again, and it may be asked for once more.
    pub(super) fn settled(&mut self, now: Now, to: Asker, kept: bool) {
        if let Some(id) = self.posts.settle(to, kept) {
            self.withdraw(now, "", |message, _| message == id);
            let deleted = proto::Deleted { ids: vec![id] };
            self.talk.show_entry(now, Entry::Deleted(deleted));
        }
    }

    /// Takes messages out of everything that somebody could still be sent. Returns the ids of those
    /// that had been shown.
    pub(super) fn withdraw(
        &mut self,
        now: Now,
        by: &str,
        gone: impl Fn(u64, &str) -> bool,
    ) -> Vec<u64> {
        self.moderation.held.remove(&gone);
        self.talk.withdraw(now, by, gone)
    }

    /// When [`RoomState::handle_timeout`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let poll = self.talk.board.poll().map(|poll| poll.ends_at);
        [
            self.talk.broadcast.schedule.deadline(),
            poll,
            self.moderation.held.deadline(),
            self.talk.crowd.deadline(),
            self.reviews.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        let poll = self.talk.board.poll();
        if poll.is_some_and(|poll| poll.ends_at <= now.at) {
            self.talk.end_poll(now);
        }
        while let Some(held) = self.moderation.held.take_expired(now) {
            self.deny(&held);
        }
        for id in self.reviews.expired(now.at) {
            self.reviewed(now, id, Reviewed::Failed);
        }
        self.talk.crowd.handle_timeout(now);
        self.talk.show_due(now);
    }

    /// Nobody is there and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.talk.crowd.is_empty()
            && self.moderation.held.is_empty()
            && self.reviews.is_empty()
            && self.talk.board.poll().is_none()
            && self.talk.broadcast.schedule.deadline().is_none()
            && self.talk.out.is_empty()
    }
}

fn read<T: serde::de::DeserializeOwned>(stored: &Stored, key: &str) -> Option<T> {
    serde_json::from_str(stored.get(key)?).ok()
}
