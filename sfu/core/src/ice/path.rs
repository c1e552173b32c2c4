//! One remote address of a session: what it may be sent, and when it was heard.

use std::net::SocketAddr;
use std::time::Instant;

use super::stun::TransactionId;

/// The way to a remote address: a candidate pair (RFC 8445 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// From a local UDP socket, by its number, to an address.
    Udp(usize, SocketAddr),
    /// Over the TCP connection of an address.
    Tcp(SocketAddr),
}

impl Route {
    #[must_use]
    pub fn destination(self) -> SocketAddr {
        match self {
            Self::Udp(_, to) | Self::Tcp(to) => to,
        }
    }

    /// A TCP connection has proven its address in its handshake.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// An address that has not proven itself gets so many times the bytes that it sent (as RFC 9000
/// section 8.1): enough for a whole DTLS flight, too little to be worth an attack.
const AMPLIFICATION_MAX: u64 = 3;

/// An outstanding connectivity check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) id: TransactionId,
    pub(super) began_at: Instant,
    /// `None`: its address had not earned it yet.
    pub(super) sent_at: Option<Instant>,
    /// When it is sent again; `None` after the last time.
    pub(super) again_at: Option<Instant>,
    pub(super) tries: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) route: Route,
    received: u64,
    sent: u64,
    /// It has shown that it hears us.
    pub(super) proven: bool,
    /// Its last authentic sign.
    pub(super) heard_at: Instant,
    /// Its last authentic media or data: where that comes from is what the peer has selected.
    pub(super) spoke_at: Option<Instant>,
    /// Its last authentic sign that cannot be a replay.
    pub(super) fresh_at: Instant,
    /// Nominations of the route when this path was nominated last.
    pub(super) nominated: Option<u32>,
    /// Its last check bore the latest credentials.
    pub(super) latest: bool,
    pub(super) ask: Option<Ask>,
}

impl Path {
    pub(super) fn new(route: Route, latest: bool, now: Instant) -> Self {
        Self {
            route,
            received: 0,
            sent: 0,
            proven: false,
            heard_at: now,
            spoke_at: None,
            fresh_at: now,
            nominated: None,
            latest,
            ask: None,
        }
    }

    /// Counts a datagram from here.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Whether `bytes` may be sent here now; counts them when they may.
    pub(super) fn admit(&mut self, bytes: usize) -> bool {
        let sent = self.sent + bytes as u64;
        let admitted = self.proven || sent <= AMPLIFICATION_MAX * self.received;
        if admitted {
            self.sent = sent;
        }
        admitted
    }

    /// Revokes its validation: it must be validated again.
    pub(super) fn doubt(&mut self) {
        self.proven = false;
        (self.received, self.sent) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_what_was_received_before_the_proof() {
        let route = Route::Udp(0, SocketAddr::from(([192, 0, 2, 1], 1)));
        let mut path = Path::new(route, true, Instant::now());
        assert!(!path.admit(1));
        path.received(100);
        assert!(path.admit(200));
        assert!(!path.admit(101));
        assert!(path.admit(100));
        path.proven = true;
        assert!(path.admit(1_000_000));
        path.doubt();
        assert!(!path.admit(1));
    }
}
