//! Bytes over the last second by any clock: ours when packets left, the receiver's when they came.

use super::Micros;

const BUCKETS: usize = 64;
const BUCKET: Micros = 16_000;

/// Bytes in 64 buckets of 16 ms.
#[derive(Clone, Debug)]
pub(super) struct Window {
    buckets: [u32; BUCKETS],
    /// The first and the latest time that was counted.
    range: Option<(Micros, Micros)>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            buckets: [0; BUCKETS],
            range: None,
        }
    }

    /// Counts bytes at `at`. Times may come in any order; those over a second old are left out.
    pub(super) fn add(&mut self, at: Micros, bytes: u32) {
        let slot = at.div_euclid(BUCKET);
        let Some((_, last)) = &mut self.range else {
            self.buckets = [0; BUCKETS];
            self.range = Some((at, at));
            self.buckets[slot.rem_euclid(BUCKETS as i64) as usize] = bytes;
            return;
        };
        let newest = last.div_euclid(BUCKET);
        if slot + BUCKETS as i64 <= newest {
            return;
        }
        if slot - newest >= BUCKETS as i64 {
            // Whatever came before the pause says nothing about now.
            self.range = None;
            self.add(at, bytes);
            return;
        }
        for skipped in newest + 1..=slot {
            self.buckets[skipped.rem_euclid(BUCKETS as i64) as usize] = 0;
        }
        *last = (*last).max(at);
        // A receiver may claim that everything came at once.
        let bucket = &mut self.buckets[slot.rem_euclid(BUCKETS as i64) as usize];
        *bucket = bucket.saturating_add(bytes);
    }

    /// Bits per second over `span` (up to a second) before the latest time that was counted.
    /// `None` while less than half of that is covered.
    pub(super) fn rate(&self, span: Micros) -> Option<f64> {
        let (first, last) = self.range?;
        let newest = last.div_euclid(BUCKET);
        let slots = (span / BUCKET).clamp(1, BUCKETS as i64 - 1);
        let oldest = newest - slots;
        let from = (oldest * BUCKET).max(first);
        let covered = last - from;
        if covered < span / 2 {
            return None;
        }
        let bytes: u64 = (oldest..=newest)
            .map(|slot| u64::from(self.buckets[slot.rem_euclid(BUCKETS as i64) as usize]))
            .sum();
        Some(bytes as f64 * 8e6 / covered as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_a_steady_stream() {
        let mut window = Window::new();
        assert_eq!(window.rate(500_000), None);
        for n in 0..3_000 {
            window.add(n * 1_000 - 500_000, 125);
        }
        for span in [100_000, 500_000, 1_000_000] {
            let rate = window.rate(span).unwrap();
            assert!((980_000.0..1_020_000.0).contains(&rate), "{span}: {rate}");
        }
    }

    #[test]
    fn old_and_new_times() {
        let mut window = Window::new();
        for n in 0..100 {
            window.add(n * 10_000, 1_000);
        }
        let before = window.rate(500_000);
        window.add(-5_000_000, 60_000);
        assert_eq!(window.rate(500_000), before, "too old to count");
        window.add(1_000_000_000, 1_000);
        assert_eq!(window.rate(500_000), None, "a new beginning");
    }

    #[test]
    fn pauses_count() {
        let mut window = Window::new();
        for n in 0..50 {
            window.add(n * 10_000, 1_250);
        }
        window.add(990_000, 1_250);
        let rate = window.rate(1_000_000).unwrap();
        assert!((480_000.0..560_000.0).contains(&rate), "{rate}");
    }
}
