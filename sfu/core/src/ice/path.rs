//! One remote address of a session: what it may be sent, and when it was heard.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

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

/// First retransmission of a check (RFC 8489 section 6.2.1); each next takes twice as long.
pub(super) const RTO: Duration = Duration::from_millis(500);
/// A check is sent so often at most unless its address shows more signs of life: within 7.5 s.
const TRIES_MAX: u32 = 5;

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

    /// Authentic media or data has come from here.
    #[inline]
    pub(super) fn spoke(&mut self, now: Instant) {
        self.heard_at = now;
        self.spoke_at = Some(now);
        self.fresh_at = now;
    }

    /// It has shown that it hears us.
    pub(super) fn prove(&mut self, now: Instant) {
        if !self.proven {
            self.proven = true;
            self.fresh_at = now;
        }
    }

    /// Whether a check is under way that will be sent again.
    pub(super) fn is_asked(&self) -> bool {
        self.ask.is_some_and(|ask| ask.again_at.is_some())
    }

    /// Begins a check.
    pub(super) fn ask(&mut self, id: TransactionId, now: Instant) {
        self.ask = Some(Ask {
            id,
            began_at: now,
            sent_at: None,
            again_at: Some(now + RTO),
            tries: 1,
        });
    }

    /// Whether its check is to be sent again now; counts that.
    pub(super) fn repeat(&mut self, now: Instant) -> bool {
        let due = |ask: &&mut Ask| ask.again_at.is_some_and(|again| again <= now);
        let Some(ask) = self.ask.as_mut().filter(due) else {
            return false;
        };
        ask.again_at = (ask.tries < TRIES_MAX - 1).then(|| now + RTO * (1 << ask.tries));
        ask.tries += 1;
        true
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
