//! What the registry asks for and reports.

use std::time::Duration;

use lightstick_types::{Hint, Role, RoomId, RoomName, SessionId, ShardId, TrackId};
use serde::Serialize;

use super::{Participant, SessionNumber, VideoTrack};

/// What the registry's owner must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Close a session in the media plane.
    Close { session: SessionId, shard: ShardId },
    /// Make a parked session its room's publisher in the media plane, before the one that it replaces
    /// is closed.
    Promote { session: SessionId, shard: ShardId },
    /// Tell the media plane which of a room's video tracks is shown first.
    Main {
        room: RoomId,
        /// Which. `None`: the first one.
        track: Option<TrackId>,
    },
    /// A room's show is over: end what is attached to it in the media plane.
    EndShow(RoomId),
    /// A room's [`RoomStatus`](super::RoomStatus) has changed: tell its viewers.
    RoomChanged(RoomId),
    /// A room is gone; nobody is in it.
    RoomGone(RoomId),
    /// Something that integrators may hear about.
    Event(Event),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Media flows in a room where nothing was on.
    RoomStarted {
        room: RoomName,
    },
    /// The show is over.
    RoomEnded {
        room: RoomName,
        reason: EndReason,
    },
    /// The publisher's connection was lost, or was ended while another one comes up.
    PublisherInterrupted {
        room: RoomName,
        /// How long the room waits.
        grace: Duration,
    },
    PublisherReturned {
        room: RoomName,
    },
    SessionJoined {
        session: SessionId,
        number: SessionNumber,
        room: RoomName,
        role: Role,
        participant: Option<Participant>,
    },
    /// An opened session is gone. Follows each [`Event::SessionJoined`] exactly once.
    SessionLeft {
        session: SessionId,
        number: SessionNumber,
        room: RoomName,
        role: Role,
        participant: Option<Participant>,
        reason: LeaveReason,
        /// How long it was here.
        after: Duration,
    },
    /// Other layers can be had.
    LayersChanged {
        room: RoomName,
        /// All of the room's video tracks.
        tracks: Vec<VideoTrack>,
        /// The one that is shown first.
        main: Option<TrackId>,
    },
    /// Another video track is shown first.
    MainChanged {
        room: RoomName,
        main: TrackId,
    },
    /// What is wrong with the publisher's stream is something else than before, or nothing.
    HintsChanged {
        room: RoomName,
        hints: Vec<Hint>,
    },
}

/// Why a show is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The publisher ended it.
    PublisherLeft,
    /// The publisher did not come back in time.
    GraceExpired,
    /// An administrator ended the publisher's session.
    Kicked,
    /// An administrator closed the room.
    Closed,
    /// The server stops.
    Drained,
}

/// Why a session is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// The client's DELETE.
    Deleted,
    /// An administrator ended it.
    Kicked,
    RoomClosed,
    /// Its room's show has been over for long.
    RoomExpired,
    /// A newer session of the publisher, or one that took over.
    Replaced,
    /// The client did not wait for the answer.
    Abandoned,
    /// The server stops.
    Drained,
    PeerClosed,
    /// No connection within the connect time.
    ConnectTimeout,
    /// A publisher connected, and sent no media in time.
    NoMedia,
    /// Nothing heard for too long.
    ConsentExpired,
    /// The publisher sent far above its limit.
    BitrateExceeded,
    TransportError,
    /// A fault of the server.
    Internal,
}

impl LeaveReason {
    /// The reason as lists, events and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Kicked => "kicked",
            Self::RoomClosed => "room_closed",
            Self::RoomExpired => "room_expired",
            Self::Replaced => "replaced",
            Self::Abandoned => "abandoned",
            Self::Drained => "drained",
            Self::PeerClosed => "peer_closed",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoMedia => "no_media",
            Self::ConsentExpired => "consent_expired",
            Self::BitrateExceeded => "bitrate_exceeded",
            Self::TransportError => "transport_error",
            Self::Internal => "internal",
        }
    }

    /// Whether the media plane has closed the session by itself.
    #[must_use]
    pub fn is_medias(self) -> bool {
        matches!(
            self,
            Self::PeerClosed
                | Self::ConnectTimeout
                | Self::NoMedia
                | Self::ConsentExpired
                | Self::BitrateExceeded
                | Self::TransportError
                | Self::Internal
        )
    }
}
