//! A datagram's way to its session, and which addresses a session may be reached at.

use std::net::SocketAddr;

use lightstick_sfu_core::demux::{self, Kind};
use str0m::Input;
use str0m::net::{Protocol, Receive, Transmit};

use crate::proof::{self, Challenge};
use crate::session::RoleState;
use crate::shard::Shard;
use crate::sink::Withheld;

impl Shard {
    /// Finds the session of a datagram: by its source, or by the user name of a check.
    pub(crate) fn on_datagram(
        &mut self,
        source: SocketAddr,
        local: SocketAddr,
        proto: Protocol,
        datagram: &[u8],
    ) {
        self.io.stats.datagrams_in.add(1);
        self.io.stats.bytes_in.add(datagram.len() as u64);
        let kind = demux::classify(datagram);
        let key = match (kind, self.by_addr.get(&(source, proto))) {
            (Kind::Junk, _) => {
                self.io.stats.drop_junk.add(1);
                return;
            }
            // A new session may come from an old one's address: the user name decides.
            (Kind::Stun, known) => {
                let named = demux::stun_username(datagram)
                    .ok()
                    .and_then(|name| self.by_ufrag.get(name.local_ufrag));
                match named.or(known) {
                    Some(key) => *key,
                    None => {
                        self.io.stats.drop_stun.add(1);
                        return;
                    }
                }
            }
            (Kind::Dtls, Some(key)) if self.is_connecting(*key) => {
                let key = *key;
                self.queue_handshake(key, source, local, proto, datagram);
                return;
            }
            (_, Some(key)) => *key,
            (_, None) => {
                self.io.stats.drop_stranger.add(1);
                return;
            }
        };
        self.contained_session(key, |shard| {
            shard.session_datagram(key, kind, source, local, proto, datagram);
        });
    }

    /// The session that is known to be at an address.
    pub(crate) fn session_at(&self, source: SocketAddr, proto: Protocol) -> Option<u32> {
        self.by_addr.get(&(source, proto)).copied()
    }

    fn is_connecting(&self, key: u32) -> bool {
        let session = self.sessions.get(key as usize);
        session.is_some_and(|s| !s.connected && matches!(s.role, RoleState::Viewer(_)))
    }

    pub(crate) fn session_datagram(
        &mut self,
        key: u32,
        kind: Kind,
        source: SocketAddr,
        local: SocketAddr,
        proto: Protocol,
        datagram: &[u8],
    ) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let span = session.span.clone();
        let _entered = span.enter();
        session.paths.received(source, datagram.len());
        session.bytes_received += datagram.len() as u64;
        let known = self.by_addr.get(&(source, proto)) == Some(&key);
        if kind == Kind::Stun {
            let (_, password) = session.remote_ice();
            if session
                .challenge
                .answers(source, datagram, password, &self.shared.crypto)
            {
                self.prove(key, source);
                return;
            }
        }
        if matches!(session.role, RoleState::Viewer(_)) && matches!(kind, Kind::Rtp | Kind::Rtcp) {
            self.viewer_datagram(key, kind, datagram);
            return;
        }
        let Ok(receive) = Receive::new(proto, source, local, datagram) else {
            self.io.stats.drop_refused.add(1);
            return;
        };
        let input = Input::Receive(self.now, receive);
        // Only a check with the right password may introduce an address, or renew consent.
        let check = match kind {
            Kind::Stun => proof::read_check(datagram, &session.local_password, &self.shared.crypto),
            _ => None,
        };
        let consents = check.is_some();
        if (kind == Kind::Stun && !consents) || (!known && !session.rtc.accepts(&input)) {
            self.io.stats.drop_stun.add(1);
            return;
        }
        if !known {
            if session.addrs.len() >= lightstick_sfu_core::path::Paths::MAX {
                let oldest = session.addrs.remove(0);
                self.by_addr.remove(&oldest);
            }
            session.addrs.push((source, proto));
            self.by_addr.insert((source, proto), key);
        }
        if consents {
            session.consent_at = self.now;
        }
        if check.is_some_and(|check| check.nominates) {
            session.nominated = self.io.route(proto, local, source);
            session.follow_nominated();
        }
        // A TCP connection has proven its address in its handshake.
        if proto != Protocol::Udp && !session.paths.is_proven(source) {
            session.paths.prove(source);
            session.follow_nominated();
        }
        let was_connected = session.connected;
        if let Err(error) = session.rtc.handle_input(input) {
            tracing::debug!(%error, "input refused");
            self.io.stats.drop_refused.add(1);
        }
        self.poll_session(key);
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        // Whoever finishes the DTLS handshake from an address has read what was sent there.
        if session.connected && !was_connected {
            session.nominated = session.nominated.or(self.io.route(proto, local, source));
            self.prove(key, source);
        } else if !session.paths.is_proven(source)
            && (consents || session.remote.is_some_and(|r| r.0 == source))
        {
            // Before the peer moves there, so that no media has to wait for the proof.
            self.challenge(key, source, local, proto);
        }
    }

    /// Asks an address to prove itself.
    fn challenge(&mut self, key: u32, addr: SocketAddr, local: SocketAddr, proto: Protocol) {
        let session = &mut self.sessions[key as usize];
        if session.challenge.waits(addr, self.now) {
            return;
        }
        let (ufrag, password) = session.remote_ice();
        let username = format!("{ufrag}:{}", session.local_ufrag);
        let Some((id, check)) = Challenge::check(&username, password, &self.shared.crypto) else {
            return;
        };
        let transmit = Transmit {
            proto,
            source: local,
            destination: addr,
            contents: check.into(),
        };
        if self.io.transmit(session, transmit, Withheld::Drop) {
            session.challenge.sent(addr, id, self.now);
        }
    }

    /// An address has proven itself: what was kept back for it goes out.
    fn prove(&mut self, key: u32, addr: SocketAddr) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        session.paths.prove(addr);
        session.follow_nominated();
        let held = std::mem::take(&mut session.held);
        for transmit in held {
            self.io.transmit(session, transmit, Withheld::Hold);
        }
        self.arm(key);
    }
}
