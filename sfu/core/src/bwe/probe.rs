//! Finding out whether the next layer fits, by sending for a moment as much as it would take.
//!
//! A viewer that gets a low layer cannot show that its link carries more. A probe fills up with
//! padding or retransmissions to a higher rate for a tenth of a second: too short to hurt, long
//! enough to see whether packets come as fast as they left.

use std::time::Duration;

use lightstick_types::Bitrate;

use super::Micros;
use super::rate::BETA;
use super::sent::Settled;

/// What a probe aims at, in terms of the layer that is wanted: some way above it, or else the
/// layer would be chosen without any room to spare.
const AIM: f64 = 1.25;
/// A probe goes no further than this beyond the estimate; several in a row climb. One that fails
/// then queues less than a tenth of a second's worth.
const STEP: f64 = 2.0;
const DURATION: Micros = 100_000;
const DURATION_MAX: Micros = 250_000;
/// A probe of fewer bytes than this (eight packets) measures nothing; it takes longer instead.
const BYTES_MIN: f64 = 9_600.0;
/// With this part of what was sent coming in per time, the link is not full.
const KEPT_UP: f64 = 0.95;
/// What is left of the rate of a link that a probe has filled: no more than an over-use would
/// leave of it, or else the layer would be lost again at its first keyframe.
const FULL: f64 = BETA;
/// A probe has shown what it was for when it reaches this part of its aim.
const REACHED: f64 = 0.9;
/// What came must be this part of a probe at least, or else it measures nothing.
const CAME_MIN: f64 = 0.7;
/// Pause after a probe that succeeded, for the estimate to be used.
const PAUSE: Micros = 300_000;
/// Pause after one that failed; doubles with each further one.
const BACKOFF: Micros = 1_000_000;
const BACKOFF_MAX: Micros = 8_000_000;
/// Where the estimate has to be cut within this time of a success, the success was none: the
/// viewer has seen its picture get better and worse. Such pauses double up to a longer one.
const REGRET: Micros = 10_000_000;
const REGRET_BACKOFF: Micros = 8_000_000;
const REGRET_BACKOFF_MAX: Micros = 64_000_000;
/// How long the answer to the last packet of a probe is waited for.
const ANSWER: Micros = 1_000_000;
/// The most that a probe's queue takes to drain.
const DRAIN_MAX: Micros = 1_000_000;

/// Names a probe in [`super::Estimator::sent_probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u32);

/// What to send so that a higher rate can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub cluster: ClusterId,
    /// The rate to reach, media and padding together.
    pub bitrate: Bitrate,
    /// Padding or retransmissions to send in addition to media.
    pub bytes: usize,
    /// The time to spread them over evenly, from now on.
    pub duration: Duration,
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    id: ClusterId,
    target: f64,
    wanted: f64,
    bytes: usize,
    ends: Micros,
    /// Numbers of its first and last packet; media in between is part of the measurement.
    range: Option<(u64, u64)>,
    sent_bytes: usize,
    seen: Seen,
}

impl Cluster {
    fn complete(&self) -> bool {
        self.sent_bytes >= self.bytes
    }
}

/// What has come of a probe.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    bytes: u64,
    first_sent: Micros,
    last_sent: Micros,
    last_bytes: u32,
    first_arrival: Micros,
    first_bytes: u32,
    last_arrival: Micros,
    last_index: u64,
}

impl Seen {
    fn add(&mut self, packet: &Settled, arrival: Micros) {
        let fresh = self.bytes == 0;
        self.bytes += u64::from(packet.bytes);
        self.last_index = self.last_index.max(packet.index);
        if fresh || packet.sent < self.first_sent {
            self.first_sent = packet.sent;
        }
        if fresh || packet.sent >= self.last_sent {
            (self.last_sent, self.last_bytes) = (packet.sent, packet.bytes);
        }
        if fresh || arrival < self.first_arrival {
            (self.first_arrival, self.first_bytes) = (arrival, packet.bytes);
        }
        if fresh || arrival > self.last_arrival {
            self.last_arrival = arrival;
        }
    }

    /// Rates at which it left and came. The last packet's bytes leave after the time that is
    /// measured, the first one's come before it.
    fn rates(&self) -> Option<(f64, f64)> {
        let sent = self.last_sent - self.first_sent;
        let came = self.last_arrival - self.first_arrival;
        (sent > 0 && came > 0).then(|| {
            let left = (self.bytes - u64::from(self.last_bytes)) as f64 * 8e6 / sent as f64;
            let right = (self.bytes - u64::from(self.first_bytes)) as f64 * 8e6 / came as f64;
            (left, right)
        })
    }
}

/// What a probe has shown, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shown {
    /// The link carries this at least.
    Carries(f64),
    /// The link was full: it carries this and no more.
    Full(f64),
}

/// What there is to know when it is asked whether to probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) now: Micros,
    pub(super) estimate: f64,
    /// What is sent and comes through now.
    pub(super) delivered: f64,
    /// The rate of the next layer.
    pub(super) wanted: f64,
}

/// The prober: at most one probe at a time.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    cluster: Option<Cluster>,
    next_id: u32,
    not_before: Micros,
    backoff: Micros,
    /// When a probe last showed that a layer fits, and that layer's rate.
    success: Option<(Micros, f64)>,
    regret_backoff: Micros,
    /// Packets sent from the first time to the second met the queue that a probe made.
    disturbed: Option<(Micros, Micros)>,
}

impl Prober {
    pub(super) fn new() -> Self {
        Self {
            cluster: None,
            next_id: 0,
            not_before: 0,
            backoff: BACKOFF,
            success: None,
            regret_backoff: REGRET_BACKOFF,
            disturbed: None,
        }
    }

    /// Whether a packet's delay tells of our own probe and not of the link.
    pub(super) fn disturbs(&self, sent: Micros) -> bool {
        self.disturbed
            .is_some_and(|(from, to)| (from..=to).contains(&sent))
    }

    /// The packet `index` of a cluster is sent.
    pub(super) fn sent(&mut self, now: Micros, id: ClusterId, index: u64, bytes: usize) {
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.id == id) else {
            return;
        };
        let first = cluster.range.map_or(index, |(first, _)| first);
        cluster.range = Some((first, index));
        cluster.sent_bytes += bytes;
        // Until the outcome is known, every packet behind may wait for the probe.
        if first == index {
            self.disturbed = Some((now, Micros::MAX));
        }
    }

    /// A packet came, of a probe or not.
    pub(super) fn received(&mut self, packet: &Settled, arrival: Micros) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let Some((first, last)) = cluster.range else {
            return;
        };
        if packet.index >= first && (packet.index <= last || !cluster.complete()) {
            cluster.seen.add(packet, arrival);
        }
    }

    /// A feedback has been read, or time has passed; `heard` is the last packet that any feedback
    /// spoke of. `None`: no probe ends now, or it shows nothing.
    pub(super) fn settle(&mut self, now: Micros, heard: Option<u64>) -> Option<Shown> {
        let cluster = self.cluster?;
        let Some((_, last)) = cluster.range else {
            // Nobody has sent it.
            if now > cluster.ends + ANSWER {
                self.cluster = None;
            }
            return None;
        };
        let answered = cluster.complete() && heard.is_some_and(|heard| heard >= last);
        if !answered && now <= cluster.ends + ANSWER {
            return None;
        }
        self.cluster = None;
        let measured = cluster
            .seen
            .rates()
            .filter(|_| cluster.seen.bytes as f64 >= CAME_MIN * cluster.sent_bytes as f64);
        let Some((left, came)) = measured else {
            self.disturbed = self.disturbed.map(|(from, _)| (from, now));
            self.fail(now);
            return None;
        };
        let full = came < KEPT_UP * left;
        let shown = if full { FULL * came } else { left.min(came) };
        let stretch = (cluster.seen.last_arrival - cluster.seen.first_arrival)
            - (cluster.seen.last_sent - cluster.seen.first_sent);
        // The queue that it left drains into what media leaves free, about a third of the link.
        let drain = (3 * stretch).clamp(0, DRAIN_MAX);
        self.disturbed = self
            .disturbed
            .map(|(from, _)| (from, cluster.seen.last_sent + drain));
        if shown >= cluster.wanted || shown >= REACHED * cluster.target {
            self.not_before = now + PAUSE;
            self.backoff = BACKOFF;
            if shown >= cluster.wanted {
                self.success = Some((now, cluster.wanted));
            }
            return Some(Shown::Carries(shown));
        }
        self.fail(now);
        Some(if full {
            Shown::Full(shown)
        } else {
            Shown::Carries(shown)
        })
    }

    /// Sees whether the last success was one: whether its layer still fits after a cut. `cut_at` is
    /// when the estimate was last forced down.
    pub(super) fn review(&mut self, now: Micros, estimate: f64, cut_at: Option<Micros>) {
        let Some((at, wanted)) = self.success else {
            return;
        };
        if now - at > REGRET {
            self.success = None;
            self.regret_backoff = REGRET_BACKOFF;
        } else if estimate < wanted && cut_at.is_some_and(|cut| cut > at) {
            self.success = None;
            self.not_before = self.not_before.max(now + self.regret_backoff);
            self.regret_backoff = (self.regret_backoff * 2).min(REGRET_BACKOFF_MAX);
        }
    }

    /// A probe to send now, if it is time for one and it can be of use.
    pub(super) fn poll(&mut self, at: &Situation) -> Option<Probe> {
        if self.cluster.is_some() || at.now < self.not_before || self.disturbs(at.now) {
            return None;
        }
        let target = (AIM * at.wanted).min(STEP * at.estimate);
        // Where media alone comes near, there is nothing to fill up.
        let missing = target - at.delivered;
        if missing < 0.2 * target {
            return None;
        }
        let duration = ((BYTES_MIN * 8e6 / missing) as Micros).clamp(DURATION, DURATION_MAX);
        let bytes = (missing * duration as f64 / 8e6) as usize;
        let id = ClusterId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.cluster = Some(Cluster {
            id,
            target,
            wanted: at.wanted,
            bytes,
            ends: at.now + duration,
            range: None,
            sent_bytes: 0,
            seen: Seen::default(),
        });
        Some(Probe {
            cluster: id,
            bitrate: Bitrate(target as u64),
            bytes,
            duration: Duration::from_micros(duration as u64),
        })
    }

    fn fail(&mut self, now: Micros) {
        self.not_before = now + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn situation(now: Micros) -> Situation {
        Situation {
            now,
            estimate: 600e3,
            delivered: 500e3,
            wanted: 800e3,
        }
    }

    /// Sends `probe` over a link of `bps` and hears of it; what it shows, and when.
    fn send(prober: &mut Prober, at: Micros, probe: Probe, bps: f64) -> (Option<Shown>, Micros) {
        let (count, mut free) = (probe.bytes.div_ceil(1_200), at);
        for n in 0..count as u64 {
            let sent = at + (probe.duration.as_micros() as i64) * n as i64 / count as i64;
            prober.sent(sent, probe.cluster, n, 1_200);
            free = free.max(sent) + (9_600e6 / bps) as Micros;
            let packet = Settled {
                index: n,
                sent,
                bytes: 1_200,
                was_lost: false,
            };
            prober.received(&packet, free);
        }
        let heard = free + 100_000;
        (prober.settle(heard, Some(count as u64 - 1)), heard)
    }

    /// A probe of padding alone: no media is delivered beside it.
    fn alone(prober: &mut Prober, now: Micros) -> Option<Probe> {
        prober.poll(&Situation {
            delivered: 0.0,
            ..situation(now)
        })
    }

    #[test]
    fn a_wide_link_carries_a_narrow_one_is_full() {
        let mut prober = Prober::new();
        let probe = alone(&mut prober, SECOND).expect("a probe");
        assert_eq!(probe.bitrate, Bitrate(1_000_000));
        assert_eq!(prober.poll(&situation(SECOND)), None, "one at a time");
        let (shown, at) = send(&mut prober, SECOND, probe, 10e6);
        assert!(
            matches!(shown, Some(Shown::Carries(bps)) if bps > 800e3),
            "{shown:?}"
        );
        assert_eq!(prober.poll(&situation(at + PAUSE / 2)), None);
        let probe = alone(&mut prober, at + PAUSE).expect("a probe");
        let (shown, _) = send(&mut prober, at + PAUSE, probe, 400e3);
        let full = matches!(shown, Some(Shown::Full(bps)) if (340e3..380e3).contains(&bps));
        assert!(full, "{shown:?}");
    }

    #[test]
    fn failures_make_pauses_grow_to_a_limit() {
        let mut prober = Prober::new();
        let (mut now, mut starts) = (SECOND, Vec::new());
        while starts.len() < 7 {
            match alone(&mut prober, now) {
                Some(probe) => {
                    starts.push(now);
                    now = send(&mut prober, now, probe, 400e3).1;
                }
                None => now += 100_000,
            }
        }
        let pauses: Vec<i64> = starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) / SECOND)
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn a_success_that_does_not_last_is_regretted() {
        let mut prober = Prober::new();
        let probe = alone(&mut prober, SECOND).expect("a probe");
        let (_, at) = send(&mut prober, SECOND, probe, 10e6);
        prober.review(at + 2 * SECOND, 500e3, Some(at + SECOND));
        assert_eq!(alone(&mut prober, at + 9 * SECOND), None);
        assert!(alone(&mut prober, at + 11 * SECOND).is_some());
    }

    #[test]
    fn delays_behind_a_probe_are_left_out_until_its_queue_is_gone() {
        let mut prober = Prober::new();
        let probe = alone(&mut prober, SECOND).expect("a probe");
        prober.sent(SECOND, probe.cluster, 0, 1_200);
        assert!(!prober.disturbs(SECOND - 1));
        assert!(prober.disturbs(SECOND) && prober.disturbs(5 * SECOND));
        // Nobody answers.
        assert_eq!(prober.settle(3 * SECOND, None), None);
        assert!(!prober.disturbs(3 * SECOND + 1));
    }

    #[test]
    fn what_is_not_sent_is_forgotten() {
        let mut prober = Prober::new();
        let first = alone(&mut prober, SECOND).expect("a probe");
        assert_eq!(prober.settle(3 * SECOND, None), None);
        let second = alone(&mut prober, 3 * SECOND).expect("another");
        assert_ne!(first.cluster, second.cluster);
        // Packets of the first one come too late to count.
        prober.sent(3 * SECOND, first.cluster, 0, 1_200);
        assert!(!prober.disturbs(3 * SECOND));
    }
}
