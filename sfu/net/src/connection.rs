//! str0m's part of a session: its handshake, what a publisher sends, and its data channels.

use std::time::{Duration, Instant};

use lightstick_sfu_core::ice::stun;
use str0m::crypto::dtls::ProtocolVersion;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Rtc, RtcError};

use crate::dtls::Peer;

/// A handshake that is ours to begin waits so long for an answer to our check. Clients that send
/// one check alone answer ours before the handshake or not at all, and may drop what comes at once.
const BEGIN_AFTER: Duration = Duration::from_millis(50);

/// A handshake that we begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begins {
    /// SCTP follows.
    pub(crate) data: bool,
}

/// A connection that str0m holds.
pub(crate) struct Connection {
    pub(crate) rtc: Rtc,
    pub(crate) opened_at: Instant,
    pub(crate) is_connected: bool,
    /// When str0m wants to be called.
    pub(crate) deadline: Instant,
    /// What str0m was given last held authentic media.
    pub(crate) authentic: bool,
    pub(super) has_panicked: bool,
    peer: Peer,
    /// We are the DTLS client, and wait for an address to begin with.
    begins: Option<Begins>,
    /// When it begins at the latest.
    begins_at: Option<Instant>,
}

impl Connection {
    /// A connection that waits for its peer, whose certificate is known. `begins`: the handshake is
    /// ours to begin.
    pub(crate) fn new(rtc: Rtc, peer: Peer, begins: Option<Begins>, now: Instant) -> Self {
        Self {
            rtc,
            opened_at: now,
            is_connected: false,
            deadline: now,
            authentic: false,
            has_panicked: false,
            peer,
            begins,
            begins_at: None,
        }
    }

    /// Lets str0m believe that its peer is reached, so that it hands out what it has to send. Its
    /// own ICE has no part in where that goes.
    ///
    /// # Errors
    /// Those of str0m.
    pub(crate) fn attach(
        &mut self,
        candidate: &Candidate,
        remote_ufrag: &str,
    ) -> Result<(), RtcError> {
        let local = self.rtc.direct_api().local_ice_credentials();
        let username = format!("{}:{remote_ufrag}", local.ufrag);
        let check = stun::nomination([0; 12], &username, &local.pass);
        let (address, now) = (candidate.addr(), self.opened_at);
        if let Ok(receive) = Receive::new(Protocol::Udp, address, address, &check) {
            self.rtc.handle_input(Input::Receive(now, receive))?;
        }
        Ok(())
    }

    /// There is an address to begin the handshake with. It waits until that has answered our check,
    /// or for [`BEGIN_AFTER`].
    pub(crate) fn prepare_to_begin(&mut self, now: Instant) {
        if self.begins.is_some() {
            self.begins_at.get_or_insert(now + BEGIN_AFTER);
        }
    }

    /// Whether the handshake has waited for long enough.
    pub(crate) fn is_to_begin(&self, now: Instant) -> bool {
        self.begins_at.is_some_and(|at| at <= now)
    }

    /// Begins the handshake: its first flight leaves with the next timeout. False: it is not ours to
    /// begin, or has begun.
    pub(crate) fn begin(&mut self) -> bool {
        let Some(begins) = self.begins.take() else {
            return false;
        };
        self.begins_at = None;
        let mut api = self.rtc.direct_api();
        if let Err(error) = api.start_dtls(true) {
            tracing::debug!(%error, "DTLS does not start");
        }
        if begins.data {
            api.start_sctp(true);
        }
        true
    }

    /// When it wants a look: for str0m's timers, or to begin.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.begins_at
            .map_or(self.deadline, |at| at.min(self.deadline))
    }

    /// Whether the peer's certificate is not the one of its offer.
    pub(crate) fn is_refused(&self) -> bool {
        self.peer.is_refused()
    }

    /// The DTLS version in use.
    pub(crate) fn dtls_version(&mut self) -> Option<&'static str> {
        let version = self.rtc.direct_api().dtls_protocol_version();
        let name = version.map(|version| match version {
            ProtocolVersion::DTLS1_3 => "1.3",
            _ => "1.2",
        });
        name.filter(|_| self.is_connected)
    }
}
