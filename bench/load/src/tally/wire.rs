//! What came on the wire of full viewers, slice by slice: media, and what was sent again.

use std::time::Duration;

use super::Window;

pub const SLICE: Duration = Duration::from_secs(5);

/// Video packets of all full viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Sent for the first time.
    pub media: u64,
    /// On the stream of what is sent again (RFC 4588): answers to NACK, and probes.
    pub resent: u64,
    /// Of those, packets that had not come.
    pub repaired: u64,
}

/// Slices of a window, from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireLog(Vec<Wire>);

impl WireLog {
    /// The slice of `window` that `at_us` falls into.
    pub fn at(&mut self, at_us: u64, window: Window) -> Option<&mut Wire> {
        if !window.holds(at_us) {
            return None;
        }
        let slice = ((at_us - window.from_us) / SLICE.as_micros() as u64) as usize;
        if self.0.len() <= slice {
            self.0.resize(slice + 1, Wire::default());
        }
        self.0.get_mut(slice)
    }

    pub fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), Wire::default());
        }
        for (sum, wire) in self.0.iter_mut().zip(&other.0) {
            sum.media += wire.media;
            sum.resent += wire.resent;
            sum.repaired += wire.repaired;
        }
    }

    /// The slices; what nobody wrote to at the end is left out.
    #[must_use]
    pub fn slices(&self) -> &[Wire] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_fall_into_their_slice_or_into_none() {
        let window = Window {
            from_us: 1_000_000,
            to_us: 17_000_000,
        };
        let mut log = WireLog::default();
        for at_us in [
            999_999, 1_000_000, 5_999_999, 6_000_000, 16_999_999, 17_000_000,
        ] {
            if let Some(wire) = log.at(at_us, window) {
                wire.media += 1;
            }
        }
        let media = |log: &WireLog| log.slices().iter().map(|w| w.media).collect::<Vec<_>>();
        assert_eq!(media(&log), [2, 1, 0, 1]);
        let mut sum = WireLog::default();
        sum.add(&log);
        sum.add(&log);
        assert_eq!(media(&sum), [4, 2, 0, 2]);
    }
}
