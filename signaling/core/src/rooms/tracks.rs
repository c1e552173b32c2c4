//! A room's video tracks, and which of them is shown first.

use lightstick_types::{Layer, RoomName, SessionId, TrackId};

use super::registry::Registry;
use super::room::Room;
use super::{Effect, Event, Participant, Rooms, VideoTrack};

/// Why another track is not shown first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMain {
    #[error("no such room")]
    Room,
    /// Its publisher has announced no such video track, or is not there.
    #[error("the room has no such video track")]
    Track,
    /// Who asks is not the publisher.
    #[error("another publisher is live in this room")]
    Busy,
}

impl Rooms {
    /// How many video tracks a publisher has announced.
    pub fn announced(&mut self, session: SessionId, video_tracks: usize) {
        if let Some(session) = self.registry.sessions.get_mut(&session) {
            session.video_tracks = video_tracks;
        }
    }

    /// Shows another track first, to all who have not chosen themselves; `None`: the first one. It
    /// stays so until the show is over. `publisher` is who asks, where only the publisher may.
    ///
    /// # Errors
    /// [`NoMain`]; nothing has changed then.
    pub fn set_main(
        &mut self,
        room: &RoomName,
        track: Option<TrackId>,
        publisher: Option<&Participant>,
    ) -> Result<(), NoMain> {
        let id = *self.registry.by_name.get(room).ok_or(NoMain::Room)?;
        let publishes = self.registry.rooms[&id].publisher;
        let live = publishes.and_then(|id| self.registry.sessions[&id].participant.as_ref());
        if publisher.is_some() && live.is_some() && publisher != live {
            return Err(NoMain::Busy);
        }
        if track.is_some_and(|track| !self.view().has_track(id, track)) {
            return Err(NoMain::Track);
        }
        let before = self.registry.main_of(&self.registry.rooms[&id]);
        self.registry.room_mut(id).show.main = track;
        self.registry
            .effects
            .push_back(Effect::Main { room: id, track });
        let room = &self.registry.rooms[&id];
        if let Some(main) = self
            .registry
            .main_of(room)
            .filter(|main| Some(*main) != before)
        {
            let room = room.name.clone();
            let event = Event::MainChanged { room, main };
            self.registry.effects.push_back(Effect::Event(event));
            self.registry.effects.push_back(Effect::RoomChanged(id));
        }
        Ok(())
    }
}

impl Registry {
    /// The track that is shown first. `None`: there is no video.
    pub(super) fn main_of(&self, room: &Room) -> Option<TrackId> {
        let chosen = |track: &TrackId| Some(*track) == room.show.main;
        self.videos(room).find(chosen).or(self.videos(room).next())
    }

    pub(super) fn video_tracks(&self, room: &Room) -> Vec<VideoTrack> {
        let track = |id| VideoTrack {
            id,
            layers: room.layers_of(id),
        };
        self.videos(room).map(track).collect()
    }

    pub(super) fn videos(&self, room: &Room) -> impl Iterator<Item = TrackId> + use<> {
        let announced = room
            .publisher
            .map_or(0, |id| self.sessions[&id].video_tracks);
        TrackId::videos().take(announced)
    }
}

impl Room {
    /// The layers of a video track that can be had, lowest first.
    pub(super) fn layers_of(&self, track: TrackId) -> Vec<Layer> {
        let streams = self
            .show
            .streams
            .iter()
            .filter(|stream| stream.track == track);
        streams.map(|stream| stream.layer).collect()
    }
}
