//! The smoothed round trip: told by reports, or else guessed from feedback.

use super::Micros;

/// A round trip from a report counts for this long; only then is one guessed from feedback,
/// which waits at the receiver for an unknown time.
const FRESH: Micros = 10_000_000;
const DEFAULT: Micros = 100_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    smoothed: Option<Micros>,
    reported_at: Option<Micros>,
}

impl RoundTrip {
    pub(super) fn get(self) -> Option<Micros> {
        self.smoothed
    }

    /// The round trip, or what it is assumed to be before anything is known.
    pub(super) fn assumed(self) -> Micros {
        self.smoothed.unwrap_or(DEFAULT)
    }

    pub(super) fn on_report(&mut self, now: Micros, sample: Micros) {
        self.reported_at = Some(now);
        self.smooth(sample);
    }

    /// Takes the time from a packet's sending to the feedback that speaks of it.
    pub(super) fn guess(&mut self, now: Micros, sample: Micros) {
        if self.reported_at.is_none_or(|at| now - at >= FRESH) {
            self.smooth(sample);
        }
    }

    fn smooth(&mut self, sample: Micros) {
        let smoothed = self.smoothed;
        self.smoothed = Some(smoothed.map_or(sample, |before| before + (sample - before) / 8));
    }
}
