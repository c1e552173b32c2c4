//! One node's end of all its links.

mod announcements;
mod chat;
mod control;
mod greet;
mod local;
mod media;
mod state;
mod status;
mod subscriptions;

use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::{NodeIdentity, RoomId, RoomName};

use crate::close::CloseReason;
use crate::config::RelayConfig;
use crate::envelope::Channel;
use crate::hello::{Hello, VERSIONS};
use crate::limits::{HEARTBEAT, LINKS_MAX};
use crate::link::{Inbound, Link};
use crate::liveness::Change;
use crate::message::Message;
use crate::output::{Direction, Event, LinkId, Local, LocalError, Output};
use crate::tally::{Count, Tally};
use local::Owner;
use media::Media;
use state::{Fault, State};
pub use status::{LinkStatus, RoomStatus};

/// One node's end of all its links: whom it is linked with, which rooms they have, and over which link
/// each room comes and goes.
///
/// Driven by values: after each `handle_*`, take the outputs until there are none
/// ([`poll`](Self::poll)), and call [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout), which may change with each call.
#[derive(Debug)]
pub struct Relay {
    state: State,
    /// When heartbeats are due.
    beat_at: Option<Instant>,
    /// When a link may have something to say; it may have none, where something was heard since.
    links_at: Option<Instant>,
    drain: Option<Drain>,
}

#[derive(Debug)]
struct Drain {
    until: Instant,
    is_told: bool,
}

impl Relay {
    #[must_use]
    pub fn new(config: RelayConfig) -> Self {
        Self {
            state: State::new(config),
            beat_at: None,
            links_at: None,
            drain: None,
        }
    }

    /// A connection is there, and the other end has shown this certificate.
    pub fn handle_connected(
        &mut self,
        link: LinkId,
        direction: Direction,
        certificate: NodeIdentity,
        now: Instant,
    ) {
        if self.state.links.len() >= LINKS_MAX {
            self.state.out.close(link, CloseReason::TooManyLinks);
            return;
        }
        if self.drain.is_some() {
            self.state.out.close(link, CloseReason::Draining);
            return;
        }
        let at = Link::new(direction, certificate, now);
        self.links_at = Some(earlier(self.links_at, at.timeout()));
        self.beat_at.get_or_insert(now + HEARTBEAT);
        self.state.links.insert(link, at);
        let hello = Hello {
            versions: VERSIONS,
            id: self.state.config.id,
            node: self.state.config.node.clone(),
        };
        self.state.out.control(link, &Message::Hello(hello));
    }

    /// Something came over a link: a message of the control stream, the whole of another stream, or a
    /// datagram. After a link has been closed, what still comes over it is left out.
    pub fn handle_message(&mut self, link: LinkId, channel: Channel, bytes: Bytes, now: Instant) {
        let Some(at) = self.state.links.get_mut(&link) else {
            return;
        };
        if at.peer.is_none() && channel != Channel::Control {
            // It has overtaken the hello.
            return;
        }
        if at.liveness.heard(now) {
            self.handle_recovered(link, now);
        }
        let done = match channel {
            Channel::Control => control::handle(&mut self.state, link, bytes, now),
            Channel::Frame => Media::new(&mut self.state, link).handle_frame(bytes),
            Channel::Datagram => Media::new(&mut self.state, link).handle_datagram(bytes, now),
        };
        let done = done.or_else(|error| match error {
            Fault::Close(reason) => Err(reason),
            Fault::Malformed => self.handle_malformed(link, now),
        });
        if let Err(reason) = done {
            self.state.close(link, reason, now);
        }
        self.settle(now);
    }

    /// The connection is gone; `reason` is what the other end has said, if it has said anything.
    pub fn handle_closed(&mut self, link: LinkId, reason: Option<CloseReason>, now: Instant) {
        if !self.state.links.contains_key(&link) {
            return;
        }
        if let Some(reason) = reason {
            self.state.out.tally.add_closed_by_peer(reason);
        }
        self.state.out.event(Event::LinkClosed { link, reason });
        self.state.forget(link, now);
        self.settle(now);
    }

    /// How old the oldest frame is that the carrier has not written yet; zero when there is none. Said
    /// about ten times a second while there is one, and when there is none again.
    pub fn handle_backlog(&mut self, link: LinkId, age: Duration, now: Instant) {
        if let Some(at) = self.state.links.get_mut(&link) {
            at.sending.fullness.handle_backlog(age, now);
        }
    }

    /// What the owner of a room tells.
    ///
    /// # Errors
    /// [`LocalError`]: nothing was done.
    pub fn handle_local(
        &mut self,
        room: RoomId,
        local: Local,
        now: Instant,
    ) -> Result<(), LocalError> {
        let done = Owner::new(&mut self.state, room, now).handle(local);
        self.settle(now);
        done
    }

    /// This node leaves after a while. Others use other nodes from now on;
    /// [`Event::Drained`] says when nobody gets anything from this one any more. Links that are still
    /// there after that time are closed.
    pub fn drain(&mut self, after: Duration, now: Instant) {
        if self.drain.is_some() {
            return;
        }
        self.state.is_draining = true;
        self.drain = Some(Drain {
            until: now + after,
            is_told: false,
        });
        let after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        for (id, link) in &self.state.links {
            if link.peer.is_some() {
                self.state.out.control(*id, &Message::GoAway { after_ms });
            }
        }
        self.settle(now);
    }

    /// The answer to [`Event::RoomNeeded`] where the room cannot be opened.
    pub fn refuse_room(&mut self, name: &RoomName, now: Instant) {
        let Some(key) = self.state.rooms.key(name) else {
            return;
        };
        self.state.with_room(key, now, |room, cx| {
            if room.id.is_none() {
                room.refuse_all(cx);
            }
        });
        self.settle(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.links_at.is_some_and(|at| at <= now) || self.beat_at.is_some_and(|at| at <= now) {
            self.check_links(now);
        }
        if let Some(drain) = &self.drain
            && drain.until <= now
        {
            let ids: Vec<LinkId> = self.state.links.keys().copied().collect();
            for id in ids {
                self.state.close(id, CloseReason::Drained, now);
            }
        }
        self.state.rooms.mark_due(now);
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.state.out.queue.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let drain = self.drain.as_ref().map(|drain| drain.until);
        let of_links = [self.beat_at, self.links_at, drain];
        let has_links = !self.state.links.is_empty();
        let of_links = of_links.into_iter().flatten().filter(|_| has_links);
        of_links.chain(self.state.rooms.timeout()).min()
    }

    /// What was counted since the last time.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.state.out.tally)
    }

    /// The links that are up, in the order of their ids.
    pub fn links(&self) -> impl Iterator<Item = LinkStatus> {
        status::links(&self.state)
    }

    /// All rooms that are known.
    pub fn rooms(&mut self, now: Instant) -> Vec<RoomStatus> {
        status::rooms(&mut self.state, now)
    }

    /// Whether nothing is held for any link or room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.links.is_empty() && self.state.rooms.is_empty()
    }

    fn check_links(&mut self, now: Instant) {
        let ids: Vec<LinkId> = self.state.links.keys().copied().collect();
        let is_beat = self.beat_at.is_some_and(|at| at <= now);
        for id in ids {
            let Some(link) = self.state.links.get_mut(&id) else {
                continue;
            };
            if link.peer.is_none() {
                if link.hello_by <= now {
                    self.state.close(id, CloseReason::HelloTimeout, now);
                }
                continue;
            }
            match link.liveness.handle_timeout(now) {
                Some(Change::Dead) => {
                    self.state.close(id, CloseReason::Silent, now);
                    continue;
                }
                Some(Change::Suspect) => {
                    self.state.out.tally.add(Count::Suspected);
                    self.state.out.event(Event::LinkSuspect { link: id });
                    link.heard
                        .aliases
                        .keys()
                        .for_each(|key| self.state.rooms.mark(key));
                }
                None => {}
            }
            if is_beat {
                media::send_heartbeat(id, link, &mut self.state.out, now);
            }
        }
        if is_beat {
            self.beat_at = (!self.state.links.is_empty()).then_some(now + HEARTBEAT);
        }
        self.links_at = self.state.links.values().map(Link::timeout).min();
    }

    fn handle_recovered(&mut self, link: LinkId, now: Instant) {
        self.state.out.tally.add(Count::Recovered);
        self.state.out.event(Event::LinkRecovered { link });
        if let Some(at) = self.state.links.get_mut(&link) {
            at.heard
                .aliases
                .keys()
                .for_each(|key| self.state.rooms.mark(key));
            if let Some(peer) = &mut at.peer {
                peer.good_since = now;
            }
        }
    }

    /// A frame or datagram was not read: it is dropped, and the link is closed when there are many.
    fn handle_malformed(&mut self, link: LinkId, now: Instant) -> Result<(), CloseReason> {
        self.state.out.tally.add(Count::DropMalformed);
        let link = self.state.links.get_mut(&link);
        link.map_or(Ok(()), |link| link.inflow.take(Inbound::Malformed, now))
    }

    /// Does what follows from what has happened.
    fn settle(&mut self, now: Instant) {
        self.state.settle(now);
        if let Some(drain) = &mut self.drain
            && !drain.is_told
            && self
                .state
                .links
                .values()
                .all(|link| link.serving.len() == 0)
        {
            drain.is_told = true;
            self.state.out.event(Event::Drained);
        }
    }
}

fn earlier(known: Option<Instant>, at: Instant) -> Instant {
    known.map_or(at, |known| known.min(at))
}
