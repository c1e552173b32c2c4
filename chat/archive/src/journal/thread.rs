//! The thread that owns the journal.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::segment::{self, HEADER_BYTES};
use super::{Command, Done, Erased, Folder, Receipt, Shared, count_refused, frame};
use crate::config::Fsync;
use crate::error::AppendError;
use crate::record::Record;
use crate::seal::Sealer;

/// Bytes written with one system call. What waits beyond them waits for the next.
const GROUP_BYTES_MAX: usize = 4 << 20;

pub(super) struct Active {
    pub(super) start: u64,
    pub(super) file: File,
    /// Position behind the last whole row.
    pub(super) end: u64,
}

pub(super) struct Thread {
    pub(super) waiting_bytes: Arc<AtomicUsize>,
    pub(super) closed: Arc<AtomicBool>,
    pub(super) shared: Arc<Shared>,
    pub(super) active: Active,
    pub(super) segment_bytes: u64,
    pub(super) bytes_max: u64,
    pub(super) fsync: Fsync,
    pub(super) sealer: Sealer,
    pub(super) end: watch::Sender<u64>,
    pub(super) oldest: watch::Sender<u64>,
    pub(super) folder: Folder,
    pub(super) buffer: Vec<u8>,
}

/// Who waits for the group that is being written.
enum Waiter {
    Batch {
        kept: u64,
        receipt: Receipt,
        must: u64,
        done: Done,
    },
    Erasure {
        at: u64,
        done: Erased,
    },
}

impl Thread {
    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        self.report();
        loop {
            let first = if self.closed.load(Relaxed) {
                inbox.try_recv().ok()
            } else {
                inbox.recv().ok()
            };
            let Some(first) = first else { break };
            let mut group = Group::default();
            self.buffer.clear();
            self.take(first, &mut group);
            while self.buffer.len() < GROUP_BYTES_MAX && !group.erases {
                match inbox.try_recv() {
                    Ok(command) => self.take(command, &mut group),
                    Err(_) => break,
                }
            }
            self.finish(group);
            self.tidy();
        }
        if self.fsync != Fsync::Never {
            self.sync_at_end();
        }
    }

    // Encodes one command behind the others of its group.
    fn take(&mut self, command: Command, group: &mut Group) {
        match command {
            Command::Look => {}
            Command::Append {
                batch,
                weight,
                invalid,
                done,
            } => {
                self.waiting_bytes.fetch_sub(weight, Relaxed);
                self.take_batch((batch, invalid), weight as u64, done, group);
            }
            Command::Erase { user, done } => {
                let row = self.sealer.erase(&user);
                frame::write(&mut self.buffer, row);
                group.sync = true;
                group.erases = true;
                let at = self.active.end + self.buffer.len() as u64;
                group.waiters.push(Waiter::Erasure { at, done });
            }
        }
    }

    fn take_batch(
        &mut self,
        (batch, invalid): (Vec<Record>, usize),
        weight: u64,
        done: Done,
        group: &mut Group,
    ) {
        let used = self.bytes_on_disk() + self.buffer.len() as u64;
        let must = batch.iter().filter(|r| r.must_keep()).count() as u64;
        let full = used + weight > self.bytes_max;
        if full && must > 0 {
            count_refused(&self.shared.stats, &batch);
            return done.answer(Err(AppendError::Full));
        }
        // The last eighth is for what must not be lost.
        let ordinary = used + weight <= self.bytes_max - self.bytes_max / 8;
        let now_ms = now_ms();
        let mut receipt = Receipt::default();
        for record in batch {
            if !ordinary && !record.must_keep() {
                receipt.unarchived += 1;
                continue;
            }
            receipt.kept += 1;
            group.sync |= record.wants_sync();
            let buffer = &mut self.buffer;
            self.sealer
                .rows(record, now_ms, |row| frame::write(buffer, row));
        }
        self.shared
            .stats
            .unarchived
            .fetch_add(receipt.unarchived as u64, Relaxed);
        receipt.unarchived += invalid;
        group.waiters.push(Waiter::Batch {
            kept: receipt.kept as u64,
            receipt,
            must,
            done,
        });
    }

    // Writes the group, then answers everybody in it.
    fn finish(&mut self, group: Group) {
        let written = if self.buffer.is_empty() {
            Ok(())
        } else {
            self.write(group.sync)
        };
        let stats = &self.shared.stats;
        let error = match written {
            Ok(()) => {
                let kept = group.waiters.iter().map(Waiter::kept).sum();
                stats.journalled.fetch_add(kept, Relaxed);
                None
            }
            Err(error) => {
                tracing::error!(%error, "cannot write the chat journal");
                stats.disk_errors.fetch_add(1, Relaxed);
                // Rows of keys made for this group are not on the disk.
                self.sealer.forget_all();
                Some(match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        AppendError::DiskFull
                    }
                    kind => AppendError::Io(kind),
                })
            }
        };
        stats.keys_made.store(self.sealer.keys_made, Relaxed);
        if error.is_none() {
            self.report();
        }
        if group.erases && error.is_none() {
            // A segment of its own, so that keys written before go as soon as the database is there.
            self.rotate();
        }
        for waiter in group.waiters {
            match (waiter, &error) {
                (Waiter::Batch { receipt, done, .. }, None) => done.answer(Ok(receipt)),
                (Waiter::Erasure { at, done }, None) => done(Ok(at)),
                (
                    Waiter::Batch {
                        kept, must, done, ..
                    },
                    Some(error),
                ) => {
                    let stats = &self.shared.stats;
                    stats.refused.fetch_add(must, Relaxed);
                    stats.unarchived.fetch_add(kept - must, Relaxed);
                    done.answer(Err(error.clone()));
                }
                (Waiter::Erasure { done, .. }, Some(error)) => done(Err(error.clone())),
            }
        }
    }

    fn write(&mut self, wants_sync: bool) -> io::Result<()> {
        let sync = match self.fsync {
            Fsync::Always => true,
            Fsync::Paid => wants_sync,
            Fsync::Never => false,
        };
        let active = &mut self.active;
        let at = HEADER_BYTES + active.end - active.start;
        let mut written = active.file.write_all_at(&self.buffer, at);
        if written.is_ok() && sync {
            self.shared.stats.syncs.fetch_add(1, Relaxed);
            written = active.file.sync_data();
        }
        match written {
            Ok(()) => active.end += self.buffer.len() as u64,
            // What is half there must not stay: the next write begins at the same place, and may be shorter.
            Err(_) => {
                let _ = active.file.set_len(at);
            }
        }
        written
    }

    // Deletes what the database has, and begins a new segment where the active one is long enough.
    fn tidy(&mut self) {
        if self.active.end - self.active.start >= self.segment_bytes {
            self.rotate();
        }
        let written = self.shared.written.load(Relaxed);
        let starts = &mut self.folder.starts;
        let mut gone = 0;
        // A segment ends where the next one begins; the active one stays.
        while gone + 1 < starts.len() && starts[gone + 1] <= written {
            if let Err(error) = fs::remove_file(segment::path(&self.folder.path, starts[gone]))
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::error!(%error, "cannot delete a segment of the chat journal");
                self.shared.stats.disk_errors.fetch_add(1, Relaxed);
                break;
            }
            gone += 1;
        }
        if gone > 0 {
            starts.drain(..gone);
            self.shared.set_starts(starts.clone());
            self.oldest.send_replace(starts[0]);
            self.report();
        }
    }

    fn rotate(&mut self) {
        let start = self.active.end;
        if start == self.active.start {
            return;
        }
        let made = segment::create(&self.folder.path, &self.folder.id, start);
        match made {
            Ok(file) => {
                self.active = Active {
                    start,
                    file,
                    end: start,
                };
                self.folder.starts.push(start);
                self.shared.set_starts(self.folder.starts.clone());
            }
            // The active one grows on; the next turn tries again.
            Err(error) => {
                tracing::error!(%error, "cannot create a segment of the chat journal");
                self.shared.stats.disk_errors.fetch_add(1, Relaxed);
            }
        }
    }

    fn bytes_on_disk(&self) -> u64 {
        let oldest = self
            .folder
            .starts
            .first()
            .copied()
            .unwrap_or(self.active.start);
        self.active.end - oldest + HEADER_BYTES * self.folder.starts.len() as u64
    }

    fn report(&self) {
        self.shared
            .stats
            .journal_bytes
            .store(self.bytes_on_disk(), Relaxed);
        self.shared.stats.end.store(self.active.end, Relaxed);
        self.end
            .send_if_modified(|end| std::mem::replace(end, self.active.end) != self.active.end);
    }

    fn sync_at_end(&mut self) {
        if let Err(error) = self.active.file.sync_data() {
            tracing::error!(%error, "the end of the chat journal may not have reached the disk");
            self.shared.stats.disk_errors.fetch_add(1, Relaxed);
        }
    }
}

#[derive(Default)]
struct Group {
    waiters: Vec<Waiter>,
    sync: bool,
    erases: bool,
}

impl Waiter {
    fn kept(&self) -> u64 {
        match self {
            Self::Batch { kept, .. } => *kept,
            Self::Erasure { .. } => 0,
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
