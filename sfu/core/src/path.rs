//! No amplification: an address gets no more bytes than it sent until it has proven that it hears
//! us. Session descriptions and STUN can name anybody's address; only an answer proves it.

use std::net::SocketAddr;

/// One remote address of a session.
#[derive(Clone, Copy, Debug)]
struct Path {
    addr: SocketAddr,
    received: u64,
    sent: u64,
    proven: bool,
    used: u32,
}

/// The addresses that one session has heard from, and what each may be sent.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    paths: Vec<Path>,
    clock: u32,
}

impl Paths {
    /// Addresses remembered at most; the least recently used unproven one makes room.
    pub const MAX: usize = 8;

    /// Counts a datagram from `addr`.
    pub fn received(&mut self, addr: SocketAddr, bytes: usize) {
        let path = self.path(addr);
        path.received += bytes as u64;
    }

    /// Whether `bytes` may go to `addr` now; counts them when they may.
    pub fn admit(&mut self, addr: SocketAddr, bytes: usize) -> bool {
        let path = self.path(addr);
        let admitted = path.proven || path.sent + bytes as u64 <= path.received;
        if admitted {
            path.sent += bytes as u64;
        }
        admitted
    }

    /// The peer has shown that it hears us at `addr`.
    pub fn prove(&mut self, addr: SocketAddr) {
        self.path(addr).proven = true;
    }

    /// Whether `addr` has proven itself.
    #[must_use]
    pub fn is_proven(&self, addr: SocketAddr) -> bool {
        self.paths
            .iter()
            .any(|path| path.addr == addr && path.proven)
    }

    fn path(&mut self, addr: SocketAddr) -> &mut Path {
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let found = self.paths.iter().position(|path| path.addr == addr);
        let index = found.unwrap_or_else(|| {
            if self.paths.len() >= Self::MAX {
                let oldest = self
                    .paths
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, path)| (path.proven, path.used))
                    .map_or(0, |(i, _)| i);
                self.paths.swap_remove(oldest);
            }
            self.paths.push(Path {
                addr,
                received: 0,
                sent: 0,
                proven: false,
                used: clock,
            });
            self.paths.len() - 1
        });
        let path = &mut self.paths[index];
        path.used = clock;
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn never_more_than_was_received_before_proof() {
        let mut paths = Paths::default();
        assert!(!paths.admit(addr(1), 1));
        paths.received(addr(1), 100);
        assert!(paths.admit(addr(1), 60));
        assert!(!paths.admit(addr(1), 41));
        assert!(paths.admit(addr(1), 40));
        paths.prove(addr(1));
        assert!(paths.admit(addr(1), 1_000_000));
        assert!(!paths.admit(addr(2), 1));
    }

    #[test]
    fn a_flood_of_addresses_keeps_the_proven_one() {
        let mut paths = Paths::default();
        paths.prove(addr(1));
        for port in 2..1_000 {
            paths.received(addr(port), 10);
        }
        assert!(paths.is_proven(addr(1)));
        assert!(paths.paths.len() <= Paths::MAX);
    }

    #[test]
    fn an_address_that_made_room_starts_from_nothing() {
        let mut paths = Paths::default();
        paths.received(addr(1), 500);
        assert!(paths.admit(addr(1), 500));
        for port in 2..20 {
            paths.received(addr(port), 10);
        }
        paths.received(addr(1), 20);
        assert!(!paths.admit(addr(1), 21));
    }
}
