//! Layers that nobody watches, from the wish to pause them to the keyframe that brings them back.

// Virtual time starts somewhere.
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use lightstick_sfu_core::downtrack::DownTrack;
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::Source;
use lightstick_sfu_core::watched::{Supply, Watched};
use lightstick_types::{Layer, LayerChoice, TrackId};

use support::{Publisher, Random, Watcher, ingest, source};

const VIDEO: TrackId = TrackId::FIRST_VIDEO;

/// A room as its home shard holds it, with viewers that are looked after each frame.
struct Room {
    publisher: Publisher,
    /// Layers that the publisher does not encode.
    off: StreamSet,
    /// Whether it does what it is asked.
    obeys: bool,
    source: Source,
    watched: Watched,
    viewers: Vec<(DownTrack, Watcher)>,
    /// Layers whose keyframe the publisher was asked for while it did not encode them.
    asked_asleep: StreamSet,
}

impl Room {
    fn new(obeys: bool) -> Self {
        let start = Instant::now();
        let mut random = Random::new(7);
        Self {
            publisher: Publisher::new(start, &Layer::ALL, &mut random),
            off: StreamSet::default(),
            obeys,
            source: source(1, start),
            watched: Watched::new(Duration::from_secs(2)),
            viewers: Vec::new(),
            asked_asleep: StreamSet::default(),
        }
    }

    fn join(&mut self, choice: LayerChoice) -> usize {
        let track = DownTrack::new(VIDEO, 90_000, choice);
        self.viewers.push((track, Watcher::default()));
        self.hear_supply();
        self.viewers.len() - 1
    }

    fn hear_supply(&mut self) {
        let supply = self.source.supply();
        for (viewer, _) in &mut self.viewers {
            viewer.set_asleep(supply.asleep.of(VIDEO));
            viewer.set_live(supply.available.of(VIDEO));
        }
    }

    fn tell_publisher(&mut self) {
        let paused = self.watched.paused();
        self.source.set_paused(self.publisher.now, paused);
        if self.obeys {
            let woken = self.off.without(paused);
            // An encoder that starts anew starts with a keyframe.
            woken
                .iter()
                .for_each(|stream| self.publisher.request_keyframe(stream.layer));
            self.off = paused;
        }
        self.hear_supply();
    }

    fn run(&mut self, frames: u32) {
        for _ in 0..frames {
            for packet in self.publisher.next_frame() {
                if self.off.contains(VIDEO.layer(packet.layer)) {
                    continue;
                }
                let (packet, changes) = ingest(&mut self.source, packet);
                if changes.layers {
                    self.hear_supply();
                }
                for (viewer, watcher) in &mut self.viewers {
                    if let Some(out) = viewer.forward(&packet, 0) {
                        watcher.see(&packet, out);
                    }
                }
            }
            let now = self.publisher.now;
            if self.source.poll_silence(now) {
                self.hear_supply();
            }
            let mut changed = false;
            let mut watched = StreamSet::default();
            for (viewer, _) in &self.viewers {
                watched = watched.or(viewer.watched());
                for stream in viewer.watched().iter() {
                    changed |= self.watched.want(stream);
                }
                if let Some(wanted) = viewer.wanted() {
                    self.source.request_keyframe(wanted.0);
                }
            }
            changed |= self
                .watched
                .look(now, self.source.supply().available, watched);
            if changed {
                self.tell_publisher();
            }
            for stream in self.source.poll_keyframe_requests(now).iter() {
                if self.source.supply().asleep.contains(stream) {
                    self.asked_asleep.insert(stream);
                }
                self.publisher.request_keyframe(stream.layer);
            }
            let late = self.source.deadline().is_some_and(|at| at < now);
            assert!(!late, "a deadline that is past would spin its shard");
        }
    }

    fn layer(&self, viewer: usize) -> Option<Layer> {
        self.viewers[viewer].0.stream().map(|stream| stream.layer)
    }
}

fn set(layers: &[Layer]) -> StreamSet {
    StreamSet::layers(VIDEO, layers.iter().copied().collect())
}

#[test]
fn a_paused_layer_stays_available_and_comes_back() {
    let mut room = Room::new(true);
    let viewer = room.join(LayerChoice::Low);
    room.run(300);
    let supply = Supply {
        available: set(&Layer::ALL),
        asleep: set(&[Layer::Medium, Layer::High]),
        paused: set(&[Layer::Medium, Layer::High]),
        video_tracks: 1,
        main: None,
    };
    assert_eq!(room.source.supply(), supply);
    assert_eq!(room.source.live_streams(), set(&[Layer::Low]));

    room.viewers[viewer].0.choose(LayerChoice::High);
    room.run(3);
    assert_eq!(room.layer(viewer), Some(Layer::High));
    room.run(300);
    assert_eq!(
        room.source.supply().paused,
        set(&[Layer::Low, Layer::Medium])
    );
    assert_eq!(room.asked_asleep, set(&[]), "an encoder at rest was asked");
    room.viewers[viewer].1.assert_no_gap();
}

#[test]
fn a_newcomer_starts_from_what_flows() {
    let mut room = Room::new(true);
    room.join(LayerChoice::Low);
    room.run(300);
    let newcomer = room.join(LayerChoice::Auto);
    let wanted = room.viewers[newcomer].0.wanted().map(|wanted| wanted.0);
    assert_eq!(wanted, Some(VIDEO.layer(Layer::Low)), "only this one flows");
    room.run(5);
    assert_eq!(room.layer(newcomer), Some(Layer::High));
    room.viewers[newcomer].1.assert_no_gap();
}

#[test]
fn a_publisher_that_ignores_the_wish_goes_on() {
    let mut room = Room::new(false);
    let viewer = room.join(LayerChoice::Low);
    room.run(300);
    let supply = room.source.supply();
    assert_eq!(supply.paused, set(&[Layer::Medium, Layer::High]));
    assert_eq!(supply.asleep, set(&[]));
    let newcomer = room.join(LayerChoice::High);
    room.run(2);
    assert_eq!(room.layer(newcomer), Some(Layer::High));
    assert_eq!(room.layer(viewer), Some(Layer::Low));
}

#[test]
fn a_layer_that_does_not_wake_is_given_up() {
    let mut room = Room::new(true);
    let viewer = room.join(LayerChoice::Low);
    room.run(300);
    room.obeys = false;
    room.viewers[viewer].0.choose(LayerChoice::High);
    room.run(140);
    assert!(
        room.source
            .supply()
            .available
            .contains(VIDEO.layer(Layer::High)),
        "it has time"
    );
    room.run(20);
    assert_eq!(
        room.source.supply().available.iter().last(),
        Some(VIDEO.layer(Layer::Medium))
    );
    // The same again with the layer below: what flows is left in the end.
    room.run(160);
    assert_eq!(room.source.supply().available, set(&[Layer::Low]));
    assert_eq!(room.viewers[viewer].0.wanted(), None);
}
