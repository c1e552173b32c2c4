//! Rooms in which viewers wait for a first publisher, by who opened them.

use std::collections::HashMap;

use lightstick_types::Network;

use super::{Limits, Participant};

/// Who opened a room: what a client cannot change for free.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Opener {
    /// Somebody without a token.
    Guest(Network),
    /// A token's participant.
    Participant(Participant),
}

impl Opener {
    pub(super) fn of(participant: Option<&Participant>, address: Network) -> Self {
        participant.map_or(Self::Guest(address), |name| {
            Self::Participant(Participant::clone(name))
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct WaitingRooms {
    guests: usize,
    participants: usize,
    by_opener: HashMap<Opener, usize>,
}

impl WaitingRooms {
    pub(super) fn has_room_for(&self, opener: &Opener, limits: &Limits) -> bool {
        let held = self.by_opener.get(opener).copied().unwrap_or_default();
        let all = match opener {
            Opener::Guest(_) => self.guests,
            Opener::Participant(_) => self.participants,
        };
        held < limits.waiting_rooms_per_client_max && all < limits.waiting_rooms_max
    }

    pub(super) fn add(&mut self, opener: &Opener) {
        *self.of(opener) += 1;
        *self.by_opener.entry(opener.clone()).or_default() += 1;
    }

    pub(super) fn remove(&mut self, opener: &Opener) {
        *self.of(opener) -= 1;
        if let Some(held) = self.by_opener.get_mut(opener) {
            *held -= 1;
            if *held == 0 {
                self.by_opener.remove(opener);
            }
        }
    }

    /// How many there are in all, and how many clients have opened them.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.guests + self.participants, self.by_opener.len())
    }

    fn of(&mut self, opener: &Opener) -> &mut usize {
        match opener {
            Opener::Guest(_) => &mut self.guests,
            Opener::Participant(_) => &mut self.participants,
        }
    }
}
