//! What crosses from a room's home shard to the others when a ring is full: whole frames are
//! dropped, a keyframe is asked for, and the rest of the broken stream stays behind until it comes.

use lightstick_types::{StreamId, TrackKind};

use crate::packet::MediaPacket;
use crate::streams::StreamSet;

/// What to do with a packet for one other shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// Put it into the ring.
    Send,
    /// Leave it: its stream is broken for that shard.
    Hold,
}

/// The state of one room towards one other shard.
#[derive(Clone, Debug, Default)]
pub struct RingGate {
    broken: StreamSet,
    generation: u32,
}

impl RingGate {
    /// Counts the gaps so far. It travels with the packets, so that viewers behind the ring start
    /// a new segment instead of seeing a loss that nobody can repair.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether a packet may cross.
    pub fn offer(&mut self, packet: &MediaPacket) -> Crossing {
        if packet.kind() == TrackKind::Audio {
            return Crossing::Send;
        }
        let stream = packet.stream;
        if packet.info.keyframe && packet.info.starts_frame {
            self.broken.remove(stream);
        }
        match self.broken.contains(stream) {
            true => Crossing::Hold,
            false => Crossing::Send,
        }
    }

    /// The ring was full. Every stream's viewers behind it now wait for a keyframe: the packets of
    /// one tick travel together, and which streams they held does not matter to the reader.
    pub fn overflowed(&mut self) {
        self.broken = StreamId::all()
            .filter(|stream| stream.track.kind() == TrackKind::Video)
            .collect();
        self.generation = self.generation.wrapping_add(1);
    }

    /// Streams that wait for a keyframe.
    #[must_use]
    pub fn broken(&self) -> StreamSet {
        self.broken
    }
}
