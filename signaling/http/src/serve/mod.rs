//! A listener for untrusted clients: HTTP/1.1 with limits on connections, on request heads and on
//! the time that they take.
//!
//! Each connection is a task of the listener's own set, and holds its place until its socket is
//! closed, also as a WebSocket.

mod front;
mod linger;
mod places;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lightstick_tasks::panic_message;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use front::METHODS;
use linger::Lingering;
use places::Places;
pub use places::{ConnectionLimit, ConnectionStats};

/// Header fields of a request at most. More: 431.
const HEADERS_MAX: usize = 100;
/// A peer that acknowledges nothing of what it was sent for this long is gone (RFC 5482).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
/// How long the listener rests when the process has no descriptor left for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Limits of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionLimits {
    /// Connections at one time. More are closed at once.
    pub connections_max: usize,
    /// Connections of one address at one time (an IPv6 /64 counts as one).
    pub connections_per_address_max: usize,
    /// Proxies, which bring the connections of many: the limit of one address is not theirs.
    pub trusted_proxies: Vec<IpAddr>,
    /// Time for a request's head to arrive whole, from the connection's start or the end of the
    /// response before. Then the connection is closed.
    pub head_timeout: Duration,
    /// Longest request head, in bytes. Longer: 431.
    pub head_bytes_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            connections_per_address_max: 4_000,
            trusted_proxies: Vec::new(),
            head_timeout: Duration::from_secs(15),
            head_bytes_max: 16 * 1_024,
        }
    }
}

/// The connections of a listener, each with its task. They are aborted when the last handle goes.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<JoinSet<()>>>);

impl Connections {
    fn set(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next end; never, when there are none.
    async fn next(&self) {
        let ended = poll_fn(|cx| match self.set().poll_join_next(cx) {
            // What is spawned next wakes nobody: it is looked at after the next accept.
            Poll::Ready(None) => Poll::Pending,
            ended => ended,
        });
        note(ended.await);
    }

    /// Waits for all.
    async fn finish(&self) {
        while let Some(ended) = poll_fn(|cx| self.set().poll_join_next(cx)).await {
            note(Some(ended));
        }
    }
}

/// Tells of a panic: it ends its connection alone.
fn note(ended: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        let panic = panic_message(&*panic);
        tracing::error!(panic, "a connection's handling panicked; it is closed");
    }
}

/// Serves until `ended`, then lets requests finish that have begun.
///
/// # Errors
/// The listener's, where it can accept nothing any more. Its connections go on in `connections`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    stats: Arc<ConnectionStats>,
    connections: Connections,
    ended: CancellationToken,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(HEADERS_MAX)
        // The buffer also holds what follows the head; its least size is hyper's.
        .max_buf_size(limits.head_bytes_max);
    let places = Arc::new(Places::new(&limits, stats));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => break,
            () = connections.next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = places.take(peer.ip()) else {
                    continue;
                };
                prepare(&stream);
                let io = Lingering::new(stream, place);
                let (http, router, ended) = (http.clone(), router.clone(), ended.clone());
                let task = connection(http, io, peer, router, ended);
                connections.set().spawn(task);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) if is_of_the_listener(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    connections.finish().await;
    Ok(())
}

async fn connection(
    http: http1::Builder,
    io: Lingering,
    peer: SocketAddr,
    router: Router,
    ended: CancellationToken,
) {
    let service = service_fn(|request| front::answer(router.clone(), peer, request));
    let connection = http
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = ended.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::trace!(%error, "a connection has failed");
    }
}

fn prepare(stream: &TcpStream) {
    // Events are small and written one by one: none may wait for the acknowledgement of the last.
    let nodelay = stream.set_nodelay(true);
    let gone = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    if let Err(error) = nodelay.and(gone) {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn is_of_the_listener(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}
