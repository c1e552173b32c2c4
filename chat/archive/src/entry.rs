//! What the archive gives back.

use std::collections::BTreeMap;

use serde::Serialize;

/// A message as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageEntry {
    pub id: u64,
    /// Incarnation of the room.
    pub epoch: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who and what. None after the author's data were erased.
    pub body: Option<MessageBody>,
    /// The author's role, as the room's code.
    pub role: u8,
    /// The message it answers.
    pub reply_to: Option<u64>,
    pub paid: Option<PaidEntry>,
    /// Whether the room showed it.
    pub shown: bool,
    /// Whether it was taken away.
    pub removed: Option<Removed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageBody {
    pub user: String,
    /// Their name as it was then.
    pub name: String,
    pub text: String,
    /// The integrator's name for the payment; empty where nothing was paid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reference: String,
}

/// What was paid for a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaidEntry {
    /// In the smallest unit of the currency.
    pub amount: u64,
    /// ISO 4217.
    pub currency: String,
    /// The room's code.
    pub tier: u8,
}

/// That a message was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who did it. None after that person's data were erased.
    pub by: Option<String>,
}

/// Which messages are wanted. The default is all of them, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only messages after this id.
    pub after_id: Option<u64>,
    /// Only messages before this id.
    pub before_id: Option<u64>,
    /// Only messages of this time or later, in milliseconds since 1970.
    pub from_ms: Option<u64>,
    /// Only messages before this time, in milliseconds since 1970.
    pub to_ms: Option<u64>,
    /// Only messages of this user.
    pub user: Option<String>,
    pub newest_first: bool,
}

/// Some messages, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// In the order asked for.
    pub messages: Vec<MessageEntry>,
    /// The `after_id` (or `before_id`, if the newest come first) of the next page; None at the end.
    pub next: Option<u64>,
}

/// An audit record as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Place in the room's chain, from 1 on, without gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who did it. None after that person's data were erased.
    pub actor: Option<String>,
    pub action: String,
    /// To whom. None where there is no target, or after its data were erased.
    pub target: Option<String>,
    /// Why. None after the data were erased.
    pub reason: Option<String>,
    /// How it was before. None after the data were erased.
    pub detail: Option<String>,
    /// SHA-256 over the previous hash and this row as stored, in hexadecimal.
    pub hash: String,
}

/// What a room must know again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomState {
    /// Largest message id that was ever archived; 0 where there is none. Messages that went unarchived are not in it:
    /// a room that starts goes on well above, or under a new epoch with ids above.
    pub last_id: u64,
    /// What the room saved, by name.
    pub saved: BTreeMap<String, Vec<u8>>,
}

/// A webhook that nobody took, as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    pub id: String,
    /// Where it should have gone.
    pub url: String,
    pub event: String,
    /// What should have been sent. None after the data were erased.
    pub body: Option<Vec<u8>>,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong at last.
    pub last_error: String,
    /// When it was given up, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What an audit chain says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Every row is as it was written.
    Whole { rows: u64 },
    /// The chain does not hold from here on.
    Broken {
        /// The first row that is not as it was written, or is missing.
        at_seq: u64,
    },
}
