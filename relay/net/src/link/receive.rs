//! Received frames: whole or not at all.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use quinn::{ReadError, RecvStream};
use tokio::time::timeout;

use crate::config::LinkConfig;
use crate::event::CloseReason;
use crate::link::Fault;

/// A frame is complete or given up so long after it began, because deadlines are far below; otherwise the
/// link is closed.
const FRAME_LIFETIME_MAX: Duration = Duration::from_secs(10);

/// `None`: the peer gave it up.
type Received = Result<Option<Bytes>, Fault>;

/// The frames of a peer that are under way.
pub(super) struct FrameReceiver {
    reading: FuturesUnordered<Pin<Box<dyn Future<Output = Received> + Send>>>,
    /// What has been read of incomplete frames.
    bytes: Arc<AtomicUsize>,
    frame_bytes_max: usize,
    bytes_max: usize,
}

impl FrameReceiver {
    pub(super) fn new(config: &LinkConfig) -> Self {
        Self {
            reading: FuturesUnordered::new(),
            bytes: Arc::default(),
            frame_bytes_max: config.frame_bytes_max,
            // An honest peer has less than a window under way.
            bytes_max: config.receive_window_bytes as usize,
        }
    }

    /// Their number is bounded by the streams that the peer may open.
    pub(super) fn accept(&mut self, stream: RecvStream) -> Result<(), Fault> {
        let partial = Partial {
            stream,
            read: 0,
            total: Arc::clone(&self.bytes),
        };
        let (frame_max, bytes_max) = (self.frame_bytes_max, self.bytes_max);
        self.reading.push(Box::pin(async move {
            let read = timeout(FRAME_LIFETIME_MAX, partial.read(frame_max, bytes_max));
            read.await
                .unwrap_or(Err(CloseReason::UnfinishedFrames.into()))
        }));
        Ok(())
    }

    /// The next frame that is complete. `None`: none is under way. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Received> {
        self.reading.next().await
    }
}

/// A frame while it is read. Dropping it gives back its share of what a link may hold.
struct Partial {
    stream: RecvStream,
    read: usize,
    total: Arc<AtomicUsize>,
}

impl Partial {
    async fn read(mut self, frame_max: usize, bytes_max: usize) -> Received {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let chunk = match self.stream.read_chunk(frame_max, true).await {
                Ok(Some(chunk)) => chunk.bytes,
                Ok(None) => break,
                Err(ReadError::Reset(_)) => return Ok(None),
                Err(_) => return Err(Fault::Closed),
            };
            self.read += chunk.len();
            let total = self.total.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
            if self.read > frame_max {
                return Err(CloseReason::Oversized.into());
            }
            if total > bytes_max {
                return Err(CloseReason::UnfinishedFrames.into());
            }
            if first.is_empty() {
                first = chunk;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&chunk);
            }
        }
        Ok(Some(if rest.is_empty() {
            first
        } else {
            rest.freeze()
        }))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.total.fetch_sub(self.read, Ordering::Relaxed);
    }
}
