//! The agent: checks in, checks out, and the one route that follows from what was heard.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::credentials::Secret;
use super::stun::{self, Class, Message};
use super::{Ask, Credentials, Path, Route};

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Nothing authentic for this long: the peer is gone (RFC 7675 section 5.1: 30 s).
    pub consent: Duration,
}

/// What came of what an agent was told; to be polled until there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A datagram to send.
    Transmit(Route, Vec<u8>),
    /// Datagrams from here are this session's from now on.
    Known(Route),
    /// They are not any more.
    Forgotten(Route),
    /// Checks for this user fragment are not this session's any more.
    Retired(String),
    /// From now on the session sends here.
    Routed(Route),
}

/// First retransmission of a check (RFC 8489 section 6.2.1); each next takes twice as long.
const RTO: Duration = Duration::from_millis(500);
/// A check is sent so often at most unless its address shows more signs of life: within 7.5 s.
const TRIES_MAX: u32 = 5;
/// An address that shows another sign instead of answering is asked again, but not sooner.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A route that is silent is asked whether it is there, if another address is heard meanwhile...
const DOUBTFUL: Duration = Duration::from_secs(1);
/// ... and given up for that after this.
const SILENT: Duration = Duration::from_secs(2);
/// The same where authentic media comes from the other address: the peer has moved there, and
/// what is still on its way from here is no sign.
const MOVED: Duration = Duration::from_millis(250);
/// Time between checks for consent (RFC 7675 section 5.1).
const CONSENT_EVERY: Duration = Duration::from_secs(5);
/// RFC 8445 section 5.1.2.1: of a peer-reflexive candidate, the only one of its kind.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Both sides' credentials of one generation.
#[derive(Clone, Debug)]
struct Pair {
    local: Credentials,
    remote: Credentials,
}

/// ICE of one session. Driven by `handle_*`; after each, [`poll`](Self::poll) until it is empty,
/// then [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Agent {
    timing: Timing,
    secret: Secret,
    tie_breaker: u64,
    generation: u32,
    latest: Pair,
    /// After an ICE restart, until an address with the new credentials has proven itself: what
    /// the peer still uses meanwhile (RFC 8445 section 9).
    former: Option<Pair>,
    /// The route's is the first.
    paths: Vec<Path>,
    route: Option<Route>,
    /// Where a handshake is answered before there is a route.
    target: Option<Route>,
    /// Nominated, but not proven yet.
    wanted: Option<Route>,
    /// How often the route was nominated.
    nominations: u32,
    /// Checks that we have made up.
    asked: u32,
    /// The peer answers our checks as it should, so that its own need not be taken for consent.
    answers: bool,
    consent_at: Instant,
    flights: Flights,
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
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
        let secret = Secret::new(secret);
        let local = secret.credentials(0);
        let bytes = secret.derive(b't', 0);
        let mut tie_breaker = [0; 8];
        tie_breaker.copy_from_slice(&bytes[..8]);
        Self {
            timing,
            secret,
            // Some take 0 for an attribute that is not there.
            tie_breaker: u64::from_be_bytes(tie_breaker).max(1),
            generation: 0,
            latest: Pair { local, remote },
            former: None,
            paths: Vec::new(),
            route: None,
            target: None,
            wanted: None,
            nominations: 0,
            asked: 0,
            answers: false,
            consent_at: now,
            flights: Flights::Nowhere,
            deadline: None,
            outputs: VecDeque::new(),
        }
    }

    /// Our credentials, the latest.
    #[must_use]
    pub fn local(&self) -> &Credentials {
        &self.latest.local
    }

    /// The peer's credentials, the latest.
    #[must_use]
    pub fn remote(&self) -> &Credentials {
        &self.latest.remote
    }

    /// Local user fragments that checks may still name.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        let former = self.former.iter();
        let pairs = former.chain([&self.latest]);
        pairs.map(|pair| pair.local.ufrag.as_str())
    }

    /// Addresses whose datagrams are this session's.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.paths.iter().map(|path| path.route)
    }

    /// Where media goes: to an address that has proven itself.
    #[inline]
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.route
    }

    /// Where a handshake or a report goes: the route, or else the address that it is for, which
    /// may have to earn it.
    #[must_use]
    pub fn destination(&self) -> Option<Route> {
        self.route.or(self.target)
    }

    /// Whether `bytes` may be sent to an address now; counts them when they may.
    pub fn admit(&mut self, to: Route, bytes: usize) -> bool {
        let path = self.paths.iter_mut().find(|path| path.route == to);
        path.is_some_and(|path| path.admit(bytes))
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
        self.route.is_none() || now >= self.paths[0].heard_at + MOVED
    }

    /// Counts a datagram of a known address that was no STUN.
    #[inline]
    pub fn received(&mut self, from: Route, bytes: usize) {
        if self.route != Some(from)
            && let Some(at) = self.at(from)
        {
            self.paths[at].received(bytes);
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
            Class::Indication => self.at(from).is_some(),
        };
        self.choose(now);
        authentic
    }

    /// A datagram of the handshake from a known address: it is answered where it came from.
    pub fn handle_handshake(&mut self, from: Route, now: Instant) {
        let Some(at) = self.at(from) else {
            return;
        };
        self.target = Some(from);
        if self.paths[at].proven && self.route != Some(from) {
            self.switch(at);
        }
        self.choose(now);
    }

    /// The handshake was finished by a datagram from an address. Whoever does that has read what
    /// was sent there, if it was sent nowhere else.
    pub fn handle_connected(&mut self, from: Route, now: Instant) {
        self.consent_at = now;
        if self.flights == Flights::To(from)
            && let Some(at) = self.at(from)
        {
            self.paths[at].heard_at = now;
            self.prove(at, now);
        }
        self.choose(now);
    }

    /// Authentic media or data that is no replay, of `bytes` bytes where its address was not
    /// known: the peer is there, and it sends from there.
    #[inline]
    pub fn handle_media(&mut self, from: Route, bytes: usize, now: Instant) {
        self.consent_at = now;
        if self.route == Some(from) {
            let path = &mut self.paths[0];
            path.heard_at = now;
            path.spoke_at = Some(now);
            path.fresh_at = now;
            return;
        }
        let at = self.at(from).unwrap_or_else(|| {
            let at = self.introduce(from, true, now);
            self.outputs.push_back(Output::Known(from));
            self.paths[at].received(bytes);
            at
        });
        let path = &mut self.paths[at];
        path.heard_at = now;
        path.spoke_at = Some(now);
        path.fresh_at = now;
        self.vouch(at, now);
        self.choose(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for at in 0..self.paths.len() {
            let ask = self.paths[at].ask;
            if ask.is_some_and(|ask| ask.again_at.is_some_and(|again| again <= now)) {
                self.repeat(at, now);
            }
        }
        if self.route.is_some() && now >= self.paths[0].fresh_at + CONSENT_EVERY {
            self.ask_anew(0, now);
        }
        self.choose(now);
    }

    /// Both sides get new credentials (RFC 8445 section 9). Returns ours. Addresses keep their
    /// proof: they hear us, whatever the words are.
    pub fn restart(&mut self, remote: Credentials) -> &Credentials {
        self.generation += 1;
        let local = self.secret.credentials(self.generation);
        let latest = std::mem::replace(&mut self.latest, Pair { local, remote });
        if self.former.is_none() {
            self.former = Some(latest);
        } else {
            // Nobody has used those: the peer has restarted twice.
            self.outputs.push_back(Output::Retired(latest.local.ufrag));
        }
        for path in &mut self.paths {
            path.latest = false;
            path.nominated = None;
        }
        self.wanted = None;
        self.local()
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn at(&self, route: Route) -> Option<usize> {
        self.paths.iter().position(|path| path.route == route)
    }

    fn handle_request(
        &mut self,
        message: &Message<'_>,
        from: Route,
        bytes: usize,
        now: Instant,
    ) -> bool {
        let recipient = message.recipient();
        let is = |pair: &&Pair| recipient == Some(&*pair.local.ufrag);
        let latest = is(&&self.latest);
        let former = self.former.as_ref().filter(is);
        let Some(pair) = former.or(Some(&self.latest).filter(is)) else {
            return false;
        };
        let password = &pair.local.password;
        if !message.verify(password) {
            return false;
        }
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
        let known = self.at(from);
        let at = known.unwrap_or_else(|| self.introduce(from, latest, now));
        let path = &mut self.paths[at];
        path.received(bytes);
        path.heard_at = now;
        path.latest = latest;
        if !self.answers {
            path.fresh_at = now;
            self.consent_at = now;
        }
        self.send(at, reply);
        if known.is_none() {
            // After the response: a client that waits for that drops whatever comes before it.
            self.outputs.push_back(Output::Known(from));
        }
        if message.use_candidate && accepts {
            self.nominate(at);
        }
        self.vouch(at, now);
        self.retire_former(at);
        true
    }

    fn handle_response(
        &mut self,
        message: &Message<'_>,
        from: Route,
        bytes: usize,
        now: Instant,
    ) -> bool {
        let Some(at) = self.at(from) else {
            return false;
        };
        self.paths[at].received(bytes);
        // Nobody else can know the id: whatever the response says, its sender hears us.
        let asked = self.paths[at].ask.map(|ask| ask.id);
        if asked != Some(message.transaction) {
            return false;
        }
        let former = self.former.as_ref().filter(|_| !self.paths[at].latest);
        let remote = &former.unwrap_or(&self.latest).remote;
        let authentic = message.class == Class::Success && message.verify(&remote.password);
        let path = &mut self.paths[at];
        path.ask = None;
        path.heard_at = now;
        // Consent is the peer's alone to give (RFC 7675 section 4).
        if authentic {
            path.fresh_at = now;
            self.consent_at = now;
            self.answers = true;
        }
        self.prove(at, now);
        true
    }

    /// An address that shows signs of the peer is asked to prove that it hears us.
    fn vouch(&mut self, at: usize, now: Instant) {
        if self.paths[at].proven {
            return;
        }
        if self.paths[at].route.is_tcp() {
            self.prove(at, now);
            return;
        }
        match self.paths[at].ask {
            Some(ask) if ask.sent_at.is_some_and(|sent| now < sent + ASK_AGAIN) => {}
            Some(_) => self.transmit_ask(at, now),
            None => self.ask(at, now),
        }
    }

    /// Remembers an address, in the place of another if need be.
    fn introduce(&mut self, route: Route, latest: bool, now: Instant) -> usize {
        if self.paths.len() >= Self::PATHS_MAX {
            let routed = usize::from(self.route.is_some());
            let others = self.paths.iter().enumerate().skip(routed);
            let oldest = others.min_by_key(|(_, path)| (path.proven, path.heard_at));
            if let Some((at, _)) = oldest {
                let gone = self.paths.remove(at).route;
                self.target = self.target.filter(|target| *target != gone);
                self.wanted = self.wanted.filter(|wanted| *wanted != gone);
                self.outputs.push_back(Output::Forgotten(gone));
            }
        }
        self.target = self.target.or(Some(route));
        self.paths.push(Path::new(route, latest, now));
        self.paths.len() - 1
    }

    fn prove(&mut self, at: usize, now: Instant) {
        let path = &mut self.paths[at];
        if !path.proven {
            path.proven = true;
            path.fresh_at = now;
        }
        self.retire_former(at);
    }

    /// The peer uses the latest credentials at an address that hears us: the former are done with.
    fn retire_former(&mut self, at: usize) {
        let path = &self.paths[at];
        if path.proven
            && path.latest
            && let Some(former) = self.former.take()
        {
            self.outputs.push_back(Output::Retired(former.local.ufrag));
        }
    }

    /// The peer chooses a path (RFC 8445 section 8.1.1). Where it nominates two in turns, as
    /// aggressive nomination does (RFC 5245 section 8.1.1.2), the one that is in use stays.
    fn nominate(&mut self, at: usize) {
        let path = &mut self.paths[at];
        if self.route == Some(path.route) {
            self.nominations += 1;
            path.nominated = Some(self.nominations);
            self.wanted = None;
            return;
        }
        let turns = path.nominated.is_some_and(|n| n + 1 == self.nominations);
        path.nominated = Some(self.nominations);
        if self.route.is_none() || !turns {
            self.wanted = Some(path.route);
        }
        if self.route.is_none() {
            self.target = Some(path.route);
        }
    }

    /// The address besides the route that was heard after it, last of all.
    fn rival(&self) -> Option<usize> {
        let current = self.paths.first()?;
        let heard = |(_, path): &(usize, &Path)| path.heard_at > current.heard_at;
        let others = self.paths.iter().enumerate().skip(1).filter(heard);
        let trusted = |path: &Path| path.proven || path.spoke_at == Some(path.heard_at);
        let others = others.filter(|(_, path)| trusted(path));
        let last = others.max_by_key(|(_, path)| (path.proven, path.heard_at));
        last.map(|(at, _)| at)
    }

    /// When the route is given up for a rival.
    fn overtakes_at(&self, rival: usize) -> Instant {
        let (route, rival) = (&self.paths[0], &self.paths[rival]);
        if rival.proven && rival.spoke_at.is_some_and(|at| at > route.heard_at) {
            return route.heard_at + MOVED;
        }
        // Not before it has had the time to answer.
        let asked_at = route
            .ask
            .map_or(route.heard_at + DOUBTFUL, |ask| ask.began_at);
        (route.heard_at + SILENT).max(asked_at + RTO)
    }

    /// Chooses the route by what was heard, and the time of the next look at it.
    fn choose(&mut self, now: Instant) {
        let consent = self.timing.consent;
        let usable = |path: &Path| path.proven && now < path.fresh_at + consent;
        if self.route.is_some() && !usable(&self.paths[0]) {
            // Consent to send here is over (RFC 7675 section 5.1).
            self.paths[0].doubt();
            self.route = None;
        }
        let wanted = self.wanted.and_then(|wanted| self.at(wanted));
        if let Some(at) = wanted.filter(|at| usable(&self.paths[*at])) {
            self.switch(at);
        } else if self.route.is_none() {
            let all = self.paths.iter().enumerate();
            let all = all.filter(|(_, path)| usable(path));
            let last = all.max_by_key(|(_, path)| path.heard_at);
            if let Some((at, _)) = last {
                self.switch(at);
            }
        } else if let Some(rival) = self.rival() {
            if now >= self.paths[0].heard_at + DOUBTFUL {
                self.ask_anew(0, now);
            }
            if self.overtakes_at(rival) <= now {
                if usable(&self.paths[rival]) {
                    self.switch(rival);
                } else {
                    // Its media is the peer's, but it does not answer: it gets what it earns.
                    self.target = Some(self.paths[rival].route);
                    self.paths[0].doubt();
                    self.route = None;
                }
            }
        }
        self.deadline = self.next(now);
    }

    fn next(&self, now: Instant) -> Option<Instant> {
        let asks = self.paths.iter().filter_map(|path| path.ask?.again_at);
        let mut next = asks.min();
        let mut at = |time: Instant| next = Some(next.map_or(time, |next| next.min(time)));
        if self.route.is_some() {
            let path = &self.paths[0];
            at(path.fresh_at + self.timing.consent);
            if path.ask.is_none_or(|ask| ask.again_at.is_none()) {
                at((path.fresh_at + CONSENT_EVERY).max(now + RTO));
            }
            if let Some(rival) = self.rival() {
                let doubtful_at = path.heard_at + DOUBTFUL;
                if now < doubtful_at {
                    at(doubtful_at);
                }
                at(self.overtakes_at(rival));
            }
        }
        next
    }

    fn switch(&mut self, at: usize) {
        self.paths.swap(0, at);
        let route = self.paths[0].route;
        if self.wanted == Some(route) {
            self.nominations += 1;
            self.paths[0].nominated = Some(self.nominations);
            self.wanted = None;
        }
        if self.route != Some(route) {
            self.route = Some(route);
            self.target = Some(route);
            self.outputs.push_back(Output::Routed(route));
        }
    }

    /// Begins a check, unless one is under way.
    fn ask_anew(&mut self, at: usize, now: Instant) {
        let under_way = |ask: Ask| ask.again_at.is_some();
        if !self.paths[at].ask.is_some_and(under_way) {
            self.ask(at, now);
        }
    }

    fn ask(&mut self, at: usize, now: Instant) {
        self.asked += 1;
        let bytes = self.secret.derive(b'i', self.asked);
        let mut id = [0; 12];
        id.copy_from_slice(&bytes[..12]);
        self.paths[at].ask = Some(Ask {
            id,
            began_at: now,
            sent_at: None,
            again_at: Some(now + RTO),
            tries: 1,
        });
        self.transmit_ask(at, now);
    }

    fn repeat(&mut self, at: usize, now: Instant) {
        if let Some(ask) = &mut self.paths[at].ask {
            ask.again_at = (ask.tries < TRIES_MAX - 1).then(|| now + RTO * (1 << ask.tries));
            ask.tries += 1;
        }
        self.transmit_ask(at, now);
    }

    fn transmit_ask(&mut self, at: usize, now: Instant) {
        let path = &self.paths[at];
        let Some(ask) = path.ask else {
            return;
        };
        let former = self.former.as_ref().filter(|_| !path.latest);
        let Pair { local, remote } = former.unwrap_or(&self.latest);
        let check = stun::Check {
            transaction: ask.id,
            username: &format!("{}:{}", remote.ufrag, local.ufrag),
            priority: PRIORITY,
            tie_breaker: self.tie_breaker,
            password: &remote.password,
        };
        let check = check.write();
        if self.send(at, check)
            && let Some(ask) = &mut self.paths[at].ask
        {
            ask.sent_at = Some(now);
        }
    }

    fn send(&mut self, at: usize, message: Vec<u8>) -> bool {
        let path = &mut self.paths[at];
        let admitted = path.admit(message.len());
        if admitted {
            let transmit = Output::Transmit(path.route, message);
            self.outputs.push_back(transmit);
        }
        admitted
    }
}

#[cfg(test)]
mod tests;
