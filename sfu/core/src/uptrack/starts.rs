//! Where a decoder can start in an H.264 stream, and the parameter sets that it needs there.
//!
//! An IDR picture alone shows nothing: its parameter sets may have come long before, in the offer,
//! or never. Where it comes without them, they go before it as a packet of their own. From there on
//! the stream's packets count one higher than their publisher numbered them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::codec::h264::{Nals, ParameterSets};

/// A recovery point is a start for decoders when IDR pictures have not come for so long. Before, it
/// is not: not every decoder takes it, and those that do show half a picture for a while.
const NO_IDR: Duration = Duration::from_secs(4);
/// Places of inserted packets that are remembered: for late packets of so many keyframes back.
const PLACES_MAX: usize = 64;

const SETS: Nals = Nals::SPS.or(Nals::PPS);

/// What a packet is to a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It can't start here.
    No,
    /// It can start with this packet.
    Here,
    /// It can, if it gets these parameter sets before.
    After(Bytes),
}

/// The starts of one layer.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    sets: ParameterSets,
    picture: Option<Picture>,
    /// Sets came with a picture that was no IDR picture: they announce none.
    sets_mean_nothing: bool,
    since: Instant,
    idr_at: Option<Instant>,
    /// The last IDR picture had no parameter sets, and none are known.
    lacks_sets: bool,
}

#[derive(Clone, Copy, Debug)]
struct Picture {
    timestamp: u32,
    nals: Nals,
    /// A decoder can start with it.
    started: bool,
}

impl Starts {
    /// Starts of a layer whose offer gave these sets.
    pub(super) fn new(sets: ParameterSets, now: Instant) -> Self {
        Self {
            sets,
            picture: None,
            sets_mean_nothing: false,
            since: now,
            idr_at: None,
            lacks_sets: false,
        }
    }

    /// Takes a packet. `ahead`: no later one has come before. Gives besides whether its picture is
    /// one to start from.
    pub(super) fn take(
        &mut self,
        payload: &[u8],
        (timestamp, nals): (u32, Nals),
        ahead: bool,
        now: Instant,
    ) -> (Start, bool) {
        if nals.intersects(SETS) {
            self.sets.read(payload);
        }
        if ahead && self.picture.is_none_or(|p| p.timestamp != timestamp) {
            let before = self.picture.replace(Picture {
                timestamp,
                nals: Nals::default(),
                started: false,
            });
            self.sets_mean_nothing |= before.is_some_and(|p| {
                p.started && !p.nals.intersects(Nals::IDR.or(Nals::RECOVERY_POINT))
            });
        }
        let known = self.sets.payload();
        let announces = nals.contains(Nals::SPS) && known.is_some() && !self.sets_mean_nothing;
        let Some(picture) = self.picture.as_mut().filter(|p| p.timestamp == timestamp) else {
            // Sent again, of an earlier picture.
            let start = if announces { Start::Here } else { Start::No };
            return (start, announces);
        };
        picture.nals = picture.nals.or(nals);
        let idr = nals.contains(Nals::IDR);
        let idr_is_old = self.idr_at.unwrap_or(self.since) + NO_IDR <= now;
        if idr {
            self.idr_at = Some(now);
            self.lacks_sets = known.is_none();
        }
        if picture.started {
            return (Start::No, true);
        }
        let starts = idr || nals.contains(Nals::RECOVERY_POINT) && idr_is_old;
        let start = match known {
            _ if announces => Start::Here,
            Some(_) if starts && nals.contains(SETS) => Start::Here,
            // Numbers after a late packet are given away already.
            Some(sets) if starts && ahead => Start::After(sets.clone()),
            _ => Start::No,
        };
        picture.started = start != Start::No;
        (start, picture.started)
    }

    /// Whether keyframes come that no decoder can start from, because it lacks parameter sets.
    pub(super) fn lacks_sets(&self) -> bool {
        self.lacks_sets
    }
}

/// Numbers of a layer into which packets are inserted.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// The publisher's numbers before which one was inserted, ascending.
    places: VecDeque<u64>,
    /// Insertions before all of those.
    forgotten: u64,
    /// Of lower numbers it is not known any more.
    known_from: u64,
}

impl Numbers {
    /// A packet's number, by the one that its publisher gave it. `None`: so late that it is not
    /// known.
    #[inline]
    pub(super) fn of(&self, sequence: u64) -> Option<u64> {
        if sequence < self.known_from {
            return None;
        }
        let after = self.places.iter().rev().take_while(|at| **at > sequence);
        let before = self.places.len() - after.count();
        Some(sequence.wrapping_add(self.forgotten + before as u64))
    }

    /// Inserts a packet before another, which is ahead of all others. Gives its number.
    pub(super) fn insert(&mut self, before: u64) -> u64 {
        let inserted = self.forgotten + self.places.len() as u64;
        if self.places.len() == PLACES_MAX
            && let Some(place) = self.places.pop_front()
        {
            self.known_from = place;
            self.forgotten += 1;
        }
        self.places.push_back(before);
        before.wrapping_add(inserted)
    }

    /// The publisher restarts its numbering.
    pub(super) fn restart(&mut self) {
        self.forgotten += self.places.len() as u64;
        self.places.clear();
        self.known_from = 0;
    }
}

#[cfg(test)]
mod tests;
