//! What can be read of links and rooms.

use std::time::{Duration, Instant};

use lightstick_types::{NodeId, NodeIdentity, RoomId, RoomName};

use super::Relay;
use crate::output::{Direction, LinkId};
use crate::room::Context;
use crate::route::RoomSource;

/// One link that is up.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    pub link: LinkId,
    pub direction: Direction,
    pub id: NodeId,
    pub node: NodeIdentity,
    pub rtt: Option<Duration>,
    pub is_suspect: bool,
    pub goes_away: bool,
    /// Rooms that this node and the other one announce.
    pub announced: usize,
    pub heard: usize,
    /// Subscriptions of the other node and of this one.
    pub serving: usize,
    pub feeding: usize,
}

/// One room that is announced, published or wanted.
#[derive(Clone, Debug)]
pub struct RoomStatus {
    pub name: RoomName,
    pub id: Option<RoomId>,
    /// The node whose announcement counts, if the room is not published here.
    pub source: Option<RoomSource>,
    pub published: Option<u64>,
    /// The links that feed the room; the first one is to stay.
    pub feeds: Vec<LinkId>,
    /// The link that would feed it next.
    pub standby: Option<LinkId>,
    /// Nodes below that get it from here.
    pub subscribers: usize,
}

impl Relay {
    /// The links that are up, in the order of their ids.
    pub fn links(&self) -> impl Iterator<Item = LinkStatus> {
        self.links.iter().filter_map(|(id, link)| {
            let peer = link.peer.as_ref()?;
            Some(LinkStatus {
                link: *id,
                direction: link.direction,
                id: peer.id,
                node: peer.node.clone(),
                rtt: link.liveness.rtt(),
                is_suspect: link.liveness.is_suspect(),
                goes_away: link.goes_away,
                announced: link.announced.rooms.len(),
                heard: link.heard.aliases.len(),
                serving: link.serving.len(),
                feeding: link.feeding.numbers.len(),
            })
        })
    }

    /// All rooms that are known.
    pub fn rooms(&mut self, now: Instant) -> Vec<RoomStatus> {
        let mut rooms = Vec::new();
        for key in self.rooms.keys() {
            let Some(room) = self.rooms.get_mut(key) else {
                continue;
            };
            let mut cx = Context::new(key, room, &self.config, &mut self.links, &mut self.out, now);
            rooms.push(RoomStatus {
                name: room.name.clone(),
                id: room.id,
                source: room.ways.source(),
                published: room.published,
                feeds: room.feeds.links().collect(),
                standby: room.standby(&mut cx),
                subscribers: room.below.len(),
            });
        }
        rooms
    }

    /// Whether nothing is held for any link or room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.rooms.is_empty()
    }
}
