//! Messages of the control stream, each to what it is about.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::announcements::Announcements;
use super::chat::Chat;
use super::greet::greet;
use super::state::{Fault, State};
use super::subscriptions::Subscriptions;
use crate::close::CloseReason;
use crate::hello::VERSIONS;
use crate::link::Inbound;
use crate::message::Message;
use crate::output::{Event, LinkId};

pub(super) fn handle(
    state: &mut State,
    id: LinkId,
    bytes: Bytes,
    now: Instant,
) -> Result<(), Fault> {
    let Some(link) = state.links.get_mut(&id) else {
        return Ok(());
    };
    link.inflow.take(Inbound::Control, now)?;
    let message = Message::decode(bytes).map_err(|_| CloseReason::Malformed)?;
    match (&link.peer, message) {
        (None, Message::Hello(hello)) => greet(state, id, &hello, now)?,
        (None, Message::ForeignHello(_)) => Err(CloseReason::Version(VERSIONS))?,
        (None, _) | (_, Message::Hello(_) | Message::ForeignHello(_)) => {
            Err(CloseReason::Protocol)?;
        }
        (Some(_), Message::GoAway { after_ms }) => {
            link.goes_away = true;
            let aliases = &link.heard.aliases;
            aliases.keys().for_each(|key| state.rooms.mark(key));
            let after = Duration::from_millis(after_ms.into());
            state.out.event(Event::LinkDraining { link: id, after });
        }
        (Some(_), message) => dispatch(state, id, message, now)?,
    }
    Ok(())
}

fn dispatch(
    state: &mut State,
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
        | Message::Unknown { .. } => Announcements::new(state, id, now).handle(message),
        Message::ChatUp {
            subscription,
            from,
            payload,
        } => {
            let mut subscriptions = Subscriptions::new(state, id, now);
            if let Some(key) = subscriptions.served(subscription)? {
                Chat::new(state, key, now).handle_up(id, from, payload);
            }
            Ok(())
        }
        Message::ChatDown {
            subscription,
            to,
            payload,
        } => {
            let mut subscriptions = Subscriptions::new(state, id, now);
            if let Some(key) = subscriptions.fed(subscription)? {
                Chat::new(state, key, now).handle_down(id, to, payload);
            }
            Ok(())
        }
        message => Subscriptions::new(state, id, now).handle(message),
    }
}
