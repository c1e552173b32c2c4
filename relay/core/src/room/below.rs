//! The nodes that get a room from this one.

use std::collections::BTreeMap;

use bytes::Bytes;
use lightstick_types::{NodeId, RoomId};

use super::context::Context;
use crate::fullness::Streams;
use crate::limits::CHAT_NODES_MAX;
use crate::message::SubscriptionId;
use crate::output::{LinkId, Out, ToRoom};

#[derive(Debug, Default)]
pub(crate) struct Below {
    links: BTreeMap<LinkId, Subscriber>,
    /// The way back to nodes whose chat has come by.
    nodes: BTreeMap<NodeId, LinkId>,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) number: SubscriptionId,
    pub(crate) streams: Streams,
    resume: Bytes,
}

impl Below {
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut Subscriber> {
        self.links.get_mut(&link)
    }

    pub(crate) fn contains(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, SubscriptionId)> {
        self.links.iter().map(|(link, at)| (*link, at.number))
    }

    /// Whoever has opened the room learns of those that have come before.
    pub(super) fn tell_all(&self, room: RoomId, out: &mut Out) {
        for (link, subscriber) in &self.links {
            let (link, resume) = (*link, subscriber.resume.clone());
            out.tell(Some(room), ToRoom::Subscribed { link, resume });
        }
    }

    /// Chat of a node has come over this link: that is the way to it. False: there are too many nodes.
    pub(crate) fn learn(&mut self, node: NodeId, link: LinkId) -> bool {
        if self.nodes.len() >= CHAT_NODES_MAX && !self.nodes.contains_key(&node) {
            return false;
        }
        self.nodes.insert(node, link);
        true
    }

    /// The subscription on the way to a node.
    pub(crate) fn way_to(&self, node: NodeId) -> Option<(LinkId, SubscriptionId)> {
        let link = *self.nodes.get(&node)?;
        Some((link, self.links.get(&link)?.number))
    }

    /// A node below subscribes.
    pub(crate) fn add(
        &mut self,
        link: LinkId,
        number: SubscriptionId,
        resume: Bytes,
        room: Option<RoomId>,
        out: &mut Out,
    ) {
        let subscriber = Subscriber {
            number,
            streams: Streams::default(),
            resume: resume.clone(),
        };
        self.links.insert(link, subscriber);
        out.tell(room, ToRoom::Subscribed { link, resume });
    }

    /// Its subscription has ended, if there was one.
    pub(crate) fn remove(&mut self, link: LinkId, cx: &mut Context<'_>) -> Option<SubscriptionId> {
        let subscriber = self.links.remove(&link)?;
        self.nodes.retain(|_, at| *at != link);
        if let Some(at) = cx.links.get_mut(&link) {
            at.serving.remove(subscriber.number.0);
        }
        cx.out.tell(cx.id, ToRoom::Unsubscribed { link });
        Some(subscriber.number)
    }
}
