//! How fast one viewer's video may leave: what fits into a burst goes at once, more is spread.
//!
//! A bucket of bytes that fills at a few times of what is needed. A frame of usual size finds it
//! full enough and leaves in one piece; of a keyframe, the first burst leaves at once and the rest
//! in runs of a dozen packets, as many as one system call carries without cost. Audio does not ask;
//! what is sent again and what probes a link is paid for out of the same bucket.

use std::time::{Duration, Instant};

use lightstick_types::Bitrate;

/// Bytes of a usual packet.
const PACKET: u64 = 1_200;
/// What leaves together when a frame is spread: long runs are what keeps a packet cheap.
const RUN: u64 = 12 * PACKET;
const BURST_MIN: u64 = 16 * PACKET;
/// The largest: about what the kernel takes in one call.
const BURST_MAX: u64 = 50 * PACKET;
/// Runs leave so far apart at least.
const EVERY_MIN: Duration = Duration::from_millis(4);
/// A burst lasts for so long at the full rate: a timer that is late, or a thread that has a
/// thousand others to serve in between, costs no rate.
const BURST_MS: u64 = 15;
/// Of the link's estimate, and of the layer's rate: the rate is both at least.
const OF_LINK: (u64, u64) = (5, 2);
const OF_LAYER: u64 = 3;
/// Of a link that turned out to be a slow one, the same while a long replay goes on: what a queue
/// takes for a moment it does not take for seconds.
const OF_LINK_LONG: (u64, u64) = (5, 4);
const OF_LAYER_LONG: (u64, u64) = (3, 2);
/// No link and no backlog asks for more.
const RATE_MAX: u64 = 40_000_000;
/// Assumed of a link before anything is known, as the estimator does.
const LINK_GUESS: Bitrate = Bitrate(8_000_000);
/// Frames of a layer in a second, to tell a usual frame's size from its rate.
const FRAMES: u64 = 30;

/// The pacer of one viewer's video.
///
/// In any time `t` no more than `rate * t` and a burst leaves, and a packet.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// By link and layer, bit/s.
    rate: u64,
    /// The same for a long replay.
    rate_long: u64,
    long: bool,
    /// What a backlog needs to be through in time, bit/s; 0 without one.
    urgent: u64,
    /// By layer, bytes.
    burst: u64,
    /// What may leave now, in bytes; below zero after packets that did not ask.
    credit: i64,
    at: Instant,
}

impl Pacer {
    /// A pacer with a full bucket, for a link that nothing is known of.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let mut pacer = Self {
            rate: 0,
            rate_long: 0,
            long: false,
            urgent: 0,
            burst: BURST_MIN,
            credit: BURST_MIN as i64,
            at: now,
        };
        pacer.set(None, None);
        pacer
    }

    /// Hears what the link is believed to carry and what the viewer's layer takes, as far as that
    /// is known.
    pub fn set(&mut self, link: Option<Bitrate>, layer: Option<Bitrate>) {
        let link = link.unwrap_or(LINK_GUESS).bps();
        let layer = layer.map_or(0, Bitrate::bps);
        self.rate = (link.saturating_mul(OF_LINK.0) / OF_LINK.1)
            .max(layer.saturating_mul(OF_LAYER))
            .min(RATE_MAX);
        let of = |bps: u64, (times, part): (u64, u64)| bps.saturating_mul(times) / part;
        self.rate_long = if link < LINK_GUESS.bps() {
            let least = of(layer, OF_LAYER_LONG);
            of(link, OF_LINK_LONG).max(least).min(self.rate)
        } else {
            self.rate
        };
        // Twice the mean: frames differ, and one that is cut in two costs a timer.
        self.burst = (layer / 8 / FRAMES * 2).clamp(BURST_MIN, BURST_MAX);
    }

    /// What may leave in a second.
    #[must_use]
    pub fn rate(&self) -> Bitrate {
        Bitrate(self.current())
    }

    fn current(&self) -> u64 {
        let rate = if self.long { self.rate_long } else { self.rate };
        rate.max(self.urgent)
    }

    /// A replay has gone on for long, or none does any more.
    pub fn set_long(&mut self, long: bool) {
        self.long = long;
    }

    #[inline]
    pub fn refill(&mut self, now: Instant) {
        if now <= self.at {
            return;
        }
        let rate = self.current();
        // A second fills it whatever the rate.
        let passed = now.duration_since(self.at).min(Duration::from_secs(1));
        self.at = now;
        let bytes = u64::from(passed.subsec_micros()) + passed.as_secs() * 1_000_000;
        let bytes = bytes * rate / 8_000_000;
        let burst = self.burst.max(rate * BURST_MS / 8_000);
        self.credit = (self.credit + bytes as i64).min(burst as i64);
    }

    /// Whether nothing may leave now.
    #[inline]
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.credit <= 0
    }

    /// What may leave now, in bytes.
    #[must_use]
    pub fn credit(&self) -> u64 {
        u64::try_from(self.credit).unwrap_or(0)
    }

    /// Counts what has left, whether or not it asked. However much that was, video waits for no
    /// more than a burst.
    #[inline]
    pub fn spend(&mut self, now: Instant, bytes: u64) {
        self.refill(now);
        let least = -(self.burst as i64);
        self.credit = (self.credit - bytes as i64).max(least);
    }

    /// Speeds up so that `backlog` bytes are through at `due`, as far as any link may be asked.
    pub fn hurry(&mut self, now: Instant, backlog: u64, due: Instant) {
        // What has passed its time leaves as fast as two runs may.
        let left = due.saturating_duration_since(now).max(EVERY_MIN * 2);
        let needed = backlog.saturating_mul(8_000_000) / left.as_micros() as u64;
        self.urgent = needed.min(RATE_MAX);
    }

    /// There is no backlog any more.
    pub fn calm(&mut self) {
        self.urgent = 0;
    }

    /// When the next run of a backlog may leave.
    #[must_use]
    pub fn next(&self, now: Instant, backlog: u64) -> Instant {
        let run = backlog.min(RUN) as i64;
        let missing = u64::try_from(run - self.credit).unwrap_or(0);
        let wait = missing * 8_000_000 / self.current().max(1);
        now + Duration::from_micros(wait).max(EVERY_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn rates_follow_link_and_layer_within_bounds() {
        let rate = |link, layer| {
            let mut pacer = Pacer::new(Instant::now());
            pacer.set(Some(Bitrate(link)), Some(Bitrate(layer)));
            pacer.rate().bps()
        };
        assert_eq!(Pacer::new(Instant::now()).rate(), Bitrate(20_000_000));
        assert_eq!(rate(4_000_000, 2_500_000), 10_000_000);
        assert_eq!(rate(1_000_000, 2_500_000), 7_500_000, "it must keep up");
        assert_eq!(rate(u64::MAX, u64::MAX), RATE_MAX);
    }

    #[test]
    fn a_long_replay_keeps_to_a_link_that_is_slow() {
        let rate = |link, layer| {
            let mut pacer = Pacer::new(Instant::now());
            pacer.set(Some(Bitrate(link)), Some(Bitrate(layer)));
            pacer.set_long(true);
            pacer.rate().bps()
        };
        assert_eq!(rate(4_000_000, 2_500_000), 5_000_000);
        assert_eq!(rate(2_000_000, 2_500_000), 3_750_000, "it must catch up");
        assert_eq!(rate(20_000_000, 2_500_000), 40_000_000);
        let mut unknown = Pacer::new(Instant::now());
        unknown.set_long(true);
        assert_eq!(unknown.rate(), Bitrate(20_000_000));
    }

    #[test]
    fn never_more_than_the_rate_and_a_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        pacer.set(Some(Bitrate(4_000_000)), Some(Bitrate(2_500_000)));
        // Everything at once, whenever it may: a byte stream cut by what leaves.
        let (mut now, mut left, mut log) = (start, 400_000_u64, Vec::new());
        while left > 0 {
            pacer.refill(now);
            while !pacer.is_spent() && left > 0 {
                let bytes = PACKET.min(left);
                pacer.spend(now, bytes);
                log.push((now, bytes));
                left -= bytes;
            }
            now = pacer.next(now, left);
        }
        let burst = 2_500_000 / 8 / FRAMES * 2;
        for (from, &(first, _)) in log.iter().enumerate() {
            let mut sent = 0;
            for &(at, bytes) in &log[from..] {
                sent += bytes;
                let may = (at - first).as_secs_f64() * 10_000_000.0 / 8.0;
                let most = may + (burst + PACKET) as f64;
                assert!(sent as f64 <= most, "{sent} in {:?}", at - first);
            }
        }
        let took = log.last().unwrap().0 - start;
        let ideal = (400_000.0 - burst as f64) * 8.0 / 10_000_000.0;
        assert!(took.as_secs_f64() < ideal + 0.02, "{took:?}");
    }

    #[test]
    fn runs_are_long_and_milliseconds_apart() {
        for link in [1_000_000, 8_000_000, 100_000_000] {
            let start = Instant::now();
            let mut pacer = Pacer::new(start);
            pacer.set(Some(Bitrate(link)), Some(Bitrate(2_500_000)));
            let (mut now, mut left, mut runs) = (start, 200_000_u64, Vec::new());
            while left > 0 {
                pacer.refill(now);
                let mut packets = 0;
                while !pacer.is_spent() && left > 0 {
                    pacer.spend(now, PACKET.min(left));
                    left -= PACKET.min(left);
                    packets += 1;
                }
                runs.push(packets);
                let next = pacer.next(now, left);
                assert!(next - now >= EVERY_MIN);
                now = next;
            }
            runs.pop();
            assert!(runs.iter().all(|run| *run >= 12), "{link}: {runs:?}");
        }
    }

    #[test]
    fn a_backlog_is_through_in_time() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        pacer.set(Some(Bitrate(1_000_000)), Some(Bitrate(2_500_000)));
        let due = ms(start, 66);
        let (mut now, mut left) = (start, 120_000_u64);
        loop {
            pacer.hurry(now, left, due);
            pacer.refill(now);
            while !pacer.is_spent() && left > 0 {
                pacer.spend(now, PACKET.min(left));
                left -= PACKET.min(left);
            }
            if left == 0 {
                break;
            }
            now = pacer.next(now, left);
        }
        assert!(now <= due, "{:?} late", now - due);
        pacer.calm();
        assert_eq!(pacer.rate(), Bitrate(7_500_000));
    }

    #[test]
    fn what_did_not_ask_is_paid_for_later_within_bounds() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        pacer.spend(start, BURST_MIN);
        assert!(pacer.is_spent());
        pacer.spend(start, 1 << 30);
        // 19,200 bytes at 20 Mbit/s.
        pacer.refill(ms(start, 7));
        assert!(pacer.is_spent());
        pacer.refill(ms(start, 8));
        assert!(!pacer.is_spent());
        // 15 ms at that rate.
        pacer.refill(ms(start, 60_000));
        assert_eq!(pacer.credit(), 37_500);
    }
}
