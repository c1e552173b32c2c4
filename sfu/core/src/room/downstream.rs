//! Those who get a room's media from a hop: its viewers, and the hops below.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{StreamId, TrackKind, VIDEO_TRACKS_MAX};
use slab::Slab;

use super::buffer::{BatchedPacket, Buffer};
use super::hop::Output;
use super::message::{Batch, Down, PeerId};
use super::tap::Taps;
use super::viewer::{Demand, Viewer};
use super::{Outlet, Outputs, Tally, Turn};
use crate::packet::MediaPacket;
use crate::ring::{Crossing, RingGate};
use crate::start::Choice;
use crate::streams::StreamSet;
use crate::watched::Supply;

/// Those who get the room from a hop.
#[derive(Debug, Default)]
pub(super) struct Downstreams {
    pub(super) viewers: Viewers,
    pub(super) peers: Peers,
    pub(super) taps: Taps,
}

impl Downstreams {
    pub(super) fn is_empty(&self) -> bool {
        self.viewers.is_empty() && self.peers.is_empty() && self.taps.is_empty()
    }

    /// The streams that are watched by any of them.
    pub(super) fn watched(&self) -> StreamSet {
        let watched = self.viewers.watched().or(self.peers.watched());
        watched.or(self.taps.watched())
    }

    /// The keyframes that viewers and taps here wait for; hops below ask for theirs.
    pub(super) fn waiting(&self, now: Instant, supply: Supply) -> StreamSet {
        let taps = self.taps.waiting().and(supply.available);
        self.viewers.waiting(now).or(taps)
    }

    /// Tells all of them which streams can be had. The keyframes that they want then.
    pub(super) fn set_supply(&mut self, supply: Supply, outputs: &mut Outputs) -> StreamSet {
        self.peers.set_supply(supply, outputs);
        let taps = self.taps.waiting().and(supply.available);
        self.viewers.set_supply(supply).or(taps)
    }
}

/// A viewer's place in its hop. It is free for another once the viewer is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ViewerKey(u32);

/// A hop's viewers.
#[derive(Debug, Default)]
pub struct Viewers {
    // Boxed: a growing slab would hold up to twice the memory, and copy all of it amid a show.
    slab: Slab<Box<Viewer>>,
    /// How many viewers got each packet of a batch: reused.
    given: Vec<u64>,
}

impl Viewers {
    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn insert(&mut self, viewer: Box<Viewer>) -> ViewerKey {
        ViewerKey(self.slab.insert(viewer) as u32)
    }

    pub(super) fn remove(&mut self, key: ViewerKey) -> Option<Box<Viewer>> {
        self.slab.try_remove(key.0 as usize)
    }

    /// One of them.
    pub fn get_mut(&mut self, key: ViewerKey) -> Option<&mut Viewer> {
        self.slab.get_mut(key.0 as usize).map(Box::as_mut)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Viewer> {
        self.slab.iter().map(|(_, viewer)| viewer.as_ref())
    }

    /// The streams that they watch.
    pub(super) fn watched(&self) -> StreamSet {
        let watched = self.iter().map(Viewer::watched);
        watched.fold(StreamSet::default(), StreamSet::or)
    }

    /// Tells them which streams can be had. The keyframes that they want then.
    pub(super) fn set_supply(&mut self, supply: Supply) -> StreamSet {
        let mut wanted = StreamSet::default();
        for (_, viewer) in &mut self.slab {
            let wants = viewer.video.set_supply(supply);
            if viewer.is_connected() {
                wanted = wanted.or(wants);
            }
        }
        wanted
    }

    /// The keyframes that viewers still wait for: the first request, or the keyframe itself, may
    /// have been lost.
    pub(super) fn waiting(&self, now: Instant) -> StreamSet {
        let connected = self.iter().filter(|viewer| viewer.is_connected());
        let waiting = connected.map(|viewer| viewer.video.impatient(now));
        waiting.fold(StreamSet::default(), StreamSet::or)
    }

    /// Lets a newcomer start who can be sent to from now on; and again where the keyframe that it
    /// was to start from has not come.
    pub(super) fn start(
        &mut self,
        key: ViewerKey,
        buffer: &mut Buffer,
        interval: Duration,
        now: Instant,
        tally: &mut Tally,
    ) -> Demand {
        let mut demand = Demand::default();
        let Some(viewer) = self.get_mut(key) else {
            return demand;
        };
        let watched = viewer.watched();
        for place in 0..VIDEO_TRACKS_MAX {
            let Some(section) = viewer.video.fresh_mut(place) else {
                continue;
            };
            let Some(stream) = section.wanted() else {
                continue;
            };
            demand.watched = watched;
            match buffer.start(stream, section.track.rate(), now, interval) {
                Choice::Replay { start, ask } => {
                    tally.starts_replayed += 1;
                    section.start_from(stream, start, &buffer.history, now);
                    if ask {
                        demand.keyframes.insert(stream);
                    }
                }
                Choice::Wait(patience) => {
                    tally.starts_waited += 1;
                    section.wait_until(now.checked_add(patience));
                }
                Choice::Ask(patience) => {
                    tally.starts_asked += 1;
                    section.wait_until(now.checked_add(patience));
                    demand.keyframes.insert(stream);
                }
            }
        }
        demand
    }

    /// Gives all of them what they get of a batch.
    pub(super) fn fan_out<O: Outlet>(
        &mut self,
        batch: &[BatchedPacket],
        outputs: &mut Outputs,
        turn: &mut Turn<'_, O>,
    ) {
        let Self { slab, given } = self;
        given.clear();
        given.resize(batch.len(), 0);
        let longest = longest(batch);
        for (_, viewer) in slab.iter_mut() {
            contained(viewer, outputs, turn, |viewer, turn| {
                viewer.forward(batch, &longest, given, turn)
            });
        }
        for (BatchedPacket { packet, .. }, viewers) in batch.iter().zip(given) {
            turn.tally.note_forwarded(packet.received_at, *viewers);
        }
    }
}

/// Longest payload of each stream's packets.
fn longest(batch: &[BatchedPacket]) -> [usize; StreamId::COUNT] {
    let mut longest = [0; StreamId::COUNT];
    for BatchedPacket { packet, .. } in batch {
        if packet.kind() == TrackKind::Video {
            let longest = &mut longest[packet.stream().index()];
            *longest = packet.payload.len().max(*longest);
        }
    }
    longest
}

/// Lets `work` change one viewer, and says what comes of it. A panic in it has broken nothing but
/// that viewer, which is to be removed.
pub(super) fn contained<O: Outlet>(
    viewer: &mut Viewer,
    outputs: &mut Outputs,
    turn: &mut Turn<'_, O>,
    work: impl FnOnce(&mut Viewer, &mut Turn<'_, O>) -> Demand,
) -> Demand {
    let (owner, before) = (viewer.owner(), viewer.video.sent());
    let worked = catch_unwind(AssertUnwindSafe(|| work(viewer, turn)));
    let Ok(demand) = worked else {
        turn.tally.panics += 1;
        viewer.set_route(None);
        outputs.push_back(Output::ViewerFailed(owner));
        return Demand::default();
    };
    for (stream, before) in viewer.video.sent().into_iter().zip(before) {
        if let Some(stream) = stream.filter(|_| stream != before) {
            turn.tally.layer_switches += 1;
            outputs.push_back(Output::ViewerLayer(owner, stream));
        }
    }
    if demand.is_behind {
        outputs.push_back(Output::ViewerBehind(owner));
    }
    demand
}

/// The hops below, and what has crossed to them.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<PeerId, Peer>);

#[derive(Debug, Default)]
struct Peer {
    gate: RingGate,
    /// Streams that are watched there.
    watched: StreamSet,
}

impl Peers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, peer: PeerId) {
        self.0.entry(peer).or_default();
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

    /// A link was full: what it was offered is lost, and viewers behind it wait for keyframes.
    pub(super) fn handle_overflow(&mut self, peer: PeerId) -> StreamSet {
        let Some(Peer { gate, .. }) = self.0.get_mut(&peer) else {
            return StreamSet::default();
        };
        gate.overflowed();
        gate.broken()
    }

    /// Gives one of them what newcomers start from.
    pub(super) fn replay(&self, peer: PeerId, buffer: &Buffer, now: Instant, out: &mut Outputs) {
        let Some(Peer { gate, .. }) = self.0.get(&peer) else {
            return;
        };
        for mut batch in buffer.replays(now) {
            batch.generation = batch.generation.wrapping_add(gate.generation());
            out.push_back(Output::Down(peer, Down::Media(batch)));
        }
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
            for (peer, Peer { gate, .. }) in &mut self.0 {
                let passes = |packet: &&Arc<MediaPacket>| gate.offer(packet) == Crossing::Send;
                let packets = run.iter().map(|batched| &batched.packet);
                let kept: Vec<_> = packets.filter(passes).cloned().collect();
                let packets = match kept.len() == run.len() {
                    true => Arc::clone(whole.get_or_insert_with(|| Arc::from(kept))),
                    false => Arc::from(kept),
                };
                broken = broken.or(gate.broken());
                if packets.is_empty() {
                    continue;
                }
                // Gaps add up over the hops: the sum changes wherever one is cut.
                let generation = run[0].generation.wrapping_add(gate.generation());
                let media = Down::Media(Batch {
                    generation,
                    is_past: run[0].is_past,
                    packets,
                });
                outputs.push_back(Output::Down(*peer, media));
            }
        }
        broken
    }
}
