//! Several video tracks of one publisher, over two hops: who sees which, and what changes when
//! another is the main one.

#![allow(clippy::disallowed_methods)] // Virtual time starts somewhere.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use lightstick_sfu_core::egress::{Accepted, ExtensionIds, StreamConfig};
use lightstick_sfu_core::health::Health;
use lightstick_sfu_core::ice::Route;
use lightstick_sfu_core::packet::Format;
use lightstick_sfu_core::room::{
    Down, FeederId, Hop, HopConfig, Outlet, Output, PeerId, SourceEvent, SourceSetup, Tally, Turn,
    Viewer, ViewerEvent, ViewerKey,
};
use lightstick_sfu_core::srtp::{self, End, Profile};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{Bitrate, Codec, Layer, LayerChoice, StreamId, TrackId, TrackKind};
use support::{Publisher, Random};

const ROOT: PeerId = PeerId(0);
const EDGE: PeerId = PeerId(1);
/// Payload of a packet of each track, in bytes: what tells them apart once they are sealed.
const SIZES: [usize; 3] = [900, 600, 300];

fn track(index: usize) -> TrackId {
    TrackId::video(index).expect("there can be that many")
}

/// What left for one section of a viewer: (time, number, timestamp, track).
type Sent = Vec<(Instant, u16, u32, usize)>;

/// Reads what leaves, by viewer and section.
struct Air {
    now: Instant,
    sent: BTreeMap<(u16, u32), Sent>,
}

impl Outlet for Air {
    fn datagram<E>(
        &mut self,
        to: Route,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut datagram = Vec::new();
        write(&mut datagram, 0)?;
        let number = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
        // Reports are RTCP; resent packets have SSRCs of their own.
        if datagram[1] & 0x7f == 96 {
            let (sequence, timestamp, ssrc) = (number(0) as u16, number(4), number(8));
            let track = SIZES
                .iter()
                .position(|size| datagram.len() > *size)
                .unwrap();
            let key = (to.destination().port(), ssrc);
            let sent = self.sent.entry(key).or_default();
            sent.push((self.now, sequence, timestamp, track));
        }
        Ok(datagram.len())
    }
}

/// A publisher with some video tracks at the root, an edge below, and viewers there.
struct Show {
    start: Instant,
    now: Instant,
    hops: [Hop; 2],
    tracks: Vec<Publisher>,
    viewers: Vec<ViewerKey>,
    air: Air,
    tally: Tally,
    /// Streams of which keyframes were asked for.
    asked: Vec<StreamId>,
    told: BTreeMap<u32, BTreeSet<StreamId>>,
}

fn config() -> HopConfig {
    HopConfig {
        node: lightstick_types::NodeId(0),
        keyframe_interval: Duration::from_millis(500),
        pause_after: Duration::ZERO,
        frame_hold: Duration::from_millis(10),
        playout_delay: None,
    }
}

fn setup(tracks: usize) -> SourceSetup {
    SourceSetup {
        bitrate_max: Bitrate::kbps(50_000),
        video_tracks: tracks as u8,
        parameter_sets: Vec::new(),
        health: Health::default(),
    }
}

fn route(viewer: u32) -> Route {
    Route::Udp(0, SocketAddr::from(([10, 0, 0, 1], viewer as u16)))
}

fn video(place: usize) -> StreamConfig {
    StreamConfig {
        kind: TrackKind::Video,
        mid: place.to_string(),
        cname: "show".into(),
        ssrc: 100 + place as u32,
        resend_ssrc: Some(200 + place as u32),
        clock_rate: 90_000,
        accepted: vec![Accepted {
            format: Format {
                codec: Codec::Vp8,
                profile: 0,
            },
            payload_type: 96,
            resend_payload_type: Some(97),
        }],
        extensions: ExtensionIds::default(),
    }
}

impl Show {
    fn new(tracks: usize) -> Self {
        let now = Instant::now();
        let mut random = Random::new(3);
        let mut root = Hop::new(config(), None, now);
        root.handle_source(
            SourceEvent::Attached(FeederId(1), Box::new(setup(tracks))),
            now,
        );
        let tracks = (0..tracks).map(|_| Publisher::new(now, &[Layer::High], &mut random));
        Self {
            start: now,
            now,
            hops: [root, Hop::new(config(), Some(ROOT), now)],
            tracks: tracks.collect(),
            viewers: Vec::new(),
            air: Air {
                now,
                sent: BTreeMap::new(),
            },
            tally: Tally::default(),
            asked: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    fn event(&mut self, key: ViewerKey, event: ViewerEvent<'_>) {
        let mut turn = Turn {
            now: self.now,
            outlet: &mut self.air,
            tally: &mut self.tally,
        };
        self.hops[1].handle_viewer(key, event, &mut turn);
        self.settle();
    }

    /// A viewer with so many video sections, connected.
    fn join(&mut self, owner: u32, sections: usize) -> ViewerKey {
        let profile = Profile::Aes128Gcm;
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        let keys = srtp::keys(&material, profile, End::Server).expect("of the right length");
        let configs = (0..sections).map(video).collect();
        let mut viewer = Viewer::new(owner, configs, LayerChoice::Auto, 64, self.now);
        viewer.set_route(Some(route(owner)));
        let key = self.hops[1].add_viewer(Box::new(viewer), self.now);
        self.event(
            key,
            ViewerEvent::Connected {
                keys: Box::new(keys),
                wall_now: UNIX_EPOCH,
            },
        );
        self.viewers.push(key);
        key
    }

    fn settle(&mut self) {
        while let Some((hop, output)) = self.poll() {
            self.follow(hop, output, self.now);
        }
    }

    fn poll(&mut self) -> Option<(usize, Output)> {
        let mut hops = self.hops.iter_mut().enumerate();
        hops.find_map(|(hop, state)| Some((hop, state.poll()?)))
    }

    fn follow(&mut self, hop: usize, output: Output, now: Instant) {
        match output {
            Output::Up(ROOT, up) => self.hops[0].handle_up(EDGE, up, now),
            Output::Down(EDGE, down) => self.hops[1].handle_down(ROOT, down, now),
            Output::Replay(EDGE) => {
                while let Some(batch) = self.hops[0].poll_replay(EDGE, usize::MAX, now) {
                    self.hops[1].handle_down(ROOT, Down::Media(batch), now);
                }
            }
            Output::Keyframe(_, streams) => {
                for stream in streams.iter() {
                    self.asked.push(stream);
                    let index = stream.track.video_index().expect("of video");
                    self.tracks[index].request_keyframe(stream.layer);
                }
            }
            Output::ViewerLayer(owner, stream) => {
                self.told.entry(owner).or_default().insert(stream);
            }
            Output::ViewerFailed(_) => panic!("hop {hop} failed a viewer"),
            _ => {}
        }
    }

    /// So many frames of every track go out.
    fn run(&mut self, frames: usize) {
        for _ in 0..frames {
            let end = self.now + support::FRAME;
            for (index, (publisher, size)) in self.tracks.iter_mut().zip(SIZES).enumerate() {
                publisher.now = self.now;
                for packet in publisher.next_frame() {
                    let packet = Incoming {
                        track: track(index),
                        payload: packet.payload.slice(..size),
                        ..packet
                    };
                    let (now, tally) = (self.now, &mut self.tally);
                    let taken = self.hops[0].push(FeederId(1), packet, UNIX_EPOCH, now, tally);
                    taken.expect("a sane packet");
                }
            }
            while self.now < end {
                self.look();
                self.now += Duration::from_millis(1);
                self.air.now = self.now;
            }
        }
    }

    fn look(&mut self) {
        for hop in 0..2 {
            if self.hops[hop].release(self.now) {
                self.settle();
                let mut turn = Turn {
                    now: self.now,
                    outlet: &mut self.air,
                    tally: &mut self.tally,
                };
                self.hops[hop].fan_out(&mut turn);
            }
            if self.hops[hop].poll_timeout() <= self.now {
                self.hops[hop].handle_timeout(self.now, &mut self.tally);
            }
            self.settle();
        }
        for key in self.viewers.clone() {
            let viewer = self.hops[1].viewers_mut().get_mut(key);
            let at = viewer.and_then(|viewer| viewer.poll_timeout());
            if at.is_some_and(|at| at <= self.now) {
                self.event(key, ViewerEvent::Timeout);
            }
        }
    }

    /// The tracks that a viewer's sections have shown since then, in order.
    fn shown(&self, owner: u32, since: Instant) -> Vec<BTreeSet<usize>> {
        (0..)
            .map_while(|place| self.air.sent.get(&(owner as u16, 100 + place)))
            .map(|sent| {
                let since = sent.iter().filter(|sent| sent.0 >= since);
                since.map(|sent| sent.3).collect()
            })
            .collect()
    }
}

/// Numbers go on without a gap and time does not go back, whatever the section shows.
fn assert_continuous(show: &Show) {
    for ((owner, ssrc), sent) in &show.air.sent {
        for pair in sent.windows(2) {
            let ((at, before, earlier, _), (_, after, later, _)) = (pair[0], pair[1]);
            let what = format!("viewer {owner}, stream {ssrc}, {:?}", at - show.start);
            assert_eq!(after, before.wrapping_add(1), "{what}: a gap");
            let passed = later.wrapping_sub(earlier).cast_signed();
            assert!(
                (0..90_000).contains(&passed),
                "{what}: time passes by {passed}"
            );
        }
    }
}

fn set(tracks: &[usize]) -> BTreeSet<usize> {
    tracks.iter().copied().collect()
}

#[test]
fn each_section_shows_a_track_and_the_main_one_comes_first() {
    let mut show = Show::new(3);
    for (owner, sections) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
        show.join(owner, sections);
    }
    show.run(60);
    assert_continuous(&show);
    let start = show.start;
    assert_eq!(show.shown(1, start), [set(&[0])]);
    assert_eq!(show.shown(2, start), [set(&[0]), set(&[1])]);
    let all = [set(&[0]), set(&[1]), set(&[2])];
    assert_eq!(show.shown(3, start), all);
    assert_eq!(show.shown(4, start), all, "the fourth section stays silent");
    let high = |index| track(index).layer(Layer::High);
    assert_eq!(show.told[&3], [high(0), high(1), high(2)].into());
}

#[test]
fn another_main_track_takes_the_first_section_at_its_keyframe() {
    let mut show = Show::new(2);
    let [alone, both, own] = [(1, 1), (2, 2), (3, 2)].map(|(n, sections)| show.join(n, sections));
    show.run(60);
    // One viewer chooses for itself, and stays with it.
    show.asked.clear();
    show.event(own, ViewerEvent::Main(Some(track(1))));
    show.run(30);
    let since = show.now;
    show.run(30);
    assert_eq!(show.shown(3, since), [set(&[1]), set(&[0])]);
    assert_eq!(show.shown(2, since), [set(&[0]), set(&[1])]);
    let asked: BTreeSet<_> = show.asked.iter().map(|stream| stream.track).collect();
    assert_eq!(asked, [track(0), track(1)].into(), "both change places");

    // The room's main one is for all others, on every hop.
    let now = show.now;
    show.hops[0].handle_source(SourceEvent::Main(Some(track(1))), now);
    show.settle();
    show.run(30);
    let since = show.now;
    show.run(30);
    for (owner, shown) in [(1, vec![set(&[1])]), (2, vec![set(&[1]), set(&[0])])] {
        assert_eq!(show.shown(owner, since), shown, "viewer {owner}");
    }
    assert_eq!(show.shown(3, since), [set(&[1]), set(&[0])]);

    // And back, by a choice that there is no track for.
    show.event(own, ViewerEvent::Main(None));
    let now = show.now;
    show.hops[0].handle_source(SourceEvent::Main(Some(track(3))), now);
    show.settle();
    show.run(30);
    let since = show.now;
    show.run(30);
    assert_eq!(show.shown(1, since), [set(&[0])]);
    assert_eq!(show.shown(3, since), [set(&[0]), set(&[1])]);
    assert_continuous(&show);
    for (owner, ssrc, what) in [(1, 100, alone), (2, 100, both), (2, 101, both)] {
        // A picture goes on until the other one's keyframe: none waits for more than three frames.
        let sent = &show.air.sent[&(owner, ssrc)];
        let longest = sent.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
        let longest = longest.unwrap_or_default();
        assert!(longest < 4 * support::FRAME, "{what:?}: {longest:?}");
    }
}

#[test]
fn only_what_is_watched_is_asked_for_and_stays_awake() {
    let mut show = Show::new(2);
    show.join(1, 1);
    show.run(60);
    let asked: BTreeSet<_> = show.asked.iter().map(|stream| stream.track).collect();
    assert!(!asked.contains(&track(1)), "nobody watches it");
    let viewer = show.viewers[0];
    let watched = |show: &mut Show| {
        let viewer = show.hops[1].viewers_mut().get_mut(viewer);
        viewer.map(|viewer| viewer.watched())
    };
    let high = |index| Some(StreamSet::from(track(index).layer(Layer::High)));
    assert_eq!(watched(&mut show), high(0));
    show.event(viewer, ViewerEvent::Main(Some(track(1))));
    show.run(60);
    assert_eq!(watched(&mut show), high(1));
}
