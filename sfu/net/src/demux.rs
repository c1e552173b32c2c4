//! A datagram's way to its session, and what it says about where the peer is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lightstick_sfu_core::demux::{self, Kind};
use lightstick_sfu_core::ice::stun::{Class, Message};
use lightstick_sfu_core::ice::{Output, Route};
use lightstick_types::rate::Limit;
use str0m::Input;
use str0m::net::{Protocol, Receive};

use crate::dtls;
use crate::session::{RoleState, Signal};
use crate::shard::Shard;
use crate::sink::Withheld;

/// Media from unknown addresses that is tried at most: each costs a decryption, and a peer that
/// has moved sends more than one.
const STRANGERS: Limit = Limit {
    every: Duration::from_millis(2),
    burst: 100,
};

/// The sender of media or reports: an RTP packet's SSRC, or an RTCP packet's first.
fn ssrc(kind: Kind, datagram: &[u8]) -> Option<u32> {
    let at = match kind {
        Kind::Rtp => 8,
        Kind::Rtcp => 4,
        _ => return None,
    };
    let bytes = datagram.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// Sessions that one datagram of a stranger is tried with at most.
const TRIES_MAX: usize = 8;

/// The sessions whose peers send from an SSRC, by which a peer is found that sends from an
/// address that nothing is known of.
///
/// Where several have the same, as all receivers of some stacks, the silent ones are tried in turn.
#[derive(Debug, Default)]
pub(crate) struct Senders(HashMap<u32, Sender>);

#[derive(Debug, Default)]
struct Sender {
    /// The session, while it is the only one.
    only: Option<u32>,
    count: u32,
    /// Those of several that were silent at the last survey.
    silent: Vec<u32>,
    /// The one of them that is tried next.
    next: usize,
}

impl Senders {
    pub(crate) fn add(&mut self, ssrc: u32, key: u32) {
        let sender = self.0.entry(ssrc).or_default();
        sender.count += 1;
        sender.only = (sender.count == 1).then_some(key);
    }

    pub(crate) fn remove(&mut self, ssrc: u32) {
        if let Some(sender) = self.0.get_mut(&ssrc) {
            sender.count -= 1;
            if sender.count == 0 {
                self.0.remove(&ssrc);
            }
        }
    }

    /// A survey begins: nobody is known to be silent.
    pub(crate) fn forget_silent(&mut self) {
        for sender in self.0.values_mut() {
            sender.silent.clear();
        }
    }

    /// Nothing has come from a session's peer for a while.
    pub(crate) fn note_silent(&mut self, ssrc: u32, key: u32) {
        if let Some(sender) = self.0.get_mut(&ssrc).filter(|sender| sender.only.is_none()) {
            sender.silent.push(key);
        }
    }

    /// Whose a stranger's datagram may be.
    fn candidates(&mut self, ssrc: u32) -> [Option<u32>; TRIES_MAX] {
        let mut candidates = [None; TRIES_MAX];
        let Some(sender) = self.0.get_mut(&ssrc) else {
            return candidates;
        };
        if sender.only.is_some() {
            candidates[0] = sender.only;
            return candidates;
        }
        let tries = sender.silent.len().min(TRIES_MAX);
        for candidate in &mut candidates[..tries] {
            sender.next = (sender.next + 1) % sender.silent.len();
            *candidate = Some(sender.silent[sender.next]);
        }
        candidates
    }
}

impl Shard {
    /// Finds the session of a datagram: by its source, by the user name of a check, or by who
    /// sends media.
    pub(crate) fn on_datagram(&mut self, from: Route, arrived: Instant, datagram: &[u8]) {
        self.io.stats.datagrams_in.add(1);
        self.io.stats.bytes_in.add(datagram.len() as u64);
        let kind = demux::classify(datagram);
        let key = match (kind, self.sessions.by_addr.get(&from)) {
            (Kind::Junk, _) => {
                self.io.stats.drop_junk.add(1);
                return;
            }
            (Kind::Stun, _) => {
                self.on_stun(from, datagram);
                return;
            }
            (Kind::Dtls, Some(key)) if self.is_connecting(*key) => {
                if let Some(session) = self.sessions.get_mut(*key) {
                    let (waiting, stats) = (&mut session.waiting, &self.io.stats);
                    self.joins.push_handshake(waiting, from, datagram, stats);
                }
                return;
            }
            (_, Some(key)) => *key,
            (_, None) => {
                self.on_stranger(kind, from, arrived, datagram);
                return;
            }
        };
        self.session_datagram(key, kind, from, arrived, datagram);
    }

    /// No session is to be found at an address any more.
    pub(crate) fn forget_route(&mut self, from: Route) {
        self.sessions.by_addr.remove(&from);
        if let Route::Tcp(remote) = from {
            self.io.tcp.released(remote, self.now);
        }
    }

    /// The session that is known to be at an address.
    pub(crate) fn session_at(&self, from: Route) -> Option<u32> {
        self.sessions.by_addr.get(&from).copied()
    }

    fn is_connecting(&self, key: u32) -> bool {
        let session = self.sessions.get(key);
        session.is_some_and(|s| {
            !s.connection.is_connected && matches!(s.role, RoleState::Viewer { .. })
        })
    }

    /// Takes media or a report from an address that nothing is known of, if it turns out to be that
    /// of a peer who has moved.
    fn on_stranger(&mut self, kind: Kind, from: Route, arrived: Instant, datagram: &[u8]) {
        let ssrc = ssrc(kind, datagram);
        let candidates = ssrc.map(|ssrc| self.sessions.senders.candidates(ssrc));
        let mut tried = false;
        for key in candidates.into_iter().flatten().flatten() {
            if !self.sessions.strangers.take(self.now, STRANGERS) {
                break;
            }
            tried = true;
            self.session_datagram(key, kind, from, arrived, datagram);
            // It was authentic.
            if self.sessions.by_addr.contains_key(&from) {
                return;
            }
        }
        if !tried {
            self.io.stats.drop_stranger.add(1);
        }
    }

    /// Reads a STUN message, once, and hands it to its session's agent. A new session may come
    /// from an old one's address: of a check, the user name decides.
    fn on_stun(&mut self, from: Route, datagram: &[u8]) {
        let message = Message::parse(datagram).ok();
        let found = message.and_then(|message| {
            let named = message
                .recipient()
                .filter(|_| message.class == Class::Request);
            let key = match named {
                Some(ufrag) => self.sessions.by_ufrag.get(ufrag),
                None => self.sessions.by_addr.get(&from),
            };
            Some((*key?, message))
        });
        let Some((key, message)) = found else {
            self.io.stats.drop_stun.add(1);
            return;
        };
        let known = self.sessions.by_addr.get(&from) == Some(&key);
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !session.inflow.admits(Kind::Stun, known, now) {
            self.io.stats.drop_flood.add(1);
            return;
        }
        let _entered = session.span.clone().entered();
        session.totals.bytes_received += datagram.len() as u64;
        let bytes = datagram.len();
        match session.contained(|session| Ok(session.ice.handle_stun(&message, from, bytes, now))) {
            Ok(true) => {}
            Ok(false) => self.io.stats.drop_stun.add(1),
            Err(error) => {
                self.note_failure(key, &error);
                self.remove(key, error.reason());
                return;
            }
        }
        self.tend_ice(key);
    }

    /// Handles a datagram other than STUN.
    pub(crate) fn session_datagram(
        &mut self,
        key: u32,
        kind: Kind,
        from: Route,
        arrived: Instant,
        datagram: &[u8],
    ) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if !session.inflow.admits(kind, true, now) {
            self.io.stats.drop_flood.add(1);
            return;
        }
        let span = session.span.clone();
        let _entered = span.enter();
        session.totals.bytes_received += datagram.len() as u64;
        session.ice.received(from, datagram.len());
        let (was_connected, known) = (session.connection.is_connected, session.route == Some(from));
        let handshake = kind == Kind::Dtls && !was_connected;
        if handshake {
            session.ice.handle_handshake(from, now);
        }
        let is_viewer = matches!(session.role, RoleState::Viewer { .. });
        if handshake {
            self.follow_route(key);
        }
        let authentic = if is_viewer && kind != Kind::Dtls {
            self.viewer_datagram(key, kind, datagram)
        } else {
            self.transport_datagram(key, kind, from, arrived, datagram)
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.connection.is_connected && !was_connected {
            session.ice.handle_connected(from, now);
        } else if authentic {
            session.ice.handle_media(from, datagram.len(), now);
            if let Some(ssrc) = ssrc(kind, datagram) {
                self.sessions.note_sender(key, ssrc);
            }
            if known {
                return;
            }
        } else if !handshake {
            return;
        }
        self.tend_ice(key);
    }

    /// Gives str0m a datagram. Whether it was authentic.
    fn transport_datagram(
        &mut self,
        key: u32,
        kind: Kind,
        from: Route,
        arrived: Instant,
        datagram: &[u8],
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        if kind == Kind::Rtp
            && session.connection.is_connected
            && !session.admit(datagram, self.now)
        {
            self.on_signal(key, Signal::Foreign);
            return false;
        }
        // Addresses are the agent's matter: str0m sees none but ours.
        let address = from.destination();
        let Ok(receive) = Receive::new(Protocol::Udp, address, address, datagram) else {
            self.io.stats.drop_refused.add(1);
            return false;
        };
        session.connection.authentic = false;
        let opened = dtls::opened();
        // Timers are of this turn; what is reported of media to its sender is when it came.
        let at = match kind {
            Kind::Rtp => arrived,
            _ => self.now,
        };
        if let Err(error) = session.handle_input(Input::Receive(at, receive)) {
            tracing::debug!(%error, "input refused");
            self.io.stats.drop_refused.add(1);
        }
        self.poll_session(key);
        let media = self
            .sessions
            .get(key)
            .is_some_and(|s| s.connection.authentic);
        media || (kind == Kind::Dtls && dtls::opened() != opened)
    }

    /// Does what a session's agent wants done.
    pub(crate) fn tend_ice(&mut self, key: u32) {
        while let Some(session) = self.sessions.get_mut(key) {
            let output = session.ice.poll();
            self.follow_route(key);
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            match output {
                Some(Output::Transmit(to, message)) => self.io.send(session, to, &message),
                Some(Output::Known(from)) => {
                    session.connection.prepare_to_begin(self.now);
                    self.sessions.by_addr.insert(from, key);
                    if let Route::Tcp(remote) = from {
                        self.io.tcp.authenticated(remote);
                    }
                }
                Some(Output::Forgotten(from)) => {
                    if self.sessions.by_addr.get(&from) == Some(&key) {
                        self.forget_route(from);
                    }
                }
                Some(Output::Retired(ufrag)) => {
                    self.sessions.by_ufrag.remove(&ufrag);
                }
                Some(Output::Routed(to)) => {
                    tracing::debug!(to = %to.destination(), "route");
                    let begun = session.connection.begin();
                    for contents in session.waiting.take_held() {
                        self.io.transmit(session, contents, Withheld::Hold);
                    }
                    if begun {
                        self.drive(key);
                    }
                }
                None => break,
            }
        }
        self.arm(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(senders: &mut Senders, ssrc: u32) -> Vec<u32> {
        let candidates = senders.candidates(ssrc).into_iter();
        candidates.flatten().collect()
    }

    #[test]
    fn a_sender_is_found_while_it_is_the_only_one() {
        let mut senders = Senders::default();
        senders.add(7, 1);
        assert_eq!(candidates(&mut senders, 7), [1]);
        senders.add(7, 2);
        assert_eq!(candidates(&mut senders, 7), [0; 0]);
        senders.remove(7);
        let left = candidates(&mut senders, 7);
        assert_eq!(left, [0; 0], "which of them stayed is not known");
        senders.remove(7);
        senders.add(7, 3);
        assert_eq!(candidates(&mut senders, 7), [3]);
        assert_eq!(candidates(&mut senders, 8), [0; 0]);
    }

    #[test]
    fn of_several_the_silent_ones_are_tried_in_turn() {
        let mut senders = Senders::default();
        for key in 0..40 {
            senders.add(1, key);
        }
        senders.note_silent(1, 4);
        assert_eq!(candidates(&mut senders, 1), [4]);
        senders.forget_silent();
        assert_eq!(candidates(&mut senders, 1), [0; 0]);
        for key in 10..22 {
            senders.note_silent(1, key);
        }
        let mut tried = candidates(&mut senders, 1);
        assert_eq!(tried.len(), TRIES_MAX);
        tried.extend(candidates(&mut senders, 1));
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried, Vec::from_iter(10..22), "nobody is left out");
    }

    #[test]
    fn ssrcs_stand_where_the_kind_has_them() {
        let datagram: Vec<u8> = (0..12).collect();
        assert_eq!(ssrc(Kind::Rtp, &datagram), Some(0x0809_0a0b));
        assert_eq!(ssrc(Kind::Rtcp, &datagram), Some(0x0405_0607));
        assert_eq!(ssrc(Kind::Dtls, &datagram), None);
        assert_eq!(ssrc(Kind::Rtp, &datagram[..11]), None);
    }
}
