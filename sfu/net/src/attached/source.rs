//! Sources without SDP: whoever has a room's packets from elsewhere than a WebRTC session.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use lightstick_sfu_core::codec::h264::ParameterSets;
use lightstick_sfu_core::health::Health;
use lightstick_sfu_core::room::{FeederId, SourceEvent, SourceSetup};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::{Incoming, Refused};
use lightstick_types::{Bitrate, RoomId, TrackId};
use mio::Waker;
use tokio::sync::mpsc;

use super::feeder::{Feeder, SOURCES};
use crate::api::AttachError;
use crate::rooms::{RoomKey, Rooms};
use crate::stats::{AttachedStats, ShardStats};

/// Sources of a shard at most: each costs it time in every turn. More are refused.
const SOURCES_MAX: usize = 256;
/// Packets that may wait for the shard; a source that is faster is told so.
const PACKETS_MAX: usize = 1_024;
/// Of these, what the shard takes from one source in a turn.
const PACKETS_A_TURN: usize = 256;
/// Wishes that wait to be heard. What does not fit is told later, as one.
const WISHES_MAX: usize = 4;

/// What a source is.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Above this rate its packets are dropped, and then it is ended.
    pub bitrate_max: Bitrate,
    /// Video tracks that it will have.
    pub video_tracks: u8,
    /// H.264 parameter sets that keyframes may lack, of each track that has some.
    pub parameter_sets: Vec<(TrackId, ParameterSets)>,
}

/// Why a source has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceEnd {
    #[error("the show is over")]
    RoomEnded,
    /// The room has another publisher or source.
    #[error("the room has another source")]
    Replaced,
    #[error("far over the bit rate limit")]
    BitrateExceeded,
    /// The shard's thread has ended.
    #[error("the room's shard has ended")]
    ShardLost,
    /// Its handle was dropped: nobody sees this.
    #[error("the handle was dropped")]
    Detached,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceRefused {
    /// The shard is behind: the packet is dropped.
    #[error("too many packets wait")]
    Full,
    #[error(transparent)]
    Ended(SourceEnd),
}

/// What a room wants of its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceWish {
    /// Keyframes of these streams, soon.
    pub keyframes: StreamSet,
    /// Streams that nobody watches and need not be sent; all others are. `None`: as before.
    pub paused: Option<StreamSet>,
}

/// A room's source, of this handle's packets. Dropping it ends the source.
#[derive(Debug)]
pub struct SourceHandle {
    packets: mpsc::Sender<Incoming>,
    wishes: mpsc::Receiver<SourceWish>,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The shard was woken for packets, and has not looked yet.
    is_woken: AtomicBool,
    end: OnceLock<SourceEnd>,
}

/// The shard's end of a source.
#[derive(Debug)]
pub(crate) struct SourceOpening {
    room: RoomId,
    config: SourceConfig,
    packets: mpsc::Receiver<Incoming>,
    wishes: mpsc::Sender<SourceWish>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct SourceSeat {
    opening: SourceOpening,
    /// What it is yet to be told.
    owed: SourceWish,
}

/// A shard's sources without SDP.
#[derive(Default)]
pub(crate) struct Sources {
    seats: BTreeMap<u32, SourceSeat>,
    /// The number that the next one gets, if it is free.
    next: u32,
}

/// What a source is to be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    Keyframes(StreamSet),
    Pause(StreamSet),
}

/// Both ends of a source. `waker` wakes the shard of its room.
pub(crate) fn source(
    room: RoomId,
    config: SourceConfig,
    waker: Arc<Waker>,
) -> (SourceOpening, SourceHandle) {
    let (packets, inbox) = mpsc::channel(PACKETS_MAX);
    let (outbox, wishes) = mpsc::channel(WISHES_MAX);
    let shared = Arc::<Shared>::default();
    let opening = SourceOpening {
        room,
        config,
        packets: inbox,
        wishes: outbox,
        shared: Arc::clone(&shared),
    };
    let handle = SourceHandle {
        packets,
        wishes,
        shared,
        waker,
    };
    (opening, handle)
}

impl SourceHandle {
    /// Hands over a packet; its time of arrival is now.
    ///
    /// # Errors
    /// [`SourceRefused`]: it is dropped.
    pub fn try_push(&self, mut packet: Incoming) -> Result<(), SourceRefused> {
        packet.received_at = Instant::now();
        match self.packets.try_send(packet) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(_)) => Err(SourceRefused::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SourceRefused::Ended(self.end())),
        }
    }

    /// The next thing that the room wants of it.
    ///
    /// # Errors
    /// [`SourceEnd`]
    pub async fn wish(&mut self) -> Result<SourceWish, SourceEnd> {
        self.wishes.recv().await.ok_or_else(|| self.end())
    }

    fn wake(&self) {
        if !self.shared.is_woken.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    fn end(&self) -> SourceEnd {
        let end = self.shared.end.get();
        end.copied().unwrap_or(SourceEnd::ShardLost)
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        // The queue closes first, so that the shard finds it closed.
        self.packets = mpsc::channel(1).0;
        self.wake();
    }
}

impl SourceSeat {
    fn tell(&mut self, wish: Wish) {
        match wish {
            Wish::Keyframes(streams) => self.owed.keyframes = self.owed.keyframes.or(streams),
            Wish::Pause(streams) => self.owed.paused = Some(streams),
        }
        self.flush();
    }

    /// Tells what is owed, if there is room for it.
    fn flush(&mut self) {
        if self.owed != SourceWish::default() && self.opening.wishes.try_send(self.owed).is_ok() {
            self.owed = SourceWish::default();
        }
    }
}

impl Sources {
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether packets wait.
    pub(crate) fn has_more(&self) -> bool {
        let mut seats = self.seats.values();
        seats.any(|seat| !seat.opening.packets.is_empty())
    }

    /// Lets a source feed its room, in place of whoever did.
    ///
    /// # Errors
    /// [`AttachError::TooMany`]: the room keeps what it has.
    pub(crate) fn attach(
        &mut self,
        opening: SourceOpening,
        rooms: &mut Rooms,
        stats: &AttachedStats,
        now: Instant,
    ) -> Result<(), AttachError> {
        if opening.wishes.is_closed() {
            // The asker has gone, and the room keeps the source that it has.
            return Ok(());
        }
        if self.seats.len() >= SOURCES_MAX {
            return Err(AttachError::TooMany);
        }
        let room = rooms.open(opening.room, now);
        self.replace(room, rooms, stats, now);
        let number = self.next_number();
        let setup = SourceSetup {
            bitrate_max: opening.config.bitrate_max,
            video_tracks: opening.config.video_tracks,
            parameter_sets: opening.config.parameter_sets.clone(),
            health: Health::default(),
        };
        if let Some((hop, _)) = rooms.touch(room) {
            let feeder = Feeder::Source(number).into();
            hop.handle_source(SourceEvent::Attached(feeder, Box::new(setup)), now);
        }
        let seat = SourceSeat {
            opening,
            owed: SourceWish::default(),
        };
        self.seats.insert(number, seat);
        Ok(())
    }

    fn next_number(&mut self) -> u32 {
        loop {
            let number = self.next;
            self.next = (number + 1) % SOURCES;
            if !self.seats.contains_key(&number) {
                return number;
            }
        }
    }

    /// Another one is to feed a room: where the one before was attached, that ends.
    pub(crate) fn replace(
        &mut self,
        room: RoomKey,
        rooms: &mut Rooms,
        stats: &AttachedStats,
        now: Instant,
    ) {
        let Some((hop, _)) = rooms.get(room) else {
            return;
        };
        if let Some((feeder, _)) = hop.source_mut()
            && let Feeder::Source(source) = Feeder::from(feeder)
        {
            self.end(source, SourceEnd::Replaced, rooms, stats, now);
        }
    }

    /// Takes what sources have brought. Of each a part, so that none can starve the others.
    pub(crate) fn take(&mut self, rooms: &mut Rooms, stats: &AttachedStats, now: Instant) {
        let mut next = 0;
        while let Some((&source, seat)) = self.seats.range_mut(next..).next() {
            if let Err(end) = seat.take(source, rooms, now) {
                self.end(source, end, rooms, stats, now);
            }
            next = source + 1;
        }
    }

    /// A room wants something of its source.
    pub(crate) fn ask(&mut self, source: u32, wish: Wish, stats: &ShardStats) {
        if let Some(seat) = self.seats.get_mut(&source) {
            seat.tell(wish);
            if let Wish::Keyframes(streams) = wish {
                let count = streams.iter().count() as u64;
                stats.keyframe_requests_out.add(count);
            }
        }
    }

    /// Ends the sources of a room whose show is over.
    pub(crate) fn end_room(
        &mut self,
        room: RoomId,
        rooms: &mut Rooms,
        stats: &AttachedStats,
        now: Instant,
    ) {
        let seats = self.seats.iter();
        let seats = seats.filter(|(_, seat)| seat.opening.room == room);
        let ended: Vec<u32> = seats.map(|(source, _)| *source).collect();
        for source in ended {
            self.end(source, SourceEnd::RoomEnded, rooms, stats, now);
        }
    }

    fn end(
        &mut self,
        source: u32,
        end: SourceEnd,
        rooms: &mut Rooms,
        stats: &AttachedStats,
        now: Instant,
    ) {
        let Some(seat) = self.seats.remove(&source) else {
            return;
        };
        let count = match end {
            SourceEnd::RoomEnded => &stats.sources_room_ended,
            SourceEnd::Replaced => &stats.sources_replaced,
            SourceEnd::BitrateExceeded => &stats.sources_bitrate,
            SourceEnd::Detached | SourceEnd::ShardLost => &stats.sources_detached,
        };
        count.add(1);
        let _ = seat.opening.shared.end.set(end);
        let room = rooms.find(seat.opening.room);
        if let Some((hop, _)) = room.and_then(|room| rooms.touch(room)) {
            hop.handle_source(SourceEvent::Detached(Feeder::Source(source).into()), now);
        }
    }
}

impl SourceSeat {
    /// Takes a part of what the source with this number has brought.
    ///
    /// # Errors
    /// How it ends.
    fn take(&mut self, number: u32, rooms: &mut Rooms, now: Instant) -> Result<(), SourceEnd> {
        self.flush();
        self.opening.shared.is_woken.store(false, Ordering::SeqCst);
        let feeder = FeederId::from(Feeder::Source(number));
        let wall_now = SystemTime::now();
        for _ in 0..PACKETS_A_TURN {
            let mut packet = match self.opening.packets.try_recv() {
                Ok(packet) => packet,
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(SourceEnd::Detached),
            };
            // It may have come after this turn began.
            packet.received_at = packet.received_at.min(now);
            let room = rooms.find(self.opening.room);
            let Some((hop, tally)) = room.and_then(|room| rooms.touch(room)) else {
                break;
            };
            if let Err(Refused::Close) = hop.push(feeder, packet, wall_now, now, tally) {
                return Err(SourceEnd::BitrateExceeded);
            }
        }
        Ok(())
    }
}
