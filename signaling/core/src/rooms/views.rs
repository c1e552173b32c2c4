//! What the registry shows of itself.

use std::ops::Bound;
use std::time::Instant;

use lightstick_types::{Role, RoomId, RoomName, SessionId, ShardId, TrackId};

use super::registry::{Registry, Session};
use super::room::{Phase, Room};
use super::summary::{Activity, Counts, RoomStatus, RoomSummary, SessionSummary};
use super::{Rooms, SessionNumber};

/// What can be read of [`Rooms`].
#[derive(Clone, Copy)]
pub struct View<'a>(&'a Registry);

impl Rooms {
    /// What can be read.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View(&self.registry)
    }
}

impl View<'_> {
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts
    }

    /// Sessions, those included that are being opened.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.0.sessions.len()
    }

    /// What a room's viewers are told.
    #[must_use]
    pub fn status(&self, id: RoomId) -> Option<RoomStatus> {
        self.0.rooms.get(&id).map(|room| RoomStatus {
            activity: room.activity(),
            tracks: self.0.video_tracks(room),
            main: self.0.main_of(room),
            viewers: room.audience.watching,
        })
    }

    #[must_use]
    pub fn room(&self, now: Instant, name: &RoomName) -> Option<RoomSummary> {
        let id = *self.0.by_name.get(name)?;
        Some(self.summary(now, id, &self.0.rooms[&id]))
    }

    /// Up to `limit` rooms after one, oldest first, of those that `wanted` takes.
    pub fn list_rooms(
        &self,
        now: Instant,
        after: Option<RoomId>,
        limit: usize,
        mut wanted: impl FnMut(&RoomName) -> bool,
    ) -> Vec<RoomSummary> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.0
            .rooms
            .range((start, Bound::Unbounded))
            .filter(|(_, room)| wanted(&room.name))
            .take(limit)
            .map(|(id, room)| self.summary(now, *id, room))
            .collect()
    }

    /// Up to `limit` opened sessions of a room after one, oldest first.
    #[must_use]
    pub fn list_sessions(
        &self,
        now: Instant,
        room: &RoomName,
        after: SessionNumber,
        limit: usize,
    ) -> Option<Vec<SessionSummary>> {
        let room = &self.0.rooms[self.0.by_name.get(room)?];
        let listed = room
            .sessions
            .range((Bound::Excluded(after), Bound::Unbounded))
            .filter_map(|(_, id)| {
                let publishing = room.publisher == Some(*id);
                session_summary(now, *id, &self.0.sessions[id], publishing)
            })
            .take(limit)
            .collect();
        Some(listed)
    }

    /// An opened session, if it is in that room and has that role.
    #[must_use]
    pub fn find(&self, room: &RoomName, role: Role, id: SessionId) -> Option<(RoomId, ShardId)> {
        let session = self.0.sessions.get(&id)?;
        let matches = session.role == role && self.0.rooms[&session.room].name == *room;
        let shard = session.shard?;
        matches.then_some((session.room, shard))
    }

    /// The number of an admitted session.
    #[must_use]
    pub fn number(&self, id: SessionId) -> Option<SessionNumber> {
        self.0.sessions.get(&id).map(|session| session.number)
    }

    fn summary(&self, now: Instant, id: RoomId, room: &Room) -> RoomSummary {
        let main = self.0.main_of(room);
        RoomSummary {
            id,
            name: room.name.clone(),
            activity: room.activity(),
            tracks: room.show.tracks.clone(),
            layers: main.map_or_else(Vec::new, |main| room.layers_of(main)),
            main,
            hints: room
                .publisher
                .iter()
                .flat_map(|id| &self.0.sessions[id].hints)
                .map(|(hint, since)| (*hint, now.saturating_duration_since(*since)))
                .collect(),
            viewers: room.audience.watching,
            publisher: room
                .publisher
                .and_then(|id| self.0.sessions[&id].participant.clone()),
            age: now.saturating_duration_since(room.created),
            live_for: room
                .show
                .live_since
                .map(|since| now.saturating_duration_since(since)),
        }
    }

    /// Whether a room's publisher has announced a video track.
    #[must_use]
    pub fn has_track(&self, room: RoomId, track: TrackId) -> bool {
        let room = self.0.rooms.get(&room);
        room.is_some_and(|room| self.0.videos(room).any(|known| known == track))
    }
}

fn session_summary(
    now: Instant,
    id: SessionId,
    session: &Session,
    publishing: bool,
) -> Option<SessionSummary> {
    Some(SessionSummary {
        session: id,
        number: session.number,
        role: session.role,
        participant: session.participant.clone(),
        shard: session.shard?,
        connected: session.connected,
        publishing,
        age: now.saturating_duration_since(session.since),
    })
}

impl Room {
    fn activity(&self) -> Activity {
        match self.show.phase {
            Phase::Live => Activity::Live,
            Phase::NotStarted => Activity::NotStarted,
            Phase::Interrupted { .. } => Activity::Interrupted,
            Phase::Ended { .. } => Activity::Ended,
        }
    }
}
