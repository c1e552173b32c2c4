//! The two clocks that a room is told.

use std::time::{Duration, Instant};

/// Now, by both clocks: spans are measured by one, stamps are taken from the other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never jumps.
    pub at: Instant,
    /// Milliseconds of the Unix time. May jump either way.
    pub unix_ms: u64,
}

impl Now {
    /// Later by a span, on both clocks.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self {
            at: self.at + span,
            unix_ms: self.unix_ms + span.as_millis() as u64,
        }
    }
}
