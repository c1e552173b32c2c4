//! The chat's archive: keeps what was said, bounded and encrypted, off the hot path.
//!
//! A record goes into the journal first, an append-only file on the local disk, and is acknowledged when it is there.
//! A task moves the journal into SQLite or PostgreSQL, in batches and exactly once. While the database is slow or
//! gone, the journal is the spill. What is personal is encrypted with a key of its user before it touches the disk;
//! forgetting the key erases the user, and leaves the audit chains whole.
//!
//! ```text
//! append ─► intake (bounded) ─► journal thread: seal, frame, write, fdatasync ─► acknowledged
//!                                     │ segments
//!                                     ▼
//!                               writer task: one transaction a batch ─► database ◄─ reads, retention
//! ```
//!
//! [`Archive::open`] gives the handle and its tasks; [`Archive::append`] keeps records; the other methods read.

mod archive;
mod audit;
mod config;
mod entry;
mod error;
mod export;
mod folder;
mod hex;
mod journal;
mod node_key;
mod record;
mod seal;
mod stats;
mod store;
mod stored;
mod writer;

pub use archive::{Archive, ArchiveTasks, Erasure, Flushed};
pub use config::{ArchiveConfig, ConfigError, Fsync};
pub use entry::{
    AuditEntry, DeadLetter, HistoryPage, HistoryQuery, MessageBody, MessageEntry, PaidEntry,
    Removed, RoomState, Verified,
};
pub use error::{AppendError, ArchiveError, OpenError};
pub use journal::{BATCH_RECORDS_MAX, BATCHES_WAITING_MAX, BYTES_WAITING_MAX, Receipt};
pub use record::{
    ACTION_BYTES_MAX, AuditRecord, BLOB_BYTES_MAX, DeadLetterRecord, MessageRecord, MessageRemoved,
    NAME_BYTES_MAX, NOTE_BYTES_MAX, NUMBER_MAX, PaidRecord, Record, RecordError, RoomStateRecord,
    TEXT_BYTES_MAX, USER_BYTES_MAX, UserMessagesRemoved,
};
pub use stats::{ArchiveStats, ArchiveStatsSnapshot};
