//! The registry of rooms and sessions.
//!
//! One owner drives it: it calls a method for each thing that happened, then drains
//! [`Rooms::poll_effect`], and calls [`Rooms::handle_timeout`] at [`Rooms::poll_timeout`].
//!
//! A session is admitted first ([`Rooms::admit`]), which takes its place in every count; then the
//! media plane opens it ([`Rooms::opened`]) or does not ([`Rooms::open_failed`]). A publisher's
//! session is parked then. With its first media ([`Rooms::publisher_ready`]) it is promoted, and
//! replaces the one before: nothing less ends a running show.

mod events;
mod limits;
mod phases;
mod publishing;
mod registry;
mod room;
mod summary;
mod tracks;
mod views;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{Network, Role, RoomId, RoomName, SessionId, ShardId};

pub use events::{Effect, EndReason, Event, LeaveReason};
use limits::Budgets;
pub use limits::Limits;
pub use publishing::PARKED_MAX;
use registry::Registry;
pub use summary::{Activity, Counts, RoomStatus, RoomSummary, SessionSummary, VideoTrack};
pub use tracks::NoMain;
pub use views::View;
use waiting::Opener;

/// A participant's name: the `sub` of their token.
pub type Participant = Arc<str>;

/// A session's number in lists: no secret, unlike its id. Counted up, never reused.
pub type SessionNumber = u64;

/// Settings of the registry.
#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// How long a room waits for an artist whose connection was lost.
    pub grace: Duration,
    /// Whether viewers may come before the artist; else they are refused with
    /// [`Refusal::NotLive`].
    pub viewers_wait: bool,
    /// How long viewers may stay in a room whose show is over.
    pub ended_linger: Duration,
    /// When refused clients are told to come again, where no better time is known.
    pub retry_after: Duration,
    /// The viewers of a room are told their number at most once in this time.
    pub count_interval: Duration,
    pub limits: Limits,
}

impl Default for RoomsConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            viewers_wait: true,
            ended_linger: Duration::from_secs(300),
            retry_after: Duration::from_secs(5),
            count_interval: Duration::from_secs(1),
            limits: Limits::default(),
        }
    }
}

/// A request to join.
#[derive(Clone, Debug)]
pub struct Admission {
    pub session: SessionId,
    pub room: RoomName,
    pub role: Role,
    /// Who, where the token says so. Publishers always have one.
    pub participant: Option<Participant>,
    /// Whether a publisher may end another's session.
    pub takeover: bool,
    pub address: IpAddr,
}

/// Why a join is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody else publishes, or the room waits for their return.
    #[error("somebody else publishes in this room")]
    RoomBusy,
    /// No publisher, and viewers do not wait here.
    #[error("nobody is live in this room")]
    NotLive { retry_after: Duration },
    /// [`Limits::rooms_max`], [`Limits::waiting_rooms_max`] or
    /// [`Limits::waiting_rooms_per_client_max`].
    #[error("the server holds as many rooms as it may")]
    RoomsFull { retry_after: Duration },
    /// [`Limits::viewers_per_room_max`].
    #[error("the room is full")]
    RoomFull { retry_after: Duration },
    /// [`Limits::sessions_per_address_max`].
    #[error("too many sessions from this address")]
    AddressFull { retry_after: Duration },
    /// [`Limits::joins_per_address`].
    #[error("too many joins from this address")]
    AddressRate { retry_after: Duration },
    /// [`Limits::refused_offers_per_address`].
    #[error("too many offers from this address were refused")]
    OffersRefused { retry_after: Duration },
    /// [`Limits::joins`].
    #[error("too many joins at once")]
    JoinRate { retry_after: Duration },
    /// The server is about to stop.
    #[error("the server is shutting down")]
    Draining { retry_after: Duration },
}

/// Whether an opened session may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// It is in its room.
    Kept,
    /// It was closed or replaced while it was opened; [`Effect::Close`] follows.
    Gone,
}

/// The registry. See the module's description for the order of calls.
pub struct Rooms {
    registry: Registry,
    budgets: Budgets,
    draining: bool,
}

impl Rooms {
    #[must_use]
    pub fn new(config: RoomsConfig) -> Self {
        Self {
            budgets: Budgets::new(&config.limits),
            registry: Registry::new(config),
            draining: false,
        }
    }

    /// Gives a session its place. [`Rooms::opened`], [`Rooms::open_failed`] or
    /// [`Rooms::offer_refused`] must follow, unless
    /// the session is removed by other means before.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then, but for the rates.
    ///
    /// # Panics
    /// If the session's id is in use, or a publisher has no participant.
    pub fn admit(&mut self, now: Instant, request: Admission) -> Result<RoomId, Refusal> {
        assert!(!self.registry.sessions.contains_key(&request.session));
        let retry_after = self.registry.config.retry_after;
        if self.draining {
            return Err(Refusal::Draining { retry_after });
        }
        let address = Network::from(request.address);
        self.budgets.take_join(now, address)?;

        let known = self.registry.by_name.get(&request.room).copied();
        match request.role {
            Role::Publisher => self.registry.may_publish(known, &request)?,
            Role::Viewer => self.registry.may_watch(known, &request)?,
        }
        // A session that this one replaces is about to make room.
        let replaced = match (request.role, known) {
            (Role::Publisher, Some(room)) => self.registry.publishers_at(room, address),
            _ => 0,
        };
        let held = self
            .registry
            .by_address
            .get(&address)
            .copied()
            .unwrap_or_default();
        if held - replaced >= self.registry.config.limits.sessions_per_address_max {
            return Err(Refusal::AddressFull { retry_after });
        }

        let id = known.unwrap_or_else(|| {
            let opener = Opener::of(request.participant.as_ref(), address);
            self.registry.create_room(now, request.room.clone(), opener)
        });
        self.registry.insert(now, id, request);
        self.registry.settle(id);
        Ok(id)
    }

    /// The media plane has opened the session on `shard`.
    pub fn opened(&mut self, now: Instant, id: SessionId, shard: ShardId) -> Opened {
        let Some(session) = self.registry.sessions.get_mut(&id) else {
            self.registry
                .effects
                .push_back(Effect::Close { session: id, shard });
            return Opened::Gone;
        };
        session.shard = Some(shard);
        let (room_id, role, number) = (session.room, session.role, session.number);
        let participant = session.participant.clone();
        let room = self.registry.room_mut(room_id);
        let name = room.name.clone();
        match role {
            Role::Viewer => {
                room.audience.watching += 1;
                self.registry.counts.viewers += 1;
                self.registry.count_changed(now, room_id);
            }
            Role::Publisher => {
                debug_assert!(room.parked.contains(&id));
                self.registry.counts.publishers += 1;
            }
        }
        self.registry
            .effects
            .push_back(Effect::Event(Event::SessionJoined {
                session: id,
                number,
                room: name,
                role,
                participant,
            }));
        self.registry.settle(room_id);
        Opened::Kept
    }

    /// The media plane did not open the session. Nothing of it stays.
    pub fn open_failed(&mut self, now: Instant, id: SessionId) {
        if let Some(room) = self.registry.remove(now, id, LeaveReason::Abandoned) {
            self.registry.settle(room);
        }
    }

    /// The media plane cannot answer the session's offer. It was no join, so it takes nothing of
    /// the budgets of joins: whoever sends nonsense must not keep others out.
    pub fn offer_refused(&mut self, now: Instant, id: SessionId) {
        if let Some(session) = self.registry.sessions.get(&id) {
            self.budgets.offer_refused(now, session.address);
        }
        self.open_failed(now, id);
    }

    /// ICE and DTLS are up.
    pub fn connected(&mut self, id: SessionId) {
        if let Some(session) = self.registry.sessions.get_mut(&id) {
            session.connected = true;
        }
    }

    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes one request on a session's URL from an address.
    ///
    /// # Errors
    /// The time after which to come again, past [`Limits::requests_per_address`].
    pub fn take_request(&mut self, now: Instant, address: IpAddr) -> Result<(), Duration> {
        self.budgets.take_request(now, address.into())
    }

    /// What is to be done, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.registry.effects.pop_front()
    }

    /// When [`Rooms::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.registry.deadlines.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
