//! Joins wait for their turn: whoever is there already comes first.
//!
//! Answering an offer and each flight of a DTLS handshake cost hundreds of times what a packet
//! costs. In a storm of them a turn of the shard would last as long as all that came in, and so
//! would the wait of the show's next frame. So they queue up, and each turn has a slice of time
//! for them after its media has left.

use std::collections::VecDeque;
use std::time::Duration;

use lightstick_sfu_core::ice::Route;

use crate::api::{RoleConfig, ShardError};
use crate::command::{Opening, Reply};
use crate::session::Waiting;
use crate::stats::ShardStats;

/// What joins get of each turn. A turn without them takes some milliseconds at full load, so they
/// get a part of the thread even then, and next to all of an idle one.
pub(crate) const JOINS_SLICE: Duration = Duration::from_millis(1);
/// Offers that wait at most, and as many handshake datagrams: some seconds' work. Beyond that, an
/// offer is refused and a datagram dropped; its sender will repeat it (RFC 6347 section 4.2.4).
const WAITING_MAX: usize = 4_096;
/// Handshake datagrams of one session that wait at most: more than a flight of it has.
const WAITING_OF_ONE_MAX: u8 = 16;

/// Artists' offers that wait at most. They are answered before all else here: everybody waits for an
/// artist.
const ARTISTS_MAX: usize = 256;

/// A piece of a join.
pub(crate) enum Join {
    Offer(Box<Opening>, Reply),
    Handshake { from: Route, datagram: Box<[u8]> },
}

/// What waits, in the order in which it came.
#[derive(Default)]
pub(crate) struct Joins {
    artists: VecDeque<(Box<Opening>, Reply)>,
    waiting: VecDeque<Join>,
    /// How many of them are offers.
    offers: usize,
}

impl Joins {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.artists.len() + self.waiting.len()
    }

    /// Takes an offer, to be answered soon. Where too many wait, it is refused.
    pub(crate) fn push_offer(&mut self, opening: Box<Opening>, reply: Reply, stats: &ShardStats) {
        let is_artist = matches!(opening.role, RoleConfig::Publisher { .. });
        if is_artist && self.artists.len() < ARTISTS_MAX {
            self.artists.push_back((opening, reply));
        } else if !is_artist && self.offers < WAITING_MAX {
            self.offers += 1;
            self.waiting.push_back(Join::Offer(opening, reply));
        } else {
            stats.joins_shed.add(1);
            let _ = reply.send(Err(ShardError::Full.into()));
        }
    }

    /// Takes a datagram of a viewer that is not connected yet. `waiting` is what waits of its
    /// session.
    pub(crate) fn push_handshake(
        &mut self,
        waiting: &mut Waiting,
        from: Route,
        datagram: &[u8],
        stats: &ShardStats,
    ) {
        let handshakes = self.waiting.len() - self.offers;
        if handshakes >= WAITING_MAX || waiting.handshakes >= WAITING_OF_ONE_MAX {
            stats.joins_shed.add(1);
            return;
        }
        waiting.handshakes += 1;
        self.waiting.push_back(Join::Handshake {
            from,
            datagram: datagram.into(),
        });
    }

    /// The next piece: artists first, the others as they came.
    pub(crate) fn next(&mut self) -> Option<Join> {
        if let Some((opening, reply)) = self.artists.pop_front() {
            return Some(Join::Offer(opening, reply));
        }
        let join = self.waiting.pop_front()?;
        if matches!(join, Join::Offer(..)) {
            self.offers -= 1;
        }
        Some(join)
    }
}

#[cfg(test)]
mod tests;
