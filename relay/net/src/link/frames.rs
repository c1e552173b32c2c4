//! Frames to send: one unidirectional stream each, by priority, none past its deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use quinn::{Connection, SendStream, VarInt};

use crate::config::LinkConfig;
use crate::event::{Frame, Payload, Priority};
use crate::stats::LinkCounters;

/// Why a stream is reset, as the peer is told.
const GIVEN_UP: VarInt = VarInt::from_u32(1);

/// What leaves first has the highest rank. It is the priority of a frame's stream: the [`Priority`], then
/// the age. No two streams of a link have the same, so that no two frames share the link and both arrive
/// late.
type Rank = i32;

/// Bits of a rank that say a frame's age. They wrap after three days of 1,000 frames a second.
const AGE_BITS: u32 = 28;

struct InFlight {
    stream: SendStream,
    key: Option<u64>,
    bytes: usize,
    deadline: Instant,
    /// Ends the wait for acknowledgements.
    waiting: AbortHandle,
}

/// What became of a frame: whether it is delivered. Nothing, when it was given up.
pub(super) struct Settled {
    rank: Rank,
    delivered: bool,
}

type Settling = Pin<Box<dyn Future<Output = Option<Settled>> + Send>>;

/// The frames of a link that are under way.
pub(super) struct FrameSender {
    connection: Connection,
    counters: Arc<LinkCounters>,
    in_flight: BTreeMap<Rank, InFlight>,
    deadlines: BTreeSet<(Instant, Rank)>,
    settling: FuturesUnordered<Settling>,
    bytes: usize,
    begun: u32,
    frames_max: usize,
    bytes_max: usize,
    frame_bytes_max: usize,
}

impl FrameSender {
    pub(super) fn new(
        connection: Connection,
        config: &LinkConfig,
        counters: Arc<LinkCounters>,
    ) -> Self {
        Self {
            connection,
            counters,
            in_flight: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            settling: FuturesUnordered::new(),
            bytes: 0,
            begun: 0,
            frames_max: config.frames_in_flight_max,
            bytes_max: config.frames_in_flight_bytes_max,
            frame_bytes_max: config.frame_bytes_max,
        }
    }

    /// Sends a frame, or counts why not. It never waits: the bounds lie below the windows of the peer, so
    /// that a peer that allows less does not read.
    pub(super) fn send(&mut self, frame: Frame, payload: Payload, now: Instant) {
        let counters = Arc::clone(&self.counters);
        if frame.deadline <= now {
            return counters.frames.late.add(1);
        }
        let bytes = payload.len();
        if bytes > self.frame_bytes_max {
            return counters.frames.blocked.add(1);
        }
        if frame.is_keyframe && frame.stream.is_some() && !self.backlog().is_zero() {
            self.supersede(frame.stream);
        }
        let rank = self.next_rank(frame.priority);
        if !self.make_room(rank, bytes) {
            return counters.frames.shed.add(1);
        }
        match self.begin(rank, payload) {
            Some(stream) => self.insert(rank, frame, bytes, stream),
            None => counters.frames.blocked.add(1),
        }
    }

    fn next_rank(&mut self, priority: Priority) -> Rank {
        const AGE_MAX: u32 = (1 << AGE_BITS) - 1;
        self.begun = (self.begun + 1) & AGE_MAX;
        i32::from(priority.get()) << AGE_BITS | (AGE_MAX - self.begun) as i32
    }

    /// How long the path will take for what has not left yet: what is under way beyond the congestion
    /// window, at a window a round trip.
    pub(super) fn backlog(&self) -> Duration {
        let path = self.connection.stats().path;
        let waiting = (self.bytes as u64).saturating_sub(path.cwnd);
        path.rtt.mul_f64(waiting as f64 / path.cwnd.max(1) as f64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Drops frames of a lower rank until there is room. Whether there is.
    fn make_room(&mut self, rank: Rank, bytes: usize) -> bool {
        while self.in_flight.len() >= self.frames_max || self.bytes + bytes > self.bytes_max {
            match self.in_flight.first_key_value() {
                Some((&lowest, _)) if lowest < rank => {
                    self.give_up(lowest);
                    self.counters.frames.shed.add(1);
                }
                _ => return false,
            }
        }
        true
    }

    fn begin(&self, rank: Rank, payload: Payload) -> Option<SendStream> {
        let mut stream = self.connection.open_uni().now_or_never()?.ok()?;
        let mut chunks = [payload.head, payload.body];
        let written = stream.set_priority(rank).is_ok()
            && matches!(
                stream.write_all_chunks(&mut chunks).now_or_never(),
                Some(Ok(()))
            )
            && stream.finish().is_ok();
        if !written {
            // It fails where the connection is closed, which its link hears of.
            let _ = stream.reset(GIVEN_UP);
        }
        written.then_some(stream)
    }

    fn insert(&mut self, rank: Rank, frame: Frame, bytes: usize, stream: SendStream) {
        let (stopped, waiting) = abortable(stream.stopped());
        self.settling.push(Box::pin(stopped.map(move |stopped| {
            let delivered = matches!(stopped.ok()?, Ok(None));
            Some(Settled { rank, delivered })
        })));
        self.bytes += bytes;
        self.deadlines.insert((frame.deadline, rank));
        let in_flight = InFlight {
            stream,
            key: frame.stream,
            bytes,
            deadline: frame.deadline,
            waiting,
        };
        self.in_flight.insert(rank, in_flight);
    }

    /// What became of the next frame. Safe to cancel.
    pub(super) async fn next_settled(&mut self) -> Option<Settled> {
        loop {
            if let Some(settled) = self.settling.next().await? {
                return Some(settled);
            }
        }
    }

    pub(super) fn settle(&mut self, settled: Settled) {
        if self.remove(settled.rank).is_some() && settled.delivered {
            self.counters.frames.delivered.add(1);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Gives up frames past their deadline.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, rank)) = self.deadlines.first()
            && deadline <= now
        {
            self.give_up(rank);
            self.counters.frames.expired.add(1);
        }
    }

    /// Gives up the frames of a stream.
    fn supersede(&mut self, key: Option<u64>) {
        let of_stream = self.in_flight.iter().filter(|(_, frame)| frame.key == key);
        let ranks: Vec<Rank> = of_stream.map(|(rank, _)| *rank).collect();
        for rank in ranks {
            self.give_up(rank);
            self.counters.frames.superseded.add(1);
        }
    }

    fn give_up(&mut self, rank: Rank) {
        if let Some(mut frame) = self.remove(rank) {
            // It fails where the stream is delivered or the connection closed: nothing is left to reset.
            let _ = frame.stream.reset(GIVEN_UP);
            frame.waiting.abort();
        }
    }

    fn remove(&mut self, rank: Rank) -> Option<InFlight> {
        let frame = self.in_flight.remove(&rank)?;
        self.deadlines.remove(&(frame.deadline, rank));
        self.bytes -= frame.bytes;
        Some(frame)
    }
}
