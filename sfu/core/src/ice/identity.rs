//! Who we are to the peer and who it is to us, over ICE restarts.

use super::Credentials;
use super::credentials::Secret;
use super::stun::{Check, Message, TransactionId};

/// RFC 8445 section 5.1.2.1: of a peer-reflexive candidate, the only one of its kind.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Both sides' credentials of one generation.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Ours.
    pub local: Credentials,
    /// The peer's.
    pub remote: Credentials,
}

/// The credentials, and what our checks are made of.
#[derive(Debug)]
pub(super) struct Identity {
    secret: Secret,
    tie_breaker: u64,
    generation: u32,
    latest: Pair,
    /// After an ICE restart, until an address with the new credentials has proven itself: what
    /// the peer still uses meanwhile (RFC 8445 section 9).
    former: Option<Pair>,
    /// Checks that we have made up.
    checks: u32,
}

impl Identity {
    pub(super) fn new(secret: &[u8; 32], remote: Credentials) -> Self {
        let secret = Secret::new(secret);
        let local = secret.credentials(0);
        let bytes = secret.derive(b't', 0);
        let mut tie_breaker = [0; 8];
        tie_breaker.copy_from_slice(&bytes[..8]);
        Self {
            secret,
            // Some take 0 for an attribute that is not there.
            tie_breaker: u64::from_be_bytes(tie_breaker).max(1),
            generation: 0,
            latest: Pair { local, remote },
            former: None,
            checks: 0,
        }
    }

    pub(super) fn latest(&self) -> &Pair {
        &self.latest
    }

    /// Local user fragments that checks may still name.
    pub(super) fn ufrags(&self) -> impl Iterator<Item = &str> {
        let former = self.former.iter();
        let pairs = former.chain([&self.latest]);
        pairs.map(|pair| pair.local.ufrag.as_str())
    }

    /// Both sides get new credentials. Returns a user fragment of ours that nobody has used: the
    /// peer has restarted twice.
    pub(super) fn restart(&mut self, remote: Credentials) -> Option<String> {
        self.generation += 1;
        let local = self.secret.credentials(self.generation);
        let latest = std::mem::replace(&mut self.latest, Pair { local, remote });
        if self.former.is_some() {
            return Some(latest.local.ufrag);
        }
        self.former = Some(latest);
        None
    }

    /// The peer uses the latest credentials. Returns our user fragment of the former ones, if there
    /// are any: they are done with.
    pub(super) fn retire_former(&mut self) -> Option<String> {
        self.former.take().map(|former| former.local.ufrag)
    }

    /// The credentials that a request names and is authentic by, and whether they are the latest.
    pub(super) fn recognize(&self, request: &Message<'_>) -> Option<(&Pair, bool)> {
        let recipient = request.recipient();
        let is = |pair: &&Pair| recipient == Some(&*pair.local.ufrag);
        let latest = is(&&self.latest);
        let former = self.former.as_ref().filter(is);
        let pair = former.or(Some(&self.latest).filter(is))?;
        request
            .verify(&pair.local.password)
            .then_some((pair, latest))
    }

    /// Whether a response to a check of ours is authentic.
    pub(super) fn verify(&self, response: &Message<'_>, latest: bool) -> bool {
        response.verify(&self.used(latest).remote.password)
    }

    /// The credentials of an address, whose last check bore the latest ones or did not.
    fn used(&self, latest: bool) -> &Pair {
        let former = self.former.as_ref().filter(|_| !latest);
        former.unwrap_or(&self.latest)
    }

    /// An id that nobody can guess.
    pub(super) fn next_transaction(&mut self) -> TransactionId {
        self.checks += 1;
        let bytes = self.secret.derive(b'i', self.checks);
        let mut id = [0; 12];
        id.copy_from_slice(&bytes[..12]);
        id
    }

    /// A connectivity check of ours.
    pub(super) fn check(&self, transaction: TransactionId, latest: bool) -> Vec<u8> {
        let Pair { local, remote } = self.used(latest);
        let check = Check {
            transaction,
            username: &format!("{}:{}", remote.ufrag, local.ufrag),
            priority: PRIORITY,
            tie_breaker: self.tie_breaker,
            password: &remote.password,
        };
        check.write()
    }
}
