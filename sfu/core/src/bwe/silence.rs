//! Feedback that stays away while packets are on their way.

use super::Micros;
use super::sent::Sent;

/// Packets are on their way and nothing is heard for this long and a few round trips: the
/// estimate fades, a step each interval.
const SILENCE: Micros = 1_000_000;
const FADE_INTERVAL: Micros = 500_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    /// The last feedback with news in it.
    heard_at: Option<Micros>,
    /// The last packet that a feedback spoke of.
    last: Option<u64>,
    faded_at: Micros,
}

impl Silence {
    /// When the last feedback with news came.
    pub(super) fn heard_at(self) -> Option<Micros> {
        self.heard_at
    }

    /// The last packet that a feedback spoke of.
    pub(super) fn last(self) -> Option<u64> {
        self.last
    }

    pub(super) fn spoke_of(&mut self, packet: u64) {
        self.last = self.last.max(Some(packet));
    }

    /// A feedback had news.
    pub(super) fn heard(&mut self, now: Micros) {
        self.heard_at = Some(now);
        self.faded_at = now;
    }

    /// Feedback no longer counts, until the next one comes.
    pub(super) fn forget(&mut self) {
        self.heard_at = None;
    }

    /// Whether feedback should have come. Silence begins with the first packet that nobody has
    /// spoken of, and is none while nothing is sent: the last packets before a pause may be lost,
    /// and never be spoken of.
    pub(super) fn is_overdue(
        self,
        now: Micros,
        heard_at: Micros,
        sent: &Sent,
        round_trip: Micros,
    ) -> bool {
        let next = self.last.map_or(0, |last| last + 1);
        let newest = sent.sent_at(now, sent.next().wrapping_sub(1));
        if next >= sent.next() || newest.is_none_or(|at| now - at > FADE_INTERVAL) {
            return false;
        }
        let next_sent = sent.sent_at(now, next);
        let since = next_sent.map_or(heard_at, |at| at.max(heard_at));
        now - since >= SILENCE + 3 * round_trip
    }

    /// Whether the estimate fades by another step.
    pub(super) fn fades(&mut self, now: Micros) -> bool {
        let fades = now - self.faded_at >= FADE_INTERVAL;
        if fades {
            self.faded_at = now;
        }
        fades
    }
}
