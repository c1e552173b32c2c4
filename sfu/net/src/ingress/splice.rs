//! Numbers that go on where another stream of the same place has ended.

use std::time::{Duration, Instant};

/// What is added to a stream's numbers, so that whoever reads them sees one stream.
#[derive(Debug)]
pub(super) struct Splice {
    /// Its first sequence number: what is older belongs to nobody.
    first: u64,
    sequence_offset: u64,
    timestamp_offset: u32,
    /// The highest that was given out, and when.
    highest: Option<(u64, u32)>,
    heard_at: Instant,
}

impl Splice {
    /// The first stream of its place keeps its numbers.
    pub(super) fn new(sequence: u64, now: Instant) -> Self {
        Self {
            // Packets from before it may be on their way.
            first: sequence.saturating_sub(u64::from(u16::MAX)),
            sequence_offset: 0,
            timestamp_offset: 0,
            highest: None,
            heard_at: now,
        }
    }

    /// The next packets are of another stream, whose first has these numbers.
    pub(super) fn follow(&mut self, sequence: u64, timestamp: u32, now: Instant, clock_rate: u32) {
        let Some((last_sequence, last_timestamp)) = self.highest else {
            *self = Self::new(sequence, now);
            return;
        };
        let since = now.saturating_duration_since(self.heard_at).as_micros();
        let ticks = (since * u128::from(clock_rate) / 1_000_000).max(1);
        let at = last_timestamp.wrapping_add(ticks as u32);
        self.first = sequence;
        self.sequence_offset = (last_sequence + 1).wrapping_sub(sequence);
        self.timestamp_offset = at.wrapping_sub(timestamp);
    }

    /// The numbers of a packet. `None`: it is older than the splice.
    pub(super) fn place(
        &mut self,
        sequence: u64,
        timestamp: u32,
        now: Instant,
    ) -> Option<(u64, u32)> {
        if sequence < self.first {
            return None;
        }
        self.heard_at = now;
        let sequence = sequence.wrapping_add(self.sequence_offset);
        let timestamp = timestamp.wrapping_add(self.timestamp_offset);
        if self.highest.is_none_or(|(highest, _)| highest < sequence) {
            self.highest = Some((sequence, timestamp));
        }
        Some((sequence, timestamp))
    }

    /// What is added to timestamps.
    pub(super) fn shift(&self) -> u32 {
        self.timestamp_offset
    }

    pub(super) fn is_silent(&self, now: Instant, than: Duration) -> bool {
        now.saturating_duration_since(self.heard_at) >= than
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_follows_another_without_a_seam() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut splice = Splice::new(100, start);
        assert_eq!(splice.place(100, 9_000, at(0)), Some((100, 9_000)));
        assert_eq!(splice.place(102, 12_000, at(33)), Some((102, 12_000)));
        assert_eq!(splice.place(101, 12_000, at(34)), Some((101, 12_000)));
        // 66 ms later an encoder has started anew, with numbers of its own.
        splice.follow(7, u32::MAX - 5, at(100), 90_000);
        let first = splice.place(7, u32::MAX - 5, at(100));
        assert_eq!(first, Some((103, 12_000 + 66 * 90)));
        assert_eq!(
            splice.place(8, 2_994, at(133)),
            Some((104, 12_000 + 66 * 90 + 3_000))
        );
        // What it sent before cannot be told from what its predecessor did.
        assert_eq!(splice.place(6, 0, at(134)), None);
        assert!(!splice.is_silent(at(1_132), Duration::from_secs(1)));
        assert!(splice.is_silent(at(1_133), Duration::from_secs(1)));
        // The first one returns, far ahead of where it was.
        splice.follow(70_000, 5, at(2_133), 90_000);
        let back = splice.place(70_000, 5, at(2_133));
        assert_eq!(back, Some((105, 12_000 + 66 * 90 + 3_000 + 180_000)));
    }

    #[test]
    fn time_goes_on_even_within_a_moment() {
        let now = Instant::now();
        let mut splice = Splice::new(0, now);
        splice.place(0, 500, now);
        splice.follow(9, 9, now, 48_000);
        assert_eq!(splice.place(9, 9, now), Some((1, 501)));
    }
}
