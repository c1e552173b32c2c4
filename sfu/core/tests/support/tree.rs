//! Hops of one room in virtual time: a tree of them, with links that delay, fill up and break, a
//! publisher at the root, and fans anywhere. Invariants are checked as it runs.

#![allow(dead_code)] // Each test file uses its part.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lightstick_sfu_core::egress::{Accepted, ExtensionIds, StreamConfig};
use lightstick_sfu_core::health::Health;
use lightstick_sfu_core::ice::Route;
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::room::{
    Down, FeederId, Hop, HopConfig, Outlet, Output, PeerId, SourceEvent, SourceSetup, Tally,
    TapEvent, Turn, Up, Viewer, ViewerEvent, ViewerKey,
};
use lightstick_sfu_core::srtp::{self, End, Profile, RtcpOpener, Sealer};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{
    Bitrate, Codec, Layer, LayerChoice, NodeId, SourceId, StreamId, TrackId, TrackKind,
};

use super::support::{FRAME, Publisher, Random};
use taps::Tap;
use wire::Wire;

#[path = "taps.rs"]
pub(crate) mod taps;
#[path = "wire.rs"]
mod wire;

pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
const AUDIO: u32 = 0x0A0A_0001;
const VIDEO: u32 = 0x0B0B_0001;
const RESENT: u32 = 0x0B0B_0002;

/// One hop and those who are at it.
struct Node {
    hop: Hop,
    above: Option<usize>,
    /// The way to and from the hop above.
    link: Link,
}

/// Both directions of a link. Messages keep their order.
struct Link {
    delay: Duration,
    up: VecDeque<(Instant, Up)>,
    down: VecDeque<(Instant, Down)>,
    /// Until then media does not fit in.
    full_until: Option<Instant>,
    /// Where it carries bytes, out of order and some of them twice, what goes down it goes this way.
    wire: Option<Wire>,
    /// What has crossed since the last subscription.
    crossed: HashSet<(SourceId, usize, u64)>,
    asked: Asked,
}

/// When keyframes were asked for last.
#[derive(Default)]
struct Asked([Option<Instant>; StreamId::COUNT]);

impl Asked {
    fn note(&mut self, streams: StreamSet, now: Instant, whom: &str) {
        for stream in streams.iter() {
            let before = self.0[stream.index()].replace(now);
            let since = before.map(|at| now - at);
            let apart = since.is_none_or(|since| since >= INTERVAL);
            assert!(apart, "{whom} was asked for {stream} again after {since:?}");
        }
    }
}

pub(crate) struct Fan {
    node: usize,
    key: ViewerKey,
    reports: Sealer,
    pub(crate) seen: Seen,
}

/// What a fan was sent.
#[derive(Default)]
pub(crate) struct Seen {
    highest: Option<u64>,
    /// Of each packet of audio, when it came. Their numbers go on.
    pub(crate) audio: Vec<Instant>,
    audio_last: Option<u16>,
    pub(crate) audio_numbers: BTreeSet<u16>,
    /// Its numbers, and when each came.
    pub(crate) numbers: BTreeMap<u64, Instant>,
    pub(crate) last_at: Option<Instant>,
    pub(crate) layer: Option<Layer>,
}

/// Catches what leaves.
#[derive(Default)]
struct Air(Vec<(Route, Vec<u8>)>);

impl Outlet for Air {
    fn datagram<E>(
        &mut self,
        to: Route,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut datagram = Vec::new();
        write(&mut datagram, 0)?;
        let length = datagram.len();
        self.0.push((to, datagram));
        Ok(length)
    }
}

pub(crate) struct Tree {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    nodes: Vec<Option<Node>>,
    pub(crate) fans: BTreeMap<u32, Fan>,
    fan_count: u32,
    publisher: Option<(FeederId, Publisher, Asked)>,
    feeders: u32,
    frame_at: Instant,
    /// The number of the last packet of audio.
    audio: u64,
    /// Percent of the publisher's packets that are lost, and that change places.
    pub(crate) loss: u64,
    pub(crate) disorder: u64,
    /// Packets may be missing.
    pub(crate) is_lossy: bool,
    pub(crate) taps: BTreeMap<u32, Tap>,
    tap_count: u32,
    tap_random: Random,
    /// Taps that have ended because they would have missed something.
    pub(crate) overruns: u32,
    /// Audio that links have dropped.
    pub(crate) dropped: HashSet<(SourceId, u64)>,
    /// Hops that have yet to be given what others begin with, and when they are next.
    replays: Vec<(Instant, usize, PeerId)>,
    replay_random: Random,
    air: Air,
    pub(crate) tally: Tally,
    packets: Vec<Weak<MediaPacket>>,
}

pub(crate) fn route(fan: u32) -> Route {
    Route::Udp(0, SocketAddr::from(([10, 0, 0, 1], fan as u16)))
}

fn fan_at(route: &Route) -> u32 {
    u32::from(route.destination().port())
}

fn streams() -> Vec<StreamConfig> {
    let audio = StreamConfig {
        kind: TrackKind::Audio,
        mid: "1".into(),
        cname: "show".into(),
        ssrc: AUDIO,
        resend_ssrc: None,
        clock_rate: 48_000,
        accepted: vec![Accepted {
            format: Format {
                codec: Codec::Opus,
                profile: 0,
            },
            payload_type: 111,
            resend_payload_type: None,
        }],
        extensions: ExtensionIds::default(),
    };
    let video = StreamConfig {
        kind: TrackKind::Video,
        mid: "0".into(),
        ssrc: VIDEO,
        resend_ssrc: Some(RESENT),
        clock_rate: 90_000,
        accepted: vec![Accepted {
            format: Format {
                codec: Codec::Vp8,
                profile: 0,
            },
            payload_type: 96,
            resend_payload_type: Some(97),
        }],
        ..audio.clone()
    };
    vec![audio, video]
}

pub(crate) fn config() -> HopConfig {
    HopConfig {
        node: NodeId(7),
        keyframe_interval: INTERVAL,
        pause_after: Duration::ZERO,
        frame_hold: Duration::from_millis(10),
        playout_delay: None,
    }
}

pub(crate) fn setup() -> SourceSetup {
    SourceSetup {
        video_tracks: 1,
        bitrate_max: Bitrate::kbps(50_000),
        parameter_sets: Vec::new(),
        health: Health::default(),
    }
}

/// A viewer with a route, its keys, and what seals its reports.
pub(crate) fn viewer(
    owner: u32,
    choice: LayerChoice,
    now: Instant,
) -> (Viewer, (Sealer, RtcpOpener), Sealer) {
    let profile = Profile::Aes128Gcm;
    let material: Vec<u8> = (0..profile.material_len() as u8).collect();
    let keys = srtp::keys(&material, profile, End::Server).expect("of the right length");
    let (reports, _) = srtp::keys(&material, profile, End::Client).expect("the same");
    let mut viewer = Viewer::new(owner, streams(), choice, 64, now);
    viewer.set_route(Some(route(owner)));
    (viewer, keys, reports)
}

fn wall(now: Instant, start: Instant) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_000_000) + (now - start)
}

impl Tree {
    /// A tree of `levels` below the root, each hop with up to three below it.
    pub(crate) fn grow(seed: u64, levels: usize) -> Self {
        let mut random = Random::new(seed);
        let now = Instant::now();
        let mut parents = vec![None];
        let mut level = vec![0];
        for _ in 0..levels {
            let mut next = Vec::new();
            for &above in &level {
                for _ in 0..1 + random.below(2) {
                    next.push(parents.len());
                    parents.push(Some(above));
                }
            }
            level = next;
        }
        let nodes = parents.into_iter().map(|above| {
            let delay = Duration::from_micros(random.below(40_000));
            // Not in all worlds: those of seeds that have failed stay as they were.
            Some(Node::new(above, delay, seed.is_multiple_of(7), now))
        });
        let nodes = nodes.collect();
        Self {
            now,
            random,
            nodes,
            fans: BTreeMap::new(),
            fan_count: 0,
            publisher: None,
            feeders: 0,
            frame_at: now,
            audio: 0,
            loss: 0,
            disorder: 0,
            is_lossy: false,
            taps: BTreeMap::new(),
            tap_count: 0,
            tap_random: Random::new(seed ^ 0x7a9),
            replays: Vec::new(),
            replay_random: Random::new(seed ^ 0x9e37),
            overruns: 0,
            dropped: HashSet::new(),
            air: Air::default(),
            tally: Tally::default(),
            packets: Vec::new(),
        }
    }

    fn node(&mut self, node: usize) -> &mut Node {
        self.nodes[node].as_mut().expect("the hop lives")
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// A hop that lives, the root among them.
    pub(crate) fn any_node(&mut self) -> usize {
        let alive: Vec<usize> = (0..self.nodes.len())
            .filter(|n| self.nodes[*n].is_some())
            .collect();
        alive[self.random.below(alive.len() as u64) as usize]
    }

    /// Somebody begins to publish, in place of whoever did before.
    pub(crate) fn publish(&mut self) {
        self.feeders += 1;
        let feeder = FeederId(self.feeders);
        let mut publisher = Publisher::new(self.now, &Layer::ALL, &mut self.random);
        publisher.now = self.now;
        self.frame_at = self.now;
        self.publisher = Some((feeder, publisher, Asked::default()));
        let now = self.now;
        self.node(0)
            .hop
            .handle_source(SourceEvent::Attached(feeder, Box::new(setup())), now);
        self.settle(0);
    }

    pub(crate) fn unpublish(&mut self) {
        if let Some((feeder, ..)) = self.publisher.take() {
            let now = self.now;
            self.node(0)
                .hop
                .handle_source(SourceEvent::Detached(feeder), now);
            self.settle(0);
        }
    }

    pub(crate) fn join(&mut self, node: usize, choice: LayerChoice) -> u32 {
        self.fan_count += 1;
        let (fan, now) = (self.fan_count, self.now);
        let (viewer, keys, reports) = viewer(fan, choice, now);
        let key = self.node(node).hop.add_viewer(Box::new(viewer), now);
        let seen = Seen::default();
        self.fans.insert(
            fan,
            Fan {
                node,
                key,
                reports,
                seen,
            },
        );
        self.settle(node);
        let wall_now = wall(now, now);
        let keys = Box::new(keys);
        self.viewer_event(fan, ViewerEvent::Connected { keys, wall_now });
        fan
    }

    pub(crate) fn leave(&mut self, fan: u32) {
        if let Some(fan) = self.fans.remove(&fan) {
            let now = self.now;
            let viewer = self.node(fan.node).hop.remove_viewer(fan.key, now);
            assert!(viewer.is_some(), "a fan that is there");
            self.settle(fan.node);
        }
    }

    pub(crate) fn choose(&mut self, fan: u32, choice: LayerChoice) {
        self.viewer_event(fan, ViewerEvent::Choice(choice));
    }

    /// A fan cannot decode.
    pub(crate) fn ask_keyframe(&mut self, fan: u32) {
        let mut report = vec![0x81, 206, 0, 2];
        report.extend_from_slice(&1_u32.to_be_bytes());
        report.extend_from_slice(&VIDEO.to_be_bytes());
        let reports = &mut self.fans.get_mut(&fan).expect("it is there").reports;
        reports.seal_rtcp(&mut report, 0).expect("not that many");
        self.viewer_event(fan, ViewerEvent::Report(&mut report));
    }

    fn viewer_event(&mut self, fan: u32, event: ViewerEvent<'_>) {
        let (node, key) = (self.fans[&fan].node, self.fans[&fan].key);
        let mut turn = Turn {
            now: self.now,
            outlet: &mut self.air,
            tally: &mut self.tally,
        };
        let hop = &mut self.nodes[node].as_mut().expect("the hop lives").hop;
        hop.handle_viewer(key, event, &mut turn);
        self.settle(node);
    }

    /// The link to the hop above takes no media for so long.
    pub(crate) fn fill(&mut self, node: usize, time: Duration) {
        let until = self.now + time;
        self.node(node).link.full_until = Some(until);
    }

    /// A hop dies. Its fans are gone, and those below it turn to the one above it.
    pub(crate) fn kill(&mut self, node: usize) {
        assert_ne!(node, 0, "the root stays");
        let Some(Node {
            above: Some(above), ..
        }) = self.nodes[node].take()
        else {
            return;
        };
        self.fans.retain(|_, fan| fan.node != node);
        self.taps.retain(|_, tap| tap.node != node);
        let now = self.now;
        // Whoever noticed tells the hop above.
        self.node(above)
            .hop
            .handle_up(PeerId(node as u32), Up::Unsubscribe, now);
        self.settle(above);
        for below in 0..self.nodes.len() {
            if let Some(state) = &mut self.nodes[below]
                && state.above == Some(node)
            {
                state.above = Some(above);
                state.link = Link::new(state.link.delay, state.link.wire.is_some(), now);
                state.hop.set_above(Some(PeerId(above as u32)), now);
                self.settle(below);
            }
        }
    }

    /// What nobody has any business to send.
    pub(crate) fn lie(&mut self, node: usize) {
        let (now, stranger) = (self.now, PeerId(9_999));
        let all: StreamSet = StreamId::all().collect();
        let hop = &mut self.node(node).hop;
        hop.handle_up(stranger, Up::Keyframe(all), now);
        hop.handle_up(stranger, Up::Watched(all), now);
        hop.handle_up(stranger, Up::Unsubscribe, now);
        hop.handle_overflow(stranger, all, now);
        assert!(hop.poll_replay(stranger, 1, now).is_none());
        hop.handle_down(stranger, Down::Supply(Default::default()), now);
        hop.handle_source(SourceEvent::Detached(FeederId(9_999)), now);
        self.tell_tap(node, 9_999, TapEvent::Ready);
        self.tell_tap(node, 9_999, TapEvent::Detached);
        self.settle(node);
    }

    /// Does what a hop wants done.
    fn settle(&mut self, node: usize) {
        let now = self.now;
        loop {
            let Some(output) = self.node(node).hop.poll() else {
                return;
            };
            match output {
                Output::Up(above, up) => {
                    let state = self.node(node);
                    // One that has died hears nothing more.
                    if state.above != Some(above.0 as usize) {
                        continue;
                    }
                    let link = &mut state.link;
                    if let Up::Keyframe(streams) = &up {
                        link.asked.note(*streams, now, "a hop");
                    }
                    link.up.push_back((now + link.delay, up));
                }
                Output::Down(below, down) => self.send_down(node, below, down),
                Output::Replay(below) => self.replays.push((now, node, below)),
                Output::Keyframe(feeder, streams) => {
                    if let Some((of, publisher, asked)) = &mut self.publisher
                        && *of == feeder
                    {
                        asked.note(streams, now, "the publisher");
                        for stream in streams.iter() {
                            publisher.request_keyframe(stream.layer);
                        }
                    }
                }
                Output::ViewerLayer(fan, stream) => {
                    let fan = self.fans.get_mut(&fan).expect("a fan that is there");
                    fan.seen.layer = Some(stream.layer);
                }
                Output::Tap(tap, batch) => self.feed_tap(node, tap, batch),
                Output::TapOverrun(tap) => self.tap_overrun(tap),
                Output::ViewerFailed(fan) => panic!("the handling of fan {fan} panicked"),
                // Fans are looked at as their timeouts say.
                Output::ViewerBehind(_) => {}
                Output::LayersChanged(..) | Output::TrackStarted(..) => assert_eq!(node, 0),
                Output::Pause(..) | Output::Hints(..) => {}
            }
        }
    }

    fn send_down(&mut self, node: usize, below: PeerId, down: Down) {
        let (now, below) = (self.now, below.0 as usize);
        // Whoever has died, or turned away, hears nothing; it was said so, or will be.
        let Some(state) = &mut self.nodes[below] else {
            return;
        };
        if state.above != Some(node) {
            return;
        }
        let link = &mut state.link;
        if let Down::Media(batch) = &down {
            assert!(!batch.packets.is_empty());
            if link.full_until.is_some_and(|until| now < until) {
                let audio = batch.packets.iter();
                let audio = audio.filter(|packet| packet.kind() == TrackKind::Audio);
                self.dropped
                    .extend(audio.map(|packet| (packet.source, packet.sequence)));
                let peer = PeerId(below as u32);
                let lost = self.random_loss(&batch.packets);
                self.node(node).hop.handle_overflow(peer, lost, now);
                return;
            }
            for packet in batch.packets.iter() {
                let name = (packet.source, packet.stream.index(), packet.sequence);
                assert!(link.crossed.insert(name), "{name:?} crossed twice");
            }
            self.packets
                .extend(batch.packets.iter().map(Arc::downgrade));
        }
        let Some(wire) = &mut link.wire else {
            link.down.push_back((now + link.delay, down));
            return;
        };
        let lost = wire.send(&down, link.delay, now);
        if !lost.is_empty() {
            if let (Down::Media(batch), true) = (&down, lost.contains(StreamId::AUDIO)) {
                let audio = batch.packets.iter();
                let audio = audio.filter(|packet| packet.kind() == TrackKind::Audio);
                self.dropped
                    .extend(audio.map(|packet| (packet.source, packet.sequence)));
            }
            let peer = PeerId(below as u32);
            self.node(node).hop.handle_overflow(peer, lost, now);
        }
    }

    /// When something happens next.
    fn next_at(&mut self) -> Instant {
        let mut at = match &self.publisher {
            Some(_) => self.frame_at,
            None => self.now + FRAME,
        };
        for node in self.nodes.iter().flatten() {
            let up = node.link.up.front().map(|(at, _)| *at);
            let down = node.link.down.front().map(|(at, _)| *at);
            let wire = node.link.wire.as_ref().and_then(Wire::next_at);
            at = [Some(node.hop.poll_timeout()), up, down, wire]
                .into_iter()
                .flatten()
                .fold(at, Instant::min);
        }
        for fan in self.fans.values() {
            let hop = &mut self.nodes[fan.node].as_mut().expect("it lives").hop;
            let viewer = hop
                .viewers_mut()
                .get_mut(fan.key)
                .expect("a fan that is there");
            at = viewer.poll_timeout().map_or(at, |fan| at.min(fan));
        }
        at = self
            .taps
            .values()
            .filter_map(Tap::next_at)
            .chain(self.replays.iter().map(|(at, ..)| *at))
            .fold(at, Instant::min);
        at.max(self.now)
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut still = 0;
        loop {
            let at = self.next_at();
            if at >= end {
                self.now = end;
                return;
            }
            still = if at == self.now { still + 1 } else { 0 };
            assert!(still < 1_000, "it spins at one moment");
            self.now = at;
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        self.feed();
        for node in 0..self.nodes.len() {
            self.receive(node);
        }
        for node in 0..self.nodes.len() {
            let Some(state) = &mut self.nodes[node] else {
                continue;
            };
            if state.hop.poll_timeout() > now {
                continue;
            }
            let released = state.hop.release(now);
            self.settle(node);
            let mut turn = Turn {
                now,
                outlet: &mut self.air,
                tally: &mut self.tally,
            };
            let hop = &mut self.nodes[node].as_mut().expect("it lives").hop;
            if released {
                hop.fan_out(&mut turn);
            }
            hop.handle_timeout(now, turn.tally);
            self.settle(node);
        }
        let due: Vec<u32> = self.fans.keys().copied().collect();
        for fan in due {
            let Fan { node, key, .. } = self.fans[&fan];
            let viewer = self
                .node(node)
                .hop
                .viewers_mut()
                .get_mut(key)
                .expect("it is there");
            if viewer.poll_timeout().is_some_and(|at| at <= now) {
                self.viewer_event(fan, ViewerEvent::Timeout);
            }
        }
        self.replay();
        self.watch();
        self.read_taps();
    }

    /// Carriers take what hops begin with at their own pace.
    fn replay(&mut self) {
        let now = self.now;
        for (at, node, below) in std::mem::take(&mut self.replays) {
            if self.nodes[node].is_none() {
                continue;
            }
            if at > now {
                self.replays.push((at, node, below));
                continue;
            }
            let random = &mut self.replay_random;
            let (bytes_max, rest) = (1 + random.below(20_000), random.below(12));
            let hop = &mut self.node(node).hop;
            let batch = hop.poll_replay(below, bytes_max as usize, now);
            if let Some(batch) = batch {
                self.send_down(node, below, Down::Media(batch));
                let at = now + Duration::from_millis(rest);
                self.replays.push((at, node, below));
            }
            self.settle(node);
        }
    }

    /// Whether a link takes nothing, or drops what is late: all that a batch has streams of, or all.
    fn random_loss(&mut self, packets: &[Arc<MediaPacket>]) -> StreamSet {
        match self.replay_random.chance(50) {
            true => StreamId::all().collect(),
            false => packets.iter().map(|packet| packet.stream).collect(),
        }
    }

    /// The publisher's next frame.
    fn feed(&mut self) {
        let Some((feeder, publisher, _)) = &mut self.publisher else {
            return;
        };
        if self.now < self.frame_at {
            return;
        }
        let feeder = *feeder;
        publisher.now = self.now;
        let mut packets = publisher.next_frame();
        self.frame_at = self.now + FRAME;
        for n in 1..packets.len() {
            if self.random.chance(self.disorder) {
                packets.swap(n - 1, n);
            }
        }
        packets.retain(|_| !self.random.chance(self.loss));
        self.audio += 1;
        packets.push(Incoming {
            track: TrackId::AUDIO,
            layer: Layer::High,
            format: Format {
                codec: Codec::Opus,
                profile: 0,
            },
            sequence: self.audio,
            timestamp: (self.audio * 1_600) as u32,
            marker: false,
            extensions: PacketExtensions::default(),
            payload: vec![0xfc, 0, 1, 2].into(),
            report: None,
            received_at: self.now,
        });
        let (now, wall_now) = (self.now, wall(self.now, self.now));
        for packet in packets {
            let tally = &mut self.tally;
            let hop = &mut self.nodes[0].as_mut().expect("the root stays").hop;
            let taken = hop.push(feeder, packet, wall_now, now, tally);
            taken.expect("a sane packet");
            self.settle(0);
        }
    }

    /// What has arrived over a node's link, at both of its ends.
    fn receive(&mut self, node: usize) {
        let now = self.now;
        loop {
            let Some(Node {
                link,
                above: Some(above),
                ..
            }) = &mut self.nodes[node]
            else {
                return;
            };
            let above = *above;
            for down in link
                .wire
                .as_mut()
                .and_then(|wire| wire.receive(now))
                .into_iter()
                .flatten()
            {
                if let Down::Media(batch) = &down {
                    self.packets
                        .extend(batch.packets.iter().map(Arc::downgrade));
                }
                link.down.push_back((now, down));
            }
            if link.up.front().is_some_and(|(at, _)| *at <= now) {
                let (_, up) = link.up.pop_front().expect("it is there");
                if up == Up::Subscribe {
                    link.crossed.clear();
                }
                self.node(above).hop.handle_up(PeerId(node as u32), up, now);
                self.settle(above);
            } else if link.down.front().is_some_and(|(at, _)| *at <= now) {
                let (_, down) = link.down.pop_front().expect("it is there");
                let hop = &mut self.node(node).hop;
                hop.handle_down(PeerId(above as u32), down, now);
                self.settle(node);
            } else {
                return;
            }
        }
    }

    /// Fans look at what they were sent.
    fn watch(&mut self) {
        for (to, datagram) in self.air.0.drain(..) {
            let Some(fan) = self.fans.get_mut(&fan_at(&to)) else {
                continue;
            };
            let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
            let is_report = (200..=206).contains(&datagram[1]);
            if !is_report && word(8) == AUDIO {
                let (number, seen) = (word(0) as u16, &mut fan.seen);
                let before = seen.audio_last.replace(number).unwrap_or(number);
                let ahead = number.wrapping_sub(before).cast_signed();
                // Links of bytes change the order.
                assert!(ahead.abs() < 100, "audio {number} after {before}");
                assert!(
                    seen.audio_numbers.insert(number),
                    "audio {number} came twice"
                );
                seen.audio.push(self.now);
            }
            // Sender reports, and what is sent again.
            if is_report || word(8) != VIDEO {
                continue;
            }
            let sequence = word(0) as u16;
            let seen = &mut fan.seen;
            let before = seen.highest.unwrap_or(u64::from(sequence) + (1 << 16));
            let ahead = sequence.wrapping_sub(before as u16).cast_signed();
            let number = before.wrapping_add_signed(i64::from(ahead));
            seen.highest = Some(before.max(number));
            let before = seen.numbers.insert(number, self.now);
            assert_eq!(before, None, "number {number} came twice");
            seen.last_at = Some(self.now);
        }
    }

    /// Everybody is gone: nothing is left.
    pub(crate) fn end(mut self) {
        let fans: Vec<u32> = self.fans.keys().copied().collect();
        for fan in fans {
            self.leave(fan);
        }
        let taps: Vec<u32> = self.taps.keys().copied().collect();
        taps.into_iter().for_each(|tap| self.detach_tap(tap));
        self.run(Duration::from_secs(1));
        self.unpublish();
        self.run(Duration::from_secs(1));
        for node in self.nodes.iter_mut().flatten() {
            assert!(node.hop.is_idle());
            assert!(node.hop.poll().is_none());
            assert!(node.link.up.is_empty() && node.link.down.is_empty());
            assert!(node.link.wire.as_ref().is_none_or(Wire::is_empty));
        }
        self.nodes.clear();
        let left = self.packets.iter().filter(|p| p.upgrade().is_some());
        assert_eq!(left.count(), 0, "packets are kept");
        assert_eq!(self.tally.panics, 0);
    }
}

impl Node {
    fn new(above: Option<usize>, delay: Duration, wire: bool, now: Instant) -> Self {
        let peer = above.map(|above| PeerId(above as u32));
        Self {
            hop: Hop::new(config(), peer, now),
            above,
            link: Link::new(delay, wire, now),
        }
    }
}

impl Link {
    fn new(delay: Duration, wire: bool, now: Instant) -> Self {
        Self {
            delay,
            up: VecDeque::new(),
            down: VecDeque::new(),
            full_until: None,
            wire: wire.then(|| Wire::new(now)),
            crossed: HashSet::new(),
            asked: Asked::default(),
        }
    }
}

/// Numbers that are missing between the first and the last.
pub(crate) fn missing(numbers: &BTreeMap<u64, Instant>) -> Vec<u64> {
    let (first, last) = (numbers.first_key_value(), numbers.last_key_value());
    let Some(((first, _), (last, _))) = first.zip(last) else {
        return Vec::new();
    };
    (*first..=*last)
        .filter(|n| !numbers.contains_key(n))
        .collect()
}
