//! Those who get a room's media from a hop: its viewers, and the hops below.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use lightstick_types::{StreamId, TrackKind, VIDEO_TRACKS_MAX};
use slab::Slab;

use super::buffer::{BatchedPacket, Buffer};
use super::output::Output;
use super::peers::Peers;
use super::tap::Taps;
use super::viewer::{Demand, Viewer};
use super::{Outlet, Outputs, Tally, Turn};
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
            let longest = &mut longest[packet.stream.index()];
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
