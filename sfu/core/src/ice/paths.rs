//! The addresses of a peer, and which of them is its route.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

use super::path::RTO;
use super::{Output, Path, Route};

/// A route that is silent is asked whether it is there, if another address is heard meanwhile...
const DOUBTFUL: Duration = Duration::from_secs(1);
/// ... and given up for that after this.
const SILENT: Duration = Duration::from_secs(2);
/// The same where authentic media comes from the other address: the peer has moved there, and
/// what is still on its way from here is no sign.
const MOVED: Duration = Duration::from_millis(250);
/// Time between checks for consent (RFC 7675 section 5.1).
const CONSENT_EVERY: Duration = Duration::from_secs(5);

/// Addresses of a peer, and the datagrams and changes that come of them.
#[derive(Debug)]
pub(super) struct Paths {
    /// The route's is the first.
    all: Vec<Path>,
    route: Option<Route>,
    /// Where a handshake is answered before there is a route.
    target: Option<Route>,
    /// Nominated, but not proven yet.
    wanted: Option<Route>,
    /// How often the route was nominated.
    nominations: u32,
    /// Nothing fresh for this long: consent to send is over.
    consent: Duration,
    pub(super) outputs: VecDeque<Output>,
}

impl Paths {
    pub(super) fn new(consent: Duration) -> Self {
        Self {
            all: Vec::new(),
            route: None,
            target: None,
            wanted: None,
            nominations: 0,
            consent,
            outputs: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn route(&self) -> Option<Route> {
        self.route
    }

    pub(super) fn destination(&self) -> Option<Route> {
        self.route.or(self.target)
    }

    /// A handshake or a report is for this address, where there is no route.
    pub(super) fn aim(&mut self, at: usize) {
        self.target = Some(self.all[at].route);
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = Route> {
        self.all.iter().map(|path| path.route)
    }

    pub(super) fn at(&self, route: Route) -> Option<usize> {
        self.all.iter().position(|path| path.route == route)
    }

    /// Whether the route is so silent that the peer may have moved, or there is none.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.route.is_none() || now >= self.all[0].heard_at + MOVED
    }

    /// Whether the route has not renewed its consent for a while.
    pub(super) fn wants_consent(&self, now: Instant) -> bool {
        self.route.is_some() && now >= self.all[0].fresh_at + CONSENT_EVERY
    }

    /// Sends a message, if its address has earned it.
    pub(super) fn send(&mut self, at: usize, message: Vec<u8>) -> bool {
        let path = &mut self.all[at];
        let admitted = path.admit(message.len());
        if admitted {
            let transmit = Output::Transmit(path.route, message);
            self.outputs.push_back(transmit);
        }
        admitted
    }

    /// Remembers an address, in the place of another where there are `max` already.
    pub(super) fn introduce(
        &mut self,
        route: Route,
        latest: bool,
        max: usize,
        now: Instant,
    ) -> usize {
        if self.all.len() >= max {
            let routed = usize::from(self.route.is_some());
            let others = self.all.iter().enumerate().skip(routed);
            let oldest = others.min_by_key(|(_, path)| (path.proven, path.heard_at));
            if let Some((at, _)) = oldest {
                let gone = self.all.remove(at).route;
                self.target = self.target.filter(|target| *target != gone);
                self.wanted = self.wanted.filter(|wanted| *wanted != gone);
                self.outputs.push_back(Output::Forgotten(gone));
            }
        }
        self.target = self.target.or(Some(route));
        self.all.push(Path::new(route, latest, now));
        self.all.len() - 1
    }

    /// The peer has new credentials. Addresses keep their proof: they hear us, whatever the words
    /// are.
    pub(super) fn restart(&mut self) {
        for path in &mut self.all {
            path.latest = false;
            path.nominated = None;
        }
        self.wanted = None;
    }

    /// The peer chooses a path (RFC 8445 section 8.1.1). Where it nominates two in turns, as
    /// aggressive nomination does (RFC 5245 section 8.1.1.2), the one that is in use stays.
    pub(super) fn nominate(&mut self, at: usize) {
        let path = &mut self.all[at];
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

    /// Makes an address the route.
    pub(super) fn switch(&mut self, at: usize) {
        self.all.swap(0, at);
        let route = self.all[0].route;
        if self.wanted == Some(route) {
            self.nominations += 1;
            self.all[0].nominated = Some(self.nominations);
            self.wanted = None;
        }
        if self.route != Some(route) {
            self.route = Some(route);
            self.target = Some(route);
            self.outputs.push_back(Output::Routed(route));
        }
    }

    fn is_usable(&self, at: usize, now: Instant) -> bool {
        let path = &self.all[at];
        path.proven && now < path.fresh_at + self.consent
    }

    /// Gives the route up when the consent to send there is over (RFC 7675 section 5.1).
    pub(super) fn expire(&mut self, now: Instant) {
        if self.route.is_some() && !self.is_usable(0, now) {
            self.all[0].doubt();
            self.route = None;
        }
    }

    /// What is to be the route at once: what the peer has nominated, or where there is none, the
    /// address that was heard last.
    pub(super) fn preferred(&self, now: Instant) -> Option<usize> {
        let wanted = self.wanted.and_then(|wanted| self.at(wanted));
        let wanted = wanted.filter(|at| self.is_usable(*at, now));
        if wanted.is_some() || self.route.is_some() {
            return wanted;
        }
        let usable = (0..self.all.len()).filter(|at| self.is_usable(*at, now));
        usable.max_by_key(|at| self.all[*at].heard_at)
    }

    /// The address besides the route that was heard after it, last of all.
    pub(super) fn rival(&self) -> Option<usize> {
        let current = self.all.first().filter(|_| self.route.is_some())?;
        let heard = |(_, path): &(usize, &Path)| path.heard_at > current.heard_at;
        let others = self.all.iter().enumerate().skip(1).filter(heard);
        let trusted = |path: &Path| path.proven || path.spoke_at == Some(path.heard_at);
        let others = others.filter(|(_, path)| trusted(path));
        let last = others.max_by_key(|(_, path)| (path.proven, path.heard_at));
        last.map(|(at, _)| at)
    }

    /// Whether the route has been silent for so long that it is to be asked whether it is there.
    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        now >= self.all[0].heard_at + DOUBTFUL
    }

    /// Lets a rival take the place of the route, when it is time for that.
    pub(super) fn overtake(&mut self, rival: usize, now: Instant) {
        if now < self.overtakes_at(rival) {
            return;
        }
        if self.is_usable(rival, now) {
            self.switch(rival);
        } else {
            // Its media is the peer's, but it does not answer: it gets what it earns.
            self.target = Some(self.all[rival].route);
            self.all[0].doubt();
            self.route = None;
        }
    }

    fn overtakes_at(&self, rival: usize) -> Instant {
        let (route, rival) = (&self.all[0], &self.all[rival]);
        if rival.proven && rival.spoke_at.is_some_and(|at| at > route.heard_at) {
            return route.heard_at + MOVED;
        }
        // Not before it has had the time to answer.
        let asked_at = route
            .ask
            .map_or(route.heard_at + DOUBTFUL, |ask| ask.began_at);
        (route.heard_at + SILENT).max(asked_at + RTO)
    }

    /// When to look again.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let asks = self.all.iter().filter_map(|path| path.ask?.again_at);
        let mut next = asks.min();
        let mut at = |time: Instant| next = Some(next.map_or(time, |next| next.min(time)));
        if self.route.is_some() {
            let path = &self.all[0];
            at(path.fresh_at + self.consent);
            if !path.is_asked() {
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
}

impl Index<usize> for Paths {
    type Output = Path;

    #[inline]
    fn index(&self, at: usize) -> &Path {
        &self.all[at]
    }
}

impl IndexMut<usize> for Paths {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut Path {
        &mut self.all[at]
    }
}
