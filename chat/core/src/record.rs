//! What a room says and does, as it is kept and told to integrators.

use std::collections::BTreeMap;
use std::sync::Arc;

use lightstick_chat_proto as proto;
use lightstick_types::ChatRole;

use crate::refusal::Refusal;

/// A connection of a client; the shell gives them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub u64);

/// Who uses their power.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user, or the name of a token.
    pub user: String,
    pub role: ChatRole,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A connection, by the nonce of its request.
    Client { client: ClientKey, nonce: u64 },
    /// A request over HTTP, by a number of the caller's.
    Request(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Of the message or poll that came of it; 0: none.
    pub id: u64,
    /// The message waits for a moderator.
    pub held: bool,
    /// When, in milliseconds of the Unix time.
    pub at_ms: u64,
    /// The text as it stands now, where it was changed.
    pub text: Option<String>,
}

/// An answer, given once what it speaks of is kept.
#[derive(Clone, Debug)]
pub struct Answer {
    pub to: Asker,
    /// It must not be given where the records that it came with could not be kept: somebody used
    /// their power, or paid. A fan's message goes on without.
    pub binding: bool,
    pub result: Result<Done, Refusal>,
}

/// Something to keep, in order.
#[derive(Clone, Debug)]
pub enum Record {
    Message(MessageRecord),
    /// Messages were taken away.
    Removed {
        /// Which; empty: all of the user's.
        ids: Vec<u64>,
        /// The user, where all of its messages went.
        user: Option<Arc<str>>,
        by: String,
        /// When, in milliseconds of the Unix time.
        at_ms: u64,
    },
    /// Somebody used their power.
    Audit(AuditRecord),
    /// A part of the room's state, under a name; `None`: no longer.
    State {
        /// `settings`, `pinned`, `sanction/USER`, `appeal/USER`.
        key: String,
        /// JSON.
        value: Option<String>,
    },
}

/// The state that outlives a process: see [`Record::State`].
///
/// Two keys are not the room's to keep, but what the archive knows: `last_id`, the highest id it has
/// seen, and `posted`, a list of [`KeptPost`](crate::room::KeptPost).
pub type Stored = BTreeMap<String, String>;

/// A message as it is kept.
#[derive(Clone, Debug)]
pub struct MessageRecord {
    /// As it was shown.
    pub message: proto::Message,
    /// It was in the stream, not left out for want of room or hidden.
    pub shown: bool,
    /// Only its author sees it.
    pub hidden: bool,
    /// What the integrator's server names its request by; empty: nothing. See [`crate::room::Posted`].
    pub key: String,
}

/// Who did what to whom, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Milliseconds of the Unix time.
    pub at_ms: u64,
    /// Who: a user, or the name of the integrator's token.
    pub actor: String,
    /// What the actor was.
    pub role: ChatRole,
    /// `delete`, `timeout`, ...: see [`crate::room`].
    pub action: &'static str,
    /// A user, a message's id, or empty.
    pub target: String,
    /// As the actor gave it.
    pub reason: String,
    /// What was there before, as JSON or text.
    pub before: String,
    /// What is there now.
    pub after: String,
}

#[derive(Clone, Debug)]
pub enum RoomEvent {
    MessageCreated(proto::Message),
    /// Messages were taken away.
    MessagesDeleted {
        ids: Vec<u64>,
    },
    /// A message waits for a moderator.
    MessageHeld {
        message: proto::Message,
        reason: String,
    },
    /// A user was sanctioned, or is free again.
    UserModerated(AuditRecord),
    /// Somebody asks to be heard.
    AppealOpened {
        user: String,
        text: String,
    },
    PollEnded(proto::Poll),
}
