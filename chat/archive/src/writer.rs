//! The task that moves the journal into the database.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::error::OpenError;
use crate::journal::Journal;
use crate::journal::reader::{Chunk, Reader};
use crate::journal::segment::JournalId;
use crate::store::{Outcome, Store, WriteConnection};

/// Wait after the first failed try; doubled by each further one, up to the configured limit.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(50);
/// With so many bytes in the journal a batch does not wait for more.
const BATCH_BYTES_FULL: u64 = 256 << 10;

pub(crate) struct Writer {
    pub(crate) store: Arc<Store>,
    pub(crate) journal: Journal,
    pub(crate) id: JournalId,
    pub(crate) reader: Option<Reader>,
    pub(crate) connection: Option<WriteConnection>,
    /// The database has everything before it, as far as is known.
    pub(crate) position: u64,
    /// Where the journal ended when it was opened.
    pub(crate) began_at: u64,
    pub(crate) written: watch::Sender<u64>,
    pub(crate) settings: Settings,
    /// Somebody waits for the database to catch up.
    pub(crate) hurry: Arc<Notify>,
    /// The journal is closed: write what is left.
    pub(crate) closing: CancellationToken,
    /// Even that takes too long.
    pub(crate) abort: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) records_max: usize,
    pub(crate) wait: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retry_wait_max: Duration,
}

impl Writer {
    /// Runs until the journal is closed and written, or until it is told to give up.
    pub(crate) async fn run(mut self) {
        let mut end = self.journal.end();
        let abort = self.abort.clone();
        let work = async {
            self.meet(&end).await;
            while self.wait_for_rows(&mut end).await {
                let end = *end.borrow();
                let Some(chunk) = self.read(end).await else {
                    continue;
                };
                self.write(&chunk).await;
            }
        };
        abort.run_until_cancelled(work).await;
    }

    // Connects to a database that could not be reached at the start: rooms can be read only once its tables are there.
    async fn meet(&mut self, end: &watch::Receiver<u64>) {
        let mut failures = 0;
        while self.connection.is_none() {
            match self.store.connect(&self.id).await {
                Ok((mut connection, position)) => {
                    // The disk has lost its end while the database was away. What came since stands where that was.
                    let rewound = position > self.began_at;
                    if rewound && let Err(error) = connection.rewind(self.began_at).await {
                        tracing::warn!(%error, "the chat database is not accepting writes; retrying");
                        self.back_off(&mut failures).await;
                        continue;
                    }
                    self.connection = Some(connection);
                    self.moved_to(position.min(self.began_at));
                    tracing::info!(position, "connected to the chat database");
                }
                Err(error) => {
                    self.journal
                        .shared
                        .stats
                        .database_errors
                        .fetch_add(1, Relaxed);
                    tracing::warn!(%error, failures, "cannot reach the chat database; retrying");
                    if self.closing.is_cancelled() && *end.borrow() <= self.position {
                        return;
                    }
                    self.back_off(&mut failures).await;
                }
            }
        }
    }

    // Waits until there is a batch. False when everything is written and nothing more will come.
    async fn wait_for_rows(&mut self, end: &mut watch::Receiver<u64>) -> bool {
        let shared = self.journal.shared.clone();
        while *end.borrow_and_update() <= self.position {
            *shared
                .stats
                .waiting_since
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
            // The sender goes with the journal's thread, and that only when it is closed.
            if end.changed().await.is_err() {
                return *end.borrow() > self.position;
            }
        }
        let first = Instant::now();
        shared
            .stats
            .waiting_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(first);
        let full = self.position + BATCH_BYTES_FULL;
        let more =
            async { while *end.borrow_and_update() < full && end.changed().await.is_ok() {} };
        tokio::select! {
            () = more => {}
            () = self.hurry.notified() => {}
            () = self.closing.cancelled() => {}
            () = tokio::time::sleep(self.settings.wait) => {}
        }
        true
    }

    async fn read(&mut self, end: u64) -> Option<Chunk> {
        let mut reader = self.reader.take()?;
        let (from, records_max) = (self.position, self.settings.records_max);
        let read = tokio::task::spawn_blocking(move || {
            let chunk = reader.read(from, end, records_max);
            (reader, chunk)
        });
        let (reader, chunk) = read.await.expect("reading the journal does not panic");
        self.reader = Some(reader);
        match chunk {
            Ok(chunk) => Some(chunk),
            Err(error) => {
                tracing::error!(%error, "cannot read the chat journal");
                self.journal.shared.stats.disk_errors.fetch_add(1, Relaxed);
                self.back_off(&mut 0).await;
                None
            }
        }
    }

    // Tries until the batch is in the database, or was there already.
    async fn write(&mut self, chunk: &Chunk) {
        let stats = self.journal.shared.stats.clone();
        let mut failures = 0;
        loop {
            match self.attempt(chunk).await {
                Ok(Outcome::Written { duplicates }) => {
                    if duplicates > 0 {
                        tracing::warn!(duplicates, "chat messages were already stored");
                    }
                    stats.duplicates.fetch_add(duplicates, Relaxed);
                    let records = chunk.rows.iter().filter(|row| row.is_record()).count();
                    stats
                        .archived
                        .fetch_add(records as u64 - duplicates, Relaxed);
                    stats.batches.fetch_add(1, Relaxed);
                    return self.moved_to(chunk.next);
                }
                Ok(Outcome::Elsewhere(position)) => {
                    tracing::info!(
                        position,
                        "the chat database is ahead of its recorded position"
                    );
                    return self.moved_to(position);
                }
                Err(error) => {
                    stats.database_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, failures, "the chat database is not accepting writes; retrying");
                    // Its state is unknown, and so is what became of the transaction.
                    self.connection = None;
                    self.back_off(&mut failures).await;
                }
            }
        }
    }

    async fn attempt(&mut self, chunk: &Chunk) -> Result<Outcome, OpenError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let (connection, position) = self.store.connect(&self.id).await?;
                if position != self.position {
                    self.connection = Some(connection);
                    return Ok(Outcome::Elsewhere(position));
                }
                connection
            }
        };
        let write = connection.write(self.position, chunk);
        let outcome = match tokio::time::timeout(self.settings.timeout, write).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(sqlx::Error::PoolTimedOut.into()),
        };
        self.connection = Some(connection);
        Ok(outcome)
    }

    fn moved_to(&mut self, position: u64) {
        self.position = position;
        self.journal.shared.stats.position.store(position, Relaxed);
        self.restart_lag();
        self.journal.written(position);
        self.written.send_replace(position);
    }

    // What is left came later than what was written.
    fn restart_lag(&self) {
        let stats = &self.journal.shared.stats;
        let left = *self.journal.end().borrow() > self.position;
        *stats
            .waiting_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = left.then(Instant::now);
    }

    async fn back_off(&self, failures: &mut u32) {
        let wait = RETRY_WAIT_MIN
            .saturating_mul(1 << (*failures).min(16))
            .min(self.settings.retry_wait_max);
        *failures = failures.saturating_add(1);
        // Nodes that lost the same database do not come back in step.
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}
