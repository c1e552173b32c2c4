//! What a hop wants done.

use lightstick_types::{Codec, Hint, StreamId, TrackId};

use super::message::{Batch, Down, PeerId, Up};
use crate::packet::MediaPacket;
use crate::streams::StreamSet;

/// What a packet takes in a queue beside its payload, in bytes, about.
pub(super) const PACKET_OVERHEAD: u64 = 256;

/// Whoever brings a source's packets, as the hop's owner numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeederId(pub u32);

/// A tap, as the hop's owner numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapId(pub u32);

/// Packets for a tap. Each stream of video begins with a keyframe, and begins anew where the
/// generation or its source changes, or something was missed. Packets of audio may come in another
/// order than their numbers', where the room comes from another node.
#[derive(Clone, Debug)]
pub struct TapBatch {
    /// Packets that the tap has missed right before these, because its reader was slow.
    pub missed: u64,
    pub batch: Batch,
}

impl TapBatch {
    /// What it takes in a queue, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let packets = self.batch.packets.iter();
        packets.map(|packet| queued_bytes(packet)).sum()
    }
}

pub(super) fn queued_bytes(packet: &MediaPacket) -> u64 {
    packet.payload.len() as u64 + PACKET_OVERHEAD
}

/// What a hop wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Tell the hop above. Must arrive.
    Up(PeerId, Up),
    /// Tell a hop below. Of media, [`Hop::handle_overflow`](super::Hop::handle_overflow) is to be told
    /// where it was dropped.
    Down(PeerId, Down),
    /// What a hop below begins with is to be taken by [`Hop::poll_replay`](super::Hop::poll_replay), as
    /// fast as the link allows.
    Replay(PeerId),
    /// Ask a source for keyframes of these streams.
    Keyframe(FeederId, StreamSet),
    /// Ask a source not to send these of its streams, and all others.
    Pause(FeederId, StreamSet),
    /// A source's first packet of a track, or its first in another codec, came in.
    TrackStarted(FeederId, TrackId, Codec),
    /// A source has other video streams than before; those count that are paused. Its end says the same
    /// without this.
    LayersChanged(FeederId, StreamSet),
    /// Other things are wrong with a source than before.
    Hints(FeederId, Vec<Hint>),
    /// Packets for a tap. [`TapEvent::Overflow`](super::TapEvent::Overflow) follows where they do not
    /// fit.
    Tap(TapId, TapBatch),
    /// A tap that may miss nothing has missed something: it has ended.
    TapOverrun(TapId),
    /// A viewer is given another layer of a track. Viewers go by the number that their owner gave
    /// them.
    ViewerLayer(u32, StreamId),
    /// A viewer has fallen behind: it wants to be looked at in time.
    ViewerBehind(u32),
    /// A viewer's handling panicked. It is sent nothing more and must be removed.
    ViewerFailed(u32),
}
