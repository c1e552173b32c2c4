//! A link in virtual time: a rate, a queue with a limit, a delay, and seeded loss and jitter.

use std::collections::VecDeque;

/// xorshift64*: the same seed, the same run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }
}

/// A packet on the link, of one of its flows.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    pub(super) flow: usize,
    pub(super) sequence: u16,
    pub(super) bytes: usize,
}

/// Times in microseconds, rates in bits per second.
pub(super) struct Link {
    pub(super) bps: f64,
    pub(super) queue_bytes_max: usize,
    pub(super) delay: i64,
    pub(super) jitter: i64,
    pub(super) loss_permille: u64,
    queue: VecDeque<Packet>,
    /// Bits of the first packet that are through.
    through: f64,
    queued: usize,
    now: i64,
    random: Random,
}

impl Link {
    pub(super) fn new(bps: f64, queue_bytes_max: usize, delay: i64, seed: u64) -> Self {
        Self {
            bps,
            queue_bytes_max,
            delay,
            jitter: 0,
            loss_permille: 0,
            queue: VecDeque::new(),
            through: 0.0,
            queued: 0,
            now: 0,
            random: Random::new(seed),
        }
    }

    pub(super) fn send(&mut self, packet: Packet) {
        if self.queued + packet.bytes <= self.queue_bytes_max {
            self.queued += packet.bytes;
            self.queue.push_back(packet);
        }
    }

    /// How long a packet would wait now, in milliseconds.
    pub(super) fn queue_ms(&self) -> f64 {
        self.queued as f64 * 8e3 / self.bps
    }

    /// Moves on to `until` and hands out what comes at the other end, and when.
    pub(super) fn advance(&mut self, until: i64, arrived: &mut Vec<(i64, Packet)>) {
        while let Some(packet) = self.queue.front().copied() {
            let bits = packet.bytes as f64 * 8.0 - self.through;
            let takes = bits * 1e6 / self.bps;
            let left = (until - self.now) as f64;
            if takes > left {
                self.through += self.bps * left / 1e6;
                break;
            }
            self.now += takes.ceil() as i64;
            self.through = 0.0;
            self.queued -= packet.bytes;
            self.queue.pop_front();
            let lost = self.random.below(1_000) < self.loss_permille;
            let jitter = match self.jitter {
                0 => 0,
                jitter => self.random.below(2 * jitter as u64) as i64,
            };
            if !lost {
                arrived.push((self.now + self.delay + jitter, packet));
            }
        }
        self.now = until;
    }
}
