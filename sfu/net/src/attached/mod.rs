//! What is attached to a room beside WebRTC sessions: taps, which read its packets, and sources
//! without SDP, which bring them.
//!
//! Both are at the room's home shard, and end with the show, with the shard, or when their handle
//! is dropped. Neither can hold the shard up: what goes to them and comes from them goes over
//! bounded channels on which the shard never waits.

mod feeder;
mod source;
mod tap;

use std::time::Instant;

use lightstick_types::RoomId;

use crate::rooms::Rooms;
use crate::stats::ShardStats;
pub(crate) use feeder::Feeder;
pub use source::{SourceConfig, SourceEnd, SourceHandle, SourceRefused, SourceWish};
pub(crate) use source::{SourceOpening, Sources, Wish, source};
pub use tap::{TapEnd, TapReceiver};
pub(crate) use tap::{TapSeat, Taps, tap};

/// What is attached to a shard's rooms.
#[derive(Default)]
pub(crate) struct Attached {
    pub(crate) taps: Taps,
    pub(crate) sources: Sources,
}

impl Attached {
    /// A room's show is over.
    pub(crate) fn end_room(
        &mut self,
        id: RoomId,
        rooms: &mut Rooms,
        stats: &ShardStats,
        now: Instant,
    ) {
        self.taps.end_room(id, rooms, &stats.attached, now);
        self.sources.end_room(id, rooms, &stats.attached, now);
    }

    /// Reports held resources, so that tests can check for leaks.
    pub(crate) fn count_held(&self, stats: &ShardStats) {
        stats.attached.taps.set(self.taps.len() as u64);
        stats.attached.sources.set(self.sources.len() as u64);
    }
}
