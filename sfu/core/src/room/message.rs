//! What hops of one room tell each other.

use std::sync::Arc;

use crate::packet::MediaPacket;
use crate::streams::StreamSet;
use crate::watched::Supply;

/// A hop that this one is linked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// From a hop to the one that it gets the room from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// Somebody watches here: send the room's media.
    Subscribe,
    /// Nobody watches any more.
    Unsubscribe,
    /// Viewers need keyframes of these streams.
    Keyframe(StreamSet),
    /// These streams are watched below.
    Watched(StreamSet),
}

/// From a hop to those that get the room from it.
#[derive(Clone, Debug)]
pub enum Down {
    /// A subscription begins, with the streams that can be had now: the media after this are its own,
    /// those before are of an earlier one. Must arrive.
    Subscribed(Supply),
    /// These streams can be had now. Must arrive.
    Supply(Supply),
    /// May be dropped where the link is full; see [`Hop::handle_overflow`](super::Hop::handle_overflow).
    Media(Batch),
}

/// Packets of one room, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Counts the gaps that full links have cut into what the receiver gets of each stream in it, over
    /// all hops before it. Where it changes, a new segment of the stream begins.
    pub generation: u32,
    /// It is what the receiver begins with. Viewers there hear none of its audio, but for what goes
    /// on where they are: it would come as fast as the link is, and a player would keep the delay.
    pub is_past: bool,
    /// At least one.
    pub packets: Arc<[Arc<MediaPacket>]>,
}
