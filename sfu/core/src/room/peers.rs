//! The hops below one, and what crosses to them.
//!
//! A hop below begins with the past of each stream of video, from its last keyframe on, which it reads
//! out of the history at its link's pace, until it has come to the present. Where its link is full,
//! whole frames are dropped, and what is left of the stream is held back up to the next keyframe.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lightstick_types::{SourceId, StreamId};

use super::Outputs;
use super::buffer::{BatchedPacket, Buffer};
use super::gate::LinkGate;
use super::message::{Batch, Down, PeerId};
use super::output::Output;
use crate::packet::MediaPacket;
use crate::streams::StreamSet;
use crate::watched::Supply;

/// The hops below.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<PeerId, Peer>);

#[derive(Debug, Default)]
struct Peer {
    gate: LinkGate,
    /// What it reads out of the history; none once it is at the present in every stream.
    replay: Option<Box<Replay>>,
    /// Streams that are watched there.
    watched: StreamSet,
}

/// Where a hop below is in the history.
#[derive(Debug, Default)]
struct Replay([Option<Cursor>; StreamId::COUNT]);

#[derive(Clone, Copy, Debug)]
struct Cursor {
    source: SourceId,
    generation: u32,
    /// The number of the next packet.
    next: u64,
}

impl Cursor {
    /// Whether a packet is what it will read, when it gets there.
    fn comes_to(&self, batched: &BatchedPacket) -> bool {
        self.is_of(&batched.packet, batched.generation) && batched.packet.sequence >= self.next
    }

    fn is_of(&self, packet: &MediaPacket, generation: u32) -> bool {
        (self.source, self.generation) == (packet.source, generation)
    }
}

impl Replay {
    /// From the last keyframe of each stream.
    fn new(buffer: &Buffer, now: Instant) -> Self {
        let mut cursors = [None; StreamId::COUNT];
        for (stream, cursor) in StreamId::all().zip(&mut cursors) {
            let start = buffer.history.start(stream, now);
            *cursor = start.and_then(|start| {
                let first = buffer.history.get(stream, start.from)?;
                Some(Cursor {
                    source: first.source,
                    generation: start.generation,
                    next: start.from,
                })
            });
        }
        Self(cursors)
    }

    /// The streams that are behind.
    fn streams(&self) -> StreamSet {
        let behind = |stream: &StreamId| self.0[stream.index()].is_some();
        StreamId::all().filter(behind).collect()
    }

    /// Whether a packet is left out now, because it is yet to be read.
    fn takes(&mut self, batched: &BatchedPacket) -> bool {
        let cursor = &mut self.0[batched.packet.stream.index()];
        if cursor.is_some_and(|cursor| !cursor.is_of(&batched.packet, batched.generation)) {
            // What it reads has ended.
            *cursor = None;
        }
        cursor.is_some_and(|cursor| cursor.comes_to(batched))
    }

    /// The next packets of the first stream that is behind, up to `bytes_max` of payload and one
    /// packet. `lost` is given the streams whose past was let go before it was read.
    fn read(&mut self, buffer: &Buffer, bytes_max: usize, lost: &mut StreamSet) -> Option<Batch> {
        let history = &buffer.history;
        for (stream, place) in StreamId::all().zip(&mut self.0) {
            let Some(cursor) = place else {
                continue;
            };
            let (head, generation) = history.head(stream);
            let last = history.get(stream, head);
            if last.is_some_and(|last| !cursor.is_of(last, generation)) {
                // Another segment begins, with a keyframe.
                *place = None;
                continue;
            }
            if last.is_none() || history.is_past(stream, cursor.next) {
                lost.insert(stream);
                *place = None;
                continue;
            }
            let mut packets = Vec::new();
            let mut bytes = 0;
            while cursor.next <= head && bytes < bytes_max {
                let packet = history.get(stream, cursor.next);
                cursor.next += 1;
                // What waits to be sent on goes to all, this hop among them.
                if let Some(packet) = packet.filter(|packet| !buffer.waits(packet)) {
                    bytes += packet.payload.len();
                    packets.push(Arc::clone(packet));
                }
            }
            if cursor.next > head {
                *place = None;
            }
            if !packets.is_empty() {
                return Some(Batch {
                    generation,
                    is_past: true,
                    packets: packets.into(),
                });
            }
        }
        None
    }
}

impl Peers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a hop in, to which these streams can be told.
    pub(super) fn insert(&mut self, peer: PeerId, supply: Supply, outputs: &mut Outputs) {
        self.0.entry(peer).or_default();
        outputs.push_back(Output::Down(peer, Down::Subscribed(supply)));
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.0.contains_key(&peer)
    }

    pub(super) fn set_watched(&mut self, peer: PeerId, watched: StreamSet) {
        if let Some(peer) = self.0.get_mut(&peer) {
            peer.watched = watched;
        }
    }

    pub(super) fn watched(&self) -> StreamSet {
        let watched = self.0.values().map(|peer| peer.watched);
        watched.fold(StreamSet::default(), StreamSet::or)
    }

    pub(super) fn set_supply(&self, supply: Supply, outputs: &mut Outputs) {
        for &peer in self.0.keys() {
            outputs.push_back(Output::Down(peer, Down::Supply(supply)));
        }
    }

    /// Packets of these streams did not cross. The streams whose keyframes viewers behind the link
    /// wait for.
    pub(super) fn handle_overflow(&mut self, peer: PeerId, streams: StreamSet) -> StreamSet {
        let Some(Peer { gate, replay, .. }) = self.0.get_mut(&peer) else {
            return StreamSet::default();
        };
        gate.cut(streams);
        if let Some(replay) = replay {
            streams.iter().for_each(|s| replay.0[s.index()] = None);
        }
        gate.broken()
    }

    /// A hop begins with the last moments of audio, and reads the rest of what is kept by
    /// [`poll_replay`](Self::poll_replay).
    pub(super) fn begin(
        &mut self,
        peer: PeerId,
        buffer: &Buffer,
        now: Instant,
        outputs: &mut Outputs,
    ) {
        let Some(Peer { gate, replay, .. }) = self.0.get_mut(&peer) else {
            return;
        };
        let mut audio = buffer.audio_replay(now);
        if !audio.packets.is_empty() {
            let generation = gate.generation(StreamId::AUDIO);
            audio.generation = audio.generation.wrapping_add(generation);
            outputs.push_back(Output::Down(peer, Down::Media(audio)));
        }
        let begun = Replay::new(buffer, now);
        gate.mend(begun.streams());
        *replay = (!begun.streams().is_empty()).then(|| Box::new(begun));
        if replay.is_some() {
            outputs.push_back(Output::Replay(peer));
        }
    }

    /// The next part of what a hop begins with, and the streams that it must wait for a keyframe of,
    /// because their past was let go too early. None: it is at the present.
    pub(super) fn poll_replay(
        &mut self,
        peer: PeerId,
        buffer: &Buffer,
        bytes_max: usize,
    ) -> (Option<Batch>, StreamSet) {
        let mut lost = StreamSet::default();
        let Some(Peer { gate, replay, .. }) = self.0.get_mut(&peer) else {
            return (None, lost);
        };
        let Some(reading) = replay else {
            return (None, lost);
        };
        let mut batch = reading.read(buffer, bytes_max, &mut lost);
        if reading.streams().is_empty() {
            *replay = None;
        }
        gate.cut(lost);
        if let Some(batch) = &mut batch {
            let generation = gate.generation(batch.packets[0].stream);
            batch.generation = batch.generation.wrapping_add(generation);
        }
        (batch, lost)
    }

    /// Sends a batch to all of them. The streams whose keyframes are to be asked for, because
    /// something was dropped on the way to one of them.
    pub(super) fn send(&mut self, batch: &[BatchedPacket], outputs: &mut Outputs) -> StreamSet {
        let mut broken = StreamSet::default();
        if self.0.is_empty() {
            return broken;
        }
        for run in batch.chunk_by(BatchedPacket::goes_with) {
            // Almost always nothing is held back, and all peers share one list.
            let mut whole: Option<Arc<[Arc<MediaPacket>]>> = None;
            for (peer, Peer { gate, replay, .. }) in &mut self.0 {
                let mut kept = Vec::with_capacity(run.len());
                for batched in run {
                    let is_read = replay.as_mut().is_some_and(|replay| replay.takes(batched));
                    if !is_read && gate.passes(&batched.packet) {
                        kept.push(Arc::clone(&batched.packet));
                    }
                }
                broken = broken.or(gate.broken());
                let is_whole = kept.len() == run.len();
                let generation = |packet: &MediaPacket| gate.generation(packet.stream);
                let goes_with = |a: &Arc<_>, b: &Arc<_>| generation(a) == generation(b);
                for part in kept.chunk_by(goes_with) {
                    let packets = match is_whole && part.len() == run.len() {
                        true => Arc::clone(whole.get_or_insert_with(|| Arc::from(part))),
                        false => Arc::from(part),
                    };
                    // Gaps add up over the hops: the sum changes wherever one is cut.
                    let generation = run[0]
                        .generation
                        .wrapping_add(gate.generation(part[0].stream));
                    let media = Down::Media(Batch {
                        generation,
                        is_past: run[0].is_past,
                        packets,
                    });
                    outputs.push_back(Output::Down(*peer, media));
                }
            }
        }
        broken
    }
}
