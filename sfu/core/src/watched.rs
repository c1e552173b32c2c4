//! Which layers somebody watches: what nobody watches need not be sent.

use std::time::{Duration, Instant};

use lightstick_types::Layer;

use crate::layers::LayerSet;

/// What a room's publisher has to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    /// Layers that can be had: they carry media, or will once they are watched.
    pub available: LayerSet,
    /// Those of them that bring nothing now.
    pub asleep: LayerSet,
    /// Those of them that the publisher is asked not to send. It may send them all the same.
    pub paused: LayerSet,
}

impl Supply {
    /// Layers that are sent, and shall be.
    #[must_use]
    pub fn flowing(self) -> LayerSet {
        self.available.without(self.asleep).without(self.paused)
    }
}

/// Decides which layers a publisher is asked to pause.
///
/// At least one layer always stays: the best one where nobody watches, because the next viewer
/// starts from it.
#[derive(Clone, Debug)]
pub struct Watched {
    pause_after: Duration,
    unwatched_since: [Option<Instant>; Layer::COUNT],
    paused: LayerSet,
}

impl Watched {
    /// Pauses what nobody has watched for `pause_after`; 0 pauses nothing.
    #[must_use]
    pub fn new(pause_after: Duration) -> Self {
        Self {
            pause_after,
            unwatched_since: [None; Layer::COUNT],
            paused: LayerSet::default(),
        }
    }

    /// Hears which layers there are and which of them are watched. True when others are paused
    /// than before.
    pub fn look(&mut self, now: Instant, available: LayerSet, watched: LayerSet) -> bool {
        if self.pause_after.is_zero() {
            return false;
        }
        let before = self.paused;
        let watched = watched.and(available);
        let needed = match available.best_up_to(Layer::High) {
            Some(best) if watched.is_empty() => [best].into_iter().collect(),
            _ => watched,
        };
        for layer in Layer::ALL {
            let since = &mut self.unwatched_since[layer.index()];
            if needed.contains(layer) || !available.contains(layer) {
                *since = None;
                self.paused.remove(layer);
            } else if now.saturating_duration_since(*since.get_or_insert(now)) >= self.pause_after {
                self.paused.insert(layer);
            }
        }
        self.paused != before
    }

    /// Somebody wants this layer now. True when it was paused, and is not any more.
    pub fn want(&mut self, layer: Layer) -> bool {
        let was_paused = self.paused.contains(layer);
        self.paused.remove(layer);
        self.unwatched_since[layer.index()] = None;
        was_paused
    }

    /// The layers that the publisher is asked not to send.
    #[must_use]
    pub fn paused(&self) -> LayerSet {
        self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Layer::{High, Low, Medium};

    fn set(layers: &[Layer]) -> LayerSet {
        layers.iter().copied().collect()
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

        fn look(&mut self, until: f64, available: &[Layer], watched: &[Layer]) -> LayerSet {
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
        assert!(room.watched.want(High));
        assert!(!room.watched.want(High) && !room.watched.want(Low));
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
}
