//! Rows as they lie in the journal and in the database: what is personal is sealed already.

/// One entry of the journal. Tags are for ever: a journal outlives an upgrade.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    #[prost(oneof = "Stored", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub(crate) stored: Option<Stored>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Stored {
    #[prost(message, tag = "1")]
    Key(KeyRow),
    #[prost(message, tag = "2")]
    Message(MessageRow),
    #[prost(message, tag = "3")]
    Removed(RemovedRow),
    #[prost(message, tag = "4")]
    UserRemoved(UserRemovedRow),
    #[prost(message, tag = "5")]
    Audit(AuditRow),
    #[prost(message, tag = "6")]
    State(StateRow),
    #[prost(message, tag = "7")]
    Letter(LetterRow),
    #[prost(message, tag = "8")]
    Erased(ErasedRow),
}

impl Stored {
    /// Whether it is a record of its own, not a key that came with one.
    pub(crate) fn is_record(&self) -> bool {
        !matches!(self, Self::Key(_) | Self::Erased(_))
    }
}

/// A user's key. A user gets a new one at least once a day and a process.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeyRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) user_hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) wrapped: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(crate) made_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MessageRow {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    #[prost(uint64, tag = "2")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) at_ms: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) key_id: Vec<u8>,
    /// A sealed [`Body`].
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) body: Vec<u8>,
    #[prost(uint32, tag = "7")]
    pub(crate) role: u32,
    #[prost(uint64, optional, tag = "8")]
    pub(crate) reply_to: Option<u64>,
    #[prost(uint64, optional, tag = "9")]
    pub(crate) amount: Option<u64>,
    #[prost(string, tag = "10")]
    pub(crate) currency: String,
    #[prost(uint32, tag = "11")]
    pub(crate) tier: u32,
    #[prost(bool, tag = "12")]
    pub(crate) shown: bool,
}

/// What of a message is its author's.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Body {
    #[prost(string, tag = "1")]
    pub(crate) user: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) text: String,
    #[prost(string, tag = "4")]
    pub(crate) reference: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RemovedRow {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    #[prost(uint64, tag = "2")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) at_ms: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) by_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) by: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UserRemovedRow {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) user_hash: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(crate) up_to_id: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) at_ms: u64,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) by_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) by: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AuditRow {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    #[prost(uint64, tag = "2")]
    pub(crate) at_ms: u64,
    #[prost(string, tag = "3")]
    pub(crate) action: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) actor_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) actor: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) target_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) target: Option<Vec<u8>>,
    /// A sealed [`Note`], with the target's key, or the actor's where there is no target.
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) note: Vec<u8>,
}

/// Why, and how it was before.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(string, tag = "2")]
    pub(crate) detail: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StateRow {
    #[prost(string, tag = "1")]
    pub(crate) room: String,
    /// A keyed hash of the name, which may hold a user's.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) name_hash: Vec<u8>,
    /// A sealed [`StateBody`]; none where there is no such part any more.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) state: Option<Vec<u8>>,
}

/// A part of a room's state.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StateBody {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LetterRow {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) url: String,
    #[prost(string, tag = "3")]
    pub(crate) event: String,
    /// None: the body is sealed with the node's key.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) key_id: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) body: Vec<u8>,
    #[prost(uint32, tag = "6")]
    pub(crate) attempts: u32,
    #[prost(string, tag = "7")]
    pub(crate) last_error: String,
    #[prost(uint64, tag = "8")]
    pub(crate) at_ms: u64,
}

/// All keys of a user made before this place of the journal go.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ErasedRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) user_hash: Vec<u8>,
}

/// Where a sealed text belongs. It opens nowhere else, so rows cannot be swapped.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Place {
    Body = 1,
    RemovedBy = 2,
    Actor = 3,
    Target = 4,
    Note = 5,
    State = 6,
    Letter = 7,
}

impl Place {
    /// The associated data. `name` is the room or the letter's id, `number` the message's id or the
    /// record's time.
    pub(crate) fn aad(self, name: &str, number: u64) -> Vec<u8> {
        let mut aad = Vec::with_capacity(9 + name.len());
        aad.push(self as u8);
        aad.extend_from_slice(&number.to_be_bytes());
        aad.extend_from_slice(name.as_bytes());
        aad
    }
}
