//! A shard's UDP sockets: batches in with GRO, runs of equal packets out with GSO.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use mio::{Interest, Registry, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::stats::ShardStats;

/// Room for one received run: the largest UDP payload.
const RECEIVE_BYTES: usize = 65_535;
/// The kernel takes at most this much in one send, whatever the number of segments.
const SEND_BYTES_MAX: usize = 64_000;
/// Longer than any datagram that is sent: SRTP of a publisher's packet, or DTLS.
const DATAGRAM_MAX: usize = 2_048;

/// No datagram waits for so long in a socket: the system's clock was set meanwhile.
const WAITED_MAX: Duration = Duration::from_secs(1);

pub(crate) struct UdpPort {
    socket: mio::net::UdpSocket,
    state: UdpSocketState,
    /// What clients send to, as our candidates name it: at most one address of each family.
    pub(crate) candidates: Vec<SocketAddr>,
    bound: SocketAddr,
}

impl UdpPort {
    /// Binds `addr`. Of `advertise`, the addresses that reach this socket stand in its candidates;
    /// without any, the bound address itself.
    pub(crate) fn bind(
        addr: SocketAddr,
        advertise: &[IpAddr],
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(!addr.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        // The kernel cuts these to its own limits without an error.
        socket.set_recv_buffer_size(buffer_bytes)?;
        socket.set_send_buffer_size(buffer_bytes)?;
        socket.bind(&addr.into())?;
        let std: std::net::UdpSocket = socket.into();
        let bound = std.local_addr()?;
        let state = UdpSocketState::new(UdpSockRef::from(&std))?;
        let dual = bound.is_ipv6() && bound.ip().is_unspecified();
        let mut candidates: Vec<SocketAddr> = advertise
            .iter()
            .filter(|ip| dual || ip.is_ipv6() == bound.is_ipv6())
            .map(|ip| SocketAddr::new(*ip, bound.port()))
            .collect();
        if candidates.is_empty() {
            candidates.push(bound);
        }
        Ok(Self {
            socket: mio::net::UdpSocket::from_std(std),
            state,
            candidates,
            bound,
        })
    }

    pub(crate) fn bound(&self) -> SocketAddr {
        self.bound
    }

    pub(crate) fn port(&self) -> u16 {
        self.bound.port()
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }
}

/// Buffers for one batch of receives.
pub(crate) struct Inbox {
    buffers: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![0; RECEIVE_BYTES * BATCH_SIZE].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// Receives one batch and hands each datagram to `each` with its source and when the kernel had
    /// it: a publisher estimates its bandwidth by that, and of a batch it is not the same for all.
    /// `Ok(false)` when the socket is empty.
    pub(crate) fn receive(
        &mut self,
        port: &UdpPort,
        mut each: impl FnMut(SocketAddr, Instant, &[u8]),
    ) -> io::Result<bool> {
        let mut slices = self.buffers.chunks_mut(RECEIVE_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let sock = UdpSockRef::from(&port.socket);
        let received = match port.state.recv(sock, &mut slices, &mut self.metas) {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        };
        let (now, clock) = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed());
        let clock = clock.unwrap_or_default();
        for (meta, buffer) in self
            .metas
            .iter()
            .zip(self.buffers.chunks(RECEIVE_BYTES))
            .take(received)
        {
            let source = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            let run = &buffer[..meta.len.min(buffer.len())];
            if meta.stride == 0 {
                continue;
            }
            let waited = meta.timestamp.map(|at| clock.saturating_sub(at));
            let waited = waited.filter(|waited| *waited < WAITED_MAX);
            let arrived = now.checked_sub(waited.unwrap_or_default()).unwrap_or(now);
            for datagram in run.chunks(meta.stride) {
                each(source, arrived, datagram);
            }
        }
        Ok(true)
    }
}

/// Collects a run of datagrams to one destination until it must go: one system call a run.
#[derive(Debug)]
pub(crate) struct Outbox {
    run: Vec<u8>,
    segment: usize,
    count: usize,
    /// A shorter segment closes its run.
    closed: bool,
    to: Option<(usize, SocketAddr)>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            run: Vec::with_capacity(SEND_BYTES_MAX),
            segment: 0,
            count: 0,
            closed: false,
            to: None,
        }
    }

    /// Lets `write` append a datagram from a socket of ours to an address, after what else goes the
    /// same way. It is told how long the datagrams of the run are, 0 where it begins one. Returns
    /// the datagram's length.
    ///
    /// # Errors
    /// Those of `write`: nothing is sent.
    #[inline]
    pub(crate) fn write<E>(
        &mut self,
        ports: &[UdpPort],
        stats: &ShardStats,
        to: (usize, SocketAddr),
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<usize, E> {
        let fits = self.to == Some(to)
            && !self.closed
            && self.count < ports[to.0].state.max_gso_segments()
            && self.run.len() + DATAGRAM_MAX <= SEND_BYTES_MAX;
        if !fits {
            self.flush(ports, stats);
            self.to = Some(to);
            self.segment = 0;
        }
        let start = self.run.len();
        let datagram = Unfinished {
            start,
            run: &mut self.run,
        };
        write(datagram.run, self.segment)?;
        let length = datagram.finish();
        if self.count > 0 && length > self.segment {
            // Too long for this run: it begins the next.
            self.send_run(ports, stats, start);
            self.to = Some(to);
            self.segment = 0;
        }
        self.closed = length < self.segment;
        self.segment = self.segment.max(length);
        self.count += 1;
        Ok(length)
    }

    /// Sends what is queued. A socket that is full drops it, counted.
    pub(crate) fn flush(&mut self, ports: &[UdpPort], stats: &ShardStats) {
        self.send_run(ports, stats, self.run.len());
    }

    /// Sends the first `end` bytes of the run; what follows them begins the next.
    fn send_run(&mut self, ports: &[UdpPort], stats: &ShardStats, end: usize) {
        self.closed = false;
        let count = std::mem::take(&mut self.count);
        let Some((index, destination)) = self.to.take().filter(|_| count > 0) else {
            return;
        };
        let port = &ports[index];
        let transmit = Transmit {
            destination: as_family_of(port.bound, destination),
            ecn: None,
            contents: &self.run[..end],
            segment_size: (count > 1).then_some(self.segment),
            src_ip: None,
        };
        stats.send_calls.add(1);
        match port
            .state
            .try_send(UdpSockRef::from(&port.socket), &transmit)
        {
            Ok(()) => {
                stats.datagrams_out.add(count as u64);
                stats.bytes_out.add(end as u64);
            }
            Err(error) => {
                tracing::trace!(%error, %destination, "datagrams not sent");
                stats.drop_socket.add(count as u64);
            }
        }
        self.run.drain(..end);
    }
}

/// A datagram that is being written: what is not finished, be it by an error or a panic, leaves
/// nothing of itself in the run.
struct Unfinished<'a> {
    start: usize,
    run: &'a mut Vec<u8>,
}

impl Unfinished<'_> {
    /// The datagram stays. Its length.
    fn finish(mut self) -> usize {
        let length = self.run.len() - self.start;
        self.start = usize::MAX;
        length
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.run.truncate(self.start);
    }
}

/// A dual-stack IPv6 socket wants IPv4 destinations in mapped form.
fn as_family_of(bound: SocketAddr, destination: SocketAddr) -> SocketAddr {
    match (bound, destination) {
        (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        _ => destination,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_arrives_when_the_kernel_has_it() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let port = UdpPort::bind(any, &[], 65_536).expect("a port");
        let peer = std::net::UdpSocket::bind(any).expect("a port");
        let (wait, begun) = (Duration::from_millis(40), Instant::now());
        let mut inbox = Inbox::new();
        // The kernel takes times a moment after the system's first socket has asked for them.
        loop {
            let before = Instant::now();
            peer.send_to(b"probe", port.bound()).expect("sent");
            let sent = Instant::now();
            while sent.elapsed() < wait {
                std::thread::yield_now();
            }
            let mut came = Vec::new();
            let each = |_, arrived, datagram: &[u8]| came.push((arrived, datagram.to_vec()));
            assert!(inbox.receive(&port, each).expect("a batch"));
            let [(arrived, datagram)] = &came[..] else {
                panic!("{came:?}");
            };
            assert_eq!(datagram, b"probe");
            // Two clocks are read one after the other.
            let slack = wait / 2;
            if (before - slack..sent + slack).contains(arrived) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{came:?}");
        }
    }
}
