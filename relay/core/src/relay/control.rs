//! Messages of the control stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::{NodeId, RoomName};

use super::{Fault, Relay};
use crate::close::CloseReason;
use crate::envelope::Class;
use crate::hello::VERSIONS;
use crate::limits::{CHAT, ROOMS_MAX, WANTS_MAX};
use crate::link::{Inbound, Link, Numbered, RoomKey};
use crate::message::{Alias, Message, Refusal, SubscriptionId, Withdrawal};
use crate::output::{Event, LinkId, ToRoom};
use crate::room::Show;
use crate::route::Route;
use crate::tally::Count;

/// The room of a number that the other end uses. `None`: it has been given up meanwhile.
fn known(numbered: &Numbered, number: u32) -> Result<Option<RoomKey>, CloseReason> {
    match numbered.get(number) {
        None if !numbered.was_given(number) => Err(CloseReason::Protocol),
        key => Ok(key),
    }
}

impl Relay {
    pub(super) fn handle_control(
        &mut self,
        id: LinkId,
        bytes: Bytes,
        now: Instant,
    ) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        link.inflow.take(Inbound::Control, now)?;
        let message = Message::decode(bytes).map_err(|_| CloseReason::Malformed)?;
        match (&link.peer, message) {
            (None, Message::Hello(hello)) => self.greet(id, &hello, now)?,
            (None, Message::ForeignHello(_)) => Err(CloseReason::Version(VERSIONS))?,
            (None, _) | (_, Message::Hello(_) | Message::ForeignHello(_)) => {
                Err(CloseReason::Protocol)?;
            }
            (Some(_), message) => self.handle_rooms(id, message, now)?,
        }
        Ok(())
    }

    /// Of announcements, wants and the link itself.
    fn handle_rooms(
        &mut self,
        id: LinkId,
        message: Message,
        now: Instant,
    ) -> Result<(), CloseReason> {
        match message {
            Message::Announce { alias, room, route } => {
                self.check_route(id, &route, now)?;
                self.handle_announce(id, alias, room, route, now)
            }
            Message::Reroute { alias, route } => {
                self.check_route(id, &route, now)?;
                self.handle_reroute(id, alias, route, now)
            }
            Message::Withdraw { alias, reason } => self.handle_withdraw(id, alias, reason, now),
            Message::Want { room, hops_left } => self.handle_want(id, room, hops_left),
            Message::Unwant { room } => {
                let key = self.rooms.key(&room);
                if let (Some(link), Some(key)) = (self.links.get_mut(&id), key) {
                    link.heard.wants.remove(&key);
                    self.with_room(key, now, |room, _| room.want.remove_asker(id));
                }
                Ok(())
            }
            Message::Unknown { room } => {
                if let Some(key) = self.rooms.key(&room) {
                    self.with_room(key, now, |room, _| room.want.answered(id));
                }
                Ok(())
            }
            Message::GoAway { after_ms } => {
                let after = Duration::from_millis(after_ms.into());
                self.out.event(Event::LinkDraining { link: id, after });
                if let Some(link) = self.links.get_mut(&id) {
                    link.goes_away = true;
                    link.heard
                        .aliases
                        .keys()
                        .for_each(|key| self.rooms.mark(key));
                }
                Ok(())
            }
            message => self.handle_subscriptions(id, message, now),
        }
    }

    /// A way ends at the node that announces it.
    fn check_route(&mut self, id: LinkId, route: &Route, now: Instant) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        link.inflow.take(Inbound::Announcement, now)?;
        let peer = link.peer.as_ref().map(|peer| &peer.id);
        match route.path.nodes().last() == peer {
            true => Ok(()),
            false => Err(CloseReason::Protocol),
        }
    }

    fn handle_announce(
        &mut self,
        id: LinkId,
        alias: Alias,
        room: RoomName,
        route: Route,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        let aliases = &mut link.heard.aliases;
        if aliases.len() >= ROOMS_MAX {
            return Err(CloseReason::TooManyRooms);
        }
        let key = self.rooms.key(&room);
        let is_twice = key.is_some_and(|key| aliases.keys().any(|known| known == key));
        if !aliases.take(alias.0) || is_twice {
            return Err(CloseReason::Protocol);
        }
        if route.path.contains(self.config.id) {
            self.out.tally.add(Count::DropLoop);
            return Ok(());
        }
        let key = self.rooms.enter(room);
        aliases.insert(alias.0, key);
        self.with_room(key, now, |room, _| room.heard(id, alias, route, now));
        Ok(())
    }

    fn handle_reroute(
        &mut self,
        id: LinkId,
        alias: Alias,
        route: Route,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        let Some(key) = known(&link.heard.aliases, alias.0)? else {
            return Ok(());
        };
        if route.path.contains(self.config.id) {
            self.out.tally.add(Count::DropLoop);
            return self.handle_withdraw(id, alias, Withdrawal::Unreachable, now);
        }
        self.with_room(key, now, |room, _| room.heard(id, alias, route, now));
        Ok(())
    }

    fn handle_withdraw(
        &mut self,
        id: LinkId,
        alias: Alias,
        reason: Withdrawal,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        if let Some(key) = known(&link.heard.aliases, alias.0)? {
            link.heard.aliases.remove(alias.0);
            self.with_room(key, now, |room, cx| room.withdrawn(id, reason, cx));
        }
        Ok(())
    }

    fn handle_want(&mut self, id: LinkId, room: RoomName, hops: u8) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        if link.is_parent() {
            return Err(CloseReason::Protocol);
        }
        let key = self.rooms.key(&room);
        if key.is_some_and(|key| link.announced.rooms.contains_key(&key)) {
            // Our announcement is on its way.
            return Ok(());
        }
        let is_known = key.is_some_and(|key| link.heard.wants.contains(&key));
        if !is_known && link.heard.wants.len() >= WANTS_MAX {
            self.out.tally.add(Count::DropWant);
            self.out.control(id, &Message::Unknown { room });
            return Ok(());
        }
        let key = self.rooms.enter(room);
        link.heard.wants.insert(key);
        if let Some(room) = self.rooms.get_mut(key) {
            room.want.add_asker(id, hops);
        }
        self.rooms.mark(key);
        Ok(())
    }

    /// Of subscriptions and what belongs to them.
    fn handle_subscriptions(
        &mut self,
        id: LinkId,
        message: Message,
        now: Instant,
    ) -> Result<(), CloseReason> {
        match message {
            Message::Subscribe {
                alias,
                subscription,
                resume,
            } => self.handle_subscribe(id, alias, subscription, resume, now),
            Message::Unsubscribe { subscription } => {
                let Some(link) = self.links.get_mut(&id) else {
                    return Ok(());
                };
                if let Some(key) = known(&link.serving, subscription.0)? {
                    link.serving.remove(subscription.0);
                    self.with_room(key, now, |room, cx| room.remove_below(id, cx.out));
                }
                Ok(())
            }
            Message::Refused { subscription, .. } => {
                if let Some((key, _)) = self.fed(id, subscription)? {
                    self.out.tally.add(Count::RefusedByOthers);
                    self.with_room(key, now, |room, cx| room.refused(id, cx));
                }
                Ok(())
            }
            Message::Up {
                subscription,
                payload,
            } => {
                if let Some(key) = self.served(id, subscription)?
                    && let Some(room) = self.rooms.get_mut(key)
                {
                    self.out.tell(room.id, ToRoom::Up { link: id, payload });
                }
                Ok(())
            }
            Message::Down {
                subscription,
                payload,
            } => {
                if let Some((key, _)) = self.fed(id, subscription)? {
                    self.deliver(key, id, Class::Control, payload);
                }
                Ok(())
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
                self.handle_show(id, subscription, show)
            }
            Message::ChatUp {
                subscription,
                from,
                payload,
            } => self.handle_chat_up(id, subscription, from, payload, now),
            Message::ChatDown {
                subscription,
                to,
                payload,
            } => self.handle_chat_down(id, subscription, to, payload, now),
            _ => Err(CloseReason::Protocol),
        }
    }

    fn handle_subscribe(
        &mut self,
        id: LinkId,
        alias: Alias,
        subscription: SubscriptionId,
        resume: Bytes,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        link.inflow.take(Inbound::Subscription, now)?;
        if !link.serving.take(subscription.0) {
            return Err(CloseReason::Protocol);
        }
        let Some(key) = known(&link.announced.aliases, alias.0)? else {
            // It has crossed the withdrawal, which says the same as an answer would.
            return Ok(());
        };
        if self.drain.is_some() {
            self.out.tally.add(Count::RefusedByUs);
            let reason = Refusal::Draining;
            let message = Message::Refused {
                subscription,
                reason,
            };
            self.out.control(id, &message);
            return Ok(());
        }
        let Some(room) = self.rooms.get_mut(key) else {
            return Ok(());
        };
        if room.below.contains(id) {
            return Err(CloseReason::Protocol);
        }
        link.serving.insert(subscription.0, key);
        room.add_below(id, subscription, resume, &mut self.out);
        if let Some(show) = &room.show {
            self.out.control(id, &show.message(subscription));
        }
        self.rooms.mark(key);
        Ok(())
    }

    /// The room of a subscription of the other end. `None`: it has ended.
    fn served(
        &mut self,
        id: LinkId,
        subscription: SubscriptionId,
    ) -> Result<Option<RoomKey>, CloseReason> {
        let link = self.links.get(&id).ok_or(CloseReason::Protocol)?;
        let key = known(&link.serving, subscription.0)?;
        if key.is_none() {
            self.out.tally.add(Count::DropLate);
        }
        Ok(key)
    }

    /// The room of a subscription of this node, and the link. `None`: it has ended.
    fn fed(
        &mut self,
        id: LinkId,
        subscription: SubscriptionId,
    ) -> Result<Option<(RoomKey, &Link)>, CloseReason> {
        let link = self.links.get(&id).ok_or(CloseReason::Protocol)?;
        let key = known(&link.feeding.numbers, subscription.0)?;
        if key.is_none() {
            self.out.tally.add(Count::DropLate);
        }
        Ok(key.map(|key| (key, link)))
    }

    fn handle_show(
        &mut self,
        id: LinkId,
        subscription: SubscriptionId,
        show: Show,
    ) -> Result<(), CloseReason> {
        let Some((key, _)) = self.fed(id, subscription)? else {
            return Ok(());
        };
        let Some(room) = self.rooms.get_mut(key) else {
            return Ok(());
        };
        // Nobody can keep a room's later origins from being heard.
        let is_of_route = room
            .route(id)
            .is_some_and(|route| show.epoch <= route.epoch);
        if is_of_route && room.take_show(show, &mut self.out) {
            return Ok(());
        }
        self.out.tally.add(Count::DropOldShow);
        Ok(())
    }

    fn handle_chat_up(
        &mut self,
        id: LinkId,
        subscription: SubscriptionId,
        from: NodeId,
        payload: Bytes,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Some(key) = self.served(id, subscription)? else {
            return Ok(());
        };
        let Some(room) = self.rooms.get_mut(key) else {
            return Ok(());
        };
        if from == self.config.id || !room.below.learn(from, id) {
            self.out.tally.add(Count::DropChat);
        } else if room.published.is_some() {
            self.out.tell(room.id, ToRoom::ChatUp { from, payload });
        } else {
            let way = room.feeds.subscription();
            self.pass_chat(way, now, |subscription| Message::ChatUp {
                subscription,
                from,
                payload,
            });
        }
        Ok(())
    }

    fn handle_chat_down(
        &mut self,
        id: LinkId,
        subscription: SubscriptionId,
        to: Option<NodeId>,
        payload: Bytes,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let Some((key, _)) = self.fed(id, subscription)? else {
            return Ok(());
        };
        let own = self.config.id;
        let Some(room) = self.rooms.get_mut(key) else {
            return Ok(());
        };
        // While two links feed the room, both bring it.
        if room.feeds.link() != Some(id) {
            self.out.tally.add(Count::DropLate);
            return Ok(());
        }
        if to.is_none_or(|to| to == own) {
            let payload = payload.clone();
            self.out.tell(room.id, ToRoom::ChatDown { payload });
        }
        let ways: Vec<_> = match to {
            None => room.below.iter().map(Some).collect(),
            Some(to) if to != own => vec![room.below.way_to(to)],
            Some(_) => Vec::new(),
        };
        for way in ways {
            let payload = payload.clone();
            self.pass_chat(way, now, |subscription| Message::ChatDown {
                subscription,
                to,
                payload,
            });
        }
        Ok(())
    }

    /// False: there is no way, or it carries no more.
    pub(super) fn pass_chat(
        &mut self,
        way: Option<(LinkId, SubscriptionId)>,
        now: Instant,
        message: impl FnOnce(SubscriptionId) -> Message,
    ) -> bool {
        let link = way.and_then(|(id, _)| self.links.get_mut(&id));
        let may = link.is_some_and(|link| link.sending.chat.take(now, CHAT));
        match way {
            Some((id, subscription)) if may => self.out.control(id, &message(subscription)),
            _ => self.out.tally.add(Count::DropChat),
        }
        may
    }
}
