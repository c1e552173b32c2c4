//! A bound from loss, for links whose queues are too short to show in the delays.
//!
//! draft-ietf-rmcat-gcc-02, section 6, with two changes. Loss that does not go away when less is
//! sent is a property of the link (radio, mostly): it is subtracted before it is judged. And a cut
//! does not go far below what came through: that much is known to be carried.

use super::Micros;
use super::rate::BPS_MIN;

/// A verdict needs this much time and so many packets, or [`WINDOW_MAX`].
const WINDOW: Micros = 500_000;
const WINDOW_PACKETS: u32 = 40;
const WINDOW_MAX: Micros = 2_000_000;
/// Fewer packets than this are no verdict, however long they took.
const PACKETS_MIN: u32 = 10;
/// Verdicts that the link's own loss is the least of. Congestion that lasts longer than this at
/// one rate means that the sender does not follow; the delays are left to judge that.
const HISTORY: usize = 8;
/// Verdicts before any loss is taken for the link's own.
const HISTORY_MIN: usize = 4;
/// A link that loses more than this by itself is not worth more bits.
const INHERENT_MAX: f32 = 0.2;
/// Section 6: loss up to the first makes room, above the second it cuts.
const CLEAN: f32 = 0.02;
const HEAVY: f32 = 0.10;
/// Growth of the bound in each clean verdict.
const GROWTH: f64 = 1.05;
/// The bound is never less than this part of what came through.
const FLOOR: f64 = 0.85;
/// A bound so far above the estimate binds nothing.
const IDLE: f64 = 1.5;

/// How much of a loss is more than what the link loses anyway.
#[derive(Clone, Debug, Default)]
pub(super) struct Inherent {
    history: [f32; HISTORY],
    seen: usize,
}

impl Inherent {
    /// Takes a loss, 0 to 1; the excess over the least of the losses before it.
    pub(super) fn excess(&mut self, loss: f32) -> f32 {
        let known = &self.history[..self.seen.min(HISTORY)];
        let inherent = if self.seen < HISTORY_MIN {
            0.0
        } else {
            known.iter().copied().fold(INHERENT_MAX, f32::min)
        };
        self.history[self.seen % HISTORY] = loss;
        // Stays above HISTORY, with the same slot next, however long the session.
        self.seen = if self.seen + 1 >= 2 * HISTORY {
            HISTORY
        } else {
            self.seen + 1
        };
        (loss - inherent).max(0.0) / (1.0 - inherent)
    }
}

/// What a verdict asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Little is lost: there may be room.
    Clean,
    /// Neither good nor bad.
    Hold,
    /// Send this part of what was sent.
    Cut(f64),
}

impl Verdict {
    pub(super) fn of(excess: f32) -> Self {
        if excess > HEAVY {
            Self::Cut(1.0 - 0.5 * f64::from(excess))
        } else if excess < CLEAN {
            Self::Clean
        } else {
            Self::Hold
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct LossBound {
    since: Micros,
    received: u32,
    lost: u32,
    inherent: Inherent,
    bound: Option<f64>,
    cut_at: Option<Micros>,
    loss: Option<f32>,
}

impl LossBound {
    pub(super) fn new() -> Self {
        Self {
            since: 0,
            received: 0,
            lost: 0,
            inherent: Inherent::default(),
            bound: None,
            cut_at: None,
            loss: None,
        }
    }

    /// The most that the losses allow, in bits per second.
    pub(super) fn bound(&self) -> Option<f64> {
        self.bound
    }

    /// The part of the packets that was lost lately, 0 to 1.
    pub(super) fn loss(&self) -> Option<f32> {
        self.loss
    }

    /// When losses last forced the estimate down.
    pub(super) fn cut_at(&self) -> Option<Micros> {
        self.cut_at
    }

    pub(super) fn received(&mut self, was_lost: bool) {
        self.received += 1;
        if was_lost {
            self.lost = self.lost.saturating_sub(1);
        }
    }

    /// A packet did not come, or not yet.
    pub(super) fn lost(&mut self) {
        self.lost += 1;
    }

    /// This much comes through.
    pub(super) fn raise(&mut self, bps: f64) {
        self.bound = self.bound.map(|bound| bound.max(bps));
    }

    /// Judges what has been counted, once it is enough. `estimate` is what the delays allow,
    /// `delivered` what came through.
    pub(super) fn update(&mut self, now: Micros, estimate: f64, delivered: Option<f64>) {
        let passed = now - self.since;
        let count = self.received + self.lost;
        let enough = passed >= WINDOW && count >= WINDOW_PACKETS
            || passed >= WINDOW_MAX && count >= PACKETS_MIN;
        if !enough {
            return;
        }
        let loss = self.lost as f32 / count as f32;
        (self.since, self.received, self.lost) = (now, 0, 0);
        self.loss = Some(
            self.loss
                .map_or(loss, |before| before + (loss - before) / 2.0),
        );
        match Verdict::of(self.inherent.excess(loss)) {
            Verdict::Cut(factor) => {
                let before = self.bound.map_or(estimate, |bound| bound.min(estimate));
                self.bound = Some((before * factor).max(BPS_MIN));
                self.cut_at = Some(now);
            }
            Verdict::Clean => {
                self.bound = self
                    .bound
                    .map(|bound| bound * GROWTH)
                    .filter(|bound| *bound < IDLE * estimate);
            }
            Verdict::Hold => {}
        }
        if let Some(delivered) = delivered {
            self.raise(FLOOR * delivered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second of each loss in percent, at a rate that follows the bound or stays.
    fn run(losses: &[u32], follows: bool) -> Option<f64> {
        let mut bound = LossBound::new();
        for (second, loss) in losses.iter().enumerate() {
            for n in 0..100 {
                if n < *loss {
                    bound.lost();
                } else {
                    bound.received(false);
                }
            }
            let sent = bound.bound().filter(|_| follows).unwrap_or(1e6);
            let delivered = sent * f64::from(100 - loss) / 100.0;
            bound.update((second as Micros + 1) * 1_000_000, 1e6, Some(delivered));
        }
        bound.bound()
    }

    #[test]
    fn little_loss_bounds_nothing_and_much_loss_cuts() {
        assert_eq!(run(&[0, 1, 5, 9, 10, 3], true), None);
        let once = run(&[0, 0, 0, 0, 30], true).unwrap();
        assert!((840e3..860e3).contains(&once), "{once}");
        let long = run(&[0, 0, 0, 0, 30, 30, 30, 30], true).unwrap();
        assert!((500e3..620e3).contains(&long), "{long}");
    }

    #[test]
    fn a_bound_goes_when_the_loss_does() {
        let mut losses = vec![0, 0, 0, 0, 30];
        losses.extend([0; 20]);
        assert_eq!(run(&losses, true), None);
    }

    #[test]
    fn loss_that_stays_is_the_links_own() {
        let bound = run(&[15; 60], true);
        assert!(bound.is_none_or(|bound| bound > 700e3), "{bound:?}");
    }

    #[test]
    fn a_late_packet_is_not_lost() {
        let mut bound = LossBound::new();
        (0..100).for_each(|_| bound.lost());
        (0..100).for_each(|_| bound.received(true));
        bound.update(1_000_000, 1e6, None);
        assert_eq!(bound.loss(), Some(0.0));
    }
}
