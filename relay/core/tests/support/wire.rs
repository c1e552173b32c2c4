//! What crosses a link is read as an outsider would read it, and must make sense to one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lightstick_relay_core::message::{Alias, Message, SubscriptionId};
use lightstick_types::{NodeId, RoomName};

/// Both directions of a link, by the end that announces.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    announced: [BTreeMap<Alias, RoomName>; 2],
    /// Subscriptions of the other end.
    subscribed: [BTreeMap<SubscriptionId, Alias>; 2],
    used: [BTreeSet<u32>; 2],
}

impl Wire {
    /// An end sends a message.
    pub(crate) fn sent(&mut self, end: usize, bytes: &Bytes, ids: [NodeId; 2]) {
        let message = Message::decode(bytes.clone()).expect("what a relay sends can be read");
        match message {
            Message::Announce { alias, room, route } => {
                assert_eq!(route.path.nodes().last(), Some(&ids[end]));
                assert!(!route.path.contains(ids[1 - end]), "a loop: {route:?}");
                let mut rooms = self.announced[end].values();
                assert!(rooms.all(|known| *known != room), "{room} twice");
                let old = self.announced[end].insert(alias, room);
                assert!(old.is_none() && self.used[end].insert(alias.0));
            }
            Message::Reroute { alias, route } => {
                assert!(!route.path.contains(ids[1 - end]), "a loop: {route:?}");
                assert!(self.announced[end].contains_key(&alias));
            }
            Message::Withdraw { alias, .. } => {
                assert!(self.announced[end].remove(&alias).is_some());
            }
            Message::Subscribe {
                alias,
                subscription,
                ..
            } => {
                let subscribed = &mut self.subscribed[1 - end];
                let mut aliases = subscribed.values();
                assert!(aliases.all(|known| *known != alias), "subscribed twice");
                assert!(subscribed.insert(subscription, alias).is_none());
            }
            Message::Unsubscribe { subscription } => {
                let ended = self.subscribed[1 - end].remove(&subscription);
                assert!(ended.is_some(), "{subscription:?} is none");
            }
            _ => {}
        }
    }

    /// A message that an end has sent arrives.
    pub(crate) fn delivered(&mut self, end: usize, bytes: &Bytes) {
        if let Ok(Message::Withdraw { alias, .. }) = Message::decode(bytes.clone()) {
            self.subscribed[end].retain(|_, known| *known != alias);
        }
    }
}
