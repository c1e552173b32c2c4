//! What the archive counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use std::sync::Mutex;

/// Counters of one archive. Written by its threads, read by a scrape.
#[derive(Debug, Default)]
pub struct ArchiveStats {
    pub(crate) journalled: AtomicU64,
    pub(crate) archived: AtomicU64,
    pub(crate) unarchived: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) cut_bytes: AtomicU64,
    pub(crate) disk_errors: AtomicU64,
    pub(crate) database_errors: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) keys_made: AtomicU64,
    pub(crate) deleted: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
    /// Positions in the journal: behind what is acknowledged, and behind what the database has.
    pub(crate) end: AtomicU64,
    pub(crate) position: AtomicU64,
    pub(crate) reads: AtomicU64,
    /// Since when something waits for the database.
    pub(crate) waiting_since: Mutex<Option<Instant>>,
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveStatsSnapshot {
    /// Records written to the journal.
    pub journalled: u64,
    /// Records committed to the database.
    pub archived: u64,
    /// Ordinary messages that went on without being kept.
    pub unarchived: u64,
    /// Records refused that must be kept.
    pub refused: u64,
    /// Messages dropped for their id was there already.
    pub duplicates: u64,
    /// Records of the journal that could not be read again.
    pub corrupt: u64,
    /// Bytes cut off the journal's end at the start: a write that had not ended.
    pub cut_bytes: u64,
    /// Failed writes to the journal.
    pub disk_errors: u64,
    /// Failed transactions; each is tried again.
    pub database_errors: u64,
    pub batches: u64,
    /// Times the journal was forced onto the disk.
    pub syncs: u64,
    pub keys_made: u64,
    /// Rows deleted by age.
    pub deleted: u64,
    /// Reads of the database for somebody.
    pub reads: u64,
    /// Gauge: what the journal takes on the disk, in bytes.
    pub journal_bytes: u64,
    /// Gauge: what of it the database does not have yet, in bytes.
    pub lag_bytes: u64,
    /// Gauge: for how long the oldest of that has been waiting.
    pub lag: Duration,
}

impl ArchiveStats {
    #[must_use]
    pub fn snapshot(&self) -> ArchiveStatsSnapshot {
        let waiting = *self
            .waiting_since
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        ArchiveStatsSnapshot {
            journalled: self.journalled.load(Relaxed),
            archived: self.archived.load(Relaxed),
            unarchived: self.unarchived.load(Relaxed),
            refused: self.refused.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
            cut_bytes: self.cut_bytes.load(Relaxed),
            disk_errors: self.disk_errors.load(Relaxed),
            database_errors: self.database_errors.load(Relaxed),
            batches: self.batches.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            keys_made: self.keys_made.load(Relaxed),
            deleted: self.deleted.load(Relaxed),
            reads: self.reads.load(Relaxed),
            journal_bytes: self.journal_bytes.load(Relaxed),
            lag_bytes: self
                .end
                .load(Relaxed)
                .saturating_sub(self.position.load(Relaxed)),
            lag: waiting.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}
