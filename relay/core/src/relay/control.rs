//! Messages of the control stream, each to what it is about.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::announcements::Announcements;
use super::chat::Chat;
use super::subscriptions::Subscriptions;
use super::{Fault, Relay};
use crate::close::CloseReason;
use crate::hello::VERSIONS;
use crate::link::{Inbound, Numbered, RoomKey};
use crate::message::Message;
use crate::output::{Event, LinkId};

/// The room of a number that the other end uses. `None`: it has been given up meanwhile.
pub(super) fn known(numbered: &Numbered, number: u32) -> Result<Option<RoomKey>, CloseReason> {
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
            (Some(_), Message::GoAway { after_ms }) => {
                link.goes_away = true;
                let aliases = &link.heard.aliases;
                aliases.keys().for_each(|key| self.rooms.mark(key));
                let after = Duration::from_millis(after_ms.into());
                self.out.event(Event::LinkDraining { link: id, after });
            }
            (Some(_), message) => dispatch(self, id, message, now)?,
        }
        Ok(())
    }
}

fn dispatch(
    relay: &mut Relay,
    id: LinkId,
    message: Message,
    now: Instant,
) -> Result<(), CloseReason> {
    match message {
        Message::Announce { .. }
        | Message::Reroute { .. }
        | Message::Withdraw { .. }
        | Message::Want { .. }
        | Message::Unwant { .. }
        | Message::Unknown { .. } => Announcements::new(relay, id, now).handle(message),
        Message::ChatUp {
            subscription,
            from,
            payload,
        } => {
            let mut subscriptions = Subscriptions::new(relay, id, now);
            if let Some(key) = subscriptions.served(subscription)? {
                Chat::new(relay, key, now).handle_up(id, from, payload);
            }
            Ok(())
        }
        Message::ChatDown {
            subscription,
            to,
            payload,
        } => {
            let mut subscriptions = Subscriptions::new(relay, id, now);
            if let Some(key) = subscriptions.fed(subscription)? {
                Chat::new(relay, key, now).handle_down(id, to, payload);
            }
            Ok(())
        }
        message => Subscriptions::new(relay, id, now).handle(message),
    }
}
