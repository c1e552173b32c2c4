//! What the archive is given.

use lightstick_types::RoomName;

/// Longest user id, in bytes.
pub const USER_BYTES_MAX: usize = 256;
/// Longest display name, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest text of a message, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Longest reason, reference, URL, event name or error text, in bytes.
pub const NOTE_BYTES_MAX: usize = 4 * 1024;
/// Largest detail of an audit record, body of a dead letter or state of a room, in bytes.
pub const BLOB_BYTES_MAX: usize = 256 * 1024;
/// Longest name of an action, in bytes.
pub const ACTION_BYTES_MAX: usize = 64;
/// Largest id, version or time: databases know signed numbers only.
pub const NUMBER_MAX: u64 = i64::MAX as u64 - 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Message(MessageRecord),
    /// One message was taken away.
    MessageRemoved(MessageRemoved),
    /// All messages of a user in a room were taken away.
    UserMessagesRemoved(UserMessagesRemoved),
    /// Somebody with power used it.
    Audit(AuditRecord),
    /// What a room must know again after a restart.
    RoomState(RoomStateRecord),
    /// A webhook that nobody took.
    DeadLetter(DeadLetterRecord),
}

/// One message. Its room and id name it for ever: a second one of the same name is dropped and counted.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRecord {
    pub room: RoomName,
    /// Rising in its room, over restarts too (see [`crate::RoomState::last_id`]). At most [`NUMBER_MAX`].
    pub id: u64,
    /// Incarnation of the room that gave the id.
    pub epoch: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who, as the token names them; at most [`USER_BYTES_MAX`].
    pub user: String,
    /// Their name as shown; at most [`NAME_BYTES_MAX`].
    pub name: String,
    /// Their role, a code of the room's choice.
    pub role: u8,
    /// What; at most [`TEXT_BYTES_MAX`].
    pub text: String,
    /// The message it answers.
    pub reply_to: Option<u64>,
    pub paid: Option<PaidRecord>,
    /// Whether the room showed it to anybody but its author.
    pub shown: bool,
}

/// What was paid for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidRecord {
    /// In the smallest unit of the currency. At most [`NUMBER_MAX`].
    pub amount: u64,
    /// ISO 4217: three capital letters.
    pub currency: String,
    /// A code of the room's choice.
    pub tier: u8,
    /// The integrator's name for the payment, encrypted like the text; at most [`NOTE_BYTES_MAX`].
    pub reference: String,
}

/// One message was taken away. Its row stays until retention deletes it, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRemoved {
    pub room: RoomName,
    pub id: u64,
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// All messages of a user in a room, up to an id, were taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMessagesRemoved {
    pub room: RoomName,
    pub user: String,
    /// The last one of them.
    pub up_to_id: u64,
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Somebody with power used it. The archive numbers these and chains them, in the order in which they are appended.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditRecord {
    pub room: RoomName,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    pub actor: String,
    /// What, as a stable name, in clear; at most [`ACTION_BYTES_MAX`].
    pub action: String,
    pub target: Option<String>,
    /// Why, in the actor's words; at most [`NOTE_BYTES_MAX`].
    pub reason: String,
    /// How it was before, and what else belongs to it; JSON by convention. At most [`BLOB_BYTES_MAX`]. Reason and
    /// detail go unreadable with the target, or with the actor where there is none.
    pub detail: String,
}

/// A part of what a room must know again after a restart, under a name. The latest one appended wins. Who erases a user
/// takes them out of these as well.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomStateRecord {
    pub room: RoomName,
    /// What it is, in the room's words; at most [`NOTE_BYTES_MAX`].
    pub name: String,
    /// Bytes that only the room understands, at most [`BLOB_BYTES_MAX`]. None: no longer.
    pub value: Option<Vec<u8>>,
}

/// A webhook that nobody took.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetterRecord {
    /// The event's id; a second letter of the same id replaces the first.
    pub id: String,
    /// Where it should have gone.
    pub url: String,
    pub event: String,
    /// Whose data the body holds; erased with them.
    pub user: Option<String>,
    /// What should have been sent. At most [`BLOB_BYTES_MAX`].
    pub body: Vec<u8>,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong at last.
    pub last_error: String,
    /// When it was given up, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Why a record cannot be kept at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A text or blob above its limit.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A number above [`NUMBER_MAX`].
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// Not three capital letters.
    #[error("a currency is three capital letters")]
    Currency,
    /// Characters that a plain column does not take: not printable ASCII, or nothing.
    #[error("{0} must be printable ASCII")]
    Characters(&'static str),
}

impl Record {
    /// Whether the caller must refuse its request where this cannot be kept. Ordinary messages go on without.
    #[must_use]
    pub fn must_keep(&self) -> bool {
        match self {
            Self::Message(m) => m.paid.is_some(),
            _ => true,
        }
    }

    /// Whether it is forced onto the disk under [`crate::Fsync::Paid`].
    pub(crate) fn wants_sync(&self) -> bool {
        match self {
            Self::Message(m) => m.paid.is_some(),
            Self::Audit(_) | Self::RoomState(_) => true,
            Self::MessageRemoved(_) | Self::UserMessagesRemoved(_) | Self::DeadLetter(_) => false,
        }
    }

    /// Most bytes it takes in the journal, with the keys that may be made for it.
    pub(crate) fn weight(&self) -> usize {
        // Two keys, and numbers, nonces, tags and prefixes of all fields.
        const FIXED: usize = 768;
        FIXED
            + match self {
                Self::Message(m) => {
                    m.user.len()
                        + m.name.len()
                        + m.text.len()
                        + m.paid.as_ref().map_or(0, |p| p.reference.len())
                }
                Self::MessageRemoved(r) => r.by.len(),
                Self::UserMessagesRemoved(r) => r.user.len() + r.by.len(),
                Self::Audit(a) => {
                    a.actor.len()
                        + a.target.as_ref().map_or(0, String::len)
                        + a.reason.len()
                        + a.detail.len()
                }
                Self::RoomState(s) => s.name.len() + s.value.as_ref().map_or(0, Vec::len),
                Self::DeadLetter(d) => {
                    d.id.len() + d.url.len() + d.event.len() + d.body.len() + d.last_error.len()
                }
            }
    }

    /// Holds every field against its limit.
    ///
    /// # Errors
    /// The first field that breaks its limit.
    pub fn validate(&self) -> Result<(), RecordError> {
        match self {
            Self::Message(m) => {
                number("id", m.id)?;
                number("epoch", m.epoch)?;
                number("at_ms", m.at_ms)?;
                number("reply_to", m.reply_to.unwrap_or(0))?;
                length("user", m.user.len(), USER_BYTES_MAX)?;
                length("name", m.name.len(), NAME_BYTES_MAX)?;
                length("text", m.text.len(), TEXT_BYTES_MAX)?;
                m.paid.as_ref().map_or(Ok(()), |p| {
                    number("amount", p.amount)?;
                    length("reference", p.reference.len(), NOTE_BYTES_MAX)?;
                    let capital =
                        p.currency.len() == 3 && p.currency.bytes().all(|b| b.is_ascii_uppercase());
                    if capital {
                        Ok(())
                    } else {
                        Err(RecordError::Currency)
                    }
                })
            }
            Self::MessageRemoved(r) => {
                number("id", r.id)?;
                number("at_ms", r.at_ms)?;
                length("by", r.by.len(), USER_BYTES_MAX)
            }
            Self::UserMessagesRemoved(r) => {
                number("up_to_id", r.up_to_id)?;
                number("at_ms", r.at_ms)?;
                length("user", r.user.len(), USER_BYTES_MAX)?;
                length("by", r.by.len(), USER_BYTES_MAX)
            }
            Self::Audit(a) => {
                number("at_ms", a.at_ms)?;
                plain("action", &a.action, ACTION_BYTES_MAX)?;
                length("actor", a.actor.len(), USER_BYTES_MAX)?;
                length(
                    "target",
                    a.target.as_ref().map_or(0, String::len),
                    USER_BYTES_MAX,
                )?;
                length("reason", a.reason.len(), NOTE_BYTES_MAX)?;
                length("detail", a.detail.len(), BLOB_BYTES_MAX)
            }
            Self::RoomState(s) => {
                length("name", s.name.len(), NOTE_BYTES_MAX)?;
                let value = s.value.as_ref().map_or(0, Vec::len);
                length("value", value, BLOB_BYTES_MAX)
            }
            Self::DeadLetter(d) => {
                number("at_ms", d.at_ms)?;
                plain("id", &d.id, USER_BYTES_MAX)?;
                plain("event", &d.event, ACTION_BYTES_MAX)?;
                plain("url", &d.url, NOTE_BYTES_MAX)?;
                length(
                    "user",
                    d.user.as_ref().map_or(0, String::len),
                    USER_BYTES_MAX,
                )?;
                length("body", d.body.len(), BLOB_BYTES_MAX)?;
                length("last_error", d.last_error.len(), NOTE_BYTES_MAX)
            }
        }
    }
}

fn number(name: &'static str, value: u64) -> Result<(), RecordError> {
    if value <= NUMBER_MAX {
        Ok(())
    } else {
        Err(RecordError::TooLarge(name))
    }
}

fn length(name: &'static str, bytes: usize, max: usize) -> Result<(), RecordError> {
    if bytes <= max {
        Ok(())
    } else {
        Err(RecordError::TooLong(name))
    }
}

fn plain(name: &'static str, text: &str, max: usize) -> Result<(), RecordError> {
    length(name, text.len(), max)?;
    if !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        Ok(())
    } else {
        Err(RecordError::Characters(name))
    }
}

// What people say and who they are is for the database only, never for a log.
macro_rules! debug_without_content {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_content! {
    MessageRecord { room, id, epoch, at_ms, shown }
    AuditRecord { room, at_ms, action }
    RoomStateRecord { room }
    DeadLetterRecord { id, event, attempts, at_ms }
}
