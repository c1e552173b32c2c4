//! ICE over TCP (RFC 6544): passive candidates on the shard's own ports, packets framed by their
//! length (RFC 4571).

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lightstick_sfu_core::demux::Deframer;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use str0m::Candidate;
use str0m::net::TcpType;

use crate::config::MediaConfig;
use crate::stats::ShardStats;
use crate::udp::UdpPort;

/// Bytes that wait for a slow connection at most: about a second of video. More is dropped.
const QUEUE_BYTES_MAX: usize = 512 * 1024;
/// Longest packet: what fits a datagram on any usual network.
const FRAME_BYTES_MAX: usize = 2_048;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads from one connection in one turn.
const READS_A_TURN: usize = 4;
/// A connection that nothing sensible came from for this long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// A shard's TCP listeners and connections.
pub(crate) struct TcpPorts {
    listeners: Vec<Listener>,
    first_token: usize,
    connections: HashMap<usize, Connection>,
    by_addr: HashMap<SocketAddr, usize>,
    next_token: usize,
    connections_max: usize,
    /// Connections with something to read.
    ready: VecDeque<usize>,
    accepting: bool,
    buffer: Box<[u8]>,
    swept_at: Instant,
}

struct Listener {
    socket: TcpListener,
    candidates: Vec<SocketAddr>,
}

struct Connection {
    stream: TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
    deframer: Deframer,
    queue: VecDeque<u8>,
    heard_at: Instant,
    queued: bool,
    dead: bool,
}

impl TcpPorts {
    /// Listens beside each UDP socket, where the configuration wants TCP.
    pub(crate) fn open(
        config: &MediaConfig,
        udp: &[UdpPort],
        first_token: usize,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for port in udp.iter().filter(|_| config.tcp) {
            let mut socket = match TcpListener::bind(port.bound()) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(addr = %port.bound(), %error, "no ICE over TCP on this address");
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
            connections_max: config.tcp_connections_max,
            ready: VecDeque::new(),
            accepting: true,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            swept_at: Instant::now(),
        })
    }

    /// Our passive candidates.
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
            self.accepting = true;
            return;
        }
        if let Some(connection) = self.connections.get_mut(&token.0) {
            if writable {
                connection.write();
            }
            if readable && !std::mem::replace(&mut connection.queued, true) {
                self.ready.push_back(token.0);
            }
        }
    }

    /// Whether something is left to read.
    pub(crate) fn has_more(&self) -> bool {
        self.accepting || !self.ready.is_empty()
    }

    /// Accepts what waits, and closes what is dead or idle.
    pub(crate) fn accept(&mut self, registry: &Registry, now: Instant) {
        if now.saturating_duration_since(self.swept_at) > IDLE / 2 {
            self.swept_at = now;
            for connection in self.connections.values_mut() {
                connection.dead |= now.saturating_duration_since(connection.heard_at) > IDLE;
            }
        }
        self.drop_dead();
        if !std::mem::take(&mut self.accepting) {
            return;
        }
        for listener in &self.listeners {
            // Ends with "would block", or with an error that the next connection will show again.
            while let Ok((mut stream, remote)) = listener.socket.accept() {
                if self.connections.len() >= self.connections_max {
                    continue;
                }
                let token = self.next_token;
                self.next_token += 1;
                let interest = Interest::READABLE | Interest::WRITABLE;
                if registry
                    .register(&mut stream, Token(token), interest)
                    .is_err()
                {
                    continue;
                }
                let _ = stream.set_nodelay(true);
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                let fits = |c: &&SocketAddr| c.is_ipv6() == remote.is_ipv6();
                let Some(local) = listener.candidates.iter().find(fits).copied() else {
                    continue;
                };
                self.by_addr.insert(remote, token);
                self.connections.insert(
                    token,
                    Connection {
                        stream,
                        remote,
                        local,
                        deframer: Deframer::new(FRAME_BYTES_MAX),
                        queue: VecDeque::new(),
                        heard_at: now,
                        queued: false,
                        dead: false,
                    },
                );
            }
        }
    }

    /// Reads from the next connection that has something: its packets, with their addresses.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        stats: &ShardStats,
        packets: &mut Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    ) {
        let Some(token) = self.ready.pop_front() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        connection.queued = false;
        for _ in 0..READS_A_TURN {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => {
                    connection.dead = true;
                    return;
                }
                Ok(n) => {
                    connection.deframer.push(&self.buffer[..n]);
                    loop {
                        match connection.deframer.poll() {
                            Ok(Some(frame)) => {
                                connection.heard_at = now;
                                packets.push((connection.remote, connection.local, frame.to_vec()));
                            }
                            Ok(None) => break,
                            Err(_) => {
                                stats.drop_junk.add(1);
                                connection.dead = true;
                                return;
                            }
                        }
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    connection.dead = true;
                    return;
                }
            }
        }
        connection.queued = true;
        self.ready.push_back(token);
    }

    /// Connections that wait to be read.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Queues a packet for a connection. One that is gone, or too slow, loses it, counted.
    pub(crate) fn send(&mut self, stats: &ShardStats, to: SocketAddr, packet: &[u8]) {
        let connection = self
            .by_addr
            .get(&to)
            .and_then(|token| self.connections.get_mut(token));
        let length = u16::try_from(packet.len());
        let (Some(connection), Ok(length)) = (connection, length) else {
            stats.drop_socket.add(1);
            return;
        };
        if connection.queue.len() + packet.len() + 2 > QUEUE_BYTES_MAX {
            stats.drop_socket.add(1);
            return;
        }
        connection.queue.extend(length.to_be_bytes());
        connection.queue.extend(packet);
        stats.datagrams_out.add(1);
        stats.bytes_out.add(packet.len() as u64);
    }

    /// Writes what is queued, as far as the connections take it.
    pub(crate) fn flush(&mut self, stats: &ShardStats) {
        for connection in self.connections.values_mut() {
            if !connection.queue.is_empty() {
                stats.send_calls.add(1);
                connection.write();
            }
        }
    }

    fn drop_dead(&mut self) {
        let by_addr = &mut self.by_addr;
        self.connections.retain(|token, connection| {
            if connection.dead && by_addr.get(&connection.remote) == Some(token) {
                by_addr.remove(&connection.remote);
            }
            !connection.dead
        });
    }
}

impl Connection {
    fn write(&mut self) {
        while !self.queue.is_empty() {
            let (first, _) = self.queue.as_slices();
            match self.stream.write(first) {
                Ok(0) => {
                    self.dead = true;
                    return;
                }
                Ok(n) => {
                    self.queue.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.dead = true;
                    return;
                }
            }
        }
    }
}
