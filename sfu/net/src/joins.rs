//! Joins wait for their turn: whoever is there already comes first.
//!
//! Answering an offer and each flight of a DTLS handshake cost hundreds of times what a packet
//! costs. In a storm of them a turn of the shard would last as long as all that came in, and so
//! would the wait of the show's next frame. So they queue up, and each turn has a slice of time
//! for them after its media has left.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lightstick_sfu_core::demux::Kind;
use lightstick_sfu_core::ice::Route;
use tokio::sync::oneshot;

use crate::api::{OpenError, RoleConfig, SessionOpened};
use crate::command::Opening;
use crate::port::ShardError;
use crate::shard::Shard;

/// What joins get of each turn. A turn without them takes some milliseconds at full load, so they
/// get a part of the thread even then, and next to all of an idle one.
const SLICE: Duration = Duration::from_millis(1);
/// Offers that wait at most, and as many handshake datagrams: some seconds' work. Beyond that, an
/// offer is refused and a datagram dropped; its sender will repeat it (RFC 6347 section 4.2.4).
const WAITING_MAX: usize = 4_096;
/// Handshake datagrams of one session that wait at most: more than a flight of it has.
const WAITING_OF_ONE_MAX: u8 = 16;

/// Artists' offers that wait at most. They are answered before all else here: everybody waits for an
/// artist.
const ARTISTS_MAX: usize = 256;

/// Where the answer goes.
pub(crate) type Reply = oneshot::Sender<Result<SessionOpened, OpenError>>;

/// A piece of a join.
enum Join {
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

    fn next(&mut self) -> Option<Join> {
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

impl Shard {
    /// Takes an offer, to be answered soon.
    pub(crate) fn queue_offer(&mut self, opening: Box<Opening>, reply: Reply) {
        let is_artist = matches!(opening.role, RoleConfig::Publisher { .. });
        if is_artist && self.joins.artists.len() < ARTISTS_MAX {
            self.joins.artists.push_back((opening, reply));
        } else if !is_artist && self.joins.offers < WAITING_MAX {
            self.joins.offers += 1;
            self.joins.waiting.push_back(Join::Offer(opening, reply));
        } else {
            self.io.stats.joins_shed.add(1);
            let _ = reply.send(Err(ShardError::Full.into()));
        }
    }

    /// Takes a datagram of a viewer that is not connected yet.
    pub(crate) fn queue_handshake(&mut self, key: u32, from: Route, datagram: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let handshakes = self.joins.waiting.len() - self.joins.offers;
        if handshakes >= WAITING_MAX || session.waiting.handshakes >= WAITING_OF_ONE_MAX {
            self.io.stats.joins_shed.add(1);
            return;
        }
        session.waiting.handshakes += 1;
        self.joins.waiting.push_back(Join::Handshake {
            from,
            datagram: datagram.into(),
        });
    }

    /// Does for joins what fits into a slice of time. False: nothing waited.
    pub(crate) fn tend_joins(&mut self) -> bool {
        if self.joins.is_empty() {
            return false;
        }
        let begun = Instant::now();
        while let Some(join) = self.joins.next() {
            match join {
                Join::Offer(opening, reply) => {
                    self.open(*opening, reply);
                }
                Join::Handshake { from, datagram } => {
                    // It may be gone by now, and another in its place.
                    if let Some(key) = self.session_at(from) {
                        if let Some(session) = self.sessions.get_mut(key) {
                            session.waiting.handshakes =
                                session.waiting.handshakes.saturating_sub(1);
                        }
                        self.session_datagram(key, Kind::Dtls, from, self.now, &datagram);
                    }
                }
            }
            if begun.elapsed() >= SLICE {
                break;
            }
        }
        true
    }
}
