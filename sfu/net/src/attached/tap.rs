//! Taps: a room's packets for readers that are no viewers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use lightstick_sfu_core::room::{TapBatch, TapConfig, TapEvent, TapId};
use lightstick_types::RoomId;
use tokio::sync::mpsc;

use crate::api::AttachError;
use crate::rooms::{RoomKey, Rooms};
use crate::stats::AttachedStats;

/// Taps of a shard at most: each costs it time with every packet of its room. More are refused.
const TAPS_MAX: usize = 256;

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

/// A shard's taps.
#[derive(Default)]
pub(crate) struct Taps {
    seats: HashMap<TapId, TapSeat>,
    /// Those whose queues are full.
    full: Vec<TapId>,
}

/// Both ends of a tap.
pub(crate) fn tap(id: TapId, room: RoomId, config: TapConfig) -> (TapSeat, TapReceiver) {
    let (sender, queue) = mpsc::channel(config.batches_max());
    let shared = Arc::<Shared>::default();
    let seat = TapSeat {
        id,
        room,
        config,
        queue: sender,
        sent: 0,
        is_full: false,
        shared: Arc::clone(&shared),
        place: None,
    };
    (seat, TapReceiver { queue, shared })
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

impl Taps {
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Gives a room a tap.
    ///
    /// # Errors
    /// [`AttachError::TooMany`]
    pub(crate) fn attach(
        &mut self,
        mut seat: TapSeat,
        rooms: &mut Rooms,
        now: Instant,
    ) -> Result<(), AttachError> {
        if self.seats.len() >= TAPS_MAX {
            return Err(AttachError::TooMany);
        }
        let room = rooms.open(seat.room, now);
        if let Some((hop, tally)) = rooms.touch(room) {
            hop.handle_tap(seat.id, TapEvent::Attached(seat.config), now, tally);
        }
        seat.place = Some(room);
        self.seats.insert(seat.id, seat);
        Ok(())
    }

    /// Packets leave a room for a tap.
    pub(crate) fn feed(
        &mut self,
        room: RoomKey,
        tap: TapId,
        batch: TapBatch,
        rooms: &mut Rooms,
        now: Instant,
    ) {
        let Some(seat) = self.seats.get_mut(&tap) else {
            return;
        };
        let Err(lost) = seat.offer(batch) else {
            return;
        };
        if !std::mem::replace(&mut seat.is_full, true) {
            self.full.push(tap);
        }
        if let Some((hop, tally)) = rooms.get(room) {
            hop.handle_tap(tap, TapEvent::Overflow(&lost), now, tally);
        }
    }

    /// Lets those go on whose readers have caught up.
    pub(crate) fn resume(&mut self, rooms: &mut Rooms, now: Instant) {
        while let Some((tap, room)) = self.next_ready() {
            if let Some((hop, tally)) = rooms.touch(room) {
                hop.handle_tap(tap, TapEvent::Ready, now, tally);
            }
        }
    }

    /// The next tap whose queue was full and has been read to its end.
    fn next_ready(&mut self) -> Option<(TapId, RoomKey)> {
        let seats = &mut self.seats;
        let at = self.full.iter().position(|tap| {
            let seat = seats.get(tap);
            seat.is_none_or(|seat| seat.queued() == 0)
        })?;
        let id = self.full.swap_remove(at);
        let seat = seats.get_mut(&id)?;
        seat.is_full = false;
        Some((id, seat.place?))
    }

    /// Ends the taps of a room whose show is over.
    pub(crate) fn end_room(
        &mut self,
        room: RoomId,
        rooms: &mut Rooms,
        stats: &AttachedStats,
        now: Instant,
    ) {
        let seats = self.seats.values().filter(|seat| seat.room == room);
        let ended: Vec<TapId> = seats.map(|seat| seat.id).collect();
        for tap in ended {
            self.end(tap, TapEnd::RoomEnded, rooms, stats, now);
        }
    }

    /// Ends those whose receivers were dropped.
    pub(crate) fn end_detached(&mut self, rooms: &mut Rooms, stats: &AttachedStats, now: Instant) {
        let seats = self.seats.values().filter(|seat| seat.queue.is_closed());
        let ended: Vec<TapId> = seats.map(|seat| seat.id).collect();
        for tap in ended {
            self.end(tap, TapEnd::Detached, rooms, stats, now);
        }
    }

    /// Ends a tap. One that has ended is no error.
    pub(crate) fn end(
        &mut self,
        tap: TapId,
        end: TapEnd,
        rooms: &mut Rooms,
        stats: &AttachedStats,
        now: Instant,
    ) {
        let Some(seat) = self.seats.remove(&tap) else {
            return;
        };
        let count = match end {
            TapEnd::RoomEnded => &stats.taps_room_ended,
            TapEnd::Overrun => &stats.taps_overrun,
            TapEnd::Detached | TapEnd::ShardLost => &stats.taps_detached,
        };
        count.add(1);
        // Its first end counts; the queue closes with the seat.
        let _ = seat.shared.end.set(end);
        if let Some((hop, tally)) = seat.place.and_then(|room| rooms.touch(room)) {
            hop.handle_tap(tap, TapEvent::Detached, now, tally);
        }
    }
}
