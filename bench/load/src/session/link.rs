//! A link between a viewer and the server that loses and delays datagrams, both ways.
//!
//! It stands in this process, behind the viewer's socket: it needs no privileges and no kernel
//! module, tells the datagrams of a run apart (a queueing discipline sees a GSO run as one), and
//! leaves the publisher and HTTP alone. The server cannot tell it from a real one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What a link does to datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkConfig {
    /// The share that it loses, 0 to 1, each way and independently of each other.
    pub loss: f64,
    /// How long the others take, each way.
    pub delay: Duration,
}

#[derive(Debug)]
pub(super) struct Link {
    config: LinkConfig,
    random: u64,
    /// On their way to the viewer, and from it. Nothing overtakes.
    pub(super) coming: Queue,
    pub(super) going: Queue,
}

#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<InFlight>);

/// A datagram on a link.
#[derive(Debug)]
pub(super) struct InFlight {
    /// When it is through.
    pub(super) due: Instant,
    /// The same, of one that comes, on the clock of the stamps.
    pub(super) due_us: u64,
    /// Where it is from or goes to.
    pub(super) peer: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl Link {
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            coming: Queue::default(),
            going: Queue::default(),
        }
    }

    /// Takes a datagram that came at `at`, or `at_us`.
    pub(super) fn come(&mut self, bytes: &[u8], peer: SocketAddr, at: Instant, at_us: u64) {
        if let Some(sent) = self.take(bytes, peer, at, at_us) {
            self.coming.0.push_back(sent);
        }
    }

    /// Takes a datagram that leaves at `at`.
    pub(super) fn go(&mut self, bytes: &[u8], peer: SocketAddr, at: Instant) {
        if let Some(sent) = self.take(bytes, peer, at, 0) {
            self.going.0.push_back(sent);
        }
    }

    /// When something is through, next.
    pub(super) fn due(&self) -> Option<Instant> {
        let fronts = [self.coming.0.front(), self.going.0.front()];
        fronts.into_iter().flatten().map(|sent| sent.due).min()
    }

    fn take(
        &mut self,
        bytes: &[u8],
        peer: SocketAddr,
        at: Instant,
        at_us: u64,
    ) -> Option<InFlight> {
        let delay = self.config.delay;
        (self.random() >= self.config.loss).then(|| InFlight {
            due: at + delay,
            due_us: at_us + delay.as_micros() as u64,
            peer,
            bytes: bytes.to_vec(),
        })
    }

    /// From 0, less than 1 (xorshift64*).
    fn random(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

impl Queue {
    /// The next that is through at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<InFlight> {
        let through = self.0.front().is_some_and(|sent| sent.due <= now);
        through.then(|| self.0.pop_front()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_lost_comes_in_order_and_late() {
        let check = |loss: f64, share: std::ops::RangeInclusive<f64>| {
            let delay = Duration::from_millis(50);
            let (start, peer) = (Instant::now(), SocketAddr::from(([127, 0, 0, 1], 9)));
            let mut link = Link::new(LinkConfig { loss, delay }, 7);
            assert_eq!(link.due(), None);
            let mut came = Vec::new();
            for number in 0..10_000_u32 {
                let at = start + Duration::from_millis(number.into());
                link.come(&number.to_be_bytes(), peer, at, u64::from(number) * 1_000);
                while let Some(sent) = link.coming.pop(at) {
                    let number = u32::from_be_bytes(sent.bytes.try_into().expect("four bytes"));
                    let sent_at = start + Duration::from_millis(number.into());
                    assert_eq!((sent.due, at), (sent_at + delay, sent_at + delay));
                    assert_eq!(sent.due_us, u64::from(number) * 1_000 + 50_000);
                    came.push(number);
                }
            }
            assert!(came.is_sorted());
            // The last fifty are on their way.
            let lost = 1.0 - came.len() as f64 / 9_950.0;
            assert!(share.contains(&lost), "{lost}");
        };
        check(0.0, 0.0..=0.0);
        check(0.1, 0.09..=0.11);
        check(1.0, 1.0..=1.0);
    }

    #[test]
    fn links_lose_different_datagrams() {
        let lost = |seed| {
            let config = LinkConfig {
                loss: 0.5,
                delay: Duration::ZERO,
            };
            let mut link = Link::new(config, seed);
            (0..64).map(|_| link.random() < 0.5).collect::<Vec<_>>()
        };
        assert_eq!(lost(1), lost(1));
        assert_ne!(lost(1), lost(2));
    }
}
