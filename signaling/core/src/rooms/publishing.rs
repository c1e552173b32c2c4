//! Who publishes: which sessions may come, and which of them is its room's publisher.

use std::time::Instant;

use lightstick_types::{Hint, Network, RoomId, SessionId};

use super::registry::Registry;
use super::room::Room;
use super::{Admission, Effect, Event, LeaveReason, Refusal, Rooms};

/// Publisher sessions of a room that are parked at most. Past it, the oldest goes: the later request
/// is what the artist wants now.
pub const PARKED_MAX: usize = 2;

impl Rooms {
    /// The first media of a parked publisher has come: it is promoted, and replaces the publisher
    /// before it, and those that were parked before it.
    pub fn publisher_ready(&mut self, now: Instant, id: SessionId) {
        // It may have been closed meanwhile.
        let Some(session) = self.registry.sessions.get(&id) else {
            return;
        };
        let Some(shard) = session.shard else {
            return;
        };
        let (room_id, participant) = (session.room, session.participant.clone());
        let room = self.registry.room_mut(room_id);
        let Some(place) = room.parked.iter().position(|parked| *parked == id) else {
            return;
        };
        let mut replaced: Vec<SessionId> = room.parked.drain(..=place).collect();
        replaced.pop();
        let before = room.publisher.replace(id);
        replaced.extend(before);
        room.show.owner = participant;
        room.show.tracks.clear();
        self.registry
            .effects
            .push_back(Effect::Promote { session: id, shard });
        // To the media plane it is a new source, of which nothing was chosen yet.
        let track = self.registry.rooms[&room_id].show.main;
        if track.is_some() {
            let main = Effect::Main {
                room: room_id,
                track,
            };
            self.registry.effects.push_back(main);
        }
        self.registry
            .effects
            .push_back(Effect::RoomChanged(room_id));
        if self.registry.hints_of(before) != self.registry.hints_of(Some(id)) {
            self.registry.tell_hints(room_id);
        }
        for session in replaced {
            self.registry.remove(now, session, LeaveReason::Replaced);
        }
        self.registry.settle(room_id);
    }

    /// The media plane has looked at a publisher's stream, and finds other faults than before. Of a
    /// parked session the room says nothing.
    pub fn hints_changed(&mut self, now: Instant, id: SessionId, hints: Vec<Hint>) {
        let Some(session) = self.registry.sessions.get_mut(&id) else {
            return;
        };
        let before = std::mem::take(&mut session.hints);
        let since = |hint: &Hint| {
            let same = before.iter().find(|(before, _)| before.code == hint.code);
            same.map_or(now, |(_, since)| *since)
        };
        session.hints = hints.iter().map(|hint| (*hint, since(hint))).collect();
        let same = before.iter().map(|(hint, _)| hint).eq(&hints);
        if !same && let Some(room) = self.registry.published_room(id) {
            self.registry.tell_hints(room);
        }
    }
}

impl Registry {
    pub(super) fn may_publish(
        &self,
        known: Option<RoomId>,
        request: &Admission,
    ) -> Result<(), Refusal> {
        let participant = request.participant.as_ref();
        assert!(participant.is_some(), "a publisher's token names them");
        let room = known.map(|id| &self.rooms[&id]);
        if let Some(room) = room
            && !request.takeover
        {
            let holders = room
                .publishers()
                .map(|id| self.sessions[&id].participant.as_ref())
                .chain(room.held_for().map(Some));
            for holder in holders {
                if holder != participant {
                    return Err(Refusal::RoomBusy);
                }
            }
        }
        if !room.is_some_and(Room::is_started)
            && self.counts.rooms_started >= self.config.limits.rooms_max
        {
            return Err(Refusal::RoomsFull {
                retry_after: self.config.retry_after,
            });
        }
        Ok(())
    }

    /// The sessions of an address that another publisher of the room replaces, now or with its first
    /// media.
    pub(super) fn publishers_at(&self, room: RoomId, address: Network) -> usize {
        self.rooms[&room]
            .publishers()
            .filter(|id| self.sessions[id].address == address)
            .count()
    }

    /// Puts an admitted publisher behind those that are parked already.
    pub(super) fn park(&mut self, now: Instant, room: RoomId, id: SessionId) {
        let parked = &mut self.room_mut(room).parked;
        parked.push(id);
        if parked.len() > PARKED_MAX {
            let oldest = parked[0];
            self.remove(now, oldest, LeaveReason::Replaced);
        }
    }

    /// Reports what is wrong with the room's publisher.
    pub(super) fn tell_hints(&mut self, id: RoomId) {
        let room = &self.rooms[&id];
        let event = Event::HintsChanged {
            room: room.name.clone(),
            hints: self.hints_of(room.publisher),
        };
        self.effects.push_back(Effect::Event(event));
    }

    pub(super) fn hints_of(&self, publisher: Option<SessionId>) -> Vec<Hint> {
        let session = publisher.and_then(|id| self.sessions.get(&id));
        let hints = session.iter().flat_map(|session| &session.hints);
        hints.map(|(hint, _)| *hint).collect()
    }

    /// The room of which a session is the publisher.
    pub(super) fn published_room(&self, id: SessionId) -> Option<RoomId> {
        let room = self.sessions.get(&id)?.room;
        (self.rooms[&room].publisher == Some(id)).then_some(room)
    }
}
