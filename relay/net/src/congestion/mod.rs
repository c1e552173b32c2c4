//! Congestion control for live media.
//!
//! Loss alone says little on long paths: a link with 5 % of random loss carries a stream well, and a
//! controller that halves its window for each lost packet starves it. What a full path shows is a queue
//! that grows, or loss beyond what the path always has. So the window follows the rate at which the path
//! delivers, as in BBR (draft-ietf-ccwg-bbr), and shrinks where the round trip of a whole round stays above
//! the shortest one, or where more than [`LOSS_MAX`] is lost. Media comes in bursts and mostly uses less
//! than the path has: rounds that did not fill the window teach nothing about its limit.
//!
//! The QUIC library paces at 1.25 windows a round trip, so the window is all there is to set.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Loss that a path may have without being full, in the average of some rounds.
const LOSS_MAX: f64 = 0.15;

/// A round that lost this much is a full queue that holds no more, or an outage; not chance.
const LOSS_SEVERE: f64 = 0.5;

/// Weight of a new round in the average of loss: bursts of 8 must not look like congestion.
const LOSS_WEIGHT: f64 = 0.125;

/// A queue is there when the shortest round trip of a round is longer than the path's by this part, and
/// by [`QUEUE_MIN`].
const QUEUE_PART: f64 = 0.25;
const QUEUE_MIN: Duration = Duration::from_millis(20);

/// The path's round trip is the shortest in this time: routes change.
const RTT_WINDOW: Duration = Duration::from_secs(10);

/// A round that is part of a round trip long tells little about rates.
const ROUND_MIN: Duration = Duration::from_millis(5);

/// Growth in a round after congestion, as part of what was acknowledged. It doubles after each
/// [`CALM_ROUNDS`] without congestion, up to 1: doubling the window.
const GROWTH_MIN: f64 = 0.125;
const CALM_ROUNDS: u32 = 4;

/// Shrinks to this part in a round with a queue, not below what the path delivers; where the queue is
/// longer than the path, to that at once.
const BACKOFF: f64 = 0.8;

/// Windows in packets: the first one, and the smallest, which keeps control and the lowest layer alive.
const INITIAL_PACKETS: u64 = 128;
const MIN_PACKETS: u64 = 8;

/// The largest window, in bytes.
const WINDOW_MAX: u64 = 64 << 20;

/// Makes controllers for new connections.
#[derive(Clone, Debug)]
pub(crate) struct LiveConfig;

impl ControllerFactory for LiveConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Live::new(now, mtu))
    }
}

/// What happened since the round's first packet left.
#[derive(Clone, Copy, Debug)]
struct Round {
    began: Instant,
    acked: u64,
    lost: u64,
    rtt_min: Option<Duration>,
    /// The window was full at some time.
    was_full: bool,
    /// The network marked packets (ECN).
    was_marked: bool,
}

impl Round {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            acked: 0,
            lost: 0,
            rtt_min: None,
            was_full: false,
            was_marked: false,
        }
    }

    fn loss(&self) -> f64 {
        let sent = self.acked + self.lost;
        if sent == 0 {
            0.0
        } else {
            self.lost as f64 / sent as f64
        }
    }
}

/// The controller of one connection.
#[derive(Clone, Debug)]
struct Live {
    mtu: u64,
    window: u64,
    round: Round,
    path_rtt: MinRtt,
    /// Average part of bytes that are lost.
    loss: f64,
    /// Rounds without congestion since the last one with it; after the start, there was none.
    calm_rounds: u32,
    starting: bool,
}

impl Live {
    fn new(now: Instant, mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        Self {
            mtu,
            window: INITIAL_PACKETS * mtu,
            round: Round::new(now),
            path_rtt: MinRtt::default(),
            loss: 0.0,
            calm_rounds: 0,
            starting: true,
        }
    }

    fn growth(&self) -> f64 {
        if self.starting {
            return 1.0;
        }
        let doublings = (self.calm_rounds / CALM_ROUNDS).min(3);
        GROWTH_MIN * f64::from(1 << doublings)
    }

    /// Whether a queue has become so long that a round trip is too long to wait for.
    fn is_stuck(&self, elapsed: Duration) -> bool {
        self.path_rtt.get().is_some_and(|path_rtt| {
            let long = 2 * path_rtt + QUEUE_MIN.max(path_rtt.mul_f64(QUEUE_PART));
            elapsed > 2 * path_rtt && self.round.rtt_min.is_some_and(|rtt| rtt > long)
        })
    }

    /// A round trip after the round began, what was sent since begins to be acknowledged.
    fn end_round(&mut self, now: Instant) {
        let round = std::mem::replace(&mut self.round, Round::new(now));
        self.loss += LOSS_WEIGHT * (round.loss() - self.loss);
        let Some(path_rtt) = self.path_rtt.get() else {
            return;
        };
        let queue_max = QUEUE_MIN.max(path_rtt.mul_f64(QUEUE_PART));
        let has_queue = round.rtt_min.is_some_and(|rtt| rtt > path_rtt + queue_max);
        let loses = self.loss > LOSS_MAX || round.loss() > LOSS_SEVERE;
        if !has_queue && !loses && !round.was_marked {
            self.calm_rounds = self.calm_rounds.saturating_add(1);
            return;
        }
        self.starting = false;
        self.calm_rounds = 0;
        // What the path delivers, where it was asked for all it has. A queue drains with less than
        // that.
        let rate = round.acked as f64 / now.saturating_duration_since(round.began).as_secs_f64();
        let delivered = rate * path_rtt.as_secs_f64();
        let least = if round.was_full {
            delivered * 0.9
        } else {
            delivered * 2.0
        };
        let is_long = round
            .rtt_min
            .is_some_and(|rtt| rtt > 2 * path_rtt + queue_max);
        let gentle = if is_long {
            0.0
        } else {
            self.window as f64 * BACKOFF
        };
        self.window = (gentle.max(least) as u64)
            .min(self.window)
            .max(self.window_min());
        if loses {
            // So that the same loss counts once.
            self.loss = self.loss.min(LOSS_MAX / 2.0);
        }
    }

    fn window_min(&self) -> u64 {
        MIN_PACKETS * self.mtu
    }
}

impl Controller for Live {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        let rtt = now.saturating_duration_since(sent);
        self.path_rtt.add(now, rtt);
        let elapsed = now.saturating_duration_since(self.round.began);
        if (sent >= self.round.began && elapsed >= ROUND_MIN) || self.is_stuck(elapsed) {
            self.end_round(now);
        }
        let round = &mut self.round;
        round.acked += bytes;
        round.rtt_min = Some(round.rtt_min.map_or(rtt, |min| min.min(rtt)));
        round.was_full |= !app_limited;
        if !app_limited {
            let grown = self.window + (bytes as f64 * self.growth()) as u64;
            self.window = grown.min(WINDOW_MAX);
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.round.lost += lost_bytes;
        self.round.was_marked |= lost_bytes == 0;
        if is_persistent_congestion {
            // An outage: what was known of the path may not hold any more.
            self.window = self.window.min(INITIAL_PACKETS * self.mtu);
            self.path_rtt = MinRtt::default();
            self.round = Round::new(now);
            self.loss = 0.0;
            self.starting = true;
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
        self.window = self.window.max(self.window_min());
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_PACKETS * self.mtu
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The shortest round trip of the last [`RTT_WINDOW`].
#[derive(Clone, Debug, Default)]
struct MinRtt {
    /// The shortest of each tenth of the window.
    slots: VecDeque<(Instant, Duration)>,
}

impl MinRtt {
    fn add(&mut self, now: Instant, rtt: Duration) {
        match self.slots.back_mut() {
            Some((began, min)) if now.saturating_duration_since(*began) < RTT_WINDOW / 10 => {
                *min = rtt.min(*min);
            }
            _ => self.slots.push_back((now, rtt)),
        }
        while self.slots.len() > 1 && now.saturating_duration_since(self.slots[0].0) > RTT_WINDOW {
            self.slots.pop_front();
        }
    }

    fn get(&self) -> Option<Duration> {
        self.slots.iter().map(|(_, min)| *min).min()
    }
}
