//! One link: who is at its other end, and what was said over it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use lightstick_types::rate::{Bucket, Limit};
use lightstick_types::{NodeId, NodeIdentity};

use crate::close::CloseReason;
use crate::fullness::Fullness;
use crate::limits::{ANNOUNCEMENTS, CONTROL, HELLO_TIMEOUT, MALFORMED, SUBSCRIPTIONS};
use crate::liveness::Liveness;
use crate::message::Alias;
use crate::output::{Direction, LinkId};
use crate::route::{Health, Route};

/// A room that this node knows of. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RoomKey(pub(crate) u64);

/// All links by their ids, in their order, so that runs repeat.
pub(crate) type Links = BTreeMap<LinkId, Link>;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) direction: Direction,
    /// Who the other end is by its certificate.
    pub(crate) certificate: NodeIdentity,
    /// Who it is by its hello.
    pub(crate) peer: Option<Peer>,
    pub(crate) hello_by: Instant,
    pub(crate) liveness: Liveness,
    pub(crate) goes_away: bool,
    pub(crate) inflow: Inflow,
    pub(crate) announced: Announced,
    pub(crate) heard: Heard,
    /// The peer's subscriptions.
    pub(crate) serving: Numbered,
    pub(crate) feeding: Feeding,
    pub(crate) sending: Sending,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) node: NodeIdentity,
    /// Since when it has been neither away nor suspect.
    pub(crate) good_since: Instant,
}

/// What this node has announced.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    pub(crate) rooms: BTreeMap<RoomKey, (Alias, Route)>,
    pub(crate) aliases: Numbered,
    /// Rooms that wait for their turn, because there are too many.
    pub(crate) left_out: BTreeSet<RoomKey>,
    pub(crate) rate: Bucket,
}

/// What the peer has said.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) aliases: Numbered,
    /// Unknown rooms that it waits for.
    pub(crate) wants: BTreeSet<RoomKey>,
}

/// Subscriptions of this node.
#[derive(Debug, Default)]
pub(crate) struct Feeding {
    pub(crate) numbers: Numbered,
    pub(crate) rate: Bucket,
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    pub(crate) fullness: Fullness,
    pub(crate) chat: Bucket,
}

/// Rooms by numbers that one end gives in rising order.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    rooms: HashMap<u32, RoomKey>,
    last: u32,
}

impl Numbered {
    /// Gives the next number. After four billion there is none, and the link has to begin anew.
    pub(crate) fn give(&mut self, key: RoomKey) -> Option<u32> {
        self.last = self.last.checked_add(1)?;
        self.rooms.insert(self.last, key);
        Some(self.last)
    }

    /// Takes a number that the other end gives. False: it has given it, or a higher one, before.
    pub(crate) fn take(&mut self, number: u32) -> bool {
        let is_new = number > self.last;
        self.last = self.last.max(number);
        is_new
    }

    pub(crate) fn insert(&mut self, number: u32, key: RoomKey) {
        self.rooms.insert(number, key);
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<RoomKey> {
        self.rooms.get(&number).copied()
    }

    /// The room of a number that the other end uses. `None`: it has been given up meanwhile.
    pub(crate) fn known(&self, number: u32) -> Result<Option<RoomKey>, CloseReason> {
        match self.get(number) {
            None if !self.was_given(number) => Err(CloseReason::Protocol),
            key => Ok(key),
        }
    }

    /// Whether the number was given once.
    pub(crate) fn was_given(&self, number: u32) -> bool {
        (1..=self.last).contains(&number)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<RoomKey> {
        self.rooms.remove(&number)
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = RoomKey> {
        self.rooms.values().copied()
    }
}

/// How fast a peer sends what.
#[derive(Debug, Default)]
pub(crate) struct Inflow {
    control: Bucket,
    announcements: Bucket,
    subscriptions: Bucket,
    malformed: Bucket,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Inbound {
    Control,
    Announcement,
    Subscription,
    Malformed,
}

impl Inflow {
    pub(crate) fn take(&mut self, what: Inbound, now: Instant) -> Result<(), CloseReason> {
        let (bucket, limit): (_, Limit) = match what {
            Inbound::Control => (&mut self.control, CONTROL),
            Inbound::Announcement => (&mut self.announcements, ANNOUNCEMENTS),
            Inbound::Subscription => (&mut self.subscriptions, SUBSCRIPTIONS),
            Inbound::Malformed => (&mut self.malformed, MALFORMED),
        };
        match (bucket.take(now, limit), what) {
            (true, _) => Ok(()),
            (false, Inbound::Malformed) => Err(CloseReason::Malformed),
            (false, _) => Err(CloseReason::Flooded),
        }
    }
}

impl Link {
    pub(crate) fn new(direction: Direction, certificate: NodeIdentity, now: Instant) -> Self {
        Self {
            direction,
            certificate,
            peer: None,
            hello_by: now + HELLO_TIMEOUT,
            liveness: Liveness::new(now),
            goes_away: false,
            inflow: Inflow::default(),
            announced: Announced::default(),
            heard: Heard::default(),
            serving: Numbered::default(),
            feeding: Feeding::default(),
            sending: Sending::default(),
        }
    }

    pub(crate) fn is_parent(&self) -> bool {
        self.direction == Direction::ToParent
    }

    /// How far a way over this link can be relied on.
    pub(crate) fn health(&self, route: &Route) -> Health {
        if self.liveness.is_suspect() {
            Health::Suspect
        } else if self.goes_away || route.is_stale {
            Health::Degraded
        } else {
            Health::Good
        }
    }

    pub(crate) fn timeout(&self) -> Instant {
        match self.peer {
            Some(_) => self.liveness.timeout(),
            None => self.hello_by,
        }
    }

    /// Every room that something was said about.
    pub(crate) fn rooms(&self) -> BTreeSet<RoomKey> {
        let tables = [&self.heard.aliases, &self.serving, &self.feeding.numbers];
        let announced = self.announced.rooms.keys().copied();
        let others = [&self.heard.wants, &self.announced.left_out];
        tables
            .into_iter()
            .flat_map(Numbered::keys)
            .chain(announced)
            .chain(others.into_iter().flatten().copied())
            .collect()
    }
}
