//! What crosses a link to a hop below where it is full, or brings something too late.

use lightstick_types::{StreamId, TrackKind};

use crate::packet::MediaPacket;
use crate::streams::StreamSet;

/// The state of one room towards one hop below: whole frames are dropped, a keyframe is asked for, and
/// the rest of the broken stream is held back until it comes.
#[derive(Clone, Debug, Default)]
pub struct LinkGate {
    broken: StreamSet,
    generations: [u32; StreamId::COUNT],
}

impl LinkGate {
    /// Counts the gaps that were cut into a stream. It travels with the packets, so that viewers behind
    /// the link start a new segment instead of seeing a loss that nobody can repair.
    #[must_use]
    pub fn generation(&self, stream: StreamId) -> u32 {
        self.generations[stream.index()]
    }

    /// Whether a packet may cross.
    pub fn passes(&mut self, packet: &MediaPacket) -> bool {
        if packet.kind() == TrackKind::Audio {
            return true;
        }
        let stream = packet.stream;
        if packet.starts_keyframe() {
            self.broken.remove(stream);
        }
        !self.broken.contains(stream)
    }

    /// Packets of these streams did not cross. Viewers behind the link wait for keyframes now.
    pub fn cut(&mut self, streams: StreamSet) {
        for stream in streams.iter() {
            let generation = &mut self.generations[stream.index()];
            *generation = generation.wrapping_add(1);
        }
        self.broken = self.broken.or(streams.without(StreamId::AUDIO.into()));
    }

    /// Keyframes of these streams cross by another way.
    pub(super) fn mend(&mut self, streams: StreamSet) {
        self.broken = self.broken.without(streams);
    }

    /// Streams that wait for a keyframe.
    #[must_use]
    pub fn broken(&self) -> StreamSet {
        self.broken
    }
}
