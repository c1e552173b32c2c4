//! Taps in virtual time: what they get, what they cost, and that they count as demand.

// Virtual time starts somewhere.
#![allow(clippy::disallowed_methods)]

mod support;
#[path = "support/tree.rs"]
mod tree;

use std::collections::HashMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use lightstick_sfu_core::ice::Route;
use lightstick_sfu_core::room::{
    FeederId, Hop, HopConfig, Outlet, Output, PeerId, Policy, SourceEvent, Tally, TapBatch,
    TapConfig, TapEvent, TapId, Turn, Up,
};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_types::{Layer, LayerChoice, SourceId, StreamId, TrackId};
use support::{Publisher, Random};
use tree::Tree;
use tree::taps::Reader;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn set(layers: &[Layer]) -> StreamSet {
    StreamSet::layers(TrackId::FIRST_VIDEO, layers.iter().copied().collect())
}

fn tap(layers: &[Layer], policy: Policy, bytes_max: u64) -> TapConfig {
    TapConfig {
        streams: set(layers).or(StreamId::AUDIO.into()),
        policy,
        bytes_max,
    }
}

/// A show of ten seconds with a tap at every hop, or with none. When each viewer got each number,
/// and what the taps missed.
fn transits(reader: Option<Reader>) -> (Vec<(u32, u64, Duration)>, u64) {
    let mut tree = Tree::grow(3, 2);
    let start = tree.now;
    // Every layer is watched everywhere: a tap needs nothing that is not there for viewers.
    for node in 0..tree.node_count() {
        for choice in [LayerChoice::Low, LayerChoice::Medium, LayerChoice::High] {
            tree.join(node, choice);
        }
        if let Some(reader) = reader {
            let config = tap(&Layer::ALL, Policy::DropToKeyframe, 200_000);
            tree.attach_tap(node, config, reader);
        }
    }
    tree.run(Duration::from_millis(200));
    tree.publish();
    for second in 0..10 {
        let fan = 1 + second % tree.fans.len() as u32;
        tree.ask_keyframe(fan);
        tree.run(secs(1));
    }
    tree.check_taps();
    let seen = tree.fans.iter().flat_map(|(fan, state)| {
        let numbers = state.seen.numbers.iter();
        numbers.map(move |(number, at)| (*fan, *number, *at - start))
    });
    let (seen, missed) = (seen.collect(), tree.tally.tap_missed);
    tree.end();
    (seen, missed)
}

#[test]
fn a_tap_that_is_never_read_delays_no_packet_to_a_viewer() {
    let (alone, _) = transits(None);
    assert!(alone.len() > 5_000, "{}", alone.len());
    let (beside_read, missed) = transits(Some(Reader::Prompt));
    assert_eq!(missed, 0);
    let (beside_stalled, missed) = transits(Some(Reader::Stopped));
    assert!(missed > 5_000, "{missed}");
    assert!(beside_read == alone, "a tap that is read costs time");
    assert!(beside_stalled == alone, "a tap that is stalled costs time");
}

#[test]
fn a_tap_that_lags_sees_where_it_has_missed_something() {
    let mut tree = Tree::grow(5, 1);
    tree.publish();
    let config = tap(&[Layer::High], Policy::DropToKeyframe, 30_000);
    let slow = tree.attach_tap(1, config, Reader::Slow(Duration::from_millis(80)));
    let lossless = tap(&Layer::ALL, Policy::Lossless, 100_000);
    tree.attach_tap(1, lossless, Reader::Prompt);
    assert_eq!(tree.overruns, 0);
    tree.attach_tap(1, lossless, Reader::Slow(Duration::from_millis(80)));
    tree.run(secs(30));
    let slow = &tree.taps[&slow];
    assert!(slow.missed > 200 && slow.packets > 200, "{slow:?}");
    assert_eq!(tree.overruns, 1, "that which is not read in time has ended");
    assert_eq!(tree.taps.len(), 2);
    tree.check_taps();
    tree.end();
}

struct Nowhere;

impl Outlet for Nowhere {
    fn datagram<E>(
        &mut self,
        _: Route,
        _: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<usize, E> {
        panic!("nobody watches");
    }
}

/// A hop with a source and nobody who watches.
struct Stage {
    hop: Hop,
    publisher: Publisher,
    tally: Tally,
    paused: StreamSet,
    batches: Vec<TapBatch>,
}

impl Stage {
    fn new() -> Self {
        let now = Instant::now();
        let config = HopConfig {
            pause_after: secs(2),
            ..tree::config()
        };
        let mut hop = Hop::new(config, None, now);
        hop.handle_source(
            SourceEvent::Attached(FeederId(1), Box::new(tree::setup())),
            now,
        );
        Self {
            hop,
            publisher: Publisher::new(now, &Layer::ALL, &mut Random::new(1)),
            tally: Tally::default(),
            paused: StreamSet::default(),
            batches: Vec::new(),
        }
    }

    fn frame(&mut self, profile: u32) {
        let now = self.publisher.now;
        for mut packet in self.publisher.next_frame() {
            packet.format.profile = profile;
            let taken = self
                .hop
                .push(FeederId(1), packet, UNIX_EPOCH, now, &mut self.tally);
            taken.expect("a sane packet");
        }
        if self.hop.release(now) {
            self.hop.fan_out(&mut Turn {
                now,
                outlet: &mut Nowhere,
                tally: &mut self.tally,
            });
        }
        self.hop.handle_timeout(now, &mut self.tally);
        while let Some(output) = self.hop.poll() {
            match output {
                Output::Pause(_, layers) => self.paused = layers,
                Output::Tap(_, batch) => self.batches.push(batch),
                Output::Keyframe(_, layers) => {
                    for stream in layers.iter() {
                        self.publisher.request_keyframe(stream.layer);
                    }
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.publisher.now + time;
        while self.publisher.now < end {
            self.frame(0);
        }
    }
}

#[test]
fn a_tap_keeps_its_layers_awake() {
    let mut stage = Stage::new();
    stage.run(secs(4));
    assert_eq!(stage.paused, set(&[Layer::Low, Layer::Medium]));
    let now = stage.publisher.now;
    let config = tap(&[Layer::Low], Policy::DropToKeyframe, 1 << 20);
    stage
        .hop
        .handle_tap(TapId(1), TapEvent::Attached(config), now, &mut stage.tally);
    stage.run(secs(4));
    assert_eq!(stage.paused, set(&[Layer::Medium, Layer::High]));
    let packets = stage
        .batches
        .iter()
        .flat_map(|batch| batch.batch.packets.iter());
    assert!(packets.clone().count() > 200);
    assert!(
        packets
            .clone()
            .next()
            .is_some_and(|packet| packet.starts_keyframe())
    );
    let streams: StreamSet = packets.map(|packet| packet.stream).collect();
    assert_eq!(streams, set(&[Layer::Low]));
    stage
        .hop
        .handle_source(SourceEvent::Detached(FeederId(1)), now);
    assert!(!stage.hop.is_idle());
    stage
        .hop
        .handle_tap(TapId(1), TapEvent::Detached, now, &mut stage.tally);
    assert!(stage.hop.is_idle());
}

#[test]
fn a_hop_gets_the_room_for_a_tap() {
    let (now, above) = (Instant::now(), PeerId(3));
    let mut hop = Hop::new(tree::config(), Some(above), now);
    let low = set(&[Layer::Low]);
    let mut tally = Tally::default();
    let config = tap(&[Layer::Low], Policy::Lossless, 1);
    hop.handle_tap(TapId(1), TapEvent::Attached(config), now, &mut tally);
    let told: Vec<Up> = std::iter::from_fn(|| hop.poll())
        .map(|output| match output {
            Output::Up(to, up) if to == above => up,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [Up::Subscribe, Up::Watched(low)]);
    hop.handle_tap(TapId(1), TapEvent::Detached, now, &mut tally);
    let told = hop.poll();
    assert!(
        matches!(told, Some(Output::Up(_, Up::Unsubscribe))),
        "{told:?}"
    );
}

#[test]
fn a_source_that_changes_its_codec_each_second_begins_anew_each_time() {
    let mut stage = Stage::new();
    let config = tap(&[Layer::High], Policy::Lossless, 1 << 30);
    let now = stage.publisher.now;
    stage
        .hop
        .handle_tap(TapId(1), TapEvent::Attached(config), now, &mut stage.tally);
    for second in 0..60 {
        for _ in 0..30 {
            stage.frame(second % 2);
        }
    }
    let mut segments: HashMap<SourceId, (u32, usize)> = HashMap::new();
    for packet in stage
        .batches
        .iter()
        .flat_map(|batch| batch.batch.packets.iter())
    {
        let profile = packet.format.profile;
        let (of, packets) = segments.entry(packet.source).or_insert_with(|| {
            assert!(packet.starts_keyframe(), "{packet:?}");
            (profile, 0)
        });
        assert_eq!(*of, profile, "two codecs in one segment");
        *packets += 1;
    }
    assert_eq!(segments.len(), 60);
    assert!(
        segments.values().all(|(_, packets)| *packets > 20),
        "{segments:?}"
    );
    assert!(stage.tally.tap_missed == 0 && stage.tally.panics == 0);
}

#[test]
fn a_tap_begins_with_the_last_moments_of_audio_and_a_viewer_with_the_present() {
    let mut tree = Tree::grow(4, 2);
    tree.publish();
    tree.run(secs(3));
    // A frame of 33 ms has one packet of audio. Nobody was at the leaf before.
    let leaf = tree.node_count() - 1;
    let config = tap(&[], Policy::Lossless, 1 << 20);
    let first = tree.attach_tap(leaf, config, Reader::Prompt);
    let fan = tree.join(leaf, LayerChoice::Auto);
    tree.run(Duration::from_millis(200));
    let packets = tree.taps[&first].packets;
    assert!((25..=36).contains(&packets), "{packets} of a remote hop");
    let heard = &tree.fans[&fan].seen.audio;
    assert!((1..=6).contains(&heard.len()), "{heard:?}");
    tree.run(secs(3));
    let since = tree.taps[&first].packets - packets;
    assert!((85..=95).contains(&since), "{since} after the start");
    let heard = &tree.fans[&fan].seen.audio;
    assert!(heard.len() > 85, "{}", heard.len());
    // Where the hop has the room already, it is there at once, as far as it fits.
    let second = tree.attach_tap(leaf, config, Reader::Prompt);
    let small = tap(&[], Policy::Lossless, 6_000);
    let small = tree.attach_tap(leaf, small, Reader::Prompt);
    tree.run(Duration::from_millis(1));
    let packets = tree.taps[&second].packets;
    assert!((28..=32).contains(&packets), "{packets} at once");
    let packets = tree.taps[&small].packets;
    assert!((5..=15).contains(&packets), "{packets} of a small queue");
    tree.end();
}
