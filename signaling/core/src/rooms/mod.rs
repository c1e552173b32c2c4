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
mod room;
mod tracks;
mod views;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{Hint, Network, Role, RoomId, RoomName, SessionId, ShardId};

pub use events::{Effect, EndReason, Event, LeaveReason};
use limits::TotalRate;
pub use limits::{AddressRates, Limits, Rate};
pub use publishing::PARKED_MAX;
use room::{Phase, Room};
pub use tracks::NoMain;
pub use views::{Activity, Counts, RoomStatus, RoomSummary, SessionSummary, VideoTrack};
use waiting::{Opener, WaitingRooms};

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
    /// Limits.
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
    /// A fresh id.
    pub session: SessionId,
    /// Into which room.
    pub room: RoomName,
    /// As what.
    pub role: Role,
    /// Who, where the token says so. Publishers always have one.
    pub participant: Option<Participant>,
    /// Whether a publisher may end another's session.
    pub takeover: bool,
    /// From where.
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
    NotLive {
        /// When to come again.
        retry_after: Duration,
    },
    /// [`Limits::rooms_max`], [`Limits::waiting_rooms_max`] or
    /// [`Limits::waiting_rooms_per_client_max`].
    #[error("the server holds as many rooms as it may")]
    RoomsFull {
        /// When to come again.
        retry_after: Duration,
    },
    /// [`Limits::viewers_per_room_max`].
    #[error("the room is full")]
    RoomFull {
        /// When to come again.
        retry_after: Duration,
    },
    /// [`Limits::sessions_per_address_max`].
    #[error("too many sessions from this address")]
    AddressFull {
        /// When to come again.
        retry_after: Duration,
    },
    /// [`Limits::joins_per_address`].
    #[error("too many joins from this address")]
    AddressRate {
        /// When to come again.
        retry_after: Duration,
    },
    /// [`Limits::refused_offers_per_address`].
    #[error("too many offers from this address were refused")]
    OffersRefused {
        /// When to come again.
        retry_after: Duration,
    },
    /// [`Limits::joins`].
    #[error("too many joins at once")]
    JoinRate {
        /// When to come again.
        retry_after: Duration,
    },
    /// The server is about to stop.
    #[error("the server is shutting down")]
    Draining {
        /// When to come again.
        retry_after: Duration,
    },
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

struct Session {
    number: SessionNumber,
    room: RoomId,
    role: Role,
    participant: Option<Participant>,
    address: Network,
    since: Instant,
    /// The media plane's shard; none while the session is being opened.
    shard: Option<ShardId>,
    connected: bool,
    /// What is wrong with a publisher's stream, and since when.
    hints: Vec<(Hint, Instant)>,
    /// Video tracks that a publisher has announced.
    video_tracks: usize,
}

/// The registry. See the module's description for the order of calls.
pub struct Rooms {
    config: RoomsConfig,
    rooms: BTreeMap<RoomId, Room>,
    by_name: HashMap<RoomName, RoomId>,
    sessions: HashMap<SessionId, Session>,
    by_address: HashMap<Network, usize>,
    waiting: WaitingRooms,
    counts: Counts,
    deadlines: BTreeSet<(Instant, RoomId)>,
    effects: VecDeque<Effect>,
    join_rates: AddressRates,
    join_rate: TotalRate,
    refused_rates: AddressRates,
    request_rates: AddressRates,
    last_room: u64,
    last_session: SessionNumber,
    draining: bool,
}

impl Rooms {
    /// An empty registry.
    #[must_use]
    pub fn new(config: RoomsConfig) -> Self {
        let limits = &config.limits;
        Self {
            join_rates: AddressRates::new(limits.joins_per_address, limits.addresses_max),
            join_rate: TotalRate::new(limits.joins),
            refused_rates: AddressRates::new(
                limits.refused_offers_per_address,
                limits.addresses_max,
            ),
            request_rates: AddressRates::new(limits.requests_per_address, limits.addresses_max),
            rooms: BTreeMap::new(),
            by_name: HashMap::new(),
            sessions: HashMap::new(),
            by_address: HashMap::new(),
            waiting: WaitingRooms::default(),
            counts: Counts::default(),
            deadlines: BTreeSet::new(),
            effects: VecDeque::new(),
            last_room: 0,
            last_session: 0,
            draining: false,
            config,
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
        assert!(!self.sessions.contains_key(&request.session));
        let retry_after = self.config.retry_after;
        if self.draining {
            return Err(Refusal::Draining { retry_after });
        }
        let address = Network::from(request.address);
        self.refused_rates
            .check(now, address)
            .map_err(|retry_after| Refusal::OffersRefused { retry_after })?;
        self.join_rates
            .take(now, address)
            .map_err(|retry_after| Refusal::AddressRate { retry_after })?;
        self.join_rate
            .take(now)
            .map_err(|retry_after| Refusal::JoinRate { retry_after })?;

        let known = self.by_name.get(&request.room).copied();
        match request.role {
            Role::Publisher => self.may_publish(known, &request)?,
            Role::Viewer => self.may_watch(known, &request)?,
        }
        // A session that this one replaces is about to make room.
        let replaced = match (request.role, known) {
            (Role::Publisher, Some(room)) => self.publishers_at(room, address),
            _ => 0,
        };
        let held = self.by_address.get(&address).copied().unwrap_or_default();
        if held - replaced >= self.config.limits.sessions_per_address_max {
            return Err(Refusal::AddressFull { retry_after });
        }

        let id = known.unwrap_or_else(|| {
            let opener = Opener::of(request.participant.as_ref(), address);
            self.create_room(now, request.room, opener)
        });
        self.last_session += 1;
        let number = self.last_session;
        *self.by_address.entry(address).or_default() += 1;
        self.sessions.insert(
            request.session,
            Session {
                number,
                room: id,
                role: request.role,
                participant: request.participant,
                address,
                since: now,
                shard: None,
                connected: false,
                hints: Vec::new(),
                video_tracks: 0,
            },
        );
        let room = self.rooms.get_mut(&id).expect("the room was just found");
        room.sessions.insert(number, request.session);
        match request.role {
            Role::Viewer => room.viewers += 1,
            Role::Publisher => self.park(now, id, request.session),
        }
        self.settle(id);
        Ok(id)
    }

    fn may_watch(&self, known: Option<RoomId>, request: &Admission) -> Result<(), Refusal> {
        let retry_after = self.config.retry_after;
        let room = known.map(|id| &self.rooms[&id]);
        let live = room.is_some_and(|room| matches!(room.phase, Phase::Live));
        if !live && !self.config.viewers_wait {
            return Err(Refusal::NotLive { retry_after });
        }
        match room {
            Some(room) if room.viewers >= self.config.limits.viewers_per_room_max => {
                Err(Refusal::RoomFull { retry_after })
            }
            None => {
                let opener = Opener::of(request.participant.as_ref(), request.address.into());
                match self.waiting.has_room_for(&opener, &self.config.limits) {
                    true => Ok(()),
                    false => Err(Refusal::RoomsFull { retry_after }),
                }
            }
            Some(_) => Ok(()),
        }
    }

    fn create_room(&mut self, now: Instant, name: RoomName, opener: Opener) -> RoomId {
        self.last_room += 1;
        let id = RoomId(self.last_room);
        self.by_name.insert(name.clone(), id);
        self.waiting.add(&opener);
        self.rooms.insert(id, Room::new(name, now, opener));
        self.counts.rooms += 1;
        id
    }

    /// The media plane has opened the session on `shard`.
    pub fn opened(&mut self, now: Instant, id: SessionId, shard: ShardId) -> Opened {
        let Some(session) = self.sessions.get_mut(&id) else {
            self.effects.push_back(Effect::Close { session: id, shard });
            return Opened::Gone;
        };
        session.shard = Some(shard);
        let (room_id, role, number) = (session.room, session.role, session.number);
        let participant = session.participant.clone();
        let room = self.room_mut(room_id);
        let name = room.name.clone();
        match role {
            Role::Viewer => {
                room.watching += 1;
                self.counts.viewers += 1;
                self.count_changed(now, room_id);
            }
            Role::Publisher => {
                debug_assert!(room.parked.contains(&id));
                self.counts.publishers += 1;
            }
        }
        self.effects.push_back(Effect::Event(Event::SessionJoined {
            session: id,
            number,
            room: name,
            role,
            participant,
        }));
        self.settle(room_id);
        Opened::Kept
    }

    /// The media plane did not open the session. Nothing of it stays.
    pub fn open_failed(&mut self, now: Instant, id: SessionId) {
        if let Some(room) = self.remove(now, id, LeaveReason::Abandoned) {
            self.settle(room);
        }
    }

    /// The media plane cannot answer the session's offer. It was no join, so it takes nothing of
    /// the budgets of joins: whoever sends nonsense must not keep others out.
    pub fn offer_refused(&mut self, now: Instant, id: SessionId) {
        if let Some(session) = self.sessions.get(&id) {
            self.join_rates.give_back(session.address);
            self.join_rate.give_back();
            // Its refusals are counted in a budget that may be used up meanwhile.
            let _ = self.refused_rates.take(now, session.address);
        }
        self.open_failed(now, id);
    }

    /// ICE and DTLS are up.
    pub fn connected(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.connected = true;
        }
    }

    /// Stops admitting anybody.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether [`Rooms::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Takes one request on a session's URL from an address.
    ///
    /// # Errors
    /// The time after which to come again, past [`Limits::requests_per_address`].
    pub fn take_request(&mut self, now: Instant, address: IpAddr) -> Result<(), Duration> {
        self.request_rates.take(now, address.into())
    }

    /// What is to be done, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Rooms::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn room_mut(&mut self, id: RoomId) -> &mut Room {
        self.rooms
            .get_mut(&id)
            .expect("a room outlives its sessions")
    }

    /// Takes a session out of every count and index. Its room is the caller's to settle.
    fn remove(&mut self, now: Instant, id: SessionId, reason: LeaveReason) -> Option<RoomId> {
        let session = self.sessions.remove(&id)?;
        let held = self
            .by_address
            .get_mut(&session.address)
            .expect("counted when admitted");
        *held -= 1;
        if *held == 0 {
            self.by_address.remove(&session.address);
        }
        let open = session.shard.is_some();
        let room = self.room_mut(session.room);
        room.sessions.remove(&session.number);
        let name = room.name.clone();
        match session.role {
            Role::Viewer => {
                room.viewers -= 1;
                room.watching -= usize::from(open);
                self.counts.viewers -= usize::from(open);
                if open {
                    self.count_changed(now, session.room);
                }
            }
            Role::Publisher => {
                room.parked.retain(|parked| *parked != id);
                let published = room.publisher.take_if(|holder| *holder == id).is_some();
                if published && !session.hints.is_empty() {
                    self.tell_hints(session.room);
                }
                self.counts.publishers -= usize::from(open);
            }
        }
        if let Some(shard) = session.shard {
            if !reason.is_medias() {
                self.effects.push_back(Effect::Close { session: id, shard });
            }
            self.effects.push_back(Effect::Event(Event::SessionLeft {
                session: id,
                number: session.number,
                room: name,
                role: session.role,
                participant: session.participant,
                reason,
                after: now.saturating_duration_since(session.since),
            }));
        }
        Some(session.room)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
