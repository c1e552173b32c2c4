//! Which rooms the other end of a link announces, and which it waits for.

use std::time::Instant;

use lightstick_types::RoomName;

use super::state::State;
use crate::close::CloseReason;
use crate::limits::{ROOMS_MAX, WANTS_MAX};
use crate::link::Inbound;
use crate::message::{Alias, Message, Withdrawal};
use crate::output::LinkId;
use crate::route::Route;
use crate::tally::Count;

pub(super) struct Announcements<'a> {
    state: &'a mut State,
    id: LinkId,
    now: Instant,
}

impl<'a> Announcements<'a> {
    pub(super) fn new(state: &'a mut State, id: LinkId, now: Instant) -> Self {
        Self { state, id, now }
    }

    pub(super) fn handle(&mut self, message: Message) -> Result<(), CloseReason> {
        match message {
            Message::Announce { alias, room, route } => {
                self.check(&route)?;
                self.announce(alias, room, route)
            }
            Message::Reroute { alias, route } => {
                self.check(&route)?;
                self.reroute(alias, route)
            }
            Message::Withdraw { alias, reason } => self.withdraw(alias, reason),
            Message::Want { room, hops_left } => self.want(room, hops_left),
            Message::Unwant { room } => {
                self.unwant(&room);
                Ok(())
            }
            Message::Unknown { room } => {
                let id = self.id;
                if let Some(key) = self.state.rooms.key(&room) {
                    let now = self.now;
                    self.state
                        .with_room(key, now, |room, _| room.want.answered(id));
                }
                Ok(())
            }
            _ => Err(CloseReason::Protocol),
        }
    }

    /// A way ends at the node that announces it.
    fn check(&mut self, route: &Route) -> Result<(), CloseReason> {
        let Some(link) = self.state.links.get_mut(&self.id) else {
            return Ok(());
        };
        link.inflow.take(Inbound::Announcement, self.now)?;
        let peer = link.peer.as_ref().map(|peer| &peer.id);
        match route.path.nodes().last() == peer {
            true => Ok(()),
            false => Err(CloseReason::Protocol),
        }
    }

    fn announce(&mut self, alias: Alias, name: RoomName, route: Route) -> Result<(), CloseReason> {
        let (state, id, now) = (&mut *self.state, self.id, self.now);
        let Some(link) = state.links.get_mut(&id) else {
            return Ok(());
        };
        let aliases = &mut link.heard.aliases;
        if aliases.len() >= ROOMS_MAX {
            return Err(CloseReason::TooManyRooms);
        }
        let known = state.rooms.key(&name);
        let known = known.and_then(|key| state.rooms.get_mut(key));
        let is_twice = known.is_some_and(|room| room.ways.route(id).is_some());
        if !aliases.take(alias.0) || is_twice {
            return Err(CloseReason::Protocol);
        }
        if route.path.contains(state.config.id) {
            state.out.tally.add(Count::DropLoop);
            return Ok(());
        }
        let key = state.rooms.enter(name);
        aliases.insert(alias.0, key);
        state.with_room(key, now, |room, _| room.heard(id, alias, route, now));
        Ok(())
    }

    fn reroute(&mut self, alias: Alias, route: Route) -> Result<(), CloseReason> {
        let (state, id, now) = (&mut *self.state, self.id, self.now);
        let Some(link) = state.links.get_mut(&id) else {
            return Ok(());
        };
        let Some(key) = link.heard.aliases.known(alias.0)? else {
            return Ok(());
        };
        if route.path.contains(state.config.id) {
            state.out.tally.add(Count::DropLoop);
            return self.withdraw(alias, Withdrawal::Unreachable);
        }
        state.with_room(key, now, |room, _| room.heard(id, alias, route, now));
        Ok(())
    }

    fn withdraw(&mut self, alias: Alias, reason: Withdrawal) -> Result<(), CloseReason> {
        let (id, now) = (self.id, self.now);
        let Some(link) = self.state.links.get_mut(&id) else {
            return Ok(());
        };
        if let Some(key) = link.heard.aliases.known(alias.0)? {
            link.heard.aliases.remove(alias.0);
            self.state
                .with_room(key, now, |room, cx| room.withdrawn(id, reason, cx));
        }
        Ok(())
    }

    fn want(&mut self, room: RoomName, hops_left: u8) -> Result<(), CloseReason> {
        let (state, id) = (&mut *self.state, self.id);
        let Some(link) = state.links.get_mut(&id) else {
            return Ok(());
        };
        if link.is_parent() {
            return Err(CloseReason::Protocol);
        }
        let key = state.rooms.key(&room);
        if key.is_some_and(|key| link.announced.rooms.contains_key(&key)) {
            // Our announcement is on its way.
            return Ok(());
        }
        let is_known = key.is_some_and(|key| link.heard.wants.contains(&key));
        if !is_known && link.heard.wants.len() >= WANTS_MAX {
            state.out.tally.add(Count::DropWant);
            state.out.control(id, &Message::Unknown { room });
            return Ok(());
        }
        let key = state.rooms.enter(room);
        link.heard.wants.insert(key);
        state.with_room(key, self.now, |room, _| room.want.add_asker(id, hops_left));
        Ok(())
    }

    fn unwant(&mut self, room: &RoomName) {
        let id = self.id;
        let key = self.state.rooms.key(room);
        if let (Some(link), Some(key)) = (self.state.links.get_mut(&id), key) {
            link.heard.wants.remove(&key);
            self.state
                .with_room(key, self.now, |room, _| room.want.remove_asker(id));
        }
    }
}
