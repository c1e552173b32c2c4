//! What QUIC runs on: tasks whose panics are heard of, and a socket that counts junk.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::FutureExt as _;
use lightstick_tasks::{Cause, Ended, panic_message};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use tokio::sync::mpsc::UnboundedSender;

/// The runtime of the relay's thread.
pub(crate) struct Supervised {
    /// No bound of its own: one message a task at most.
    pub(crate) panics: UnboundedSender<Ended>,
    pub(crate) junk: Arc<AtomicU64>,
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Supervised")
    }
}

impl Runtime for Supervised {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let panics = self.panics.clone();
        tokio::spawn(async move {
            // Nothing of the task is used after a panic.
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                // The transport may have gone before.
                let _ = panics.send(Ended {
                    name: "relay-quic".into(),
                    cause: Cause::Panicked(panic_message(&*panic).to_owned()),
                });
            }
        });
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Counting {
            socket: TokioRuntime.wrap_udp_socket(socket)?,
            junk: Arc::clone(&self.junk),
        }))
    }
}

struct Counting {
    socket: Arc<dyn AsyncUdpSocket>,
    junk: Arc<AtomicU64>,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl AsyncUdpSocket for Counting {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.socket.poll_recv(cx, buffers, meta))?;
        let mut junk = 0;
        for (buffer, meta) in buffers.iter().zip(meta.iter()).take(received) {
            let bytes = &buffer[..meta.len.min(buffer.len())];
            let datagrams = bytes.chunks(meta.stride.max(1));
            junk += datagrams.filter(|datagram| is_junk(datagram)).count() as u64;
        }
        if junk != 0 {
            self.junk.fetch_add(junk, Ordering::Relaxed);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Whether no version 1 of QUIC begins like this (RFC 9000 section 17): the fixed bit is not set, or it
/// is a long header of another version. QUIC ignores it; it is only counted.
fn is_junk(datagram: &[u8]) -> bool {
    const LONG: u8 = 0x80;
    const FIXED: u8 = 0x40;
    let Some(&first) = datagram.first() else {
        return true;
    };
    first & FIXED == 0 || (first & LONG != 0 && datagram.get(1..5) != Some(&[0, 0, 0, 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_junk() {
        for junk in [
            &b""[..],
            b"\x16\x03\x01\x02\x00",
            b"\x00\x01\x00\x00",
            b"\xc0\x00\x00",
            b"\xc0\xff\0\0\x1d",
        ] {
            assert!(is_junk(junk), "{junk:?}");
        }
        assert!(!is_junk(b"\xc3\x00\x00\x00\x01\x08"));
        assert!(!is_junk(b"\x47abcdefgh"));
    }
}
