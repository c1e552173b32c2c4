//! What handlers ask of the director, and what it answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use lightstick_sfu::{OpenError, ShardError};
use lightstick_signaling_core::etag::{EntityTag, MatchError};
use lightstick_signaling_core::rooms::{
    Admission, NoMain, Participant, Refusal, RoomSummary, SessionNumber, SessionSummary,
};
use lightstick_signaling_core::sdpfrag::Fragment;
use lightstick_signaling_core::token::RoomPattern;
use lightstick_types::{ChatMember, Role, RoomId, RoomName, SessionId, ShardId, TrackId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::streams::{EventKinds, StreamNumber};
use crate::feed::{RoomView, SessionView};
use crate::problem::{Code, Problem};

/// A POST.
pub(crate) struct Join {
    pub(crate) admission: Admission,
    /// Who it is in the chat, where there is one.
    pub(crate) member: Option<Arc<ChatMember>>,
    pub(crate) offer: String,
}

/// What a POST got.
pub(crate) struct Joined {
    pub(crate) answer: String,
    pub(crate) etag: EntityTag,
    pub(crate) number: SessionNumber,
    /// Ends the session unless it is kept.
    pub(crate) guard: JoinGuard,
}

/// Ends a session whose POST was not answered after all.
///
/// It asks without waiting. Should the director's queue be full, the session ends when it does
/// not connect in time.
pub(crate) struct JoinGuard {
    commands: mpsc::WeakSender<Command>,
    session: Option<SessionId>,
}

impl JoinGuard {
    pub(super) fn new(commands: mpsc::WeakSender<Command>, session: SessionId) -> Self {
        Self {
            commands,
            session: Some(session),
        }
    }

    /// The answer is on its way: the session stays.
    pub(crate) fn keep(mut self) {
        self.session = None;
    }
}

impl Drop for JoinGuard {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Some(commands) = self.commands.upgrade()
        {
            let _ = commands.try_send(Command::Abandon(session));
        }
    }
}

/// A PATCH.
pub(crate) struct Patch {
    pub(crate) if_match: Option<String>,
    pub(crate) fragment: Fragment,
}

pub(crate) enum Patched {
    /// Candidates, which change nothing: a lite agent learns its peer's addresses from the checks that come
    /// in (RFC 8445 section 2.4).
    Trickle,
    Restarted {
        fragment: Fragment,
        etag: EntityTag,
    },
}

/// A session that exists.
pub(crate) struct Found {
    pub(crate) shard: ShardId,
    pub(crate) etag: EntityTag,
}

/// What a session's event stream follows.
pub(crate) struct Watch {
    pub(crate) number: SessionNumber,
    pub(crate) room: watch::Receiver<RoomView>,
    pub(crate) session: watch::Receiver<SessionView>,
    /// What the stream is to say.
    pub(crate) kinds: EventKinds,
    /// The stream was made by a POST, and is over before the session when this says so.
    pub(crate) ended: Option<CancellationToken>,
}

/// A session's URL, and who asks for it.
#[derive(Clone, Debug)]
pub(crate) struct SessionUrl {
    pub(crate) room: RoomName,
    pub(crate) role: Role,
    pub(crate) session: SessionId,
    pub(crate) address: IpAddr,
}

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<T>;

/// Everything that can be asked.
pub(crate) enum Command {
    Join(Box<Join>, Reply<Result<Joined, JoinError>>),
    Abandon(SessionId),
    Find(SessionUrl, Reply<Result<Found, SessionError>>),
    /// The same, where its room has such a video track.
    FindTrack(SessionUrl, TrackId, Reply<Result<Found, SessionError>>),
    Patch(SessionUrl, Box<Patch>, Reply<Result<Patched, PatchError>>),
    Delete(SessionUrl, Reply<Result<(), SessionError>>),
    Watch(
        SessionUrl,
        Option<StreamNumber>,
        Reply<Result<Watch, SessionError>>,
    ),
    AddStream(
        SessionUrl,
        EventKinds,
        Reply<Result<StreamNumber, SessionError>>,
    ),
    EndStream(SessionUrl, StreamNumber, Reply<Result<(), SessionError>>),
    Rooms {
        after: Option<RoomId>,
        limit: usize,
        pattern: Option<RoomPattern>,
        reply: Reply<Vec<RoomSummary>>,
    },
    Room(RoomName, Reply<Option<RoomSummary>>),
    Sessions {
        room: RoomName,
        after: SessionNumber,
        limit: usize,
        reply: Reply<Option<Vec<SessionSummary>>>,
    },
    Kick(RoomName, SessionNumber, Reply<bool>),
    CloseRoom(RoomName, Reply<bool>),
    SetMain {
        room: RoomName,
        track: Option<TrackId>,
        publisher: Option<Participant>,
        reply: Reply<Result<(), NoMain>>,
    },
    Drain(Instant, Reply<()>),
}

/// Why a POST failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It was closed while it was opened.
    #[error("the session was ended before it began")]
    Gone,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (code, retry_after) = match refusal {
            Refusal::RoomBusy => (Code::RoomBusy, None),
            Refusal::NotLive { retry_after } => (Code::NotLive, Some(retry_after)),
            Refusal::RoomsFull { retry_after } => (Code::RoomsFull, Some(retry_after)),
            Refusal::RoomFull { retry_after } => (Code::RoomFull, Some(retry_after)),
            Refusal::AddressFull { retry_after } => (Code::AddressFull, Some(retry_after)),
            Refusal::AddressRate { retry_after }
            | Refusal::OffersRefused { retry_after }
            | Refusal::JoinRate { retry_after } => (Code::RateLimited, Some(retry_after)),
            Refusal::Draining { retry_after } => (Code::Draining, Some(retry_after)),
        };
        let problem = Self::new(code, refusal.to_string());
        match retry_after {
            Some(after) => problem.retry_after(after),
            None => problem,
        }
    }
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Refused(refusal) => refusal.into(),
            JoinError::Open(OpenError::Malformed(error)) => {
                Self::new(Code::MalformedOffer, error.to_string()).fault(&error)
            }
            JoinError::Open(OpenError::Unacceptable(refusal)) => {
                Self::new(Code::UnacceptableOffer, refusal.to_string()).fault(&refusal)
            }
            JoinError::Open(OpenError::Stack(_)) => Self::internal("a session could not be made"),
            JoinError::Open(OpenError::Shard(error)) => error.into(),
            JoinError::Gone => Self::new(Code::Overloaded, error.to_string())
                .retry_after(std::time::Duration::from_secs(1)),
        }
    }
}

/// Why a session's URL leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    NotFound,
    NoStream,
    NoTrack,
    RateLimited { retry_after: std::time::Duration },
    TooManyStreams,
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound => Self::session_not_found(),
            SessionError::NoStream => {
                Self::new(Code::NotFound, "the session has no such event stream")
            }
            SessionError::NoTrack => Self::track_not_found(),
            SessionError::RateLimited { retry_after } => Self::new(
                Code::RateLimited,
                "too many requests on session URLs from this address",
            )
            .retry_after(retry_after),
            SessionError::TooManyStreams => Self::new(
                Code::RateLimited,
                "the session has as many event streams as it may",
            )
            .retry_after(std::time::Duration::from_secs(5)),
        }
    }
}

impl From<NoMain> for Problem {
    fn from(error: NoMain) -> Self {
        match error {
            NoMain::Room => Self::room_not_found(),
            NoMain::Track => Self::track_not_found(),
            NoMain::Busy => Self::new(Code::RoomBusy, error.to_string()),
        }
    }
}

/// Why a PATCH did nothing. The session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PatchError {
    Session(SessionError),
    Match(MatchError),
    /// The credentials are of another ICE session, but the request is no restart.
    OtherSession,
    /// A restart without credentials.
    NoCredentials,
    Restarting,
    Refused(String),
    Shard(ShardError),
}

impl From<PatchError> for Problem {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Session(error) => error.into(),
            PatchError::Match(error) => {
                let code = match error {
                    MatchError::Required => Code::EtagRequired,
                    MatchError::Stale => Code::StaleEtag,
                    MatchError::Malformed => Code::MalformedRequest,
                };
                Self::new(code, error.to_string())
            }
            PatchError::OtherSession => Self::new(
                Code::UnacceptableIce,
                "the credentials are not the session's; to restart ICE send If-Match: *",
            ),
            PatchError::NoCredentials => Self::new(
                Code::UnacceptableIce,
                "a restart of ICE needs new ice-ufrag and ice-pwd",
            ),
            PatchError::Restarting => Self::new(
                Code::RestartInProgress,
                "an earlier restart has not been answered",
            ),
            PatchError::Refused(why) => Self::new(Code::UnacceptableIce, why),
            PatchError::Shard(error) => error.into(),
        }
    }
}
