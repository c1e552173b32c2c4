//! Values that describe rooms and sessions to others.

use std::time::Duration;

use lightstick_types::{Codec, Hint, Layer, Role, RoomId, RoomName, SessionId, ShardId, TrackId};
use serde::Serialize;

use super::{Participant, SessionNumber};

/// Whether media flows in a room, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It flows.
    Live,
    /// Not yet.
    NotStarted,
    /// The publisher's connection was lost.
    Interrupted,
    /// Not any more.
    Ended,
}

/// A video track of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    pub id: TrackId,
    /// The layers of it that can be had, lowest first.
    pub layers: Vec<Layer>,
}

/// What viewers of a room are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomStatus {
    /// Whether media flows.
    pub activity: Activity,
    /// The video tracks there are, in their order.
    pub tracks: Vec<VideoTrack>,
    /// The one that is shown first to viewers who have not chosen themselves.
    pub main: Option<TrackId>,
    pub viewers: usize,
}

impl RoomStatus {
    /// The layers of a track that can be had, lowest first.
    #[must_use]
    pub fn layers(&self, track: Option<TrackId>) -> &[Layer] {
        let found = self.tracks.iter().find(|known| Some(known.id) == track);
        found.map_or(&[], |track| &track.layers)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// Its id in the media plane.
    pub id: RoomId,
    pub name: RoomName,
    /// Whether media flows.
    pub activity: Activity,
    /// Tracks that have carried media, audio first.
    pub tracks: Vec<(TrackId, Codec)>,
    /// Layers of the main track that can be had, lowest first.
    pub layers: Vec<Layer>,
    /// The video track that is shown first.
    pub main: Option<TrackId>,
    /// What is wrong with the publisher's stream, and for how long.
    pub hints: Vec<(Hint, Duration)>,
    pub viewers: usize,
    /// Who publishes. Not who is parked.
    pub publisher: Option<Participant>,
    /// Since somebody came first.
    pub age: Duration,
    /// Since media flowed first, breaks included.
    pub live_for: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// The secret id.
    pub session: SessionId,
    /// The number that stands for it.
    pub number: SessionNumber,
    pub role: Role,
    pub participant: Option<Participant>,
    /// Where in the media plane.
    pub shard: ShardId,
    /// Whether ICE and DTLS have come up.
    pub connected: bool,
    /// Whether its media is the room's.
    pub publishing: bool,
    /// Since the POST.
    pub age: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub rooms: usize,
    /// Those that have or had a publisher.
    pub rooms_started: usize,
    /// Opened publisher sessions, parked or not.
    pub publishers: usize,
    /// Opened viewer sessions.
    pub viewers: usize,
}
