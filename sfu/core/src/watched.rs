//! Which streams somebody watches: what nobody watches need not be sent.

use std::time::{Duration, Instant};

use lightstick_types::{Layer, StreamId, TrackId};

use crate::streams::StreamSet;

/// What a room's publisher has to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// Video streams that can be had: they carry media, or will once they are watched.
    pub available: StreamSet,
    /// Those of them that bring nothing now.
    pub asleep: StreamSet,
    /// Those of them that the publisher is asked not to send. It may send them all the same.
    pub paused: StreamSet,
    /// Video tracks that the publisher announced, at most
    /// [`VIDEO_TRACKS_MAX`](lightstick_types::VIDEO_TRACKS_MAX); 0 without a publisher.
    pub video_tracks: u8,
    /// The track that is shown first. `None`: the first one.
    pub main: Option<TrackId>,
}

impl Supply {
    /// Streams that are sent, and shall be.
    #[must_use]
    pub fn flowing(self) -> StreamSet {
        self.available.without(self.asleep).without(self.paused)
    }

    /// Whether the publisher has such a video track.
    #[must_use]
    pub fn has(self, track: TrackId) -> bool {
        let index = track.video_index();
        index.is_some_and(|index| index < usize::from(self.video_tracks))
    }

    /// The video track that a viewer gets in its `place`th video section, from 0 on: first the main
    /// one, or that which it has chosen, and then the others in order.
    #[must_use]
    pub fn track_at(self, place: usize, chosen: Option<TrackId>) -> Option<TrackId> {
        let exists = |track: &TrackId| self.has(*track);
        let main = chosen
            .filter(exists)
            .or(self.main.filter(exists))
            .unwrap_or(TrackId::FIRST_VIDEO);
        let others = TrackId::videos().filter(|track| *track != main);
        let mut tracks = [main].into_iter().chain(others).filter(exists);
        tracks.nth(place)
    }
}

/// Decides which layers a publisher is asked to pause.
///
/// Of each track at least one layer always stays: the best one where nobody watches, because the
/// next viewer starts from it.
#[derive(Clone, Debug)]
pub struct Watched {
    pause_after: Duration,
    unwatched_since: [Option<Instant>; StreamId::COUNT],
    paused: StreamSet,
}

impl Watched {
    /// Pauses what nobody has watched for `pause_after`; 0 pauses nothing.
    #[must_use]
    pub fn new(pause_after: Duration) -> Self {
        Self {
            pause_after,
            unwatched_since: [None; StreamId::COUNT],
            paused: StreamSet::default(),
        }
    }

    /// Hears which video streams there are and which of them are watched. True when others are
    /// paused than before.
    pub fn look(&mut self, now: Instant, available: StreamSet, watched: StreamSet) -> bool {
        if self.pause_after.is_zero() {
            return false;
        }
        let before = self.paused;
        let watched = watched.and(available);
        for track in TrackId::videos() {
            let watched = watched.of(track);
            let needed = match available.of(track).best_up_to(Layer::High) {
                Some(best) if watched.is_empty() => [best].into_iter().collect(),
                _ => watched,
            };
            for layer in Layer::ALL {
                let stream = StreamId { track, layer };
                let since = &mut self.unwatched_since[stream.index()];
                if needed.contains(layer) || !available.contains(stream) {
                    *since = None;
                    self.paused.remove(stream);
                    continue;
                }
                let since = *since.get_or_insert(now);
                if now.saturating_duration_since(since) >= self.pause_after {
                    self.paused.insert(stream);
                }
            }
        }
        self.paused != before
    }

    /// Somebody wants this stream now. True when it was paused, and is not any more.
    pub fn want(&mut self, stream: StreamId) -> bool {
        let was_paused = self.paused.contains(stream);
        self.paused.remove(stream);
        self.unwatched_since[stream.index()] = None;
        was_paused
    }

    /// The streams that the publisher is asked not to send.
    #[must_use]
    pub fn paused(&self) -> StreamSet {
        self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Layer::{High, Low, Medium};

    const TRACK: TrackId = TrackId::FIRST_VIDEO;

    fn set(layers: &[Layer]) -> StreamSet {
        StreamSet::layers(TRACK, layers.iter().copied().collect())
    }

    fn stream(layer: Layer) -> StreamId {
        StreamId {
            track: TRACK,
            layer,
        }
    }

    /// Looks every half second until `until`, in seconds; who is paused at the end.
    struct Room {
        start: Instant,
        at: f64,
        watched: Watched,
    }

    impl Room {
        fn new(pause_after: u64) -> Self {
            Self {
                start: Instant::now(),
                at: 0.0,
                watched: Watched::new(Duration::from_secs(pause_after)),
            }
        }

        fn look(&mut self, until: f64, available: &[Layer], watched: &[Layer]) -> StreamSet {
            while self.at < until {
                let now = self.start + Duration::from_secs_f64(self.at);
                let before = self.watched.paused();
                let changed = self.watched.look(now, set(available), set(watched));
                assert_eq!(changed, before != self.watched.paused());
                self.at += 0.5;
            }
            self.watched.paused()
        }
    }

    #[test]
    fn what_nobody_watches_is_paused_after_a_while() {
        let mut room = Room::new(10);
        assert_eq!(room.look(10.0, &Layer::ALL, &[Medium]), set(&[]));
        assert_eq!(room.look(10.5, &Layer::ALL, &[Medium]), set(&[Low, High]));
        assert_eq!(room.look(11.0, &Layer::ALL, &[Medium, Low]), set(&[High]));
        // Watched for a moment: its time begins anew.
        assert_eq!(room.look(20.5, &Layer::ALL, &[Medium]), set(&[High]));
        assert_eq!(room.look(21.5, &Layer::ALL, &[Medium]), set(&[Low, High]));
    }

    #[test]
    fn the_best_layer_stays_where_nobody_watches() {
        let mut room = Room::new(10);
        assert_eq!(room.look(60.0, &Layer::ALL, &[]), set(&[Low, Medium]));
        assert_eq!(room.look(80.0, &Layer::ALL, &[Low]), set(&[Medium, High]));
        assert_eq!(room.look(80.5, &Layer::ALL, &[]), set(&[Medium]));
        assert_eq!(room.look(91.0, &Layer::ALL, &[]), set(&[Low, Medium]));
        // Whoever watches what there is not watches nothing.
        assert_eq!(room.look(120.0, &[Low, Medium], &[High]), set(&[Low]));
        assert_eq!(room.look(140.0, &[Low], &[High]), set(&[]));
        assert_eq!(room.look(160.0, &[], &[]), set(&[]));
    }

    #[test]
    fn a_wanted_layer_comes_back_at_once() {
        let mut room = Room::new(10);
        assert_eq!(room.look(20.0, &Layer::ALL, &[Low]), set(&[Medium, High]));
        assert!(room.watched.want(stream(High)));
        assert!(!room.watched.want(stream(High)) && !room.watched.want(stream(Low)));
        assert_eq!(room.watched.paused(), set(&[Medium]));
        // Nobody came to watch it after all.
        assert_eq!(room.look(29.5, &Layer::ALL, &[Low]), set(&[Medium]));
        assert_eq!(room.look(31.0, &Layer::ALL, &[Low]), set(&[Medium, High]));
    }

    #[test]
    fn a_layer_that_has_just_come_has_its_time() {
        let mut room = Room::new(10);
        assert_eq!(room.look(30.0, &[Low], &[Low]), set(&[]));
        assert_eq!(room.look(40.0, &Layer::ALL, &[Low]), set(&[]));
        assert_eq!(room.look(41.0, &Layer::ALL, &[Low]), set(&[Medium, High]));
    }

    #[test]
    fn never_means_never() {
        let mut room = Room::new(0);
        assert_eq!(room.look(1_000.0, &Layer::ALL, &[Low]), set(&[]));
    }

    #[test]
    fn each_track_keeps_a_layer() {
        let second = TrackId::video(1).unwrap();
        let of =
            |track, layers: &[Layer]| StreamSet::layers(track, layers.iter().copied().collect());
        let available = of(TRACK, &Layer::ALL).or(of(second, &[High]));
        let mut watched = Watched::new(Duration::from_secs(10));
        let start = Instant::now();
        for second in 0..=20 {
            let now = start + Duration::from_secs(second);
            watched.look(now, available, of(TRACK, &[Low]));
        }
        assert_eq!(watched.paused(), of(TRACK, &[Medium, High]));
    }

    #[test]
    fn the_main_track_comes_first_and_the_others_in_order() {
        let tracks = |video_tracks, main: Option<usize>, chosen: Option<usize>| {
            let id = |index: Option<usize>| index.and_then(TrackId::video);
            let supply = Supply {
                video_tracks,
                main: id(main),
                ..Supply::default()
            };
            let mut all = (0..).map_while(|place| supply.track_at(place, id(chosen)));
            let all: Vec<_> = all
                .by_ref()
                .take(9)
                .filter_map(TrackId::video_index)
                .collect();
            all
        };
        assert_eq!(tracks(3, None, None), [0, 1, 2]);
        assert_eq!(tracks(3, Some(1), None), [1, 0, 2]);
        assert_eq!(tracks(3, Some(1), Some(2)), [2, 0, 1]);
        assert_eq!(
            tracks(2, Some(3), Some(2)),
            [0, 1],
            "there are no such tracks"
        );
        assert_eq!(tracks(0, Some(0), Some(0)), [0; 0]);
    }
}
