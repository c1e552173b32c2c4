//! What is attached to a room beside WebRTC sessions: taps, which read its packets, and sources
//! without SDP, which bring them.
//!
//! Both are at the room's home shard, and end with the show, with the shard, or when their handle
//! is dropped. Neither can hold the shard up: what goes to them and comes from them goes over
//! bounded channels on which the shard never waits.

mod source;
mod stats;
mod tap;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use lightstick_sfu_core::room::{FeederId, TapId};
use lightstick_types::RoomId;

use crate::command::Order;
use crate::handle::MediaPlane;
use crate::port::{Port, ShardError};
use crate::rooms::RoomKey;
use crate::shard::Shard;
use source::SourceSeat;
pub use source::{SourceConfig, SourceEnd, SourceHandle, SourceRefused, SourceWish};
pub(crate) use source::{SourceOpening, Wish};
pub use stats::AttachedStats;
pub(crate) use tap::TapSeat;
pub use tap::{TapEnd, TapReceiver};

/// Taps, and sources, of a shard at most: each costs the shard time with every packet of its room.
const ATTACHED_MAX: usize = 256;

/// Why nothing was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// As many are attached as may be.
    #[error("too many are attached to the rooms of this shard")]
    TooMany,
    /// The shard did not answer.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// What is attached to a shard's rooms.
#[derive(Default)]
pub(crate) struct Attached {
    taps: HashMap<TapId, TapSeat>,
    /// Taps whose queues are full.
    full: Vec<TapId>,
    sources: BTreeMap<u32, SourceSeat>,
    source_count: u32,
}

/// Who feeds a room, as a shard numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feeder {
    /// The WebRTC session with this key.
    Session(u32),
    /// The attached source with this number.
    Source(u32),
}

/// Marks the numbers of attached sources. Keys of sessions are far below.
const SOURCES: u32 = 1 << 31;

impl From<FeederId> for Feeder {
    fn from(FeederId(number): FeederId) -> Self {
        match number & SOURCES {
            0 => Self::Session(number),
            _ => Self::Source(number & !SOURCES),
        }
    }
}

impl From<Feeder> for FeederId {
    fn from(feeder: Feeder) -> Self {
        Self(match feeder {
            Feeder::Session(key) => key,
            Feeder::Source(number) => SOURCES | number,
        })
    }
}

impl MediaPlane {
    /// Ends the taps and the attached sources of a room whose show is over. Never blocks.
    pub fn end_attached(&self, room: RoomId) {
        self.order(self.home(room), Order::EndAttached(room));
    }

    fn home_port(&self, room: RoomId) -> Result<&Port, ShardError> {
        let home = self.home(room);
        self.running(home)?;
        Ok(self.port(home))
    }

    fn next_attached(&self) -> u32 {
        self.attached.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shard {
    /// A room's show is over.
    pub(crate) fn end_attached(&mut self, room: RoomId) {
        for tap in self.attached.taps_of(room) {
            self.end_tap(tap, TapEnd::RoomEnded);
        }
        for source in self.attached.sources_of(room) {
            self.end_source(source, SourceEnd::RoomEnded);
        }
    }

    /// Notices handles that were dropped.
    pub(crate) fn survey_attached(&mut self) {
        for tap in self.attached.taps_left() {
            self.end_tap(tap, TapEnd::Detached);
        }
    }

    pub(crate) fn count_attached(&self) {
        let stats = &self.io.stats.attached;
        stats.taps.set(self.attached.taps.len() as u64);
        stats.sources.set(self.attached.sources.len() as u64);
    }

    /// Another one is to feed a room: where the one before was attached, that ends.
    pub(crate) fn replace_source(&mut self, room: RoomKey) {
        let Some((hop, _)) = self.rooms.get(room) else {
            return;
        };
        if let Some((feeder, _)) = hop.source_mut()
            && let Feeder::Source(source) = Feeder::from(feeder)
        {
            self.end_source(source, SourceEnd::Replaced);
        }
    }
}
