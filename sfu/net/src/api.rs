//! What the control plane says to the media plane, and what it hears back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lightstick_sfu_core::offer::OfferError;
pub use lightstick_sfu_core::offer::{Reason, Refusal, SdpError, SectionName};
use lightstick_types::{
    Bitrate, ChatMember, Codec, Hint, Layer, LayerChoice, RoomId, SessionId, ShardId, StreamId,
    TrackId,
};
use serde::Serialize;

/// Why a shard did not answer a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ShardError {
    /// As many commands wait as may, or as many joins: it can be tried again.
    #[error("the shard's queue is full")]
    Full,
    /// The shard's thread has ended. It does not come back.
    #[error("the shard's thread has ended")]
    Gone,
    /// The shard took the command, and its answer never came: a fault of ours.
    #[error("the shard did not answer")]
    Lost,
}

/// What a new session is for.
#[derive(Clone, Debug)]
pub enum RoleConfig {
    /// Sends media into the room (WHIP), once it is promoted.
    Publisher {
        /// Above this rate the publisher is first warned by REMB-free means and then closed with
        /// [`CloseReason::BitrateExceeded`].
        bitrate_max: Bitrate,
    },
    /// Receives the room's media (WHEP).
    Viewer {
        /// The layer asked for at the start.
        choice: LayerChoice,
    },
}

/// Asks the media plane for a session.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// Chosen by the caller, unique for ever.
    pub session: SessionId,
    /// Whose media it sends or receives.
    pub room: RoomId,
    /// What it is for.
    pub role: RoleConfig,
    /// Who it is in the room's chat. `None`: its data channels are closed as they open, and counted.
    pub member: Option<Arc<ChatMember>>,
    /// The peer's SDP offer.
    pub offer: String,
}

/// A session that the media plane holds from now on.
#[derive(Clone, Debug)]
pub struct SessionOpened {
    /// The shard that owns it: needed for every later command.
    pub shard: ShardId,
    /// The SDP answer, with all of our candidates.
    pub answer: String,
    /// Our ICE user fragment, for checking a trickle fragment's `ice-ufrag` pair.
    pub local_ufrag: String,
    /// The peer's ICE user fragment as it stood in the offer.
    pub remote_ufrag: String,
    /// A publisher's simulcast layers with their ids, lowest first; none without simulcast.
    pub layers: Vec<(StreamId, String)>,
    /// Video tracks that a publisher has announced.
    pub video_tracks: usize,
}

/// What a viewer changes of what it gets. What is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerChoice {
    /// The layer of each video track.
    pub layer: Option<LayerChoice>,
    /// The video track that its first video section carries.
    pub main: Option<MainChoice>,
}

/// Which video track a viewer sees first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MainChoice {
    /// The one that the room shows first.
    Auto,
    /// Its own choice, as far as there is such a track.
    Track(TrackId),
}

/// Why a session was not opened. Nothing stays allocated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not SDP at all (HTTP 400).
    #[error("the offer is not SDP: {0}")]
    Malformed(SdpError),
    /// SDP, but not what we can serve whole (HTTP 422).
    #[error("the offer cannot be answered: {0}")]
    Unacceptable(Refusal),
    /// The WebRTC stack did not start (HTTP 500).
    #[error("the session could not be created")]
    Stack(String),
    /// The shard did not answer (HTTP 503 or 500).
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl From<OfferError> for OpenError {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Malformed(error) => Self::Malformed(error),
            OfferError::Refused(refusal) => Self::Unacceptable(refusal),
        }
    }
}

/// The credentials with which a peer restarts ICE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteIce {
    /// `ice-ufrag`.
    pub ufrag: String,
    /// `ice-pwd`.
    pub pwd: String,
}

/// Our side of an ICE restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalIce {
    /// `ice-ufrag`.
    pub ufrag: String,
    /// `ice-pwd`.
    pub pwd: String,
    /// Candidate attribute values, each from `candidate:` on.
    pub candidates: Vec<String>,
}

/// Why a command about a session did nothing. The session, where there is one, goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The session is gone.
    #[error("no such session")]
    NoSession,
    /// The shard did not answer.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The WebRTC stack refused the new ICE details.
    #[error("the ICE parameters were refused: {0}")]
    Refused(String),
}

/// Why nothing was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// As many are attached as may be.
    #[error("too many are attached to the rooms of this shard")]
    TooMany,
    /// The shard did not answer.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The control plane asked for it (DELETE, kick, room closed, drain).
    Requested,
    /// The peer closed DTLS or sent BYE.
    PeerClosed,
    /// No connection within the connect time.
    ConnectTimeout,
    /// Consent was lost: nothing heard for the ICE time-out (RFC 7675).
    ConsentExpired,
    /// A publisher connected and sent no media within the time for it.
    NoMedia,
    /// The publisher sent far above its limit.
    BitrateExceeded,
    /// The WebRTC stack gave up (DTLS failure and the like).
    TransportError,
    /// A panic in the session's own handling, contained.
    Internal,
}

/// What happens in the media plane, in order per session. Bounded: see [`EVENTS_MAX`].
#[derive(Clone, Debug)]
pub enum MediaEvent {
    /// ICE and DTLS are up.
    SessionConnected {
        /// Which.
        session: SessionId,
        /// From the offer to here.
        after: Duration,
    },
    /// The session is gone; its id means nothing any more.
    SessionClosed {
        /// Which.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// A parked publisher's first media packet came in. Its packets wait for
    /// [`MediaPlane::promote`](crate::MediaPlane::promote).
    PublisherReady {
        /// Which.
        session: SessionId,
    },
    /// The first packet of a promoted publisher's track came in.
    TrackStarted {
        /// The publisher's session.
        session: SessionId,
        /// Which.
        track: TrackId,
        /// In which codec.
        codec: Codec,
    },
    /// A promoted publisher has other video streams than before; those count that are paused on our
    /// wish. Empty: the video has stopped. Its end says the same without this event.
    LayersChanged {
        /// The publisher's session.
        session: SessionId,
        /// By track, the lowest layer first.
        streams: Vec<StreamId>,
    },
    /// A publisher shall not send these of its streams, because nobody watches them, and all others.
    /// It starts with all.
    LayersPaused {
        /// The publisher's session.
        session: SessionId,
        /// By track, the lowest layer first.
        streams: Vec<StreamId>,
    },
    /// Other things are wrong with a publisher's stream than before. It starts with none.
    HintsChanged {
        /// The publisher's session.
        session: SessionId,
        /// All of them, in the order of their codes.
        hints: Vec<Hint>,
    },
    /// A viewer is now given another layer of a track.
    ViewerLayer {
        /// Which session.
        session: SessionId,
        /// What it gets.
        stream: StreamId,
    },
    /// A viewer has chosen the track that it sees first.
    ViewerMain {
        /// Which session.
        session: SessionId,
        /// `None`: the one that the room shows first.
        main: Option<TrackId>,
    },
}

/// Capacity of the event channel to the control plane. When it is full, a shard keeps its events
/// in a queue of its own and offers them again, so that no [`MediaEvent::SessionClosed`] is lost.
pub const EVENTS_MAX: usize = 8_192;

/// Capacity of a shard's command queue. Full: the caller hears [`ShardError::Full`].
pub const COMMANDS_MAX: usize = 4_096;

/// A room's media as its home shard sees it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoomMedia {
    /// The tracks that carry media.
    pub tracks: Vec<TrackMedia>,
}

/// One track's media.
#[derive(Clone, Debug, Serialize)]
pub struct TrackMedia {
    /// Which.
    pub id: TrackId,
    /// Its codec.
    pub codec: Codec,
    /// The layers that can be had, lowest first. Audio has one.
    pub layers: Vec<LayerMedia>,
}

/// One layer's media.
#[derive(Clone, Debug, Serialize)]
pub struct LayerMedia {
    /// Which.
    pub layer: Layer,
    /// Its simulcast id on the wire, where it has one.
    pub rid: Option<String>,
    /// Over the last second.
    pub bitrate: Bitrate,
    /// Frames over the last second.
    pub frames_per_second: f32,
    /// Since the last keyframe; none before the first.
    pub keyframe_age: Option<Duration>,
    /// The publisher is asked not to send it.
    pub paused: bool,
}

/// One session's media as its shard sees it.
#[derive(Clone, Debug, Serialize)]
pub struct SessionMedia {
    /// Whether ICE and DTLS are up.
    pub connected: bool,
    /// Where its media goes to or comes from.
    pub remote: Option<SocketAddr>,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// The DTLS version in use.
    pub dtls: Option<&'static str>,
    /// Bytes from the peer, transport overhead not counted.
    pub bytes_received: u64,
    /// Bytes to the peer.
    pub bytes_sent: u64,
    /// What a viewer's video sections carry now, the first one first.
    pub streams: Vec<StreamId>,
    /// The last round trip seen.
    pub round_trip: Option<Duration>,
    /// Loss that the peer reported last, 0 to 1.
    pub loss: Option<f32>,
    /// What a viewer's link is estimated to carry.
    pub estimate: Option<Bitrate>,
}
