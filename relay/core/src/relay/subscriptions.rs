//! The subscriptions of both ends of a link, and what belongs to them.

use std::time::Instant;

use bytes::Bytes;

use super::media::Media;
use super::state::State;
use crate::close::CloseReason;
use crate::envelope::Class;
use crate::link::{Inbound, RoomKey};
use crate::message::{Alias, Message, Refusal, SubscriptionId};
use crate::output::{LinkId, ToRoom};
use crate::room::Show;
use crate::tally::Count;

pub(super) struct Subscriptions<'a> {
    state: &'a mut State,
    id: LinkId,
    now: Instant,
}

impl<'a> Subscriptions<'a> {
    pub(super) fn new(state: &'a mut State, id: LinkId, now: Instant) -> Self {
        Self { state, id, now }
    }

    pub(super) fn handle(&mut self, message: Message) -> Result<(), CloseReason> {
        let (id, now) = (self.id, self.now);
        match message {
            Message::Subscribe {
                alias,
                subscription,
                resume,
            } => return self.subscribe(alias, subscription, resume),
            Message::Unsubscribe { subscription } => return self.unsubscribe(subscription),
            Message::Refused { subscription, .. } => {
                if let Some(key) = self.fed(subscription)? {
                    self.state.out.tally.add(Count::RefusedByOthers);
                    self.state
                        .with_room(key, now, |room, cx| room.refused(id, cx));
                }
            }
            Message::Up {
                subscription,
                payload,
            } => {
                let key = self.served(subscription)?;
                if let Some(room) = key.and_then(|key| self.state.rooms.get_mut(key)) {
                    let message = ToRoom::Up { link: id, payload };
                    self.state.out.tell(room.id, message);
                }
            }
            Message::Down {
                subscription,
                payload,
            } => {
                if let Some(key) = self.fed(subscription)? {
                    Media::new(self.state, id).deliver(key, Class::Control, payload);
                }
            }
            Message::Show {
                subscription,
                epoch,
                version,
                state,
            } => {
                let show = Show {
                    epoch,
                    version,
                    state,
                };
                if let Some(key) = self.fed(subscription)? {
                    self.show(key, show);
                }
            }
            _ => return Err(CloseReason::Protocol),
        }
        Ok(())
    }

    /// The room of a subscription of the other end. `None`: it has ended.
    pub(super) fn served(
        &mut self,
        subscription: SubscriptionId,
    ) -> Result<Option<RoomKey>, CloseReason> {
        let link = self.state.links.get(&self.id);
        let link = link.ok_or(CloseReason::Protocol)?;
        let key = link.serving.known(subscription.0)?;
        if key.is_none() {
            self.state.out.tally.add(Count::DropLate);
        }
        Ok(key)
    }

    /// The room of a subscription of this node. `None`: it has ended.
    pub(super) fn fed(
        &mut self,
        subscription: SubscriptionId,
    ) -> Result<Option<RoomKey>, CloseReason> {
        let link = self.state.links.get(&self.id);
        let link = link.ok_or(CloseReason::Protocol)?;
        let key = link.feeding.numbers.known(subscription.0)?;
        if key.is_none() {
            self.state.out.tally.add(Count::DropLate);
        }
        Ok(key)
    }

    fn subscribe(
        &mut self,
        alias: Alias,
        subscription: SubscriptionId,
        resume: Bytes,
    ) -> Result<(), CloseReason> {
        let (state, id) = (&mut *self.state, self.id);
        let Some(link) = state.links.get_mut(&id) else {
            return Ok(());
        };
        link.inflow.take(Inbound::Subscription, self.now)?;
        if !link.serving.take(subscription.0) {
            return Err(CloseReason::Protocol);
        }
        let Some(key) = link.announced.aliases.known(alias.0)? else {
            // It has crossed the withdrawal, which says the same as an answer would.
            return Ok(());
        };
        if state.is_draining {
            state.out.tally.add(Count::RefusedByUs);
            let reason = Refusal::Draining;
            let message = Message::Refused {
                subscription,
                reason,
            };
            state.out.control(id, &message);
            return Ok(());
        }
        let Some(room) = state.rooms.get_mut(key) else {
            return Ok(());
        };
        if room.below.contains(id) {
            return Err(CloseReason::Protocol);
        }
        link.serving.insert(subscription.0, key);
        let out = &mut state.out;
        room.below.add(id, subscription, resume, room.id, out);
        if let Some(show) = &room.show {
            state.out.control(id, &show.message(subscription));
        }
        state.rooms.mark(key);
        Ok(())
    }

    fn unsubscribe(&mut self, subscription: SubscriptionId) -> Result<(), CloseReason> {
        let (id, now) = (self.id, self.now);
        let Some(link) = self.state.links.get_mut(&id) else {
            return Ok(());
        };
        if let Some(key) = link.serving.known(subscription.0)? {
            self.state
                .with_room(key, now, |room, cx| room.below.remove(id, cx));
        }
        Ok(())
    }

    fn show(&mut self, key: RoomKey, show: Show) {
        let State { rooms, out, .. } = &mut *self.state;
        let Some(room) = rooms.get_mut(key) else {
            return;
        };
        // Nobody can keep a room's later origins from being heard.
        let route = room.ways.route(self.id);
        let is_of_route = route.is_some_and(|route| show.epoch <= route.epoch);
        if !(is_of_route && room.take_show(show, out)) {
            out.tally.add(Count::DropOldShow);
        }
    }
}
