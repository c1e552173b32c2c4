//! What can go wrong.

use std::io;

use crate::config::ConfigError;
use crate::record::RecordError;

/// Why the archive did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process has the same `data_dir`.
    #[error("another process is using this data_dir")]
    Locked,
    /// The node key's file can be read by others, or does not hold a key.
    #[error("node.key must hold 32 bytes and be readable by its owner only")]
    NodeKeyFile,
    /// The database was written with another node key.
    #[error("the database belongs to another node key")]
    OtherNodeKey,
    /// The journal or the database was written by a newer version.
    #[error("{0} was written by a newer version")]
    Newer(&'static str),
    #[error("journal: {0}")]
    Io(#[from] io::Error),
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Why nothing of a batch was kept. Paid messages and moderation are then refused; ordinary messages go on and are
/// counted as unarchived already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A record that must be kept breaks a limit: our bug, or a missing check. Its batch is refused,
    /// so what belongs together is to be one batch, and nothing else in it.
    #[error("a record cannot be stored: {0}")]
    Record(#[from] RecordError),
    /// More records than [`crate::BATCH_RECORDS_MAX`].
    #[error("too many records in one batch")]
    BatchTooLarge,
    /// Too much waits for the disk.
    #[error("the journal is busy")]
    Busy,
    /// `journal_bytes_max` is reached: the database was away for too long.
    #[error("the journal is full")]
    Full,
    #[error("the disk is full")]
    DiskFull,
    #[error("the disk failed: {0:?}")]
    Io(io::ErrorKind),
    /// The archive was shut down.
    #[error("the archive is closed")]
    Closed,
}

/// Why something could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// What is asked could not be written down.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It did not end within `database_timeout`, or the database is still behind the journal.
    #[error("the database did not answer in time")]
    Timeout,
    /// The archive was shut down.
    #[error("the archive is closed")]
    Closed,
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}
