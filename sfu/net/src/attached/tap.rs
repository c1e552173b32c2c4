//! Taps: a room's packets for readers that are no viewers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use lightstick_sfu_core::room::{TapBatch, TapConfig, TapEvent, TapId};
use lightstick_types::RoomId;
use tokio::sync::mpsc;

use super::{ATTACHED_MAX, AttachError, Attached};
use crate::command::Command;
use crate::handle::MediaPlane;
use crate::rooms::RoomKey;
use crate::shard::Shard;

/// Why a tap has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapEnd {
    #[error("the show is over")]
    RoomEnded,
    /// It was to miss nothing, and its reader was too slow.
    #[error("the reader of a lossless tap was too slow")]
    Overrun,
    /// The shard's thread has ended.
    #[error("the room's shard has ended")]
    ShardLost,
    /// Its receiver was dropped: nobody sees this.
    #[error("the receiver was dropped")]
    Detached,
}

/// A room's packets, as they come, from any publisher in turn. Dropping it ends the tap.
#[derive(Debug)]
pub struct TapReceiver {
    queue: mpsc::Receiver<TapBatch>,
    shared: Arc<Shared>,
}

/// What both ends of a tap know.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes that the reader has taken. Written by the reader only.
    read: AtomicU64,
    end: OnceLock<TapEnd>,
}

/// The shard's end of a tap.
#[derive(Debug)]
pub(crate) struct TapSeat {
    id: TapId,
    room: RoomId,
    config: TapConfig,
    queue: mpsc::Sender<TapBatch>,
    /// Bytes that went into the queue.
    sent: u64,
    is_full: bool,
    shared: Arc<Shared>,
    /// The room's place, once it is attached.
    place: Option<RoomKey>,
}

impl TapReceiver {
    /// The next packets.
    ///
    /// # Errors
    /// [`TapEnd`], after the last of them.
    pub async fn recv(&mut self) -> Result<TapBatch, TapEnd> {
        match self.queue.recv().await {
            Some(batch) => Ok(self.took(batch)),
            None => Err(self.end()),
        }
    }

    /// The next packets, where some wait.
    ///
    /// # Errors
    /// [`TapEnd`], after the last of them.
    pub fn try_recv(&mut self) -> Result<Option<TapBatch>, TapEnd> {
        match self.queue.try_recv() {
            Ok(batch) => Ok(Some(self.took(batch))),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(self.end()),
        }
    }

    fn took(&self, batch: TapBatch) -> TapBatch {
        let read = self.shared.read.load(Ordering::Relaxed) + batch.bytes();
        self.shared.read.store(read, Ordering::Release);
        batch
    }

    fn end(&self) -> TapEnd {
        let end = self.shared.end.get();
        end.copied().unwrap_or(TapEnd::ShardLost)
    }
}

impl TapSeat {
    fn queued(&self) -> u64 {
        self.sent - self.shared.read.load(Ordering::Acquire)
    }

    fn offer(&mut self, batch: TapBatch) -> Result<(), TapBatch> {
        let bytes = batch.bytes();
        if self.is_full || self.queued() + bytes > self.config.bytes_max {
            return Err(batch);
        }
        match self.queue.try_send(batch) {
            Ok(()) => {
                self.sent += bytes;
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(batch)) => Err(batch),
            // Its receiver was dropped; the survey will see it.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

impl Attached {
    pub(super) fn taps_of(&self, room: RoomId) -> Vec<TapId> {
        let taps = self.taps.values().filter(|seat| seat.room == room);
        taps.map(|seat| seat.id).collect()
    }

    /// Those whose receivers were dropped.
    pub(super) fn taps_left(&self) -> Vec<TapId> {
        let taps = self.taps.values().filter(|seat| seat.queue.is_closed());
        taps.map(|seat| seat.id).collect()
    }

    /// The next tap whose queue was full and has been read to its end.
    fn next_ready(&mut self) -> Option<(TapId, RoomKey)> {
        let taps = &mut self.taps;
        let at = self.full.iter().position(|tap| {
            let seat = taps.get(tap);
            seat.is_none_or(|seat| seat.queued() == 0)
        })?;
        let id = self.full.swap_remove(at);
        let seat = taps.get_mut(&id)?;
        seat.is_full = false;
        Some((id, seat.place?))
    }
}

impl MediaPlane {
    /// Gives out a room's packets, video from its streams' next keyframes on. The room need not have a
    /// publisher, and may get another one at any time: the packets name their source.
    ///
    /// # Errors
    /// [`AttachError`]
    pub async fn attach_tap(
        &self,
        room: RoomId,
        config: TapConfig,
    ) -> Result<TapReceiver, AttachError> {
        let port = self.home_port(room)?;
        let (sender, queue) = mpsc::channel(config.batches_max());
        let shared = Arc::<Shared>::default();
        let seat = Box::new(TapSeat {
            id: TapId(self.next_attached()),
            room,
            config,
            queue: sender,
            sent: 0,
            is_full: false,
            shared: Arc::clone(&shared),
            place: None,
        });
        port.ask(|reply| Command::AttachTap { seat, reply })
            .await??;
        Ok(TapReceiver { queue, shared })
    }
}

impl Shard {
    pub(crate) fn attach_tap(&mut self, mut seat: TapSeat) -> Result<(), AttachError> {
        if self.attached.taps.len() >= ATTACHED_MAX {
            return Err(AttachError::TooMany);
        }
        let (room, now) = (self.rooms.open(seat.room, self.now), self.now);
        if let Some((hop, tally)) = self.rooms.touch(room) {
            hop.handle_tap(seat.id, TapEvent::Attached(seat.config), now, tally);
        }
        seat.place = Some(room);
        self.attached.taps.insert(seat.id, seat);
        Ok(())
    }

    /// Packets leave a room for a tap.
    pub(crate) fn feed_tap(&mut self, room: RoomKey, tap: TapId, batch: TapBatch) {
        let Some(seat) = self.attached.taps.get_mut(&tap) else {
            return;
        };
        let Err(lost) = seat.offer(batch) else {
            return;
        };
        if !std::mem::replace(&mut seat.is_full, true) {
            self.attached.full.push(tap);
        }
        if let Some((hop, tally)) = self.rooms.get(room) {
            hop.handle_tap(tap, TapEvent::Overflow(&lost), self.now, tally);
        }
    }

    /// Lets those go on whose readers have caught up.
    pub(crate) fn tend_taps(&mut self) {
        let now = self.now;
        while let Some((tap, room)) = self.attached.next_ready() {
            if let Some((hop, tally)) = self.rooms.touch(room) {
                hop.handle_tap(tap, TapEvent::Ready, now, tally);
            }
        }
    }

    pub(crate) fn end_tap(&mut self, tap: TapId, end: TapEnd) {
        let Some(seat) = self.attached.taps.remove(&tap) else {
            return;
        };
        let stats = &self.io.stats.attached;
        let count = match end {
            TapEnd::RoomEnded => &stats.taps_room_ended,
            TapEnd::Overrun => &stats.taps_overrun,
            TapEnd::Detached | TapEnd::ShardLost => &stats.taps_detached,
        };
        count.add(1);
        // Its first end counts; the queue closes with the seat.
        let _ = seat.shared.end.set(end);
        let now = self.now;
        if let Some((hop, tally)) = seat.place.and_then(|room| self.rooms.touch(room)) {
            hop.handle_tap(tap, TapEvent::Detached, now, tally);
        }
    }
}
