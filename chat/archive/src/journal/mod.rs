//! The journal: what is acknowledged is in here first.
//!
//! One thread owns it. It takes what waits, seals and frames it, writes it with one system call, forces it onto the
//! disk where that is asked for, and only then acknowledges.

pub(crate) mod frame;
pub(crate) mod reader;
pub(crate) mod segment;
mod thread;

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use lightstick_tasks::Threads;
use tokio::sync::watch;

use crate::config::Fsync;
use crate::error::{AppendError, OpenError};
use crate::record::Record;
use crate::seal::Sealer;
use crate::stats::ArchiveStats;
use segment::JournalId;

/// Records in one batch.
pub const BATCH_RECORDS_MAX: usize = 4_096;
/// Batches that wait for the journal's thread. At the limit a batch is refused as busy.
pub const BATCHES_WAITING_MAX: usize = 4_096;
/// Bytes that wait for the journal's thread. At the limit a batch is refused as busy.
pub const BYTES_WAITING_MAX: usize = 64 << 20;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Records that are in the journal now.
    pub kept: usize,
    /// Ordinary messages that are not kept: the journal is nearly full, or they break a limit.
    pub unarchived: usize,
}

/// Called on the journal's thread; with [`AppendError::Closed`] if it goes without having been called.
pub(crate) struct Done(Option<Callback>);

type Callback = Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>;

impl Done {
    pub(crate) fn new(done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }

    fn answer(mut self, result: Result<Receipt, AppendError>) {
        self.call(result);
    }

    // A caller's panic must not end the journal.
    fn call(&mut self, result: Result<Receipt, AppendError>) {
        if let Some(done) = self.0.take()
            && catch_unwind(AssertUnwindSafe(|| done(result))).is_err()
        {
            tracing::error!("a waiter of the chat journal panicked");
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.call(Err(AppendError::Closed));
    }
}

/// Called with the position behind the erasure.
pub(crate) type Erased = Box<dyn FnOnce(Result<u64, AppendError>) + Send>;

enum Command {
    Append {
        batch: Vec<Record>,
        weight: usize,
        /// Messages that were left out of the batch.
        invalid: usize,
        done: Done,
    },
    Erase {
        user: String,
        done: Erased,
    },
    /// Something is done with, or the end has come: look.
    Look,
}

/// What the journal's thread shares with the writer.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stats: Arc<ArchiveStats>,
    starts: Mutex<Vec<u64>>,
    /// The database has everything before this position.
    written: AtomicU64,
}

impl Shared {
    fn starts(&self) -> Vec<u64> {
        self.starts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_starts(&self, starts: Vec<u64>) {
        *self.starts.lock().unwrap_or_else(PoisonError::into_inner) = starts;
    }
}

/// The way to the journal's thread.
#[derive(Clone)]
pub(crate) struct Journal {
    commands: SyncSender<Command>,
    waiting_bytes: Arc<AtomicUsize>,
    pub(crate) shared: Arc<Shared>,
    closed: Arc<std::sync::atomic::AtomicBool>,
    end: watch::Receiver<u64>,
    oldest: watch::Receiver<u64>,
}

/// A folder's lock. It is given back in so many words: a process that is being started has a copy
/// of the descriptor for a moment, and would hold the lock after the file is closed here.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it gives it back as well.
        let _ = self.0.unlock();
    }
}

/// A journal's folder, locked, before it is used.
pub(crate) struct Folder {
    path: PathBuf,
    // Held for as long as the folder is used; the system lets go of it with the process.
    _lock: Lock,
    pub(crate) id: JournalId,
    starts: Vec<u64>,
}

impl Folder {
    /// Locks a folder and sees what is in it.
    pub(crate) fn open(path: PathBuf) -> Result<Self, OpenError> {
        fs::create_dir_all(&path)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => OpenError::Locked,
            fs::TryLockError::Error(error) => OpenError::Io(error),
        })?;
        let mut starts = Vec::new();
        let mut id = None;
        for start in segment::list(&path)? {
            let mut file = File::open(segment::path(&path, start))?;
            let Some(read) = segment::read_header(&mut file, start)? else {
                let aside = segment::set_aside(&path, start)?;
                tracing::error!(
                    path = %aside.display(),
                    "a segment of the chat journal has no valid header; it was set aside"
                );
                continue;
            };
            starts.push(start);
            if id.is_some_and(|id| id != read) {
                let mixed = io::Error::new(
                    io::ErrorKind::InvalidData,
                    "segments of two journals in one folder",
                );
                return Err(mixed.into());
            }
            id = Some(read);
        }
        Ok(Self {
            path,
            _lock: Lock(lock),
            id: id.unwrap_or_else(segment::new_id),
            starts,
        })
    }

    /// The position of the oldest row; 0 where there is none.
    pub(crate) fn oldest(&self) -> u64 {
        self.starts.first().copied().unwrap_or(0)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

/// Starts the thread. `written` is how far the database is.
pub(crate) fn start(
    mut folder: Folder,
    written: u64,
    bytes_max: u64,
    fsync: Fsync,
    sealer: Sealer,
    stats: Arc<ArchiveStats>,
) -> Result<(Journal, Threads), OpenError> {
    let mut end = written;
    let mut active = None;
    if let Some(start) = folder.starts.last().copied() {
        let file = File::options()
            .read(true)
            .write(true)
            .open(segment::path(&folder.path, start))?;
        let whole = segment::scan(&file)?;
        let cut = file
            .metadata()?
            .len()
            .saturating_sub(segment::HEADER_BYTES + whole);
        if cut > 0 {
            tracing::warn!(
                bytes = cut,
                "the chat journal ended in a partial write; truncated"
            );
            stats.cut_bytes.fetch_add(cut, Relaxed);
            file.set_len(segment::HEADER_BYTES + whole)?;
        }
        // What went to the database may be lost here if the machine lost power. Positions go on behind it.
        if start + whole >= written {
            end = start + whole;
            active = Some((start, file));
        }
    }
    let (start, file) = match active {
        Some(active) => active,
        None => {
            let file = segment::create(&folder.path, &folder.id, end)?;
            folder.starts.push(end);
            (end, file)
        }
    };
    stats.position.store(written, Relaxed);
    let shared = Arc::new(Shared {
        stats,
        starts: Mutex::new(folder.starts.clone()),
        written: AtomicU64::new(written),
    });
    let (commands, inbox) = sync_channel(BATCHES_WAITING_MAX);
    let (end_out, end_in) = watch::channel(end);
    let (oldest_out, oldest_in) = watch::channel(folder.starts.first().copied().unwrap_or(start));
    let journal = Journal {
        commands,
        waiting_bytes: Arc::default(),
        shared: shared.clone(),
        closed: Arc::default(),
        end: end_in,
        oldest: oldest_in,
    };
    let thread = thread::Thread {
        waiting_bytes: journal.waiting_bytes.clone(),
        closed: journal.closed.clone(),
        shared,
        active: thread::Active { start, file, end },
        segment_bytes: (bytes_max / 16).clamp(64 << 10, 64 << 20),
        bytes_max,
        fsync,
        sealer,
        end: end_out,
        oldest: oldest_out,
        folder,
        buffer: Vec::new(),
    };
    let mut threads = Threads::default();
    threads.spawn("chat-journal", move || thread.run(&inbox))?;
    Ok((journal, threads))
}

impl Journal {
    pub(crate) fn append(&self, mut batch: Vec<Record>, done: Done) {
        let mut must = batch.iter().filter(|record| record.must_keep());
        if let Err(error) = must.try_for_each(Record::validate) {
            return self.refuse(&batch, done, error.into());
        }
        // An ordinary message that breaks a limit takes none of the others with it.
        let before = batch.len();
        batch.retain(|record| record.validate().is_ok());
        let invalid = before - batch.len();
        if invalid > 0 {
            tracing::error!(
                invalid,
                "chat messages exceed a limit of the archive and are not stored"
            );
            self.shared
                .stats
                .unarchived
                .fetch_add(invalid as u64, Relaxed);
        }
        if batch.len() > BATCH_RECORDS_MAX {
            return self.refuse(&batch, done, AppendError::BatchTooLarge);
        }
        let weight = batch.iter().map(Record::weight).sum();
        if self.waiting_bytes.fetch_add(weight, Relaxed) + weight > BYTES_WAITING_MAX {
            self.waiting_bytes.fetch_sub(weight, Relaxed);
            return self.refuse(&batch, done, AppendError::Busy);
        }
        if let Err(error) = self.send(Command::Append {
            batch,
            weight,
            invalid,
            done,
        }) {
            self.waiting_bytes.fetch_sub(weight, Relaxed);
            let (Command::Append { batch, done, .. }, error) = error else {
                return;
            };
            self.refuse(&batch, done, error);
        }
    }

    pub(crate) fn erase(&self, user: String, done: Erased) {
        if let Err((Command::Erase { done, .. }, error)) = self.send(Command::Erase { user, done })
        {
            done(Err(error));
        }
    }

    /// Tells the thread how far the database is; it deletes what is done with.
    pub(crate) fn written(&self, position: u64) {
        self.shared.written.store(position, Relaxed);
        // A full inbox wakes it as well.
        let _ = self.commands.try_send(Command::Look);
    }

    /// Takes nothing more; the thread ends when it has written what waits.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        let _ = self.commands.try_send(Command::Look);
    }

    /// The position behind everything acknowledged.
    pub(crate) fn end(&self) -> watch::Receiver<u64> {
        self.end.clone()
    }

    /// The position of the oldest row on the disk.
    pub(crate) fn oldest(&self) -> watch::Receiver<u64> {
        self.oldest.clone()
    }

    fn send(&self, command: Command) -> Result<(), (Command, AppendError)> {
        if self.closed.load(Relaxed) {
            return Err((command, AppendError::Closed));
        }
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                TrySendError::Full(command) => (command, AppendError::Busy),
                TrySendError::Disconnected(command) => (command, AppendError::Closed),
            })
    }

    fn refuse(&self, batch: &[Record], done: Done, error: AppendError) {
        count_refused(&self.shared.stats, batch);
        done.answer(Err(error));
    }
}

fn count_refused(stats: &ArchiveStats, batch: &[Record]) {
    let must = batch.iter().filter(|r| r.must_keep()).count() as u64;
    stats.refused.fetch_add(must, Relaxed);
    stats
        .unarchived
        .fetch_add(batch.len() as u64 - must, Relaxed);
}

#[cfg(test)]
mod tests;
