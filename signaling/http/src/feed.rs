//! What streams of events carry: to viewers about their room, to integrators about every room.
//!
//! Viewers follow state, not a log: each room and each session has a `watch` channel that holds
//! only the newest value, so a slow reader costs nothing and misses nothing that still matters.
//! Integrators follow a log over a broadcast channel of [`FEED_EVENTS_MAX`].

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lightstick_signaling_core::rooms::{
    Activity, EndReason, Event, LeaveReason, Participant, RoomStatus, VideoTrack,
};

use lightstick_types::{Hint, HintCode, Layer, Role, RoomName, StreamId, TrackId};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::schema;

/// What the viewers of a room are told.
#[derive(Clone, Debug)]
pub(crate) struct RoomView {
    pub(crate) status: RoomStatus,
    /// Set once the server drains.
    pub(crate) reconnect_after: Option<Duration>,
}

impl RoomView {
    pub(crate) fn is_live(&self) -> bool {
        self.status.activity == Activity::Live
    }
}

/// What one session is told besides.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionView {
    /// The layer that a viewer got last of each track.
    pub(crate) seen: [Option<Layer>; TrackId::COUNT],
    /// The track that a viewer has chosen to see first.
    pub(crate) main: Option<TrackId>,
    /// A publisher's simulcast layers, lowest first.
    pub(crate) layers: Vec<NamedLayer>,
    /// What is wrong with a publisher's stream.
    pub(crate) hints: Vec<Hint>,
}

/// One thing that the artist should change.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct HintBody {
    /// What it is about: programs look at this.
    #[schema(value_type = schema::HintCode)]
    code: HintCode,
    /// What is wrong and what to set, in English.
    message: String,
}

impl From<Hint> for HintBody {
    fn from(hint: Hint) -> Self {
        Self {
            code: hint.code,
            message: hint.to_string(),
        }
    }
}

/// A video track.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct TrackBody {
    /// Which.
    #[schema(value_type = String, example = "video-2")]
    id: TrackId,
    /// The layers of it that can be had, lowest first.
    #[schema(value_type = Vec<schema::Layer>)]
    layers: Vec<Layer>,
}

impl From<&VideoTrack> for TrackBody {
    fn from(track: &VideoTrack) -> Self {
        Self {
            id: track.id,
            layers: track.layers.clone(),
        }
    }
}

/// One simulcast layer of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedLayer {
    pub(crate) stream: StreamId,
    /// Its id on the wire.
    pub(crate) rid: String,
    /// Nobody watches it: it need not be sent.
    pub(crate) paused: bool,
}

/// Events that wait for a slow reader of `/api/v1/events` at most. Past it the oldest are dropped
/// and the reader hears `lagged` with their number: it should read the rooms again.
pub(crate) const FEED_EVENTS_MAX: usize = 1_024;

/// One event of `/api/v1/events`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FeedEvent {
    /// Counted up by one; gaps mean events about other rooms, or lost ones.
    #[schema(example = 17)]
    pub(crate) seq: u64,
    /// Milliseconds of the Unix time.
    pub(crate) at_ms: u64,
    /// Which room.
    #[schema(value_type = String, example = "stage")]
    pub(crate) room: RoomName,
    /// What happened.
    #[serde(flatten)]
    pub(crate) kind: FeedKind,
}

/// What happened. The event's name in the stream is the value of `type`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
pub(crate) enum FeedKind {
    /// Media flows in a room where nothing was on.
    RoomStarted {},
    /// The show is over.
    RoomEnded {
        /// Why.
        #[schema(value_type = schema::EndReason)]
        reason: EndReason,
    },
    /// The publisher's connection was lost, or was ended while another one comes up.
    PublisherInterrupted {
        /// How long the room waits, in seconds.
        grace_seconds: f64,
    },
    /// Media flows again.
    PublisherReturned {},
    /// A session was opened.
    SessionJoined {
        /// Its id in this API.
        session: String,
        #[schema(value_type = schema::Role)]
        role: Role,
        /// The `sub` of its token.
        #[schema(value_type = Option<String>)]
        participant: Option<Participant>,
    },
    /// A session is gone.
    SessionLeft {
        /// Its id in this API.
        session: String,
        #[schema(value_type = schema::Role)]
        role: Role,
        /// The `sub` of its token.
        #[schema(value_type = Option<String>)]
        participant: Option<Participant>,
        /// Why.
        #[schema(value_type = schema::LeaveReason)]
        reason: LeaveReason,
        /// How long it was here, in seconds.
        after_seconds: f64,
    },
    /// Other layers can be had; those count that are paused because nobody watches them.
    LayersChanged {
        /// Those of the main track, lowest first.
        #[schema(value_type = Vec<schema::Layer>)]
        layers: Vec<Layer>,
        /// Every video track.
        tracks: Vec<TrackBody>,
    },
    /// Another video track is shown first.
    MainChanged {
        /// Which.
        #[schema(value_type = String, example = "video-2")]
        main: TrackId,
    },
    /// Other things are wrong with the publisher's stream than before.
    HintsChanged {
        /// All of them; empty: all is well.
        hints: Vec<HintBody>,
    },
}

impl FeedKind {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::RoomStarted {} => "room_started",
            Self::RoomEnded { .. } => "room_ended",
            Self::PublisherInterrupted { .. } => "publisher_interrupted",
            Self::PublisherReturned {} => "publisher_returned",
            Self::SessionJoined { .. } => "session_joined",
            Self::SessionLeft { .. } => "session_left",
            Self::LayersChanged { .. } => "layers_changed",
            Self::MainChanged { .. } => "main_changed",
            Self::HintsChanged { .. } => "hints_changed",
        }
    }
}

/// The writing end of `/api/v1/events`.
pub(crate) struct Feed {
    sender: broadcast::Sender<Arc<FeedEvent>>,
    seq: u64,
}

/// Where handlers subscribe. It does not keep the feed open.
pub(crate) type FeedSource = broadcast::WeakSender<Arc<FeedEvent>>;

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(FEED_EVENTS_MAX),
            seq: 0,
        }
    }

    pub(crate) fn source(&self) -> FeedSource {
        self.sender.downgrade()
    }

    pub(crate) fn publish(&mut self, event: &Event) {
        self.seq += 1;
        let (room, kind) = split(event);
        let at = SystemTime::now().duration_since(UNIX_EPOCH);
        // Without readers nobody misses it.
        let _ = self.sender.send(Arc::new(FeedEvent {
            seq: self.seq,
            at_ms: at.map_or(0, |since| since.as_millis() as u64),
            room: room.clone(),
            kind,
        }));
    }
}

fn split(event: &Event) -> (&RoomName, FeedKind) {
    match event {
        Event::RoomStarted { room } => (room, FeedKind::RoomStarted {}),
        Event::RoomEnded { room, reason } => (room, FeedKind::RoomEnded { reason: *reason }),
        Event::PublisherInterrupted { room, grace } => (
            room,
            FeedKind::PublisherInterrupted {
                grace_seconds: grace.as_secs_f64(),
            },
        ),
        Event::PublisherReturned { room } => (room, FeedKind::PublisherReturned {}),
        Event::SessionJoined {
            number,
            room,
            role,
            participant,
            ..
        } => (
            room,
            FeedKind::SessionJoined {
                session: number.to_string(),
                role: *role,
                participant: participant.clone(),
            },
        ),
        Event::SessionLeft {
            number,
            room,
            role,
            participant,
            reason,
            after,
            ..
        } => (
            room,
            FeedKind::SessionLeft {
                session: number.to_string(),
                role: *role,
                participant: participant.clone(),
                reason: *reason,
                after_seconds: after.as_secs_f64(),
            },
        ),
        Event::LayersChanged { room, tracks, main } => {
            let main = tracks.iter().find(|track| Some(track.id) == *main);
            let kind = FeedKind::LayersChanged {
                layers: main.map_or_else(Vec::new, |main| main.layers.clone()),
                tracks: tracks.iter().map(TrackBody::from).collect(),
            };
            (room, kind)
        }
        Event::MainChanged { room, main } => (room, FeedKind::MainChanged { main: *main }),
        Event::HintsChanged { room, hints } => (
            room,
            FeedKind::HintsChanged {
                hints: hints.iter().copied().map(HintBody::from).collect(),
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_type() {
        for kind in [
            FeedKind::RoomStarted {},
            FeedKind::RoomEnded {
                reason: EndReason::Closed,
            },
            FeedKind::PublisherInterrupted { grace_seconds: 1.0 },
            FeedKind::PublisherReturned {},
            FeedKind::LayersChanged {
                layers: vec![],
                tracks: vec![],
            },
            FeedKind::MainChanged {
                main: TrackId::FIRST_VIDEO,
            },
            FeedKind::HintsChanged { hints: vec![] },
        ] {
            let event = FeedEvent {
                seq: 1,
                at_ms: 2,
                room: "stage".parse().unwrap(),
                kind,
            };
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["type"], event.kind.name());
            assert_eq!(json["room"], "stage");
        }
    }
}
