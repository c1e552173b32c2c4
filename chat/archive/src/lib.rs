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
//! # The handle
//!
//! ```ignore
//! impl Archive { // Clone
//!     pub async fn open(config: ArchiveConfig) -> Result<(Archive, ArchiveTasks), OpenError>;
//!     // Never waits for the database. Resolved when the bytes are written.
//!     pub async fn append(&self, batch: Vec<Record>) -> Result<Receipt, AppendError>;
//!     // The same for threads without a runtime: `done` is called on the journal's thread.
//!     pub fn append_with(&self, batch: Vec<Record>, done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static);
//!     // Waits until the database has all that was acknowledged before.
//!     pub async fn flushed(&self) -> Result<(), ArchiveError>;
//!     pub async fn room_state(&self, room: &RoomName) -> Result<RoomState, ArchiveError>;
//!     pub async fn message(&self, room: &RoomName, id: u64) -> Result<Option<MessageEntry>, ArchiveError>;
//!     pub async fn history(&self, room: &RoomName, query: &HistoryQuery, limit: usize) -> Result<HistoryPage, ArchiveError>;
//!     pub fn export(&self, room: RoomName, query: HistoryQuery) -> impl Stream<Item = Result<Bytes, ArchiveError>> + Send;
//!     pub async fn audit(&self, room: &RoomName, after_seq: u64, limit: usize) -> Result<Vec<AuditEntry>, ArchiveError>;
//!     pub async fn verify(&self, room: &RoomName) -> Result<Verified, ArchiveError>;
//!     pub async fn dead_letters(&self, after_id: &str, limit: usize) -> Result<Vec<DeadLetter>, ArchiveError>;
//!     pub async fn remove_dead_letter(&self, id: &str) -> Result<bool, ArchiveError>;
//!     pub async fn erase_user(&self, user: &str) -> Result<Erased, ArchiveError>;
//!     pub fn stats(&self) -> &Arc<ArchiveStats>;
//! }
//! impl ArchiveTasks { pub async fn shutdown(self, deadline: Duration) -> Flushed; }
//! ```

mod config;
mod entry;
mod error;
mod record;
mod stats;

pub use config::{ArchiveConfig, ConfigError, Fsync};
pub use entry::{
    AuditEntry, DeadLetter, HistoryPage, HistoryQuery, MessageBody, MessageEntry, PaidEntry,
    Removed, RoomState, Verified,
};
pub use error::{AppendError, ArchiveError, OpenError};
pub use record::{
    ACTION_BYTES_MAX, AuditRecord, BLOB_BYTES_MAX, DeadLetterRecord, MessageRecord, MessageRemoved,
    NAME_BYTES_MAX, NOTE_BYTES_MAX, NUMBER_MAX, PaidRecord, Record, RecordError, RoomStateRecord,
    TEXT_BYTES_MAX, USER_BYTES_MAX, UserMessagesRemoved,
};
pub use stats::{ArchiveStats, ArchiveStatsSnapshot};
