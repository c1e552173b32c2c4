//! The handle, and what runs behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lightstick_tasks::{Ended, Tasks, Threads};
use lightstick_types::RoomName;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::ArchiveConfig;
use crate::entry::{
    AuditEntry, DeadLetter, HistoryPage, HistoryQuery, MessageEntry, RoomState, Verified,
};
use crate::error::{AppendError, ArchiveError, OpenError};
use crate::folder;
use crate::journal::reader::Reader;
use crate::journal::{self, Done, Folder, Journal, Receipt};
use crate::node_key::NodeKey;
use crate::record::Record;
use crate::seal::Sealer;
use crate::stats::ArchiveStats;
use crate::store::{ChainCheck, Retention, Store};
use crate::writer::{Settings, Writer};

/// How often rows are looked at for their age.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// The way to the archive. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    journal: Journal,
    store: Arc<Store>,
    written: watch::Receiver<u64>,
    hurry: Arc<Notify>,
    stats: Arc<ArchiveStats>,
    timeout: Duration,
}

/// The threads and tasks of an archive. Dropped, they end at once: what is in the journal is written at the next start.
pub struct ArchiveTasks {
    journal: Journal,
    threads: Threads,
    writer: Tasks,
    retention: Tasks,
    store: Arc<Store>,
    written: watch::Receiver<u64>,
    closing: CancellationToken,
    abort: CancellationToken,
}

/// What a shutdown left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// The database has everything.
    Everything,
    /// So many bytes stay in the journal until the next start.
    LeftInJournal(u64),
}

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// The user's keys are gone, from the database and from the journal.
    Done,
    /// It is in the journal, and will be done when the database has caught up.
    Accepted,
}

impl Archive {
    /// Opens or makes everything in `data_dir`, brings the database up to date, and starts. A PostgreSQL that cannot be
    /// reached may come later: until then records wait in the journal.
    ///
    /// # Errors
    /// Settings, files or a database that cannot be used.
    pub async fn open(config: ArchiveConfig) -> Result<(Self, ArchiveTasks), OpenError> {
        config.validate()?;
        folder::make(&config.data_dir)?;
        let folder = Folder::open(config.data_dir.join("journal"))?;
        let node = Arc::new(match config.node_key_bytes()? {
            Some(secret) => NodeKey::new(&secret),
            None => NodeKey::load(&config.data_dir.join("node.key"))?,
        });
        let store = Arc::new(Store::new(&config, node.clone())?);
        let id = folder.id;
        let (connection, position) = match store.connect(&id).await {
            Ok((connection, position)) => (Some(connection), position),
            Err(error) if store.may_come_later(&error) => {
                tracing::warn!(%error, "cannot reach the chat database; records stay in the journal");
                (None, folder.oldest())
            }
            Err(error) => return Err(error),
        };

        let stats = Arc::new(ArchiveStats::default());
        let path = folder.path();
        let (journal, threads) = journal::start(
            folder,
            position,
            config.journal_bytes_max,
            config.fsync,
            Sealer::new(node),
            stats.clone(),
        )?;
        let (written_out, written) = watch::channel(position);
        let (closing, abort) = (CancellationToken::new(), CancellationToken::new());
        let hurry = Arc::new(Notify::new());
        let writer = Writer {
            store: store.clone(),
            reader: Some(Reader::new(path, journal.shared.clone())),
            journal: journal.clone(),
            id,
            connection,
            position,
            began_at: *journal.end().borrow(),
            written: written_out,
            settings: Settings {
                records_max: config.batch_records_max,
                wait: config.batch_wait,
                timeout: config.database_timeout,
                retry_wait_max: config.retry_wait_max,
            },
            hurry: hurry.clone(),
            closing: closing.clone(),
            abort: abort.clone(),
        };
        let archive = Self {
            journal: journal.clone(),
            store: store.clone(),
            written: written.clone(),
            hurry,
            stats,
            timeout: config.database_timeout,
        };
        let mut tasks = ArchiveTasks {
            journal,
            threads,
            writer: Tasks::default(),
            retention: Tasks::default(),
            store,
            written,
            closing,
            abort,
        };
        tasks.writer.spawn("chat-archive-writer", writer.run());
        if !(config.retain.is_zero() && config.retain_audit.is_zero()) {
            tasks.retention.spawn(
                "chat-archive-retention",
                retention(archive.clone(), config.retain, config.retain_audit),
            );
        }
        Ok((archive, tasks))
    }

    /// Keeps records. Resolved when they are in the journal, which survives the process; with [`crate::Fsync`] also the
    /// machine. Never waits for the database. Batches appended by one task are kept in their order.
    ///
    /// Above seven eighths of `journal_bytes_max` ordinary messages are not kept any more ([`Receipt::unarchived`]).
    ///
    /// # Errors
    /// Nothing of the batch was kept. What [must be kept](Record::must_keep) is to be refused to whoever asked for it;
    /// ordinary messages may go on, they are counted.
    pub async fn append(&self, batch: Vec<Record>) -> Result<Receipt, AppendError> {
        let (done, receipt) = oneshot::channel();
        self.append_with(batch, move |result| drop(done.send(result)));
        receipt.await.unwrap_or(Err(AppendError::Closed))
    }

    /// The same for threads without a runtime. `done` is called once, on the journal's thread or at once on this one,
    /// and must not block.
    pub fn append_with(
        &self,
        batch: Vec<Record>,
        done: impl FnOnce(Result<Receipt, AppendError>) + Send + 'static,
    ) {
        self.journal.append(batch, Done::new(done));
    }

    /// A secret for another purpose of this node, the same after every start with the same node key.
    #[must_use]
    pub fn derived_key(&self, purpose: &str) -> [u8; 32] {
        self.store.derived_key(purpose)
    }

    /// Waits until the database has all that was acknowledged before, at most `database_timeout`.
    ///
    /// # Errors
    /// [`ArchiveError::Timeout`], and [`ArchiveError::Closed`] while or after it is shut down.
    pub async fn flushed(&self) -> Result<(), ArchiveError> {
        let end = *self.journal.end().borrow();
        self.reached(end).await
    }

    /// What a room must know again after a restart. Waits for the database to catch up: what was acknowledged is in it.
    ///
    /// # Errors
    /// The database, or its lag.
    pub async fn room_state(&self, room: &RoomName) -> Result<RoomState, ArchiveError> {
        self.flushed().await?;
        self.count_read();
        self.store.room_state(room).await
    }

    /// One message.
    ///
    /// # Errors
    /// The database.
    pub async fn message(
        &self,
        room: &RoomName,
        id: u64,
    ) -> Result<Option<MessageEntry>, ArchiveError> {
        self.count_read();
        self.store.message(room, id).await
    }

    /// A page of a room's messages; `limit` is at most 1,000. The latest fifth of a second may not be there yet.
    ///
    /// # Errors
    /// The database.
    pub async fn history(
        &self,
        room: &RoomName,
        query: &HistoryQuery,
        limit: usize,
    ) -> Result<HistoryPage, ArchiveError> {
        self.count_read();
        self.store.history(room, query, limit).await
    }

    /// A room's last messages that were paid for, oldest first; `limit` is at most 1,000.
    ///
    /// # Errors
    /// The database.
    pub async fn paid(
        &self,
        room: &RoomName,
        limit: usize,
    ) -> Result<Vec<MessageEntry>, ArchiveError> {
        self.count_read();
        self.store.paid(room, limit).await
    }

    /// Rooms that have saved a state.
    ///
    /// # Errors
    /// The database.
    pub async fn rooms(&self) -> Result<Vec<RoomName>, ArchiveError> {
        self.count_read();
        self.store.rooms().await
    }

    /// The place of a room's last audit record; 0 where there is none.
    ///
    /// # Errors
    /// The database.
    pub async fn audit_end(&self, room: &RoomName) -> Result<u64, ArchiveError> {
        self.count_read();
        self.store.audit_end(room).await
    }

    /// A page of a room's audit records, the oldest first; `limit` is at most 1,000.
    ///
    /// # Errors
    /// The database.
    pub async fn audit(
        &self,
        room: &RoomName,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, ArchiveError> {
        self.count_read();
        self.store.audit(room, after_seq, limit).await
    }

    /// Holds a room's audit records against their hashes.
    ///
    /// # Errors
    /// The database.
    pub async fn verify(&self, room: &RoomName) -> Result<Verified, ArchiveError> {
        self.count_read();
        ChainCheck::new(&self.store, room).run().await
    }

    /// A page of webhooks that nobody took, by their ids; `limit` is at most 1,000.
    ///
    /// # Errors
    /// The database.
    pub async fn dead_letters(
        &self,
        after_id: &str,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ArchiveError> {
        self.count_read();
        self.store.dead_letters(after_id, limit).await
    }

    /// One webhook that nobody took.
    ///
    /// # Errors
    /// The database.
    pub async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>, ArchiveError> {
        self.count_read();
        self.store.dead_letter(id).await
    }

    /// Deletes a dead letter; whether there was one.
    ///
    /// # Errors
    /// The database.
    pub async fn remove_dead_letter(&self, id: &str) -> Result<bool, ArchiveError> {
        self.store.remove_dead_letter(id).await
    }

    /// Makes everything unreadable that a user said, did or had done to them up to now, in every room. Rows and audit
    /// chains stay. Waits at most `database_timeout` for the end of it.
    ///
    /// Not reached: the state that a room saved, other nodes that hold a key of this user (erase there as well), and
    /// backups and logs that the database's keeper made.
    ///
    /// # Errors
    /// It could not be written down, and must be asked for again.
    pub async fn erase_user(&self, user: &str) -> Result<Erasure, ArchiveError> {
        let (done, position) = oneshot::channel();
        self.journal.erase(
            user.to_owned(),
            Box::new(move |result| drop(done.send(result))),
        );
        let position = position.await.unwrap_or(Err(AppendError::Closed))?;
        let mut oldest = self.journal.oldest();
        let gone = async {
            self.reached(position).await?;
            oldest
                .wait_for(|oldest| *oldest >= position)
                .await
                .map_err(|_| ArchiveError::Closed)
                .map(drop)
        };
        match tokio::time::timeout(self.timeout, gone).await {
            Ok(Ok(())) => Ok(Erasure::Done),
            Ok(Err(_)) | Err(_) => Ok(Erasure::Accepted),
        }
    }

    /// Deletes what is older than these times, in milliseconds since 1970 (0: nothing): messages and dead letters, and
    /// audit records. Gives the number of rows. The archive does it by itself once an hour.
    ///
    /// # Errors
    /// The database; what was deleted before stays deleted.
    pub async fn retain(
        &self,
        messages_from_ms: u64,
        audit_from_ms: u64,
    ) -> Result<u64, ArchiveError> {
        let retention = Retention::new(&self.store, messages_from_ms, audit_from_ms);
        let deleted = retention.run().await?;
        self.stats.deleted.fetch_add(deleted, Relaxed);
        Ok(deleted)
    }

    #[must_use]
    pub fn stats(&self) -> &Arc<ArchiveStats> {
        &self.stats
    }

    async fn reached(&self, position: u64) -> Result<(), ArchiveError> {
        let mut written = self.written.clone();
        self.hurry.notify_one();
        match tokio::time::timeout(self.timeout, written.wait_for(|w| *w >= position)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ArchiveError::Closed),
            Err(_) => Err(ArchiveError::Timeout),
        }
    }

    fn count_read(&self) {
        self.stats.reads.fetch_add(1, Relaxed);
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl ArchiveTasks {
    /// The next end of a thread or task. Before [`ArchiveTasks::shutdown`] it is unexpected. Safe to cancel.
    pub async fn ended(&mut self) -> Ended {
        tokio::select! {
            // The writer ends when the journal does.
            biased;
            ended = self.threads.ended() => ended,
            ended = self.writer.ended() => ended,
            ended = self.retention.ended() => ended,
        }
    }

    /// Takes no more records, writes what waits into the journal, and the journal into the database until `deadline` is
    /// over. What is left is written at the next start.
    ///
    /// # Errors
    /// The first failure of a thread or task; it is logged, and the rest is shut down all the same.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<Flushed, Ended> {
        let mut outcome = self.retention.abort().await;
        self.journal.close();
        self.closing.cancel();
        let threads = std::mem::take(&mut self.threads);
        let ended = tokio::task::spawn_blocking(move || threads.join()).await;
        outcome = outcome.and(ended.unwrap_or(Ok(())));
        let end = *self.journal.end().borrow();
        let done = match tokio::time::timeout(deadline, self.writer.join()).await {
            Ok(done) => done,
            Err(_) => {
                self.abort.cancel();
                self.writer.join().await
            }
        };
        outcome = outcome.and(done);
        // A database that hangs would hold this up as well.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.store.close()).await;
        let written = *self.written.borrow();
        outcome.map(|()| match end.saturating_sub(written) {
            0 => Flushed::Everything,
            left => Flushed::LeftInJournal(left),
        })
    }
}

impl std::fmt::Debug for ArchiveTasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveTasks").finish_non_exhaustive()
    }
}

impl Drop for ArchiveTasks {
    fn drop(&mut self) {
        self.journal.close();
    }
}

async fn retention(archive: Archive, messages: Duration, audit: Duration) {
    let mut every = tokio::time::interval(RETAIN_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let before = |age: Duration| match age {
            Duration::ZERO => 0,
            age => now.saturating_sub(age).as_millis() as u64,
        };
        match archive.retain(before(messages), before(audit)).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old chat rows deleted"),
            Err(error) => {
                tracing::warn!(%error, "cannot delete old chat rows; retrying later")
            }
        }
    }
}
