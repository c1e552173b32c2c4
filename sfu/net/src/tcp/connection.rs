//! One TCP connection: what it may still send as a stranger, and what waits for it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use lightstick_sfu_core::demux::{self, Kind};
use mio::net::TcpStream;
use socket2::SockRef;

/// Read at once from a peer that is authenticated: some frames of video.
const READ_BYTES: usize = 16 * 1024;
/// All that a stranger may send: a few checks, each with the longest user name.
const STRANGER_BYTES: usize = 4 * 1024;
/// Checks of a stranger that are verified. A peer that knows the password needs one; the others
/// are for those that raced with an ICE restart.
const STRANGER_CHECKS: u8 = 3;
/// Junk frames of an authenticated peer before it is closed. Sound peers send none.
const JUNK_MAX: u8 = 16;
/// Kernel buffers: of a stranger, and of an authenticated peer. The kernel doubles them, and
/// cuts them to its own limits.
const STRANGER_RECEIVE_BYTES: usize = 4 * 1024;
const RECEIVE_BYTES: usize = 512 * 1024;
const SEND_BYTES: usize = 256 * 1024;
/// A queue that is empty again keeps no more memory than this.
const QUEUE_KEPT_BYTES: usize = 64 * 1024;

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    /// The beginning of a frame that has not come whole.
    pub(super) carried: Vec<u8>,
    queue: VecDeque<u8>,
    /// On the list of those to read.
    pub(super) is_ready: bool,
    /// On the list of those to write.
    pub(super) is_unsent: bool,
    /// The kernel takes no more until it says so.
    pub(super) is_blocked: bool,
    /// To be closed when everything is written.
    pub(super) ends: bool,
    stranger_bytes: usize,
    stranger_checks: u8,
    junk: u8,
}

/// What one read brought.
pub(super) enum Outcome {
    /// So many bytes in the buffer, those that were carried included. There may be more.
    Bytes(usize),
    Nothing,
    Gone,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, remote: SocketAddr) -> Self {
        // Without these it is slower or larger, and works all the same.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_recv_buffer_size(STRANGER_RECEIVE_BYTES);
        Self {
            stream,
            remote,
            carried: Vec::new(),
            queue: VecDeque::new(),
            is_ready: false,
            is_unsent: false,
            is_blocked: false,
            ends: false,
            stranger_bytes: 0,
            stranger_checks: 0,
            junk: 0,
        }
    }

    /// A session answers for it.
    pub(super) fn trust(&self) {
        let socket = SockRef::from(&self.stream);
        let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
        let _ = socket.set_send_buffer_size(SEND_BYTES);
    }

    /// Reads once, behind what was carried.
    pub(super) fn read(&mut self, is_stranger: bool, buffer: &mut [u8]) -> Outcome {
        let start = self.carried.len();
        let most = match is_stranger {
            true => STRANGER_BYTES.saturating_sub(self.stranger_bytes),
            false => READ_BYTES,
        };
        if most == 0 {
            return Outcome::Gone;
        }
        buffer[..start].copy_from_slice(&self.carried);
        loop {
            match self.stream.read(&mut buffer[start..start + most]) {
                Ok(0) => return Outcome::Gone,
                Ok(n) => {
                    self.carried.clear();
                    if is_stranger {
                        self.stranger_bytes += n;
                    }
                    return Outcome::Bytes(start + n);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Outcome::Nothing,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Outcome::Gone,
            }
        }
    }

    /// Whether a frame may be handled, before anything that costs. `None`: the connection has sent
    /// too much junk.
    pub(super) fn may_handle(&mut self, is_stranger: bool, frame: &[u8]) -> Option<bool> {
        let kind = demux::classify(frame);
        if is_stranger {
            self.stranger_checks += 1;
            let may = kind == Kind::Stun && self.stranger_checks <= STRANGER_CHECKS;
            return may.then_some(true);
        }
        if kind == Kind::Junk {
            self.junk += 1;
            return (self.junk <= JUNK_MAX).then_some(false);
        }
        Some(true)
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Queues a packet behind its length (RFC 4571).
    pub(super) fn push(&mut self, length: u16, packet: &[u8]) {
        self.queue.extend(length.to_be_bytes());
        self.queue.extend(packet);
    }

    /// Writes what is queued, as far as the kernel takes it.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() && !self.is_blocked {
            let (first, _) = self.queue.as_slices();
            match self.stream.write(first) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.queue.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.is_blocked = true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.queue.is_empty() && self.queue.capacity() > QUEUE_KEPT_BYTES {
            self.queue = VecDeque::new();
        }
        Ok(())
    }
}

/// Long enough for a read and what was carried before it.
pub(super) const BUFFER_BYTES: usize = READ_BYTES + super::FRAME_BYTES_MAX + 2;
const _: () = assert!(STRANGER_BYTES <= READ_BYTES);
