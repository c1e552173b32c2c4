//! What a link that is full leaves out: the highest layers first, each up to a keyframe.

use std::time::{Duration, Instant};

use lightstick_types::{Layer, StreamId, TrackId};

use crate::envelope::{Priority, frame_priority};

/// With frames as old as this that are not written yet, the highest layers are left out.
const FULL: Duration = Duration::from_millis(100);
/// And with these, all but the lowest.
const FULLER: Duration = Duration::from_millis(200);
/// Below this, one step is taken back,
const CLEAR: Duration = Duration::from_millis(30);
/// and so long after the last one.
const STEP: Duration = Duration::from_millis(500);
/// A layer that was not offered for so long does not cross the link.
const OFFERED_FOR: Duration = Duration::from_secs(2);

/// How full a link is, by the age of the oldest frame that waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    steps: u8,
    stepped_at: Option<Instant>,
}

impl Fullness {
    pub(crate) fn handle_backlog(&mut self, age: Duration, now: Instant) {
        let least = match age {
            age if age >= FULLER => 2,
            age if age >= FULL => 1,
            _ => 0,
        };
        let is_due = self.stepped_at.is_none_or(|at| now >= at + STEP);
        if least > self.steps {
            self.steps = least;
        } else if age < CLEAR && self.steps > 0 && is_due {
            self.steps -= 1;
        } else if self.steps == 0 || age < CLEAR {
            return;
        }
        self.stepped_at = Some(now);
    }

    fn carries(&self, priority: Priority) -> bool {
        match priority {
            Priority::High => self.steps < 1,
            Priority::Mid => self.steps < 2,
            _ => true,
        }
    }
}

/// The streams of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    offered: [Option<Instant>; StreamId::COUNT],
    held: [bool; StreamId::COUNT],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send(Priority),
    Drop { is_first: bool },
}

impl Streams {
    /// What becomes of a frame of the present.
    pub(crate) fn offer(
        &mut self,
        stream: StreamId,
        is_keyframe: bool,
        fullness: &Fullness,
        now: Instant,
    ) -> Verdict {
        let index = stream.index();
        self.offered[index] = Some(now);
        let priority = frame_priority(stream, is_keyframe, self.base(stream.track, now));
        let carries = fullness.carries(priority);
        let held = &mut self.held[index];
        if carries && (is_keyframe || !*held) {
            *held = false;
            return Verdict::Send(priority);
        }
        Verdict::Drop {
            is_first: !std::mem::replace(held, true),
        }
    }

    /// The lowest layer of a track that crosses the link.
    fn base(&self, track: TrackId, now: Instant) -> Layer {
        let crosses = |layer: &Layer| {
            self.offered[track.layer(*layer).index()].is_some_and(|at| now < at + OFFERED_FOR)
        };
        Layer::ALL.into_iter().find(crosses).unwrap_or(Layer::High)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn offer(
        streams: &mut Streams,
        layer: Layer,
        key: bool,
        full: &Fullness,
        at: Instant,
    ) -> Verdict {
        streams.offer(TrackId::FIRST_VIDEO.layer(layer), key, full, at)
    }

    #[test]
    fn the_highest_layers_go_first_and_come_back_with_a_keyframe() {
        let now = Instant::now();
        let (mut full, mut streams) = (Fullness::default(), Streams::default());
        let mut kept = Vec::new();
        // The age of the oldest frame grows to 300 ms and falls to nothing.
        for n in 0..120_u64 {
            let at = now + ms(33 * n);
            let age = ms(match n {
                10..30 => (n - 10) * 20,
                _ => 0,
            });
            full.handle_backlog(age, at);
            let sent = Layer::ALL.map(|layer| {
                let key = n % 30 == 0;
                matches!(offer(&mut streams, layer, key, &full, at), Verdict::Send(_))
            });
            if kept.last().is_none_or(|(_, last)| *last != sent) {
                kept.push((n, sent));
            }
        }
        let all = [true; 3];
        let expected = [
            (0, all),
            (15, [true, true, false]),
            (20, [true, false, false]),
            // Half a second after the last age, and half a second later; then at the next keyframe.
            (60, [true, true, false]),
            (90, all),
        ];
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_lone_layer_is_never_left_out() {
        let now = Instant::now();
        let (mut full, mut streams) = (Fullness::default(), Streams::default());
        full.handle_backlog(ms(900), now);
        let sent = offer(&mut streams, Layer::High, false, &full, now);
        assert_eq!(sent, Verdict::Send(Priority::Base));
        // Until a lower one crosses the link as well.
        offer(&mut streams, Layer::Low, true, &full, now);
        let sent = offer(&mut streams, Layer::High, true, &full, now);
        assert_eq!(sent, Verdict::Drop { is_first: true });
        let later = now + OFFERED_FOR;
        let sent = offer(&mut streams, Layer::High, false, &full, later);
        assert_eq!(sent, Verdict::Drop { is_first: false });
        let sent = offer(&mut streams, Layer::High, true, &full, later);
        assert_eq!(sent, Verdict::Send(Priority::BaseKeyframe));
    }
}
