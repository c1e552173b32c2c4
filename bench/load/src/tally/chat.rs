//! What viewers count of the chat.

use std::collections::BTreeMap;

use super::Times;

/// Of all viewers of one thread that take part, within the window.
#[derive(Clone, Debug, Default)]
pub struct ChatTally {
    /// Viewers that were welcomed, at any time.
    pub welcomed: u64,
    pub frames: u64,
    pub bytes: u64,
    pub messages: u64,
    /// From the server's stamp on a message to its arrival, in steps of a millisecond.
    pub delay: Times,
    /// Messages that nobody was shown, as told to each viewer.
    pub skipped: u64,
    /// Messages that a viewer was not sent because its link was too slow, as it was told.
    pub missed: u64,
    /// Frames that are none.
    pub unreadable: u64,
    /// Messages that viewers wrote.
    pub written: u64,
    /// Messages that a channel did not take.
    pub blocked: u64,
    /// Messages that the server accepted.
    pub acknowledged: u64,
    /// Messages that it did not, by the code of its refusal.
    pub refused: BTreeMap<String, u64>,
}

impl ChatTally {
    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        self.delay.add(&other.delay);
        for (mine, others) in [
            (&mut self.welcomed, other.welcomed),
            (&mut self.frames, other.frames),
            (&mut self.bytes, other.bytes),
            (&mut self.messages, other.messages),
            (&mut self.skipped, other.skipped),
            (&mut self.missed, other.missed),
            (&mut self.unreadable, other.unreadable),
            (&mut self.written, other.written),
            (&mut self.blocked, other.blocked),
            (&mut self.acknowledged, other.acknowledged),
        ] {
            *mine += others;
        }
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
    }

    /// Resets for another window. Welcomed clients stay welcomed.
    pub fn begin_window(&mut self) {
        *self = Self {
            welcomed: self.welcomed,
            ..Self::default()
        };
    }
}
