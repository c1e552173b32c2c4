//! The agent: what comes from the peer, and what it proves.

use std::time::{Duration, Instant};

use super::checks::Checks;
use super::identity::Pair;
use super::stun::{self, Class, Message};
use super::{Credentials, Output, Route};

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Nothing authentic for this long: the peer is gone (RFC 7675 section 5.1: 30 s).
    pub consent: Duration,
}

/// ICE of one session. Driven by `handle_*`; after each, [`poll`](Self::poll) until it is empty,
/// then [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Agent {
    timing: Timing,
    checks: Checks,
    /// The peer answers our checks as it should, so that its own need not be taken for consent.
    answers: bool,
    consent_at: Instant,
    flights: Flights,
}

/// Where the datagrams of the handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flights {
    Nowhere,
    To(Route),
    /// To more than one address, so that whoever finishes it need not hear us at each.
    Scattered,
}

impl Agent {
    /// Addresses of a peer that are remembered at most; the longest unheard makes room.
    pub const PATHS_MAX: usize = 8;

    /// An agent whose every number and word comes from `secret`, which nobody may guess.
    #[must_use]
    pub fn new(secret: &[u8; 32], remote: Credentials, timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            checks: Checks::new(secret, remote, timing.consent),
            answers: false,
            consent_at: now,
            flights: Flights::Nowhere,
        }
    }

    /// Both sides' credentials, the latest.
    #[must_use]
    pub fn credentials(&self) -> &Pair {
        self.checks.identity.latest()
    }

    /// Local user fragments that checks may still name.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.checks.identity.ufrags()
    }

    /// Addresses whose datagrams are this session's.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.checks.paths.routes()
    }

    /// Where media goes: to an address that has proven itself.
    #[inline]
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.checks.paths.route()
    }

    /// Where a handshake or a report goes: the route, or else the address that it is for, which
    /// may have to earn it.
    #[must_use]
    pub fn destination(&self) -> Option<Route> {
        self.checks.paths.destination()
    }

    /// Whether `bytes` may be sent to an address now; counts them when they may.
    pub fn admit(&mut self, to: Route, bytes: usize) -> bool {
        let path = self.checks.paths.at(to);
        path.is_some_and(|at| self.checks.paths[at].admit(bytes))
    }

    /// The same for a datagram of the DTLS handshake.
    pub fn admit_flight(&mut self, to: Route, bytes: usize) -> bool {
        let admitted = self.admit(to, bytes);
        if admitted {
            self.flights = match self.flights {
                Flights::Nowhere => Flights::To(to),
                Flights::To(before) if before == to => Flights::To(to),
                _ => Flights::Scattered,
            };
        }
        admitted
    }

    /// When the peer is gone, unless it shows another sign.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        self.consent_at + self.timing.consent
    }

    /// Whether the route is so silent that the peer may have moved, or there is none.
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.checks.paths.is_silent(now)
    }

    /// Counts a datagram of a known address that was no STUN.
    #[inline]
    pub fn received(&mut self, from: Route, bytes: usize) {
        if self.route() != Some(from)
            && let Some(at) = self.checks.paths.at(from)
        {
            self.checks.paths[at].received(bytes);
        }
    }

    /// Takes a message of `bytes` bytes. False: it is not the peer's, and was dropped.
    pub fn handle_stun(
        &mut self,
        message: &Message<'_>,
        from: Route,
        bytes: usize,
        now: Instant,
    ) -> bool {
        let authentic = match message.class {
            Class::Request => self.handle_request(message, from, bytes, now),
            Class::Success | Class::Error => self.handle_response(message, from, bytes, now),
            // A keep-alive (RFC 8445 section 11). It says nothing.
            Class::Indication => self.checks.paths.at(from).is_some(),
        };
        self.checks.choose(now);
        authentic
    }

    /// A datagram of the handshake from a known address: it is answered where it came from.
    pub fn handle_handshake(&mut self, from: Route, now: Instant) {
        let Some(at) = self.checks.paths.at(from) else {
            return;
        };
        self.checks.paths.aim(at);
        if self.checks.paths[at].proven && self.route() != Some(from) {
            self.checks.paths.switch(at);
        }
        self.checks.choose(now);
    }

    /// The handshake was finished by a datagram from an address. Whoever does that has read what
    /// was sent there, if it was sent nowhere else.
    pub fn handle_connected(&mut self, from: Route, now: Instant) {
        self.consent_at = now;
        if self.flights == Flights::To(from)
            && let Some(at) = self.checks.paths.at(from)
        {
            self.checks.paths[at].heard_at = now;
            self.checks.prove(at, now);
        }
        self.checks.choose(now);
    }

    /// Authentic media or data that is no replay, of `bytes` bytes where its address was not
    /// known: the peer is there, and it sends from there.
    #[inline]
    pub fn handle_media(&mut self, from: Route, bytes: usize, now: Instant) {
        self.consent_at = now;
        if self.route() == Some(from) {
            self.checks.paths[0].spoke(now);
            return;
        }
        let at = self.checks.paths.at(from).unwrap_or_else(|| {
            let at = self
                .checks
                .paths
                .introduce(from, true, Self::PATHS_MAX, now);
            self.checks.paths.outputs.push_back(Output::Known(from));
            self.checks.paths[at].received(bytes);
            at
        });
        self.checks.paths[at].spoke(now);
        self.checks.vouch(at, now);
        self.checks.choose(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.checks.handle_timeout(now);
    }

    /// Both sides get new credentials (RFC 8445 section 9). Returns ours.
    pub fn restart(&mut self, remote: Credentials) -> &Credentials {
        let retired = self.checks.identity.restart(remote);
        self.checks
            .paths
            .outputs
            .extend(retired.map(Output::Retired));
        self.checks.paths.restart();
        &self.credentials().local
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.checks.paths.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.checks.poll_timeout()
    }

    fn handle_request(
        &mut self,
        message: &Message<'_>,
        from: Route,
        bytes: usize,
        now: Instant,
    ) -> bool {
        let Some((pair, latest)) = self.checks.identity.recognize(message) else {
            return false;
        };
        let password = &pair.local.password;
        let accepts = message.unknown().is_empty() && !message.controlled;
        let reply = if !message.unknown().is_empty() {
            // RFC 8489 section 6.3.1
            stun::refusal(message, 420, "Unknown Attribute", password)
        } else if message.controlled {
            // RFC 8445 section 7.3.1.1: we are lite, so it is the peer that must change its role.
            stun::refusal(message, 487, "Role Conflict", password)
        } else {
            stun::success(message, from.destination(), password)
        };
        let paths = &mut self.checks.paths;
        let known = paths.at(from);
        let at = known.unwrap_or_else(|| paths.introduce(from, latest, Self::PATHS_MAX, now));
        let path = &mut paths[at];
        path.received(bytes);
        path.heard_at = now;
        path.latest = latest;
        if !self.answers {
            path.fresh_at = now;
            self.consent_at = now;
        }
        paths.send(at, reply);
        if known.is_none() {
            // After the response: a client that waits for that drops whatever comes before it.
            paths.outputs.push_back(Output::Known(from));
        }
        if message.use_candidate && accepts {
            paths.nominate(at);
        }
        self.checks.vouch(at, now);
        self.checks.retire_former(at);
        true
    }

    fn handle_response(
        &mut self,
        message: &Message<'_>,
        from: Route,
        bytes: usize,
        now: Instant,
    ) -> bool {
        let Some(at) = self.checks.paths.at(from) else {
            return false;
        };
        let path = &mut self.checks.paths[at];
        path.received(bytes);
        // Nobody else can know the id: whatever the response says, its sender hears us.
        if path.ask.map(|ask| ask.id) != Some(message.transaction) {
            return false;
        }
        path.ask = None;
        path.heard_at = now;
        // Consent is the peer's alone to give (RFC 7675 section 4).
        if message.class == Class::Success && self.checks.identity.verify(message, path.latest) {
            path.fresh_at = now;
            self.consent_at = now;
            self.answers = true;
        }
        self.checks.prove(at, now);
        true
    }
}

#[cfg(test)]
mod tests;
