//! Our own checks: which address is asked, which has proven itself, and the route that follows.

use std::time::{Duration, Instant};

use super::identity::Identity;
use super::paths::Paths;
use super::{Credentials, Output};

/// An address that shows another sign instead of answering is asked again, but not sooner.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The addresses of a peer, and the checks by which they prove themselves.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) identity: Identity,
    pub(super) paths: Paths,
    deadline: Option<Instant>,
}

impl Checks {
    pub(super) fn new(secret: &[u8; 32], remote: Credentials, consent: Duration) -> Self {
        Self {
            identity: Identity::new(secret, remote),
            paths: Paths::new(consent),
            deadline: None,
        }
    }

    /// An address that shows signs of the peer is asked to prove that it hears us.
    pub(super) fn vouch(&mut self, at: usize, now: Instant) {
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

    pub(super) fn prove(&mut self, at: usize, now: Instant) {
        self.paths[at].prove(now);
        self.retire_former(at);
    }

    /// The peer uses the latest credentials at an address that hears us: the former are done with.
    pub(super) fn retire_former(&mut self, at: usize) {
        let path = &self.paths[at];
        if path.proven && path.latest {
            let retired = self.identity.retire_former();
            self.paths.outputs.extend(retired.map(Output::Retired));
        }
    }

    /// Chooses the route by what was heard, and the time of the next look at it.
    pub(super) fn choose(&mut self, now: Instant) {
        self.paths.expire(now);
        if let Some(at) = self.paths.preferred(now) {
            self.paths.switch(at);
        } else if let Some(rival) = self.paths.rival() {
            if self.paths.is_doubtful(now) && !self.paths[0].is_asked() {
                self.ask(0, now);
            }
            self.paths.overtake(rival, now);
        }
        self.deadline = self.paths.next_look(now);
    }

    /// Repeats checks that were not answered, renews the consent, and looks at the route again.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for at in 0..self.paths.len() {
            if self.paths[at].repeat(now) {
                self.transmit_ask(at, now);
            }
        }
        if self.paths.wants_consent(now) && !self.paths[0].is_asked() {
            self.ask(0, now);
        }
        self.choose(now);
    }

    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Begins a check.
    fn ask(&mut self, at: usize, now: Instant) {
        let id = self.identity.next_transaction();
        self.paths[at].ask(id, now);
        self.transmit_ask(at, now);
    }

    fn transmit_ask(&mut self, at: usize, now: Instant) {
        let path = &self.paths[at];
        let Some(ask) = path.ask else {
            return;
        };
        let check = self.identity.check(ask.id, path.latest);
        if self.paths.send(at, check)
            && let Some(ask) = &mut self.paths[at].ask
        {
            ask.sent_at = Some(now);
        }
    }
}
