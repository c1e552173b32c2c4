//! The endpoint of a node: one UDP socket for all links, whoever connects.

mod accept;
mod dial;
mod reload;
pub(crate) mod settings;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use std::{fmt, io};

use lightstick_tasks::{Ended, Tasks};
use quinn::{Connection, Endpoint, EndpointConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::config::{RelayConfig, RelayConfigError};
use crate::event::{
    CloseReason, Direction, DownReason, LinkId, Outgoing, Peer, RelayCommand, RelayEvent,
};
use crate::link::{COMMANDS_MAX, Fault, Link, LinkCommand, close, open};
use crate::refused::down_reason;
use crate::runtime::Supervised;
use crate::stats::{Counters, LinkCounters, StatsReader};
use crate::tls::{Credentials, Refusal, identity};

/// Events of all links that wait for the owner at most. Full: links wait, each for its turn, and flow
/// control holds their peers back.
const EVENTS_MAX: usize = 1_024;

/// From the first packet to a link whose control streams have begun.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Buffers of the UDP socket, in bytes: keyframes of several links in one go.
const SOCKET_BUFFER: usize = 4 << 20;

/// After the last link has been closed, its peer is told for so long.
const FAREWELL: Duration = Duration::from_millis(300);

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] RelayConfigError),
    #[error("cannot bind the relay to {bind}: {error}")]
    Bind { bind: SocketAddr, error: io::Error },
    #[error("cannot start the relay's thread: {0}")]
    Thread(io::Error),
}

/// Where the links of a node begin and end. It runs on the current-thread tokio runtime that it was
/// bound on, in its own tasks and in [`Transport::next`].
pub struct Transport {
    shared: Arc<Shared>,
    tasks: Tasks,
    events: mpsc::Receiver<RelayEvent>,
    panics: mpsc::UnboundedReceiver<Ended>,
    /// Links that are up, with what is to be told to them.
    links: HashMap<LinkId, OpenLink>,
}

struct OpenLink {
    commands: mpsc::Sender<LinkCommand>,
    counters: Arc<LinkCounters>,
}

/// What the tasks of a transport have in common.
struct Shared {
    config: RelayConfig,
    endpoint: Endpoint,
    credentials: watch::Sender<Credentials>,
    counters: Arc<Counters>,
    events: mpsc::Sender<RelayEvent>,
    /// Links between their handshake and the [`RelayEvent::LinkUp`] that the owner has not taken yet.
    arriving: RwLock<HashMap<LinkId, OpenLink>>,
    next_link: AtomicU32,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Binds the socket, accepts links and begins to connect to upstreams.
    ///
    /// # Errors
    /// Settings that cannot work, or an address that cannot be bound.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(config: RelayConfig, credentials: Credentials) -> Result<Self, StartError> {
        config.validate()?;
        let counters = Arc::new(Counters::default());
        // Holds a panic at most for each task, and the first one that is read ends the transport.
        let (report, panics) = mpsc::unbounded_channel();
        let runtime = Arc::new(Supervised {
            panics: report,
            junk: Arc::clone(&counters.junk_datagrams),
        });
        let server = settings::server(&credentials, &config.link);
        let endpoint = udp_socket(config.bind)
            .and_then(|socket| {
                Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)
            })
            .map_err(|error| StartError::Bind {
                bind: config.bind,
                error,
            })?;
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared {
            endpoint,
            credentials: watch::Sender::new(credentials),
            counters,
            events: events_in,
            arriving: RwLock::default(),
            next_link: AtomicU32::new(1),
            config,
        });
        let mut tasks = Tasks::default();
        tasks.spawn("relay-accept", accept::run(Arc::clone(&shared)));
        tasks.spawn("relay-reload", reload::run(Arc::clone(&shared)));
        for upstream in shared.config.upstreams.clone() {
            let name = format!("relay-dial {upstream}");
            tasks.spawn(name, dial::run(Arc::clone(&shared), upstream));
        }
        Ok(Self {
            shared,
            tasks,
            events,
            panics,
            links: HashMap::new(),
        })
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    #[must_use]
    pub fn stats(&self) -> StatsReader {
        StatsReader(Arc::clone(&self.shared.counters))
    }

    /// What happens next. Safe to cancel.
    ///
    /// # Errors
    /// A task of the transport has ended: nothing works any more.
    pub async fn next(&mut self) -> Result<RelayEvent, Ended> {
        tokio::select! {
            biased;
            Some(ended) = self.panics.recv() => Err(ended),
            ended = self.tasks.ended() => Err(ended),
            Some(event) = self.events.recv() => {
                self.note(&event);
                Ok(event)
            }
        }
    }

    /// Does what it is told. Commands for links that are down do nothing.
    pub fn handle(&mut self, command: RelayCommand) {
        match command {
            RelayCommand::Send { link, message } => self.send(link, message),
            RelayCommand::Close { link, reason } => self.close(link, reason),
        }
    }

    fn send(&mut self, id: LinkId, message: Outgoing) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let full = match link.commands.try_send(LinkCommand::Send(message)) {
            Err(mpsc::error::TrySendError::Full(LinkCommand::Send(message))) => message,
            _ => return,
        };
        match full {
            Outgoing::Frame(..) => link.counters.frames.shed.add(1),
            Outgoing::Datagram(_) => link.counters.messages.datagrams_dropped.add(1),
            Outgoing::Control(_) => self.close(id, CloseReason::PeerDoesNotRead),
        }
    }

    fn close(&mut self, id: LinkId, reason: CloseReason) {
        if let Some(link) = self.links.get(&id) {
            // A full queue: closing needs no turn in it.
            if link
                .commands
                .try_send(LinkCommand::Close(reason.clone()))
                .is_err()
            {
                self.shared.counters.close(id, &reason);
            }
        }
    }

    fn note(&mut self, event: &RelayEvent) {
        match event {
            RelayEvent::LinkUp { link, .. } => {
                let mut arriving = self
                    .shared
                    .arriving
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some(open) = arriving.remove(link) {
                    self.links.insert(*link, open);
                }
            }
            RelayEvent::LinkDown { link, .. } => drop(self.links.remove(link)),
            RelayEvent::Message { .. } | RelayEvent::Backlog { .. } => {}
        }
    }

    /// Closes all links and the socket.
    ///
    /// # Errors
    /// The first task that had failed.
    pub async fn shutdown(mut self) -> Result<(), Ended> {
        let reason = CloseReason::Shutdown;
        let code = quinn::VarInt::from_u32(reason.code() as u32);
        self.shared
            .endpoint
            .close(code, reason.to_string().as_bytes());
        // Before they hear of the end: it is no fault.
        let ended = self.tasks.abort().await;
        // A peer that is gone does not answer; those that are there hear of it at once.
        let _ = timeout(FAREWELL, self.shared.endpoint.wait_idle()).await;
        ended
    }
}

impl Shared {
    /// Makes a link of a connection and runs it until it is down.
    async fn run_link(
        &self,
        connection: Connection,
        direction: Direction,
    ) -> Result<DownReason, DownReason> {
        let opened = timeout(HANDSHAKE_MAX, open(&connection, &self.config.link)).await;
        let opened = match opened.unwrap_or(Err(CloseReason::Protocol.into())) {
            Ok(opened) => opened,
            Err(Fault::Close(reason)) => {
                close(&connection, &reason);
                return Err(DownReason::ClosedHere(reason));
            }
            Err(Fault::Closed) => return Err(down_reason(&connection.closed().await)),
        };
        let peer = peer(&connection).map_err(|refusal| {
            close(&connection, &CloseReason::Protocol);
            DownReason::Refused(refusal)
        })?;
        let id = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let counters = Arc::new(LinkCounters::default());
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let open = OpenLink {
            commands,
            counters: Arc::clone(&counters),
        };
        self.arriving
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, open);
        let address = peer.address;
        tracing::info!(link = %id, node = %peer.identity, %address, ?direction, "link up");
        self.counters.insert(
            id,
            peer.clone(),
            direction,
            connection.clone(),
            Arc::clone(&counters),
        );
        let up = RelayEvent::LinkUp {
            link: id,
            peer,
            direction,
        };
        // The owner is gone only when everything ends.
        let _ = self.events.send(up).await;
        let link = Link::new(id, connection, opened, &self.config.link, queue, counters);
        let reason = link.run(&self.events).await;
        tracing::info!(link = %id, %reason, "link down");
        self.counters.remove(id);
        let down = RelayEvent::LinkDown {
            link: id,
            reason: reason.clone(),
        };
        let _ = self.events.send(down).await;
        Ok(reason)
    }
}

fn peer(connection: &Connection) -> Result<Peer, Refusal> {
    let shown = connection.peer_identity().ok_or(Refusal::NoCertificate)?;
    let shown = shown.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>();
    let chain = shown.map_err(|_| Refusal::NoCertificate)?;
    let certificate = chain.first().ok_or(Refusal::NoCertificate)?;
    Ok(Peer {
        identity: identity(certificate)?,
        address: connection.remote_address(),
    })
}

/// An IPv6 wildcard takes IPv4 too.
fn udp_socket(bind: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    if bind.is_ipv6() {
        socket.set_only_v6(!bind.ip().is_unspecified())?;
    }
    // The system may give less.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&bind.into())?;
    Ok(socket.into())
}

/// Tells of something that a stranger can cause: at most one line a second.
#[derive(Debug, Default)]
struct Hush {
    last: Option<Instant>,
    hushed: u64,
}

impl Hush {
    const EVERY: Duration = Duration::from_secs(1);

    /// How many were left out before this one; `None`: leave this one out.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < Self::EVERY)
        {
            self.hushed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.hushed))
    }
}
