//! One place's part of a room.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lightstick_types::{LayerChoice, NodeId, SourceId, StreamId, TrackId};

use super::buffer::{BatchedPacket, Buffer};
use super::downstream::{Downstreams, ViewerKey, Viewers, contained};
use super::message::{Batch, Down, PeerId, Up};
use super::output::{FeederId, Output, TapId};
use super::tap::TapEvent;
use super::upstream::{Local, Remote, SourceSetup, Upstream};
use super::viewer::{Demand, Viewer};
use super::{Outlet, Outputs, Tally, Turn};
use crate::egress::Heard;
use crate::history::History;
use crate::ice::Route;
use crate::srtp::{RtcpOpener, Sealer};
use crate::streams::StreamSet;
use crate::uptrack::{Incoming, Refused, Source, SourceConfig};
use crate::watched::Supply;

/// Keyframes that are waited for, streams that nobody watches, and a publisher's health are looked
/// at this often.
const SURVEY_EVERY: Duration = Duration::from_millis(500);
/// What a viewer adds to the time that a frame may wait to be whole: about what it would cost to
/// send that viewer the frame's packets one by one.
const HOLD_A_VIEWER: Duration = Duration::from_micros(25);

/// Settings of a hop.
#[derive(Clone, Copy, Debug)]
pub struct HopConfig {
    /// Where its sources are.
    pub node: NodeId,
    /// At most one request for keyframes of a layer goes to the publisher, or to the hop above, in
    /// this time.
    pub keyframe_interval: Duration,
    /// A layer that nobody has watched for so long is paused; 0 pauses nothing.
    pub pause_after: Duration,
    /// A frame's packets wait for its last one so long at most.
    pub frame_hold: Duration,
    /// Added to video that names no playout delay of its own, in units of 10 ms.
    pub playout_delay: Option<(u16, u16)>,
}

/// What happens to one viewer.
#[derive(Debug)]
pub enum ViewerEvent<'a> {
    /// Its handshake is done: it can be sent to.
    Connected {
        /// Those of the handshake.
        keys: Box<(Sealer, RtcpOpener)>,
        /// Our wall clock.
        wall_now: SystemTime,
    },
    /// Its datagrams go there from now on, or nowhere.
    Route(Option<Route>),
    /// It asks for another layer.
    Choice(LayerChoice),
    /// It wants to see this track first. `None`: the room's main one.
    Main(Option<TrackId>),
    /// A datagram of SRTCP, which is opened in place.
    Report(&'a mut [u8]),
    /// [`Viewer::poll_timeout`] has come.
    Timeout,
}

/// What happens to a room's source.
#[derive(Debug)]
pub enum SourceEvent {
    /// From now on the room's media is what this feeder brings. It replaces what was there.
    Attached(FeederId, Box<SourceSetup>),
    /// This video track is shown first. Nothing happens where the source is elsewhere.
    Main(Option<TrackId>),
    /// It is gone. Nothing happens where the source is another's.
    Detached(FeederId),
}

/// One place's part of a room: its source, or the hop above; its viewers, and the hops below.
#[derive(Debug)]
pub struct Hop {
    config: HopConfig,
    upstream: Upstream,
    downstreams: Downstreams,
    buffer: Buffer,
    /// The streams that can be had, as last heard.
    supply: Supply,
    /// Sources so far: a new one is a new source to every viewer.
    sources: u32,
    outputs: Outputs,
    /// Something is to be asked for: since then.
    due_at: Option<Instant>,
    survey_at: Instant,
    /// Of each stream, the gaps that were cut into it above, or its sources here.
    generations: [u32; StreamId::COUNT],
    scratch: Scratch,
}

/// Reused from one call to the next.
#[derive(Debug, Default)]
struct Scratch {
    /// Packets that are being sent on.
    batch: Vec<BatchedPacket>,
    /// What a viewer reports.
    heard: Heard,
}

impl Hop {
    /// A hop that gets the room from another one, or else from a source of its own.
    #[must_use]
    pub fn new(config: HopConfig, above: Option<PeerId>, now: Instant) -> Self {
        let remote = |peer| Upstream::Remote(Box::new(Remote::new(peer, config.keyframe_interval)));
        Self {
            config,
            upstream: above.map_or(Upstream::None, remote),
            downstreams: Downstreams::default(),
            buffer: Buffer::default(),
            supply: Supply::default(),
            sources: 0,
            outputs: Outputs::default(),
            due_at: None,
            survey_at: now + SURVEY_EVERY,
            generations: [0; StreamId::COUNT],
            scratch: Scratch::default(),
        }
    }

    /// Nothing needs it: it can be dropped once there is nothing more to [`poll`](Self::poll).
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let has_source = matches!(self.upstream, Upstream::Local(_));
        !has_source && self.downstreams.is_empty()
    }

    /// What is kept for newcomers and for lost packets.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.buffer.history
    }

    /// The source here, and who feeds it.
    pub fn source_mut(&mut self) -> Option<(FeederId, &mut Source)> {
        match &mut self.upstream {
            Upstream::Local(local) => Some((local.feeder, &mut local.source)),
            Upstream::None | Upstream::Remote(_) => None,
        }
    }

    /// Handles what happens to the room's source here.
    pub fn handle_source(&mut self, event: SourceEvent, now: Instant) {
        match event {
            SourceEvent::Attached(feeder, setup) => {
                self.outputs.extend(self.upstream.subscribe(false));
                for generation in &mut self.generations {
                    *generation = generation.wrapping_add(1);
                }
                self.sources = self.sources.wrapping_add(1);
                let id = SourceId::new(self.config.node, self.sources);
                let config = SourceConfig {
                    bitrate_max: setup.bitrate_max,
                    keyframe_interval: self.config.keyframe_interval,
                    playout_delay: self.config.playout_delay,
                };
                let source = setup.source(id, config, now);
                let supply = source.supply();
                self.buffer.history.forget_audio();
                let local = Local::new(feeder, source, self.config.pause_after);
                self.upstream = Upstream::Local(Box::new(local));
                // Nothing of the one before is left to start from.
                self.set_supply(supply, now);
            }
            SourceEvent::Main(main) => {
                if let Some((_, source)) = self.source_mut() {
                    source.set_main(main);
                    let supply = source.supply();
                    self.set_supply(supply, now);
                }
            }
            SourceEvent::Detached(feeder) => {
                if self.source_mut().is_some_and(|(of, _)| of == feeder) {
                    self.upstream = Upstream::None;
                    self.buffer.history.forget_audio();
                    self.set_supply(Supply::default(), now);
                }
            }
        }
    }

    /// From now on the room comes from another hop, or from nowhere. Viewers go on without a seam
    /// where that has everything since the last packet, and else from its next keyframe.
    pub fn set_above(&mut self, above: Option<PeerId>, now: Instant) {
        self.outputs.extend(self.upstream.subscribe(false));
        let interval = self.config.keyframe_interval;
        let remote = |peer| Upstream::Remote(Box::new(Remote::new(peer, interval)));
        self.upstream = above.map_or(Upstream::None, remote);
        if above.is_none() {
            self.set_supply(Supply::default(), now);
        }
        self.subscribe(now);
    }

    /// Takes a packet of the source, as it came. One of a source that was replaced is dropped.
    ///
    /// # Errors
    /// [`Refused`]: it is dropped and counted; only [`Refused::Close`] is to end anything.
    pub fn push(
        &mut self,
        feeder: FeederId,
        packet: Incoming,
        wall_now: SystemTime,
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Refused> {
        tally.rtp_in += 1;
        let stream = StreamId {
            track: packet.track,
            layer: packet.layer,
        };
        let hold =
            (HOLD_A_VIEWER * self.downstreams.viewers.len() as u32).min(self.config.frame_hold);
        let generation = self.generations[stream.index()];
        let Some((_, source)) = self.source_mut().filter(|(of, _)| *of == feeder) else {
            tally.drop_media += 1;
            return Ok(());
        };
        let taken = source.ingest(packet, wall_now);
        let (packet, changes) = taken.inspect_err(|_| tally.drop_media += 1)?;
        tally.rtp_in_lost += changes.missing;
        let (track, codec) = (packet.stream.track, packet.format.codec);
        if let Some(sets) = changes.inserted {
            self.buffer.push(sets, generation, false, now, hold);
        }
        self.buffer
            .push(packet.into(), generation, false, now, hold);
        if changes.track_started {
            let started = Output::TrackStarted(feeder, track, codec);
            self.outputs.push_back(started);
        }
        if changes.layers
            && let Some(supply) = self.upstream.streams_changed(&mut self.outputs)
        {
            self.set_supply(supply, now);
        }
        Ok(())
    }

    /// Hears the hop above. Others are not listened to.
    pub fn handle_down(&mut self, from: PeerId, down: Down, now: Instant) {
        let Upstream::Remote(remote) = &mut self.upstream else {
            return;
        };
        if remote.peer != from {
            return;
        }
        match down {
            Down::Subscribed(supply) => {
                remote.subscribed();
                self.set_supply(supply, now);
            }
            Down::Supply(supply) => self.set_supply(supply, now),
            Down::Media(batch) => {
                for packet in batch.packets.iter() {
                    let history = &self.buffer.history;
                    let last = &mut self.generations[packet.stream.index()];
                    let joined = remote.join(packet, batch.generation, history, *last);
                    let Some(generation) = joined else {
                        return;
                    };
                    *last = generation;
                    if history.is_past_or_held(packet) {
                        continue;
                    }
                    if packet.starts_keyframe() {
                        remote.keyframe(packet.stream);
                    }
                    // The root has held it for as long as it may be.
                    let packet = Arc::clone(packet);
                    self.buffer
                        .push(packet, generation, batch.is_past, now, Duration::ZERO);
                }
                // It was on its way when the last one left.
                if !remote.is_subscribed {
                    self.buffer.rest();
                }
            }
        }
    }

    /// Hears a hop below. Before it has subscribed, nothing else of it counts.
    pub fn handle_up(&mut self, from: PeerId, up: Up, now: Instant) {
        match up {
            Up::Subscribe => {
                let (peers, outputs) = (&mut self.downstreams.peers, &mut self.outputs);
                peers.insert(from, self.supply, outputs);
                self.subscribe(now);
                let (peers, outputs) = (&mut self.downstreams.peers, &mut self.outputs);
                peers.begin(from, &self.buffer, now, outputs);
            }
            Up::Unsubscribe => {
                self.downstreams.peers.remove(from);
                self.subscribe(now);
            }
            _ if !self.downstreams.peers.contains(from) => {}
            Up::Keyframe(streams) => self.ask(streams, StreamSet::default(), now),
            Up::Watched(streams) => {
                self.downstreams.peers.set_watched(from, streams);
                self.ask(StreamSet::default(), streams, now);
            }
        }
    }

    /// The next part of what a hop below begins with, of about `bytes_max` bytes. None: that is all, and
    /// the rest comes by [`poll`](Self::poll).
    pub fn poll_replay(&mut self, peer: PeerId, bytes_max: usize, now: Instant) -> Option<Batch> {
        let peers = &mut self.downstreams.peers;
        let (batch, lost) = peers.poll_replay(peer, &self.buffer, bytes_max);
        self.ask(lost, StreamSet::default(), now);
        batch
    }

    /// Packets of these streams did not reach a hop below: the link was full, or they were too late.
    pub fn handle_overflow(&mut self, peer: PeerId, streams: StreamSet, now: Instant) {
        let broken = self.downstreams.peers.handle_overflow(peer, streams);
        self.ask(broken, StreamSet::default(), now);
    }

    /// Takes a viewer in. It gets media once it is connected and has a route.
    pub fn add_viewer(&mut self, mut viewer: Box<Viewer>, now: Instant) -> ViewerKey {
        // The keyframe is asked for when there is a connection to send it on.
        viewer.video.set_supply(self.supply);
        let key = self.downstreams.viewers.insert(viewer);
        self.subscribe(now);
        key
    }

    /// Lets a viewer go.
    pub fn remove_viewer(&mut self, key: ViewerKey, now: Instant) -> Option<Box<Viewer>> {
        let viewer = self.downstreams.viewers.remove(key);
        self.subscribe(now);
        viewer
    }

    /// Handles what happens to a tap.
    pub fn handle_tap(&mut self, tap: TapId, event: TapEvent<'_>, now: Instant, tally: &mut Tally) {
        let taps = &mut self.downstreams.taps;
        match event {
            TapEvent::Attached(config) => {
                taps.insert(tap, config);
                self.subscribe(now);
                let audio = self.buffer.audio_replay(now);
                self.downstreams.taps.begin(tap, audio, &mut self.outputs);
                let watched = config.watched();
                self.ask(watched.and(self.supply.available), watched, now);
            }
            TapEvent::Detached => {
                taps.remove(tap);
                self.subscribe(now);
            }
            TapEvent::Overflow(lost) => {
                taps.handle_overflow(tap, lost, &mut self.outputs, tally);
                self.subscribe(now);
            }
            TapEvent::Ready => {
                let needed = taps.handle_ready(tap).and(self.supply.available);
                self.ask(needed, StreamSet::default(), now);
            }
        }
    }

    /// Those whom it has taken in.
    pub fn viewers_mut(&mut self) -> &mut Viewers {
        &mut self.downstreams.viewers
    }

    /// Handles what happens to a viewer; its [timeout](Viewer::poll_timeout) may be another
    /// afterwards. True for an authentic report.
    pub fn handle_viewer<O: Outlet>(
        &mut self,
        key: ViewerKey,
        event: ViewerEvent<'_>,
        turn: &mut Turn<'_, O>,
    ) -> bool {
        let Self {
            downstreams: Downstreams { viewers, .. },
            buffer,
            outputs,
            scratch,
            ..
        } = self;
        let Some(viewer) = viewers.get_mut(key) else {
            return false;
        };
        let mut demand = contained(viewer, outputs, turn, |viewer, turn| match event {
            ViewerEvent::Connected { keys, wall_now } => {
                viewer.connect(*keys, turn.now, wall_now);
                Demand {
                    starts: true,
                    ..Demand::default()
                }
            }
            ViewerEvent::Route(route) => Demand {
                keyframes: viewer.move_to(route, turn.now),
                ..Demand::default()
            },
            ViewerEvent::Choice(choice) => Demand {
                keyframes: viewer.video.choose(choice),
                watched: viewer.watched(),
                ..Demand::default()
            },
            ViewerEvent::Main(main) => Demand {
                keyframes: viewer.video.choose_main(main),
                watched: viewer.watched(),
                ..Demand::default()
            },
            ViewerEvent::Report(report) => {
                viewer.handle_report(report, buffer, &mut scratch.heard, turn)
            }
            ViewerEvent::Timeout => viewer.handle_timeout(buffer, turn),
        });
        let authentic = demand.authentic;
        if demand.starts {
            let interval = self.config.keyframe_interval;
            let started = viewers.start(key, buffer, interval, turn.now, turn.tally);
            demand.keyframes = demand.keyframes.or(started.keyframes);
            demand.watched = demand.watched.or(started.watched);
        }
        self.ask(demand.keyframes, demand.watched, turn.now);
        authentic
    }

    /// Takes up what is to be sent on now. It goes to the hops below by [`poll`](Self::poll), and
    /// then to the viewers by [`fan_out`](Self::fan_out). False: there is nothing.
    pub fn release(&mut self, now: Instant) -> bool {
        if self.buffer.poll_timeout().is_none_or(|at| now < at) {
            return false;
        }
        let batch = &mut self.scratch.batch;
        self.buffer.release(now, batch);
        let broken = self.downstreams.peers.send(batch, &mut self.outputs);
        self.ask(broken, StreamSet::default(), now);
        true
    }

    /// Gives the viewers what was [released](Self::release), and after them the taps.
    pub fn fan_out<O: Outlet>(&mut self, turn: &mut Turn<'_, O>) {
        let batch = &mut self.scratch.batch;
        self.downstreams
            .viewers
            .fan_out(batch, &mut self.outputs, turn);
        self.downstreams
            .taps
            .send(batch, &mut self.outputs, turn.tally);
        batch.clear();
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Until when packets wait for the rest of their frame, where some do.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        self.buffer.poll_timeout()
    }

    /// When to call [`release`](Self::release) and [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let others = [
            self.due_at,
            self.buffer.poll_timeout(),
            self.upstream.poll_timeout(),
        ];
        let first = others.into_iter().flatten().min();
        first.map_or(self.survey_at, |at| at.min(self.survey_at))
    }

    /// Does what is due: passes on the requests for keyframes, and looks at streams that have fallen
    /// silent, that nobody watches, and at the source's health.
    pub fn handle_timeout(&mut self, now: Instant, tally: &mut Tally) {
        let mut changed = false;
        if self.survey_at <= now {
            self.survey_at = now + SURVEY_EVERY;
            self.buffer.history.trim_audio(now);
            let waiting = self.downstreams.waiting(now, self.supply);
            self.ask(waiting, StreamSet::default(), now);
            let (watched, habits) = (self.downstreams.watched(), &self.buffer.habits);
            let outputs = &mut self.outputs;
            changed = self.upstream.survey(watched, habits, outputs, now);
        }
        let due = self.upstream.handle_timeout(&mut self.outputs, now);
        self.due_at = None;
        self.buffer.asked(due.asked, now);
        if changed || due.woken {
            let paused = self.upstream.pauses_changed(self.supply.paused, now, tally);
            self.outputs.extend(paused);
        }
        if (changed || due.woken || due.silent)
            && let Some(supply) = self.upstream.streams_changed(&mut self.outputs)
        {
            self.set_supply(supply, now);
        }
        self.outputs.extend(due.keyframes);
    }

    /// Tells everybody below which streams can be had. Nothing is known of the next source's.
    fn set_supply(&mut self, supply: Supply, now: Instant) {
        self.supply = supply;
        if supply.available.is_empty() {
            self.buffer.forget();
        }
        self.buffer.rates.set_flowing(supply.flowing(), now);
        let wanted = self.downstreams.set_supply(supply, &mut self.outputs);
        self.ask(wanted, StreamSet::default(), now);
    }

    /// Asks for keyframes, and for streams that are watched from now on: those that are paused come
    /// back by a keyframe too.
    fn ask(&mut self, keyframes: StreamSet, watched: StreamSet, now: Instant) {
        self.outputs.extend(self.upstream.watch(watched));
        let resumed = self.supply.paused.and(watched);
        for stream in keyframes.or(resumed).iter() {
            self.upstream.request_keyframe(stream);
            self.due_at.get_or_insert(now);
        }
    }

    /// Gets the room from the hop above as long as somebody is there for it.
    fn subscribe(&mut self, now: Instant) {
        let is_wanted = !self.downstreams.is_empty();
        let Some(told) = self.upstream.subscribe(is_wanted) else {
            return;
        };
        match is_wanted {
            true => self.buffer.resume(now),
            false => self.buffer.rest(),
        }
        self.outputs.push_back(told);
    }
}
