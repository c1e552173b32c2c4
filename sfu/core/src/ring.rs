//! What crosses from a room's home shard to the others when a ring is full: whole frames are
//! dropped, a keyframe is asked for, and the rest of the broken layer stays behind until it comes.

use lightstick_types::{Layer, TrackKind};

use crate::packet::MediaPacket;

/// What to do with a packet for one other shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// Put it into the ring.
    Send,
    /// Leave it: its layer is broken for that shard.
    Hold,
}

/// The state of one room towards one other shard.
#[derive(Clone, Debug, Default)]
pub struct RingGate {
    broken: [bool; Layer::COUNT],
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
        if packet.kind == TrackKind::Audio {
            return Crossing::Send;
        }
        let broken = &mut self.broken[packet.layer.index()];
        if *broken && packet.info.keyframe && packet.info.starts_frame {
            *broken = false;
        }
        if *broken {
            Crossing::Hold
        } else {
            Crossing::Send
        }
    }

    /// The ring was full. Every layer's viewers behind it now wait for a keyframe: the packets of
    /// one tick travel together, and which layers they held does not matter to the reader.
    pub fn overflowed(&mut self) {
        self.broken = [true; Layer::COUNT];
        self.generation = self.generation.wrapping_add(1);
    }

    /// Layers that wait for a keyframe.
    pub fn broken(&self) -> impl Iterator<Item = Layer> {
        Layer::ALL
            .into_iter()
            .filter(|layer| self.broken[layer.index()])
    }
}
