//! What goes into a room's task, and what comes out of it.

use std::sync::Arc;
use std::time::Instant;

use lightstick_chat_core::record::{Done, RoomEvent};
use lightstick_chat_core::refusal::Refusal;
use lightstick_chat_core::room::{Actor, ClientKey, Overview, Posted, Review, Reviewed};
use lightstick_chat_proto as proto;
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::moderate::Action;
use lightstick_chat_wire::{Frame, Tick};
use lightstick_types::{ChatMember, RoomName, SessionId, ShardId};
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for one room. A client whose request finds no place is counted and, over a
/// WebSocket, waits; over data channels it is dropped, and a requester that awaits its answer is told so.
pub(crate) const COMMANDS_MAX: usize = 4_096;
/// Ticks that a WebSocket may lag behind before it has to resynchronise.
pub(crate) const TICKS_MAX: usize = 32;
/// Frames of its own that wait for one WebSocket. One that reads no more is closed.
pub(crate) const OWN_FRAMES_MAX: usize = 64;

/// The way to a client.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// Data channels of a session on a shard.
    Session(ShardId, SessionId),
    /// A WebSocket's task.
    Socket(mpsc::Sender<Frame>),
    /// A WebSocket's task that did not read what was for it alone.
    Closed,
}

impl Route {
    /// Whether it leads nowhere any more. Of a session, its shard knows.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::Session(..) => false,
            Self::Socket(own) => own.is_closed(),
            Self::Closed => true,
        }
    }
}

/// What a room's task is asked.
#[derive(Debug)]
pub(crate) enum RoomCommand {
    Connect {
        client: ClientKey,
        member: Arc<ChatMember>,
        /// A keyed hash.
        address: u64,
        route: Route,
    },
    Request {
        client: ClientKey,
        request: Request,
    },
    Malformed {
        client: ClientKey,
        /// As far as it could be read.
        nonce: u64,
    },
    Resync {
        client: ClientKey,
    },
    Disconnect {
        client: ClientKey,
    },
    Act {
        actor: Actor,
        action: Box<Action>,
        reason: String,
        reply: Reply,
    },
    Post {
        actor: Actor,
        posted: Box<Posted>,
        reply: Reply,
    },
    Caption {
        cue: proto::CaptionCue,
        reply: Reply,
    },
    Erase {
        actor: Actor,
        user: String,
        reply: Reply,
    },
    Reviewed {
        id: u64,
        reviewed: Reviewed,
    },
    Look {
        reply: oneshot::Sender<Overview>,
    },
    /// The last captions, oldest first.
    Captions {
        reply: oneshot::Sender<Vec<proto::CaptionCue>>,
    },
}

pub(crate) type Answered = Result<Done, Refusal>;
pub(crate) type Reply = oneshot::Sender<Answered>;

/// What happened in a room, for webhooks.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) room: RoomName,
    /// When, in milliseconds of the Unix time.
    pub(crate) at_ms: u64,
    pub(crate) event: RoomEvent,
}

/// A message for the review hook, and where to answer.
#[derive(Debug)]
pub(crate) struct ReviewRequest {
    pub(crate) room: RoomName,
    pub(crate) review: Review,
    /// When the room began to wait.
    pub(crate) asked: Instant,
    pub(crate) answer: mpsc::WeakSender<RoomCommand>,
}

impl ReviewRequest {
    /// Gives the verdict. A room that is gone, or has decided by itself, hears nothing.
    pub(crate) async fn answer(self, reviewed: Reviewed) {
        if let Some(room) = self.answer.upgrade() {
            let id = self.review.id;
            // The room is gone: nobody waits.
            let _ = room.send(RoomCommand::Reviewed { id, reviewed }).await;
        }
    }
}

/// What a room shows everybody, as WebSockets take it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub(crate) tick: Arc<Tick>,
    /// All of it as one frame, if it fits.
    pub(crate) whole: Option<Frame>,
}
