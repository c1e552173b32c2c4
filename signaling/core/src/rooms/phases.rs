//! How a room's show begins, pauses and ends.

use std::time::Instant;

use lightstick_types::{Codec, Role, RoomId, RoomName, SessionId, StreamId, TrackId};

use super::registry::Registry;
use super::room::Phase;
use super::{Effect, EndReason, Event, LeaveReason, Rooms, SessionNumber};

impl Rooms {
    /// The media plane has closed the session. A publisher's room waits for their return.
    pub fn closed(&mut self, now: Instant, id: SessionId, reason: LeaveReason) {
        let Some(session) = self.registry.sessions.get(&id) else {
            return;
        };
        let publishes = session.role == Role::Publisher;
        let published = self.registry.published_room(id).is_some();
        let Some(room) = self.registry.remove(now, id, reason) else {
            return;
        };
        if publishes && reason.is_medias() {
            self.registry.room_mut(room).lost = Some(id);
        }
        if published {
            self.registry.interrupt(now, room);
        }
        self.registry.settle(room);
    }

    /// The client has ended its session (DELETE). A publisher's show is over, unless another session
    /// of theirs publishes or is parked.
    ///
    /// Returns whether there was such a session.
    pub fn delete(&mut self, now: Instant, id: SessionId) -> bool {
        self.registry.end_session(now, id, LeaveReason::Deleted)
    }

    /// A client ends a publisher's session (DELETE) whose connection is gone already: the show
    /// that waits for its return is over. Browsers that close the connection first, and then say
    /// DELETE, come this way.
    ///
    /// Returns whether a show waited for that session.
    pub fn delete_lost(&mut self, now: Instant, room: &RoomName, id: SessionId) -> bool {
        let Some(room_id) = self.registry.by_name.get(room).copied() else {
            return false;
        };
        let room = self.registry.room_mut(room_id);
        let waits = matches!(room.show.phase, Phase::Interrupted { .. });
        if !waits || room.lost != Some(id) || room.has_publisher() {
            return false;
        }
        self.registry.end(now, room_id, EndReason::PublisherLeft);
        self.registry.settle(room_id);
        true
    }

    /// An administrator has ended a session. A publisher's show is over.
    ///
    /// Returns whether there was such a session.
    pub fn kick(&mut self, now: Instant, room: &RoomName, number: SessionNumber) -> bool {
        let Some(id) = self.registry.session_by_number(room, number) else {
            return false;
        };
        self.registry.end_session(now, id, LeaveReason::Kicked)
    }

    /// An administrator has closed a room: everybody leaves, and it is gone.
    ///
    /// Returns whether there was such a room.
    pub fn close_room(&mut self, now: Instant, room: &RoomName) -> bool {
        let Some(id) = self.registry.by_name.get(room).copied() else {
            return false;
        };
        self.registry
            .empty_room(now, id, EndReason::Closed, LeaveReason::RoomClosed);
        true
    }

    /// Closes every room: the time to drain is over.
    pub fn close_all(&mut self, now: Instant) {
        let ids: Vec<RoomId> = self.registry.rooms.keys().copied().collect();
        for id in ids {
            self.registry
                .empty_room(now, id, EndReason::Drained, LeaveReason::Drained);
        }
    }

    /// The first packet of a publisher's track is in the room.
    pub fn track_started(
        &mut self,
        now: Instant,
        session: SessionId,
        track: TrackId,
        codec: Codec,
    ) {
        // An event of a publisher who has left since says nothing about the show.
        let Some(id) = self.registry.published_room(session) else {
            return;
        };
        let room = self.registry.room_mut(id);
        room.show.tracks.retain(|(other, _)| *other != track);
        room.show.tracks.push((track, codec));
        room.show.tracks.sort_by_key(|(track, _)| *track);
        let name = room.name.clone();
        let event = match room.show.phase {
            Phase::Live => return,
            Phase::Interrupted { .. } => Event::PublisherReturned { room: name },
            Phase::NotStarted | Phase::Ended { .. } => {
                room.show.live_since = Some(now);
                Event::RoomStarted { room: name }
            }
        };
        room.show.phase = Phase::Live;
        self.registry.effects.push_back(Effect::Event(event));
        self.registry.effects.push_back(Effect::RoomChanged(id));
        self.registry.settle(id);
    }

    /// The video streams that a publisher sends have changed.
    pub fn layers_changed(&mut self, session: SessionId, streams: Vec<StreamId>) {
        if let Some(id) = self.registry.published_room(session) {
            self.registry.set_streams(id, streams);
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.registry.deadlines.first().copied()
            && at <= now
        {
            let room = self.registry.room_mut(id);
            if room.audience.count_due.is_some_and(|due| due <= now) {
                room.audience.count_due = None;
                room.audience.counted_at = Some(now);
                self.registry.effects.push_back(Effect::RoomChanged(id));
            }
            let room = self.registry.room_mut(id);
            if room.phase_due().is_some_and(|due| due <= now) {
                match room.show.phase {
                    Phase::Interrupted { .. } => {
                        self.registry.end(now, id, EndReason::GraceExpired)
                    }
                    _ => self.registry.empty_room(
                        now,
                        id,
                        EndReason::GraceExpired,
                        LeaveReason::RoomExpired,
                    ),
                }
            }
            self.registry.settle(id);
        }
    }
}

impl Registry {
    pub(super) fn set_streams(&mut self, id: RoomId, streams: Vec<StreamId>) {
        let room = self.room_mut(id);
        if room.show.streams == streams {
            return;
        }
        room.show.streams = streams;
        let room = &self.rooms[&id];
        let event = Event::LayersChanged {
            room: room.name.clone(),
            tracks: self.video_tracks(room),
            main: self.main_of(room),
        };
        self.effects.push_back(Effect::Event(event));
        self.effects.push_back(Effect::RoomChanged(id));
    }

    pub(super) fn end_session(&mut self, now: Instant, id: SessionId, reason: LeaveReason) -> bool {
        let Some(session) = self.sessions.get(&id) else {
            return false;
        };
        let publishes = session.role == Role::Publisher;
        let published = self.published_room(id).is_some();
        let Some(room_id) = self.remove(now, id, reason) else {
            return false;
        };
        if publishes && !self.room_mut(room_id).has_publisher() {
            let reason = match reason {
                LeaveReason::Kicked => EndReason::Kicked,
                _ => EndReason::PublisherLeft,
            };
            self.end(now, room_id, reason);
        } else if published {
            self.interrupt(now, room_id);
        }
        self.settle(room_id);
        true
    }

    /// The publisher is gone, but may come back. A show that had not begun has not begun still.
    pub(super) fn interrupt(&mut self, now: Instant, id: RoomId) {
        self.set_streams(id, Vec::new());
        let grace = self.config.grace;
        let room = self.room_mut(id);
        if !matches!(room.show.phase, Phase::Live) {
            return;
        }
        room.show.phase = Phase::Interrupted { until: now + grace };
        let room = room.name.clone();
        self.effects
            .push_back(Effect::Event(Event::PublisherInterrupted { room, grace }));
        self.effects.push_back(Effect::RoomChanged(id));
    }

    /// The show is over. A show that had not begun has not begun still.
    pub(super) fn end(&mut self, now: Instant, id: RoomId, reason: EndReason) {
        let until = now + self.config.ended_linger;
        let room = self.room_mut(id);
        if !matches!(room.show.phase, Phase::Live | Phase::Interrupted { .. }) {
            return;
        }
        room.show.phase = Phase::Ended { until };
        room.show.owner = None;
        room.show.live_since = None;
        room.show.tracks.clear();
        room.show.streams.clear();
        room.show.main = None;
        let room = room.name.clone();
        self.effects
            .push_back(Effect::Event(Event::RoomEnded { room, reason }));
        self.effects.push_back(Effect::EndShow(id));
        self.effects.push_back(Effect::RoomChanged(id));
    }

    pub(super) fn empty_room(
        &mut self,
        now: Instant,
        id: RoomId,
        end: EndReason,
        leave: LeaveReason,
    ) {
        self.end(now, id, end);
        let sessions: Vec<SessionId> = self.room_mut(id).sessions.values().copied().collect();
        for session in sessions {
            self.remove(now, session, leave);
        }
        self.settle(id);
    }
}
