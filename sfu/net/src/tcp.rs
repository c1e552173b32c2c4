//! ICE over TCP (RFC 6544): passive candidates on the shard's own ports, packets framed by their
//! length (RFC 4571).
//!
//! A connection is a stranger's until it brings a connectivity check with a session's password.
//! Until then it may send next to nothing, only for some seconds, and makes room for others.

mod connection;
mod turn;

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lightstick_sfu_core::admission::{Admission, Limits, Refused};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use str0m::Candidate;
use str0m::net::TcpType;

use self::connection::{BUFFER_BYTES, Connection, Outcome};
use crate::config::MediaConfig;
use crate::stats::ShardStats;
use crate::udp::UdpPort;

/// Bytes that wait for a slow connection at most: about a second of video. More is dropped.
const QUEUE_BYTES_MAX: usize = 512 * 1024;
/// Bytes that wait for all connections of a shard. One may take up to an eighth of what is left,
/// so that slow ones among them leave something to the others.
const QUEUES_BYTES_MAX: usize = 64 * 1024 * 1024;
const QUEUE_PART: usize = 8;
/// Longest packet: what fits a datagram on any usual network.
const FRAME_BYTES_MAX: usize = 2_048;
/// From a connection to its first authentic check. A client sends that at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// New connections of one address a second, after as many as it may hold.
const CONNECTIONS_A_SECOND: u32 = 50;
/// Connections accepted in one turn.
const ACCEPTS_A_TURN: usize = 16;
/// Until the next try after the process had no descriptor left. The poller doesn't tell again of
/// those that wait already.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Networks that have left are forgotten this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A shard's TCP listeners and connections.
pub(crate) struct TcpPorts {
    listeners: Vec<Listener>,
    first_token: usize,
    connections: HashMap<usize, Connection>,
    by_addr: HashMap<SocketAddr, usize>,
    admission: Admission,
    next_token: usize,
    /// Connections with something to read, in the order of their turns.
    ready: VecDeque<usize>,
    /// Connections with something to write.
    unsent: Vec<usize>,
    queued_bytes: usize,
    /// From when on those who wait are accepted. None: nobody waits.
    accept_at: Option<Instant>,
    swept_at: Instant,
    buffer: Box<[u8]>,
}

struct Listener {
    socket: TcpListener,
    candidates: Vec<SocketAddr>,
}

/// What one read brought.
struct Read {
    token: usize,
    remote: SocketAddr,
    /// Bytes in the buffer.
    length: usize,
}

/// Why a connection is closed.
#[derive(Clone, Copy)]
enum Closed {
    Junk,
    Oversize,
    Stranger,
    Evicted,
    Session,
    Peer,
}

impl TcpPorts {
    /// Listens beside each UDP socket, where the configuration wants TCP. `connections_max` is what
    /// the process has descriptors for.
    pub(crate) fn open(
        config: &MediaConfig,
        connections_max: usize,
        udp: &[UdpPort],
        first_token: usize,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for port in udp.iter().filter(|_| config.tcp) {
            let mut socket = match TcpListener::bind(port.bound()) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(addr = %port.bound(), %error, "cannot accept ICE over TCP on this address");
                    continue;
                }
            };
            let token = Token(first_token + listeners.len());
            registry.register(&mut socket, token, Interest::READABLE)?;
            listeners.push(Listener {
                socket,
                candidates: port.candidates.clone(),
            });
        }
        Ok(Self {
            next_token: first_token + listeners.len(),
            listeners,
            first_token,
            connections: HashMap::new(),
            by_addr: HashMap::new(),
            admission: Admission::new(Limits {
                total: connections_max,
                per_network: config.tcp_connections_per_address_max.min(connections_max),
                patience: PATIENCE,
                rate: CONNECTIONS_A_SECOND,
            }),
            ready: VecDeque::new(),
            unsent: Vec::new(),
            queued_bytes: 0,
            accept_at: Some(Instant::now()),
            swept_at: Instant::now(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    pub(crate) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.listeners
            .iter()
            .flat_map(|listener| &listener.candidates)
            .filter_map(|addr| {
                Candidate::builder()
                    .tcp()
                    .host(*addr)
                    .tcptype(TcpType::Passive)
                    .build()
                    .ok()
            })
    }

    /// Notes what the poller said.
    pub(crate) fn ready(&mut self, token: Token, readable: bool, writable: bool) {
        if token.0 < self.first_token + self.listeners.len() {
            // Where no descriptor was left, there is a time already.
            self.accept_at.get_or_insert_with(Instant::now);
            return;
        }
        if let Some(connection) = self.connections.get_mut(&token.0) {
            if writable {
                connection.is_blocked = false;
                if connection.queued() > 0 && !std::mem::replace(&mut connection.is_unsent, true) {
                    self.unsent.push(token.0);
                }
            }
            if readable && !std::mem::replace(&mut connection.is_ready, true) {
                self.ready.push_back(token.0);
            }
        }
    }

    /// Whether something can be done now.
    pub(crate) fn has_more(&self, now: Instant) -> bool {
        let accepts = self.accept_at.is_some_and(|at| at <= now);
        accepts || !self.ready.is_empty() || self.admission.overdue(now).is_some()
    }

    /// When something will be to do, whatever the poller says.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let strangers = self.admission.deadline();
        strangers.into_iter().chain(self.accept_at).min()
    }

    /// A session answers for the connection from an address: its password came over it.
    pub(crate) fn authenticated(&mut self, remote: SocketAddr) {
        if let Some(token) = self.by_addr.get(&remote)
            && self.admission.authenticated(*token)
            && let Some(connection) = self.connections.get_mut(token)
        {
            connection.trust();
        }
    }

    /// The session does so no longer: the connection is closed behind what waits for it.
    pub(crate) fn released(&mut self, remote: SocketAddr, now: Instant) {
        let Some(token) = self.by_addr.get(&remote) else {
            return;
        };
        self.admission.released(*token, now);
        if let Some(connection) = self.connections.get_mut(token) {
            connection.ends = true;
            if !std::mem::replace(&mut connection.is_unsent, true) {
                self.unsent.push(*token);
            }
        }
    }

    /// Accepts some of those who wait.
    fn accept(&mut self, registry: &Registry, now: Instant, stats: &ShardStats) {
        if self.accept_at.is_none_or(|at| at > now) {
            return;
        }
        let mut left = ACCEPTS_A_TURN;
        for at in 0..self.listeners.len() {
            loop {
                if left == 0 {
                    return;
                }
                match self.listeners[at].socket.accept() {
                    Ok((stream, remote)) => {
                        left -= 1;
                        self.admit(stream, remote, registry, now, stats);
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        // One connection that has failed already: accept(2).
                        ErrorKind::Interrupted
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset => left -= 1,
                        _ => {
                            stats.tcp.refused_descriptors.add(1);
                            self.accept_at = Some(now + ACCEPT_AGAIN);
                            return;
                        }
                    },
                }
            }
        }
        self.accept_at = None;
    }

    fn admit(
        &mut self,
        mut stream: TcpStream,
        remote: SocketAddr,
        registry: &Registry,
        now: Instant,
        stats: &ShardStats,
    ) {
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let token = self.next_token;
        let evicted = match self.admission.admit(token, remote.ip(), now) {
            Ok(evicted) => evicted,
            Err(Refused::Network) => return stats.tcp.refused_network.add(1),
            Err(Refused::Full) => return stats.tcp.refused_full.add(1),
        };
        self.next_token += 1;
        if let Some(evicted) = evicted {
            self.close(evicted, Closed::Evicted, now, stats);
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = registry.register(&mut stream, Token(token), interest);
        if registered.is_err() {
            self.admission.remove(token, now);
            return stats.tcp.refused_descriptors.add(1);
        }
        self.by_addr.insert(remote, token);
        let connection = Connection::new(stream, remote);
        self.connections.insert(token, connection);
        stats.tcp.connections.set(self.connections.len() as u64);
    }

    /// Closes strangers whose time is up.
    fn close_overdue(&mut self, now: Instant, stats: &ShardStats) {
        while let Some(token) = self.admission.overdue(now) {
            self.close(token, Closed::Stranger, now, stats);
        }
        if now.saturating_duration_since(self.swept_at) > SWEEP_EVERY {
            self.swept_at = now;
            self.admission.sweep(now);
        }
    }

    /// Reads from the next connection that has something.
    fn read(&mut self, now: Instant, stats: &ShardStats, buffer: &mut [u8]) -> Option<Read> {
        let token = self.ready.pop_front()?;
        let is_stranger = !self.admission.is_authenticated(token);
        let connection = self.connections.get_mut(&token)?;
        connection.is_ready = false;
        let remote = connection.remote;
        match connection.read(is_stranger, buffer) {
            Outcome::Bytes(length) => {
                connection.is_ready = true;
                self.ready.push_back(token);
                Some(Read {
                    token,
                    remote,
                    length,
                })
            }
            Outcome::Nothing => None,
            Outcome::Gone => {
                self.close(token, Closed::Peer, now, stats);
                None
            }
        }
    }

    /// Whether a frame may be handled. `None`: the connection is closed, perhaps because of it.
    fn may_handle(
        &mut self,
        token: usize,
        frame: &[u8],
        now: Instant,
        stats: &ShardStats,
    ) -> Option<bool> {
        let is_stranger = !self.admission.is_authenticated(token);
        let connection = self.connections.get_mut(&token)?;
        if connection.ends {
            return Some(false);
        }
        let may = connection.may_handle(is_stranger, frame);
        if may != Some(true) {
            stats.drop_junk.add(1);
        }
        if may.is_none() {
            self.close(token, Closed::Junk, now, stats);
        }
        may
    }

    /// Keeps the beginning of a frame until the rest comes.
    fn carry(&mut self, token: usize, rest: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&token) {
            connection.carried.extend_from_slice(rest);
        }
    }

    /// Queues a packet for a connection. One that is gone, or too slow, loses it, counted.
    pub(crate) fn send(&mut self, stats: &ShardStats, to: SocketAddr, packet: &[u8]) {
        let token = self.by_addr.get(&to).copied();
        let connection = token.and_then(|token| self.connections.get_mut(&token));
        let length = u16::try_from(packet.len());
        let (Some(token), Some(connection), Ok(length)) = (token, connection, length) else {
            stats.drop_socket.add(1);
            return;
        };
        let left = QUEUES_BYTES_MAX.saturating_sub(self.queued_bytes);
        let bytes = packet.len() + 2;
        if connection.queued() + bytes > QUEUE_BYTES_MAX.min(left / QUEUE_PART) {
            stats.drop_socket.add(1);
            return;
        }
        connection.push(length, packet);
        self.queued_bytes += bytes;
        if !std::mem::replace(&mut connection.is_unsent, true) {
            self.unsent.push(token);
        }
        stats.datagrams_out.add(1);
        stats.bytes_out.add(packet.len() as u64);
    }

    /// Writes what is queued, as far as the connections take it.
    pub(crate) fn flush(&mut self, now: Instant, stats: &ShardStats) {
        if self.unsent.is_empty() {
            return;
        }
        let mut unsent = std::mem::take(&mut self.unsent);
        for token in unsent.drain(..) {
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            connection.is_unsent = false;
            let before = connection.queued();
            if before > 0 && !connection.is_blocked {
                stats.send_calls.add(1);
            }
            let written = connection.write();
            let left = connection.queued();
            self.queued_bytes -= before - left;
            if written.is_err() {
                self.close(token, Closed::Peer, now, stats);
            } else if left == 0 && connection.ends {
                self.close(token, Closed::Session, now, stats);
            }
        }
        self.unsent = unsent;
        stats.tcp.queued_bytes.set(self.queued_bytes as u64);
    }

    fn close(&mut self, token: usize, why: Closed, now: Instant, stats: &ShardStats) {
        self.admission.remove(token, now);
        let Some(connection) = self.connections.remove(&token) else {
            return;
        };
        self.queued_bytes -= connection.queued();
        if self.by_addr.get(&connection.remote) == Some(&token) {
            self.by_addr.remove(&connection.remote);
        }
        let tcp = &stats.tcp;
        tcp.connections.set(self.connections.len() as u64);
        let counter = match why {
            Closed::Junk => &tcp.closed_junk,
            Closed::Oversize => &tcp.closed_oversize,
            Closed::Stranger => &tcp.closed_stranger,
            Closed::Evicted => &tcp.closed_evicted,
            Closed::Session => &tcp.closed_session,
            Closed::Peer => &tcp.closed_peer,
        };
        counter.add(1);
    }
}
