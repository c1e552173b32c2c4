//! Rooms and sessions, with every index and count that must agree with them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use lightstick_types::{Hint, Network, Role, RoomId, RoomName, SessionId, ShardId};

use super::room::{Phase, Room};
use super::waiting::{Opener, WaitingRooms};
use super::{
    Admission, Counts, Effect, Event, LeaveReason, Participant, Refusal, RoomsConfig, SessionNumber,
};

pub(super) struct Session {
    pub(super) number: SessionNumber,
    pub(super) room: RoomId,
    pub(super) role: Role,
    pub(super) participant: Option<Participant>,
    pub(super) address: Network,
    pub(super) since: Instant,
    /// The media plane's shard; none while the session is being opened.
    pub(super) shard: Option<ShardId>,
    pub(super) connected: bool,
    /// What is wrong with a publisher's stream, and since when.
    pub(super) hints: Vec<(Hint, Instant)>,
    /// Video tracks that a publisher has announced.
    pub(super) video_tracks: usize,
}

/// Rooms and their sessions.
pub(super) struct Registry {
    pub(super) config: RoomsConfig,
    pub(super) rooms: BTreeMap<RoomId, Room>,
    pub(super) by_name: HashMap<RoomName, RoomId>,
    pub(super) sessions: HashMap<SessionId, Session>,
    pub(super) by_address: HashMap<Network, usize>,
    pub(super) waiting: WaitingRooms,
    pub(super) counts: Counts,
    pub(super) deadlines: BTreeSet<(Instant, RoomId)>,
    pub(super) effects: VecDeque<Effect>,
    last_room: u64,
    last_session: SessionNumber,
}

impl Registry {
    pub(super) fn new(config: RoomsConfig) -> Self {
        Self {
            config,
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
        }
    }

    /// Puts an admitted session into its room.
    pub(super) fn insert(&mut self, now: Instant, id: RoomId, request: Admission) {
        self.last_session += 1;
        let number = self.last_session;
        let address = Network::from(request.address);
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
        let room = self.room_mut(id);
        room.sessions.insert(number, request.session);
        match request.role {
            Role::Viewer => room.audience.admitted += 1,
            Role::Publisher => self.park(now, id, request.session),
        }
    }

    pub(super) fn may_watch(
        &self,
        known: Option<RoomId>,
        request: &Admission,
    ) -> Result<(), Refusal> {
        let retry_after = self.config.retry_after;
        let room = known.map(|id| &self.rooms[&id]);
        let live = room.is_some_and(|room| matches!(room.show.phase, Phase::Live));
        if !live && !self.config.viewers_wait {
            return Err(Refusal::NotLive { retry_after });
        }
        match room {
            Some(room) if room.audience.admitted >= self.config.limits.viewers_per_room_max => {
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

    pub(super) fn create_room(&mut self, now: Instant, name: RoomName, opener: Opener) -> RoomId {
        self.last_room += 1;
        let id = RoomId(self.last_room);
        self.by_name.insert(name.clone(), id);
        self.waiting.add(&opener);
        self.rooms.insert(id, Room::new(name, now, opener));
        self.counts.rooms += 1;
        id
    }

    pub(super) fn room_mut(&mut self, id: RoomId) -> &mut Room {
        self.rooms
            .get_mut(&id)
            .expect("a room outlives its sessions")
    }

    /// Takes a session out of every count and index. Its room is the caller's to settle.
    pub(super) fn remove(
        &mut self,
        now: Instant,
        id: SessionId,
        reason: LeaveReason,
    ) -> Option<RoomId> {
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
                room.audience.admitted -= 1;
                room.audience.watching -= usize::from(open);
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

    /// The number of viewers has changed: tell them now, or when the interval is over.
    pub(super) fn count_changed(&mut self, now: Instant, id: RoomId) {
        let interval = self.config.count_interval;
        let room = self.room_mut(id);
        match room.audience.counted_at.map(|at| at + interval) {
            Some(next) if next > now => room.audience.count_due = Some(next),
            _ => {
                room.audience.counted_at = Some(now);
                room.audience.count_due = None;
                self.effects.push_back(Effect::RoomChanged(id));
            }
        }
    }

    /// Brings counts and deadlines in line with a room that has changed, and drops it where
    /// nothing is left of it.
    pub(super) fn settle(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let idle = room.is_idle();
        let started = room.is_started() && !idle;
        if (started || idle)
            && let Some(opener) = room.opener.take()
        {
            self.waiting.remove(&opener);
        }
        if started != room.counted_started {
            room.counted_started = started;
            if started {
                self.counts.rooms_started += 1;
            } else {
                self.counts.rooms_started -= 1;
            }
        }
        let due = if idle { None } else { room.due() };
        if due != room.scheduled {
            if let Some(at) = room.scheduled {
                self.deadlines.remove(&(at, id));
            }
            if let Some(at) = due {
                self.deadlines.insert((at, id));
            }
            room.scheduled = due;
        }
        if idle {
            let room = self.rooms.remove(&id).expect("it was just here");
            self.by_name.remove(&room.name);
            self.counts.rooms -= 1;
            self.effects.push_back(Effect::RoomGone(id));
        }
    }

    pub(super) fn session_by_number(
        &self,
        room: &RoomName,
        number: SessionNumber,
    ) -> Option<SessionId> {
        let room = &self.rooms[self.by_name.get(room)?];
        room.sessions.get(&number).copied()
    }
}
