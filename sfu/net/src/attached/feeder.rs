//! Who feeds a room, as a shard numbers them.

use lightstick_sfu_core::room::FeederId;

/// A session, or a source without SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feeder {
    /// The WebRTC session with this key.
    Session(u32),
    /// The attached source with this number.
    Source(u32),
}

/// Marks the numbers of attached sources, which are below. Keys of sessions are far below.
pub(super) const SOURCES: u32 = 1 << 31;

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
