//! A link that carries bytes: frames and audio out of order, some of them twice, and some frames not at
//! all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lightstick_sfu_core::room::Down;
use lightstick_sfu_core::room::wire::{Class, Inbound, Outbound};
use lightstick_sfu_core::streams::StreamSet;

use super::Random;

pub(super) struct Wire {
    outbound: Outbound,
    inbound: Inbound,
    random: Random,
    /// Messages on their way, by when they arrive.
    messages: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    /// When the last control message arrives: none overtakes another.
    control_at: Instant,
}

impl Wire {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            outbound: Outbound::new(now),
            inbound: Inbound::default(),
            random: Random::new(0x717e),
            messages: BTreeMap::new(),
            count: 0,
            control_at: now,
        }
    }

    /// The streams of which something is dropped.
    pub(super) fn send(&mut self, down: &Down, delay: Duration, now: Instant) -> StreamSet {
        let mut lost = StreamSet::default();
        for message in self.outbound.encode(down, now) {
            let late = Duration::from_micros(self.random.below(30_000));
            let mut at = now + delay + late;
            if let Class::Frame { stream, .. } = message.class
                && self.random.below(200) == 0
            {
                lost.insert(stream);
                continue;
            }
            if message.class == Class::Control {
                at = at.max(self.control_at);
                self.control_at = at;
            }
            self.put(at, message.bytes.clone());
            if message.class != Class::Control && self.random.chance(10) {
                let late = Duration::from_micros(self.random.below(30_000));
                self.put(now + delay + late, message.bytes);
            }
        }
        lost
    }

    fn put(&mut self, at: Instant, message: Vec<u8>) {
        self.count += 1;
        self.messages.insert((at, self.count), message);
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        Some(self.messages.first_key_value()?.0.0)
    }

    /// What has arrived, if anything has.
    pub(super) fn receive(&mut self, now: Instant) -> Option<Vec<Down>> {
        let mut told = Vec::new();
        while self.next_at()? <= now {
            let (_, message) = self.messages.pop_first()?;
            let read = self.inbound.receive(message.into(), now);
            read.expect("what a hop has written");
            told.extend(std::iter::from_fn(|| self.inbound.poll()));
            if self.messages.is_empty() {
                break;
            }
        }
        Some(told)
    }

    /// Whether nothing is on its way. Frames may wait for one that was dropped.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
