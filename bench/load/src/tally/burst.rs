//! How close together events come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Events that left a second apart may arrive a little closer together.
const SECOND: Duration = Duration::from_millis(950);

/// Counts events, and the most of them within any one second.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// Those of the last second.
    recent: VecDeque<Instant>,
    all: u64,
    most: u64,
}

impl Burst {
    /// Counts an event; they come in order.
    pub fn note(&mut self, at: Instant) {
        self.all += 1;
        self.recent.push_back(at);
        while self
            .recent
            .front()
            .is_some_and(|first| at - *first >= SECOND)
        {
            self.recent.pop_front();
        }
        self.most = self.most.max(self.recent.len() as u64);
    }

    #[must_use]
    pub fn all(&self) -> u64 {
        self.all
    }

    /// The most within any one second, less 50 ms for what the network did to their distances.
    #[must_use]
    pub fn most_in_a_second(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_densest_second_counts_wherever_it_begins() {
        let check = |at_ms: &[u64], most| {
            let start = Instant::now();
            let mut burst = Burst::default();
            for ms in at_ms {
                burst.note(start + Duration::from_millis(*ms));
            }
            assert_eq!(burst.all(), at_ms.len() as u64);
            assert_eq!(burst.most_in_a_second(), most, "{at_ms:?}");
        };
        check(&[], 0);
        check(&[5], 1);
        // A second apart, give or take.
        check(&[0, 960, 1_980, 2_930], 1);
        check(&[0, 940], 2);
        check(&[0, 1_400, 1_600, 2_100, 3_200], 3);
    }
}
