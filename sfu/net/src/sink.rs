//! Where a shard's datagrams leave: its sockets, its counters, and the way to one peer.

use std::net::SocketAddr;
use std::sync::Arc;

use str0m::net::{Protocol, Transmit};

use crate::session::Session;
use crate::stats::ShardStats;
use crate::tcp::TcpPorts;
use crate::udp::{Outbox, UdpPort};

/// Sockets and counters: what sessions send through.
pub(crate) struct Io {
    pub(crate) udp: Arc<[UdpPort]>,
    pub(crate) tcp: TcpPorts,
    pub(crate) outbox: Outbox,
    pub(crate) stats: Arc<ShardStats>,
    /// A packet on its way to TCP.
    scratch: Vec<u8>,
}

/// What to do with a datagram that an unproven address may not have yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    Hold,
    Drop,
}

/// The way to a peer that its media takes: the pair that it has nominated (RFC 8445 section 8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// From a UDP socket of ours, by its number, to an address.
    Udp(usize, SocketAddr),
    /// Over the TCP connection of an address.
    Tcp(SocketAddr),
}

impl Route {
    /// Where it leads.
    pub(crate) fn destination(self) -> SocketAddr {
        match self {
            Self::Udp(_, to) | Self::Tcp(to) => to,
        }
    }
}

/// The way out for one peer.
pub(crate) struct Sink<'a> {
    io: &'a mut Io,
    route: Route,
    /// Bytes written so far.
    pub(crate) bytes: u64,
}

impl Sink<'_> {
    /// Lets `write` append a datagram to a buffer. It is told the length of those before it in
    /// the same run, 0 for the first. Where it fails, it must leave the buffer as it was.
    #[inline]
    pub(crate) fn datagram<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let Io {
            udp,
            tcp,
            outbox,
            stats,
            scratch,
        } = &mut *self.io;
        let length = match self.route {
            Route::Udp(port, to) => outbox.write(udp, stats, (port, to), write)?,
            Route::Tcp(to) => {
                scratch.clear();
                write(scratch, 0)?;
                tcp.send(stats, to, scratch);
                scratch.len()
            }
        };
        self.bytes += length as u64;
        Ok(())
    }
}

impl Io {
    pub(crate) fn new(udp: Arc<[UdpPort]>, tcp: TcpPorts, stats: Arc<ShardStats>) -> Self {
        Self {
            udp,
            tcp,
            outbox: Outbox::new(),
            stats,
            scratch: Vec::new(),
        }
    }

    /// The way out over `route`.
    pub(crate) fn sink(&mut self, route: Route) -> Sink<'_> {
        Sink {
            io: self,
            route,
            bytes: 0,
        }
    }

    /// The way from an address of ours to a peer's. `None`: we have no such address.
    pub(crate) fn route(
        &self,
        proto: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Option<Route> {
        match proto {
            Protocol::Udp => {
                let of = |port: &UdpPort| port.candidates.contains(&source);
                let port = self.udp.iter().position(of)?;
                Some(Route::Udp(port, destination))
            }
            _ => Some(Route::Tcp(destination)),
        }
    }

    /// Sends a datagram of a session, as far as its destination has earned it. False: it has not.
    pub(crate) fn transmit(
        &mut self,
        session: &mut Session,
        transmit: Transmit,
        withheld: Withheld,
    ) -> bool {
        let bytes = transmit.contents.len();
        if !session.paths.admit(transmit.destination, bytes) {
            self.stats.drop_unproven.add(bytes as u64);
            if withheld == Withheld::Hold {
                session.hold(transmit);
            }
            return false;
        }
        session.bytes_sent += bytes as u64;
        match self.route(transmit.proto, transmit.source, transmit.destination) {
            Some(route) => {
                let mut sink = self.sink(route);
                let written = sink.datagram(|out, _| {
                    out.extend_from_slice(&transmit.contents);
                    Ok::<(), std::convert::Infallible>(())
                });
                match written {
                    Ok(()) => true,
                    Err(never) => match never {},
                }
            }
            None => {
                self.stats.drop_socket.add(1);
                true
            }
        }
    }
}
