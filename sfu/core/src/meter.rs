//! Rates over the last second, and a publisher's allowance.

use std::time::{Duration, Instant};

use lightstick_types::Bitrate;

const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_millis(100);

/// Bytes and frames over the last second, in ten slots.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    slots: [(u64, u32); SLOTS],
    /// Start of the newest slot.
    slot_at: Option<Instant>,
    newest: usize,
}

impl Meter {
    /// Counts what came in at `now`.
    pub fn add(&mut self, now: Instant, bytes: usize, frames: u32) {
        self.advance(now);
        let slot = &mut self.slots[self.newest];
        slot.0 += bytes as u64;
        slot.1 += frames;
    }

    /// The rates over the second before `now`.
    pub fn rates(&mut self, now: Instant) -> (Bitrate, f32) {
        self.advance(now);
        let (bytes, frames) = self
            .slots
            .iter()
            .fold((0, 0), |(b, f), slot| (b + slot.0, f + slot.1));
        (Bitrate(bytes * 8), frames as f32)
    }

    fn advance(&mut self, now: Instant) {
        let Some(mut at) = self.slot_at else {
            self.slot_at = Some(now);
            return;
        };
        if now.saturating_duration_since(at) >= SLOT * SLOTS as u32 {
            self.slots = Default::default();
            self.slot_at = Some(now);
            return;
        }
        while now.saturating_duration_since(at) >= SLOT {
            at += SLOT;
            self.newest = (self.newest + 1) % SLOTS;
            self.slots[self.newest] = (0, 0);
        }
        self.slot_at = Some(at);
    }
}

/// What [`Allowance::spend`] says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Over the limit: drop it.
    Drop,
    /// Far over the limit for too long: end the session.
    Close,
}

/// A publisher's limit of bits and of packets: buckets of one and a half seconds, so that keyframes
/// pass. Each packet costs the same whatever is in it, so bits alone are no limit.
#[derive(Clone, Debug)]
pub struct Allowance {
    bits: Budget,
    packets: Budget,
    at: Option<Instant>,
    /// Since when more is dropped than passes.
    over_since: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Budget {
    /// A second.
    rate: f64,
    left: f64,
}

impl Budget {
    fn new(rate: f64) -> Self {
        let left = rate * Allowance::BURST_SECONDS;
        Self { rate, left }
    }

    fn refill(&mut self, seconds: f64) {
        let most = self.rate * Allowance::BURST_SECONDS;
        self.left = (self.left + seconds * self.rate).min(most);
    }

    fn is_half_full(&self) -> bool {
        self.left > self.rate * Allowance::BURST_SECONDS / 2.0
    }
}

impl Allowance {
    const BURST_SECONDS: f64 = 1.5;
    /// Dropping without a pause for this long ends the session.
    const PATIENCE: Duration = Duration::from_secs(3);
    /// Packets a second whatever the bit rate: audio, and video in many small frames.
    const PACKETS: u64 = 500;
    /// Beyond these, packets have to be so long on average.
    const PACKET_BYTES: u64 = 800;

    /// An allowance with full buckets.
    #[must_use]
    pub fn new(limit: Bitrate) -> Self {
        Self {
            bits: Budget::new(limit.bps() as f64),
            packets: Budget::new(Self::packets(limit).into()),
            at: None,
            over_since: None,
        }
    }

    /// Packets a second that a publisher with this limit may send.
    #[must_use]
    pub fn packets(limit: Bitrate) -> u32 {
        let packets = Self::PACKETS + limit.bps() / (8 * Self::PACKET_BYTES);
        u32::try_from(packets).unwrap_or(u32::MAX)
    }

    /// Spends a packet of `bytes`, its headers included.
    pub fn spend(&mut self, now: Instant, bytes: usize) -> Verdict {
        let passed = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.bits.refill(passed);
        self.packets.refill(passed);
        let bits = bytes as f64 * 8.0;
        if bits <= self.bits.left && self.packets.left >= 1.0 {
            self.bits.left -= bits;
            self.packets.left -= 1.0;
            // Half full again: the excess is over.
            if self.bits.is_half_full() && self.packets.is_half_full() {
                self.over_since = None;
            }
            return Verdict::Pass;
        }
        let since = *self.over_since.get_or_insert(now);
        if now.saturating_duration_since(since) > Self::PATIENCE {
            Verdict::Close
        } else {
            Verdict::Drop
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_cover_one_second() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for frame in 0..90_u32 {
            meter.add(start + Duration::from_micros(33_333) * frame, 10_000, 1);
        }
        let (bitrate, fps) = meter.rates(start + Duration::from_micros(33_333) * 89);
        assert!(
            (2_200_000..=2_500_000).contains(&bitrate.bps()),
            "{bitrate}"
        );
        assert!((27.0..=31.0).contains(&fps), "{fps}");
        assert_eq!(meter.rates(start + Duration::from_secs(60)).0, Bitrate(0));
    }

    #[test]
    fn a_hundred_times_the_limit_is_dropped_then_closed() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Bitrate::kbps(1_000));
        let (mut passed, mut closed_at) = (0_u64, None);
        for n in 0..50_000_u64 {
            let ms = n / 10; // 10 packets of 1,250 bytes a millisecond: 100 Mbit/s
            match allowance.spend(start + Duration::from_millis(ms), 1_250) {
                Verdict::Pass => passed += 10_000,
                Verdict::Drop => {}
                Verdict::Close => {
                    closed_at = Some(ms);
                    break;
                }
            }
        }
        assert!(
            (3_000..3_200).contains(&closed_at.unwrap()),
            "{closed_at:?}"
        );
        assert!(passed < 6_000_000, "{passed} bits passed");
    }

    #[test]
    fn a_flood_of_tiny_packets_is_dropped_then_closed() {
        let start = Instant::now();
        let limit = Bitrate::kbps(8_000);
        let mut allowance = Allowance::new(limit);
        assert_eq!(Allowance::packets(limit), 1_750);
        let mut verdicts = (0..8_000 * 6_u64)
            .map(|n| allowance.spend(start + Duration::from_micros(n * 125), 1 + 72));
        let passed = verdicts
            .by_ref()
            .take(8_000 * 3)
            .filter(|verdict| *verdict == Verdict::Pass)
            .count();
        assert!(passed <= 1_750 * 9 / 2, "{passed} packets passed");
        assert!(verdicts.any(|verdict| verdict == Verdict::Close));
    }

    #[test]
    fn a_stream_within_its_limit_passes_with_keyframes() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Bitrate::kbps(3_000));
        for frame in 0..900_u32 {
            let now = start + Duration::from_micros(33_333) * frame;
            let packets = if frame % 60 == 0 { 70 } else { 8 };
            for _ in 0..packets {
                assert_eq!(allowance.spend(now, 1_200), Verdict::Pass, "frame {frame}");
            }
        }
    }
}
