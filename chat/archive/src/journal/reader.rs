//! Reads the journal for the writer.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Shared;
use super::frame::{self, Next};
use super::segment::{self, OVERLAP_BYTES};
use crate::stored::Stored;

/// Bytes read at once. A batch is never larger.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 << 20;

/// Some rows, and the position behind them.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) rows: Vec<Stored>,
    pub(crate) next: u64,
}

/// Reads segments from any position on.
pub(crate) struct Reader {
    folder: PathBuf,
    shared: Arc<Shared>,
    open: Option<(u64, File)>,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(folder: PathBuf, shared: Arc<Shared>) -> Self {
        Self {
            folder,
            shared,
            open: None,
            buffer: Vec::new(),
        }
    }

    /// Reads rows between two positions, at most `rows_max` and of one segment. An erasure is always the last row.
    /// What cannot be read is skipped up to the next whole frame, and counted.
    pub(crate) fn read(&mut self, from: u64, end: u64, rows_max: usize) -> io::Result<Chunk> {
        let (start, stop) = self.segment_at(from, end);
        let from = from.max(start);
        let file = match &self.open {
            Some((open, file)) if *open == start => file,
            _ => {
                &self
                    .open
                    .insert((start, File::open(segment::path(&self.folder, start))?))
                    .1
            }
        };
        let want = usize::try_from(stop - from)
            .unwrap_or(usize::MAX)
            .min(CHUNK_BYTES_MAX);
        self.buffer.resize(want, 0);
        let read =
            segment::read_at_most(file, &mut self.buffer, segment::HEADER_BYTES + from - start)?;
        let bytes = &self.buffer[..read];
        let mut chunk = Chunk {
            rows: Vec::new(),
            next: from,
        };
        let mut at = 0;
        while chunk.rows.len() < rows_max {
            match frame::next(&bytes[at..]) {
                Next::Row(row, len) => {
                    at += len;
                    chunk.next = from + at as u64;
                    match frame::decode(row) {
                        Some(row) => {
                            let last = matches!(row, Stored::Erased(_));
                            chunk.rows.push(row);
                            if last {
                                break;
                            }
                        }
                        None => self.skipped(chunk.next, len as u64),
                    }
                }
                // A chunk holds the longest frame, so what is cut at its end comes whole next time.
                Next::Cut | Next::Broken if at > 0 || from == stop => break,
                Next::Cut | Next::Broken => {
                    let whole = from + read as u64 >= stop || read < want;
                    let skip = frame::resync(bytes).map(|skip| skip as u64);
                    let skip = skip.unwrap_or(match whole {
                        true => stop - from,
                        false => (read - OVERLAP_BYTES) as u64,
                    });
                    self.skipped(from, skip);
                    chunk.next = from + skip;
                    break;
                }
            }
        }
        Ok(chunk)
    }

    fn skipped(&self, at: u64, bytes: u64) {
        self.shared.stats.corrupt.fetch_add(1, Relaxed);
        tracing::error!(
            at,
            bytes,
            "a damaged part of the chat journal was skipped; its records are lost"
        );
    }

    // Where a position lies: the start of its segment, and where that ends.
    fn segment_at(&self, from: u64, end: u64) -> (u64, u64) {
        let starts = self.shared.starts();
        let next = starts.partition_point(|s| *s <= from);
        let first = starts.first().copied().unwrap_or(from);
        let start = next.checked_sub(1).map_or(first, |i| starts[i]);
        let next = if next == 0 { 1 } else { next };
        (
            start,
            starts.get(next).copied().unwrap_or(end).min(end).max(start),
        )
    }
}
