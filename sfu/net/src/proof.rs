//! Proof that a peer hears us at an address: a connectivity check of our own, which only the
//! holder of that address can answer with the session's password.
//!
//! An ICE-lite agent has no duty to send checks (RFC 8445 section 2.4) and none to trust an
//! address that it was only told of. Full agents answer any authenticated check (section 7.3).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lightstick_sfu_core::path::Paths;
use str0m::config::CryptoProvider;
use str0m::ice::{StunMessage, TransId};

/// Checks to one address are at least this far apart.
const EVERY: Duration = Duration::from_millis(50);
/// A binding request of ours is about 110 bytes with the longest common user fragments.
const CHECK_BYTES_MAX: usize = 256 + 2 * 256;

/// Addresses with a check under way at most.
const PENDING_MAX: usize = Paths::MAX;

/// The checks that are under way in a session, one an address: a peer tries several at once.
#[derive(Debug, Default)]
pub(crate) struct Challenge {
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    addr: SocketAddr,
    id: TransId,
    sent_at: Instant,
}

impl Challenge {
    /// Whether a check is on its way to `addr` already.
    pub(crate) fn waits(&self, addr: SocketAddr, now: Instant) -> bool {
        let mut pending = self.pending.iter().filter(|p| p.addr == addr);
        pending.any(|p| now.saturating_duration_since(p.sent_at) < EVERY)
    }

    /// Notes that a check has left. Until then it must not keep the next one back: the first may
    /// be more than its address has earned yet.
    pub(crate) fn sent(&mut self, addr: SocketAddr, id: TransId, now: Instant) {
        self.pending.retain(|p| p.addr != addr);
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
        }
        self.pending.push_back(Pending {
            addr,
            id,
            sent_at: now,
        });
    }

    /// A new check, and the id that its answer will bear.
    pub(crate) fn check(
        username: &str,
        password: &str,
        crypto: &CryptoProvider,
    ) -> Option<(TransId, Vec<u8>)> {
        let id = TransId::new();
        let mut bytes = vec![0; CHECK_BYTES_MAX];
        let request = StunMessage::binding_request(username, id, false, 0, 0, false);
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let length = request
            .to_bytes(Some(password.as_bytes()), &mut bytes, hmac)
            .ok()?;
        bytes.truncate(length);
        Some((id, bytes))
    }

    /// Whether `datagram` from `addr` answers the check.
    pub(crate) fn answers(
        &self,
        addr: SocketAddr,
        datagram: &[u8],
        password: &str,
        crypto: &CryptoProvider,
    ) -> bool {
        let Some(pending) = self.pending.iter().find(|p| p.addr == addr) else {
            return false;
        };
        let Ok(message) = StunMessage::parse(datagram) else {
            return false;
        };
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        message.is_successful_binding_response()
            && message.trans_id() == pending.id
            && message.verify(password.as_bytes(), hmac)
    }
}

/// A check from somebody who knows our password: consent to go on sending (RFC 7675 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// The peer chooses this pair (RFC 8445 section 7.1.1).
    pub(crate) nominates: bool,
}

/// Reads a check. `None`: `datagram` is none, or its sender does not know our password.
pub(crate) fn read_check(
    datagram: &[u8],
    password: &str,
    crypto: &CryptoProvider,
) -> Option<Check> {
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
    let message = StunMessage::parse(datagram).ok()?;
    let check = message.is_binding_request() && message.verify(password.as_bytes(), hmac);
    check.then(|| Check {
        nominates: message.use_candidate(),
    })
}
