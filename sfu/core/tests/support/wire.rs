//! A link that carries bytes: out of order, and some of them twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lightstick_sfu_core::room::Down;
use lightstick_sfu_core::room::wire::{Inbound, Outbound};

use super::Random;

pub(super) struct Wire {
    outbound: Outbound,
    inbound: Inbound,
    random: Random,
    /// Messages on their way, by when they arrive.
    messages: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
}

impl Wire {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            outbound: Outbound::new(now),
            inbound: Inbound::default(),
            random: Random::new(0x717e),
            messages: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn send(&mut self, down: &Down, delay: Duration, now: Instant) {
        for message in self.outbound.encode(down, now) {
            let copies = 1 + u64::from(self.random.chance(10));
            for _ in 0..copies {
                let late = Duration::from_micros(self.random.below(30_000));
                self.count += 1;
                let key = (now + delay + late, self.count);
                self.messages.insert(key, message.clone());
            }
        }
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

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.inbound.is_empty()
    }
}
