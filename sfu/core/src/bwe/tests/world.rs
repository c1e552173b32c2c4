//! Senders, their link and their viewers, a millisecond at a time.

use std::collections::VecDeque;

use super::flow::Flow;
use super::link::{Link, Packet};

/// What happens to feedback on its way.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mangle {
    Nothing,
    /// Each comes twice, with the eight before it once more in between.
    Repeat,
    /// Each second one comes late, after the one behind it.
    Swap,
}

/// One or more flows over one link, with feedback each 50 ms that takes the link's delay back.
pub(super) struct World {
    pub(super) now: i64,
    pub(super) link: Link,
    pub(super) flows: Vec<Flow>,
    on_way: Vec<(i64, Packet)>,
    feedback: Vec<(i64, usize, Vec<u8>)>,
    pub(super) deaf: bool,
    pub(super) mangle: Mangle,
    kept: VecDeque<Vec<u8>>,
}

impl World {
    pub(super) fn new(link: Link, flows: Vec<Flow>) -> Self {
        Self {
            now: 0,
            link,
            flows,
            on_way: Vec::new(),
            feedback: Vec::new(),
            deaf: false,
            mangle: Mangle::Nothing,
            kept: VecDeque::new(),
        }
    }

    /// Runs for `seconds` and calls `each` after every millisecond.
    pub(super) fn run(&mut self, seconds: f64, mut each: impl FnMut(&mut Self)) {
        let end = self.now + (seconds * 1e6) as i64;
        while self.now < end {
            for flow in &mut self.flows {
                flow.tick(self.now, &mut self.link);
            }
            self.now += 1_000;
            self.link.advance(self.now, &mut self.on_way);
            let (mut came, later) = self
                .on_way
                .drain(..)
                .partition::<Vec<_>, _>(|(at, _)| *at <= self.now);
            self.on_way = later;
            came.sort_by_key(|(at, _)| *at);
            for (at, packet) in came {
                self.flows[packet.flow]
                    .receiver
                    .receive(at, packet.sequence);
            }
            for (n, flow) in self.flows.iter_mut().enumerate() {
                if self.now % 50_000 == 13_000 * n as i64
                    && let Some(fci) = flow.receiver.feedback()
                    && !self.deaf
                {
                    self.feedback.push((self.now + self.link.delay, n, fci));
                }
            }
            let (due, later) = self
                .feedback
                .drain(..)
                .partition::<Vec<_>, _>(|(at, _, _)| *at <= self.now);
            self.feedback = later;
            for (at, n, fci) in due {
                self.hear(n, at, &fci);
            }
            each(self);
        }
    }

    fn hear(&mut self, n: usize, at: i64, fci: &[u8]) {
        let flow = &mut self.flows[n];
        let at = flow.at(at);
        let mut hear = |fci: &[u8]| flow.estimator.on_feedback(at, fci).expect("whole");
        match self.mangle {
            Mangle::Nothing => hear(fci),
            Mangle::Repeat => {
                hear(fci);
                self.kept.iter().for_each(|fci| hear(fci));
                hear(fci);
                self.kept.push_back(fci.to_vec());
                if self.kept.len() > 8 {
                    self.kept.pop_front();
                }
            }
            Mangle::Swap => match self.kept.pop_front() {
                Some(before) => {
                    hear(fci);
                    hear(&before);
                }
                None => self.kept.push_back(fci.to_vec()),
            },
        }
    }

    /// Least and greatest estimate of the first flow while it runs.
    pub(super) fn range(&mut self, seconds: f64) -> (u64, u64) {
        let (mut least, mut most) = (u64::MAX, 0);
        self.run(seconds, |world| {
            let estimate = world.flows[0].estimate();
            least = least.min(estimate);
            most = most.max(estimate);
        });
        (least, most)
    }
}
