//! A room's chat: up to its origin, and down to one node or all.

use std::time::Instant;

use bytes::Bytes;
use lightstick_types::NodeId;

use super::state::State;
use crate::limits::CHAT;
use crate::link::RoomKey;
use crate::message::{Message, SubscriptionId};
use crate::output::{LinkId, LocalError, ToRoom};
use crate::tally::Count;

type Way = (LinkId, SubscriptionId);

pub(super) struct Chat<'a> {
    state: &'a mut State,
    key: RoomKey,
    now: Instant,
}

impl<'a> Chat<'a> {
    pub(super) fn new(state: &'a mut State, key: RoomKey, now: Instant) -> Self {
        Self { state, key, now }
    }

    /// A node below says something.
    pub(super) fn handle_up(&mut self, id: LinkId, from: NodeId, payload: Bytes) {
        let State {
            rooms, out, config, ..
        } = &mut *self.state;
        let Some(room) = rooms.get_mut(self.key) else {
            return;
        };
        if from == config.id || !room.below.learn(from, id) {
            out.tally.add(Count::DropChat);
        } else if room.published.is_some() {
            out.tell(room.id, ToRoom::ChatUp { from, payload });
        } else {
            let way = room.feeds.subscription();
            self.pass(way, |subscription| Message::ChatUp {
                subscription,
                from,
                payload,
            });
        }
    }

    /// The origin says something.
    pub(super) fn handle_down(&mut self, id: LinkId, to: Option<NodeId>, payload: Bytes) {
        let State {
            rooms, out, config, ..
        } = &mut *self.state;
        let Some(room) = rooms.get_mut(self.key) else {
            return;
        };
        // While two links feed the room, both bring it.
        if room.feeds.link() != Some(id) {
            out.tally.add(Count::DropLate);
            return;
        }
        let own = config.id;
        if to.is_none_or(|to| to == own) {
            let payload = payload.clone();
            out.tell(room.id, ToRoom::ChatDown { payload });
        }
        let ways: Vec<Option<Way>> = match to {
            None => room.below.iter().map(Some).collect(),
            Some(to) if to != own => vec![room.below.way_to(to)],
            Some(_) => Vec::new(),
        };
        for way in ways {
            self.pass_down(way, to, &payload);
        }
    }

    /// Somebody at this node says something.
    pub(super) fn up(&mut self, payload: Bytes) -> Result<(), LocalError> {
        let room = self.state.rooms.get_mut(self.key);
        let way = room.and_then(|room| room.feeds.subscription());
        let (way, from) = (way.ok_or(LocalError::NoFeed)?, self.state.config.id);
        let is_sent = self.pass(Some(way), |subscription| Message::ChatUp {
            subscription,
            from,
            payload,
        });
        is_sent.then_some(()).ok_or(LocalError::Busy)
    }

    /// The room's owner at its origin says something.
    pub(super) fn down(&mut self, to: Option<NodeId>, payload: &Bytes) -> Result<(), LocalError> {
        let room = self.state.rooms.get_mut(self.key);
        let room = room.filter(|room| room.published.is_some());
        let room = room.ok_or(LocalError::NotPublished)?;
        let ways: Vec<Way> = match to {
            None => room.below.iter().collect(),
            Some(to) => vec![room.below.way_to(to).ok_or(LocalError::NotSubscribed)?],
        };
        let mut is_sent = true;
        for way in ways {
            is_sent &= self.pass_down(Some(way), to, payload);
        }
        // To all: the links that have no room for it are counted.
        (is_sent || to.is_none())
            .then_some(())
            .ok_or(LocalError::Busy)
    }

    fn pass_down(&mut self, way: Option<Way>, to: Option<NodeId>, payload: &Bytes) -> bool {
        let payload = payload.clone();
        self.pass(way, |subscription| Message::ChatDown {
            subscription,
            to,
            payload,
        })
    }

    /// False: there is no way, or it carries no more.
    fn pass(&mut self, way: Option<Way>, message: impl FnOnce(SubscriptionId) -> Message) -> bool {
        let State { links, out, .. } = &mut *self.state;
        let link = way.and_then(|(id, _)| links.get_mut(&id));
        let may = link.is_some_and(|link| link.sending.chat.take(self.now, CHAT));
        match way {
            Some((id, subscription)) if may => out.control(id, &message(subscription)),
            _ => out.tally.add(Count::DropChat),
        }
        may
    }
}
