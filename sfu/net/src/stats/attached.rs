//! What is attached to a shard's rooms, in numbers.

use super::cell::Cell;

/// The part of taps and of sources without SDP.
#[derive(Debug, Default)]
pub struct AttachedStats {
    /// Attached now.
    pub taps: Cell,
    /// Attached now.
    pub sources: Cell,
    /// Packets that taps have missed, because their readers were slow.
    pub taps_missed: Cell,
    /// Taps that ended with the show.
    pub taps_room_ended: Cell,
    /// Lossless taps whose readers were too slow.
    pub taps_overrun: Cell,
    /// Taps whose receivers were dropped.
    pub taps_detached: Cell,
    /// Sources that ended with the show.
    pub sources_room_ended: Cell,
    /// Sources in whose place another came.
    pub sources_replaced: Cell,
    /// Sources that were far over their bit rate limit.
    pub sources_bitrate: Cell,
    /// Sources whose handles were dropped.
    pub sources_detached: Cell,
}
