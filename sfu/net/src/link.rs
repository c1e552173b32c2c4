//! Rings between shards: one for each ordered pair, bounded, written and read without locks.

use std::collections::VecDeque;
use std::sync::Arc;

use lightstick_sfu_core::room::{Down, PeerId, Up};
use lightstick_types::{RoomId, ShardId};
use mio::Waker;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// What one shard tells another of a room.
#[derive(Debug)]
pub(crate) enum Message {
    /// To the room's home.
    Up(RoomId, Up),
    /// From the room's home.
    Down(RoomId, Down),
}

/// A shard as hops name it: the first numbers of peers are those of the shards.
pub(crate) fn peer_of(shard: ShardId) -> PeerId {
    PeerId(shard.0.into())
}

/// The rings of one shard to and from all others. Other peers are not here: what is for them is
/// dropped.
pub(crate) struct Links {
    outgoing: Vec<Option<Outgoing>>,
    incoming: Vec<Option<Consumer<Message>>>,
    /// The ring that is read next.
    turn: usize,
}

struct Outgoing {
    ring: Producer<Message>,
    waker: Arc<Waker>,
    /// Messages that must not be lost, waiting for room in the ring. They are state, not media:
    /// at most a few a room.
    waiting: VecDeque<Message>,
    /// Something was pushed since the last wake-up.
    pushed: bool,
}

/// A full mesh for the given wakers, one [`Links`] a shard.
pub(crate) fn mesh(wakers: &[Arc<Waker>], capacity: usize) -> Vec<Links> {
    let shards = wakers.len();
    let mut links: Vec<Links> = (0..shards)
        .map(|_| Links {
            outgoing: (0..shards).map(|_| None).collect(),
            incoming: (0..shards).map(|_| None).collect(),
            turn: 0,
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|to| *to != from) {
            let (ring, consumer) = RingBuffer::new(capacity);
            links[from].outgoing[to] = Some(Outgoing {
                ring,
                waker: Arc::clone(&wakers[to]),
                waiting: VecDeque::new(),
                pushed: false,
            });
            links[to].incoming[from] = Some(consumer);
        }
    }
    links
}

impl Links {
    /// Offers media to a shard. False when the ring is full: the media is dropped.
    pub(crate) fn offer(&mut self, to: PeerId, message: Message) -> bool {
        let Some(outgoing) = self.ring_to(to) else {
            return true;
        };
        outgoing.drain();
        // What waits is older; media that overtakes it would meet a room that is not told yet.
        if !outgoing.waiting.is_empty() {
            return false;
        }
        let pushed = outgoing.ring.push(message).is_ok();
        outgoing.pushed |= pushed;
        pushed
    }

    /// Sends something that must arrive.
    pub(crate) fn send(&mut self, to: PeerId, message: Message) {
        if let Some(outgoing) = self.ring_to(to) {
            outgoing.waiting.push_back(message);
            outgoing.drain();
        }
    }

    fn ring_to(&mut self, to: PeerId) -> Option<&mut Outgoing> {
        self.outgoing.get_mut(to.0 as usize)?.as_mut()
    }

    /// The next message from any shard, of each in its turn.
    pub(crate) fn receive(&mut self) -> Option<(PeerId, Message)> {
        let shards = self.incoming.len();
        for _ in 0..shards {
            let from = self.turn;
            self.turn = (self.turn + 1) % shards;
            let ring = self.incoming[from].as_mut();
            if let Some(message) = ring.and_then(|ring| ring.pop().ok()) {
                return Some((peer_of(ShardId(from as u16)), message));
            }
        }
        None
    }

    /// Whether a message waits.
    pub(crate) fn has_more(&self) -> bool {
        let mut rings = self.incoming.iter().flatten();
        rings.any(|ring| !ring.is_empty())
    }

    /// Wakes the shards that something was pushed to. True while messages still wait for room.
    pub(crate) fn flush(&mut self) -> bool {
        let mut waiting = false;
        for outgoing in self.outgoing.iter_mut().flatten() {
            outgoing.drain();
            waiting |= !outgoing.waiting.is_empty();
            if std::mem::take(&mut outgoing.pushed)
                && let Err(error) = outgoing.waker.wake()
            {
                tracing::error!(%error, "cannot wake a shard");
            }
        }
        waiting
    }
}

impl Outgoing {
    fn drain(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            match self.ring.push(message) {
                Ok(()) => self.pushed = true,
                Err(PushError::Full(message)) => {
                    self.waiting.push_front(message);
                    return;
                }
            }
        }
    }
}
