//! Sources without SDP: whoever has a room's packets from elsewhere than a WebRTC session.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use lightstick_sfu_core::codec::h264::ParameterSets;
use lightstick_sfu_core::health::Health;
use lightstick_sfu_core::room::{FeederId, SourceEvent, SourceSetup};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::{Incoming, Refused};
use lightstick_types::{Bitrate, RoomId, TrackId};
use mio::Waker;
use tokio::sync::mpsc;

use super::{ATTACHED_MAX, AttachError, Attached, Feeder, SOURCES};
use crate::command::Command;
use crate::handle::MediaPlane;
use crate::shard::Shard;

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
pub(super) struct SourceSeat {
    opening: SourceOpening,
    /// What it is yet to be told.
    owed: SourceWish,
}

/// What a source is to be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    Keyframes(StreamSet),
    Pause(StreamSet),
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

impl Attached {
    pub(super) fn sources_of(&self, room: RoomId) -> Vec<u32> {
        let sources = self.sources.iter();
        let sources = sources.filter(|(_, seat)| seat.opening.room == room);
        sources.map(|(source, _)| *source).collect()
    }

    fn next_source(&mut self) -> u32 {
        loop {
            let number = self.source_count;
            self.source_count = (number + 1) % SOURCES;
            if !self.sources.contains_key(&number) {
                return number;
            }
        }
    }

    /// Whether packets of sources wait.
    pub(crate) fn has_more(&self) -> bool {
        let mut sources = self.sources.values();
        sources.any(|seat| !seat.opening.packets.is_empty())
    }
}

impl MediaPlane {
    /// Makes the caller the source of a room, in place of whoever was. It is for the control plane to
    /// close a session that published there: its packets go nowhere from now on.
    ///
    /// # Errors
    /// [`AttachError`]
    pub async fn attach_source(
        &self,
        room: RoomId,
        config: SourceConfig,
    ) -> Result<SourceHandle, AttachError> {
        let port = self.home_port(room)?;
        let (packets, inbox) = mpsc::channel(PACKETS_MAX);
        let (outbox, wishes) = mpsc::channel(WISHES_MAX);
        let shared = Arc::<Shared>::default();
        let handle = SourceHandle {
            packets,
            wishes,
            shared: Arc::clone(&shared),
            waker: Arc::clone(&port.waker),
        };
        let opening = Box::new(SourceOpening {
            room,
            config,
            packets: inbox,
            wishes: outbox,
            shared,
        });
        port.ask(|reply| Command::AttachSource { opening, reply })
            .await??;
        Ok(handle)
    }
}

impl Shard {
    pub(crate) fn attach_source(&mut self, opening: SourceOpening) -> Result<(), AttachError> {
        if opening.wishes.is_closed() {
            // The asker has gone, and the room keeps the source that it has.
            return Ok(());
        }
        if self.attached.sources.len() >= ATTACHED_MAX {
            return Err(AttachError::TooMany);
        }
        let (room, now) = (self.rooms.open(opening.room, self.now), self.now);
        self.replace_source(room);
        let number = self.attached.next_source();
        let setup = SourceSetup {
            bitrate_max: opening.config.bitrate_max,
            video_tracks: opening.config.video_tracks,
            parameter_sets: opening.config.parameter_sets.clone(),
            health: Health::default(),
        };
        if let Some((hop, _)) = self.rooms.touch(room) {
            hop.handle_source(
                SourceEvent::Attached(Feeder::Source(number).into(), Box::new(setup)),
                now,
            );
        }
        let seat = SourceSeat {
            opening,
            owed: SourceWish::default(),
        };
        self.attached.sources.insert(number, seat);
        Ok(())
    }

    /// Takes what sources have brought. Of each a part, so that none can starve the others.
    pub(crate) fn take_from_sources(&mut self) {
        let mut next = 0;
        while let Some((&source, _)) = self.attached.sources.range(next..).next() {
            self.take_from_source(source);
            next = source + 1;
        }
    }

    fn take_from_source(&mut self, source: u32) {
        let (now, wall_now) = (self.now, self.wall_now());
        let feeder = FeederId::from(Feeder::Source(source));
        for taken in 0..PACKETS_A_TURN {
            let Some(seat) = self.attached.sources.get_mut(&source) else {
                return;
            };
            if taken == 0 {
                seat.flush();
                seat.opening.shared.is_woken.store(false, Ordering::SeqCst);
            }
            let mut packet = match seat.opening.packets.try_recv() {
                Ok(packet) => packet,
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.end_source(source, SourceEnd::Detached);
                    return;
                }
            };
            // It may have come after this turn began.
            packet.received_at = packet.received_at.min(now);
            let room = self.rooms.find(seat.opening.room);
            let Some((hop, tally)) = room.and_then(|room| self.rooms.touch(room)) else {
                return;
            };
            if let Err(Refused::Close) = hop.push(feeder, packet, wall_now, now, tally) {
                self.end_source(source, SourceEnd::BitrateExceeded);
                return;
            }
        }
    }

    /// A room wants something of its source.
    pub(crate) fn ask_source(&mut self, source: u32, wish: Wish) {
        if let Some(seat) = self.attached.sources.get_mut(&source) {
            seat.tell(wish);
            if let Wish::Keyframes(streams) = wish {
                let count = streams.iter().count() as u64;
                self.io.stats.keyframe_requests_out.add(count);
            }
        }
    }

    pub(super) fn end_source(&mut self, source: u32, end: SourceEnd) {
        let Some(seat) = self.attached.sources.remove(&source) else {
            return;
        };
        let stats = &self.io.stats.attached;
        let count = match end {
            SourceEnd::RoomEnded => &stats.sources_room_ended,
            SourceEnd::Replaced => &stats.sources_replaced,
            SourceEnd::BitrateExceeded => &stats.sources_bitrate,
            SourceEnd::Detached | SourceEnd::ShardLost => &stats.sources_detached,
        };
        count.add(1);
        let _ = seat.opening.shared.end.set(end);
        let (room, now) = (self.rooms.find(seat.opening.room), self.now);
        if let Some((hop, _)) = room.and_then(|room| self.rooms.touch(room)) {
            hop.handle_source(SourceEvent::Detached(Feeder::Source(source).into()), now);
        }
    }
}
