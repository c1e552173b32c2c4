//! Ways to a room's origin, and which of them is the best.

use std::cmp::Reverse;

use lightstick_types::{NodeId, NodeName, Region, RoomName};

use crate::fields::{Reader, WireError};
use crate::limits::HOPS_MAX;

/// The nodes from a room's origin to the one that announces it, both included. Not empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Path {
    nodes: [NodeId; HOPS_MAX],
    len: u8,
}

impl Path {
    /// The way to the origin's neighbours.
    #[must_use]
    pub fn from_origin(origin: NodeId) -> Self {
        let mut nodes = [NodeId(0); HOPS_MAX];
        nodes[0] = origin;
        Self { nodes, len: 1 }
    }

    /// The way on from `node`. `None`: it has too many nodes.
    #[must_use]
    pub fn through(mut self, node: NodeId) -> Option<Self> {
        *self.nodes.get_mut(usize::from(self.len))? = node;
        self.len += 1;
        Some(self)
    }

    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes[..usize::from(self.len)]
    }

    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.nodes().contains(&node)
    }
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.nodes()).finish()
    }
}

/// What is announced of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Rises each time that the room gets another origin.
    pub epoch: u64,
    pub path: Path,
    /// A node on the way has heard nothing from the one before it for a while. Such a way is taken when
    /// there is no other.
    pub is_stale: bool,
}

const STALE: u8 = 1;

impl Route {
    /// The node where the room's publisher is.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.path.nodes[0]
    }

    /// Which of several origins of a room counts: the greatest.
    #[must_use]
    pub fn source(&self) -> RoomSource {
        RoomSource {
            epoch: self.epoch,
            origin: self.origin(),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.push(if self.is_stale { STALE } else { 0 });
        out.push(self.path.len);
        for node in self.path.nodes() {
            out.extend_from_slice(&node.0.to_be_bytes());
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, WireError> {
        let epoch = reader.u64()?;
        let is_stale = match reader.u8()? {
            0 => false,
            STALE => true,
            _ => return Err(WireError::Value),
        };
        let len = reader.u8()?;
        if len == 0 || usize::from(len) > HOPS_MAX {
            return Err(WireError::Value);
        }
        let mut path = Path::from_origin(NodeId(reader.u32()?));
        for _ in 1..len {
            let node = NodeId(reader.u32()?);
            if path.contains(node) {
                return Err(WireError::Value);
            }
            path = path.through(node).ok_or(WireError::Value)?;
        }
        Ok(Self {
            epoch,
            path,
            is_stale,
        })
    }
}

/// One origin of a room. A greater one supersedes the others; of two nodes that claim one epoch, all
/// nodes take the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomSource {
    pub epoch: u64,
    pub origin: NodeId,
}

/// How far a way can be relied on, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    Good,
    /// The neighbour leaves, or a link behind it is suspect.
    Degraded,
    /// The neighbour is suspect itself.
    Suspect,
}

/// A way's place among others to one origin; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) health: Health,
    hops: u8,
    weight: Reverse<u64>,
}

impl Rank {
    pub(crate) fn new(health: Health, route: &Route, weight: u64) -> Self {
        Self {
            health,
            hops: route.path.len,
            weight: Reverse(weight),
        }
    }
}

/// A neighbour's weight for a room by rendezvous hashing: nodes of one region prefer the same one, and
/// when it goes, only its rooms move.
pub(crate) fn weight(room: &RoomName, region: &Region, neighbour: &NodeName) -> u64 {
    // FNV-1a, and the finalizer of SplitMix64: the last bytes reach every bit.
    let parts = [room.as_str(), region.as_str(), neighbour.as_str()];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_spread_over_neighbours_and_stay_where_they_are() {
        let region: Region = "kr".parse().expect("a region");
        let hubs: Vec<NodeName> = (0..4)
            .map(|n| format!("hub-{n}").parse().expect("a name"))
            .collect();
        let mut moved = 0;
        let mut rooms = [0; 4];
        for n in 0..4_000 {
            let room: RoomName = format!("room-{n}").parse().expect("a name");
            let best = |hubs: &[NodeName]| {
                (0..hubs.len()).max_by_key(|hub| weight(&room, &region, &hubs[*hub]))
            };
            let (all, three) = (best(&hubs).expect("one"), best(&hubs[..3]).expect("one"));
            rooms[all] += 1;
            moved += usize::from(all < 3 && all != three);
        }
        assert!(
            rooms.iter().all(|count| (850..1_150).contains(count)),
            "{rooms:?}"
        );
        assert_eq!(moved, 0);
    }

    #[test]
    fn paths_end_at_the_bound() {
        let mut path = Path::from_origin(NodeId(1));
        for n in 2..=HOPS_MAX as u32 {
            path = path.through(NodeId(n)).expect("it is short");
        }
        assert_eq!(path.through(NodeId(9)), None);
        assert!(path.contains(NodeId(4)) && !path.contains(NodeId(9)));
    }
}
