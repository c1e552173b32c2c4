//! What can be read of links and rooms.

use std::time::{Duration, Instant};

use lightstick_types::{NodeId, NodeIdentity, RoomId, RoomName};

use super::state::State;
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

/// The links that are up, in the order of their ids.
pub(super) fn links(state: &State) -> impl Iterator<Item = LinkStatus> {
    state.links.iter().filter_map(|(id, link)| {
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
pub(super) fn rooms(state: &mut State, now: Instant) -> Vec<RoomStatus> {
    let mut rooms = Vec::new();
    for key in state.rooms.keys() {
        let Some(room) = state.rooms.get_mut(key) else {
            continue;
        };
        let (links, out) = (&mut state.links, &mut state.out);
        let mut cx = Context::new(key, room.id, &state.config, links, out, now);
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
