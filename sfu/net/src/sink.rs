//! Where a shard's datagrams leave: its sockets and its counters.

use std::sync::Arc;

use lightstick_sfu_core::ice::Route;
use lightstick_sfu_core::room::Outlet;
use str0m::net::DatagramSend;

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

impl Outlet for Io {
    #[inline]
    fn datagram<E>(
        &mut self,
        to: Route,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<usize, E> {
        let Self {
            udp,
            tcp,
            outbox,
            stats,
            scratch,
        } = self;
        match to {
            Route::Udp(port, to) => outbox.write(udp, stats, (port, to), write),
            Route::Tcp(to) => {
                scratch.clear();
                write(scratch, 0)?;
                tcp.send(stats, to, scratch);
                Ok(scratch.len())
            }
        }
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

    /// Sends a message of a session's agent.
    pub(crate) fn send(&mut self, session: &mut Session, to: Route, message: &[u8]) {
        session.totals.bytes_sent += message.len() as u64;
        let written = self.datagram(to, |out, _| {
            out.extend_from_slice(message);
            Ok::<(), std::convert::Infallible>(())
        });
        match written {
            Ok(_) => {}
            Err(never) => match never {},
        }
    }

    /// Sends a datagram of a session's transport where the peer is, as far as it has earned it
    /// there.
    pub(crate) fn transmit(
        &mut self,
        session: &mut Session,
        contents: DatagramSend,
        withheld: Withheld,
    ) {
        let bytes = contents.len();
        let to = session.ice.destination();
        let admitted = to.is_some_and(|to| match session.connection.is_connected {
            true => session.ice.admit(to, bytes),
            false => session.ice.admit_flight(to, bytes),
        });
        match to.filter(|_| admitted) {
            Some(to) => self.send(session, to, &contents),
            None => {
                self.stats.drop_unproven.add(bytes as u64);
                if withheld == Withheld::Hold {
                    session.waiting.hold(contents);
                }
            }
        }
    }
}
