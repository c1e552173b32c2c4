//! The control plane's handle on the media threads.

mod attach;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{TrySendError, bounded, unbounded};
use lightstick_sfu_core::offer::Offer;
use lightstick_tasks::{Ended, Threads};
use lightstick_types::{Role, RoomId, SessionId, ShardId, TrackId};
use mio::{Poll, Token, Waker};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::mpsc;

use crate::api::{
    COMMANDS_MAX, CommandError, EVENTS_MAX, LocalIce, MediaEvent, OpenError, OpenSession,
    RemoteIce, RoleConfig, RoomMedia, SessionMedia, SessionOpened, ShardError, ViewerChoice,
};
use crate::chat::{CHAT_COMMANDS_MAX, CHAT_EVENTS_MAX, ChatCommand, ChatEvent};
use crate::chat_outbox::ChatOutbox;
use crate::command::{Command, Opening, Order};
use crate::config::{MediaConfig, MediaConfigError};
use crate::faults::Faults;
use crate::link::{Links, mesh};
use crate::port::{Port, Running};
use crate::session::Shared;
use crate::shard::{FIRST_UDP, Inboxes, Outside, Shard, WAKER};
use crate::sink::Io;
use crate::stats::ShardStats;
use crate::tcp::TcpPorts;
use crate::udp::UdpPort;

/// A cheap, cloneable handle. Dropping the last one stops the threads.
#[derive(Clone, Debug)]
pub struct MediaPlane {
    shards: Arc<[Port]>,
    stats: Arc<[Arc<ShardStats>]>,
    /// Where the next viewer goes, if all shards hold equally many.
    next: Arc<AtomicUsize>,
    chat_events: Arc<Mutex<Option<mpsc::Receiver<ChatEvent>>>>,
    /// Numbers taps.
    taps: Arc<AtomicU32>,
}

/// The running media threads.
#[derive(Debug, Default)]
pub struct MediaThreads(Threads);

impl MediaThreads {
    /// The next end of a thread. While a [`MediaPlane`] is there, it is unexpected.
    pub async fn ended(&mut self) -> Ended {
        self.0.ended().await
    }

    /// Waits for the threads, which end when every [`MediaPlane`] is gone. Blocks: call it off
    /// the async runtime.
    ///
    /// # Errors
    /// The first failure that [`MediaThreads::ended`] has not given.
    pub fn join(self) -> Result<(), Ended> {
        self.0.join()
    }
}

/// Why the media plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be opened.
    #[error("cannot receive media on {addr}: {source}")]
    Bind {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No usable address at all.
    #[error("none of the media addresses is usable")]
    NoAddress,
    /// A setting that cannot work.
    #[error("in media: {0}")]
    Config(#[from] MediaConfigError),
    /// The ports of the shards would run past 65535.
    #[error("media.port {port} leaves no room for {shards} shards")]
    PortRange {
        /// The first port.
        port: u16,
        /// How many are needed.
        shards: usize,
    },
    /// A thread or its poller could not be made.
    #[error("cannot start a media thread: {0}")]
    Thread(#[from] io::Error),
    /// No certificate for DTLS could be made.
    #[error("cannot create a DTLS certificate")]
    Certificate,
}

impl MediaPlane {
    /// Binds every socket, then starts the threads.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: MediaConfig,
    ) -> Result<(Self, mpsc::Receiver<MediaEvent>, MediaThreads), StartError> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let shards = if config.shards == 0 {
            cores
        } else {
            usize::from(config.shards)
        };
        check(&config, shards)?;
        let crypto = Arc::new(crate::dtls::crypto());
        let certificate = crypto
            .dtls_provider
            .generate_certificate()
            .ok_or(StartError::Certificate)?;
        let config = Arc::new(config);
        let shared = Shared {
            config: Arc::clone(&config),
            crypto,
            certificate,
        };

        let tcp_max = tcp_connections(config.tcp_connections_max, descriptors(), shards);
        if config.tcp && tcp_max < config.tcp_connections_max {
            tracing::warn!(
                wanted = config.tcp_connections_max,
                connections = tcp_max,
                "the limit of open files allows fewer TCP connections per shard than configured",
            );
        }
        let mut polls = Vec::with_capacity(shards);
        let mut wakers = Vec::with_capacity(shards);
        let mut ios = Vec::with_capacity(shards);
        let stats: Arc<[Arc<ShardStats>]> = (0..shards).map(|_| Arc::default()).collect();
        for stats in stats.iter() {
            let poll = Poll::new()?;
            wakers.push(Arc::new(Waker::new(poll.registry(), WAKER)?));
            let stats = Arc::clone(stats);
            ios.push(open_sockets(&config, tcp_max, ios.len(), &poll, stats)?);
            polls.push(poll);
        }
        let links = mesh(&wakers, config.ring_frames);
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (chat_events, chat_receiver) = mpsc::channel(CHAT_EVENTS_MAX);
        let mut threads = Threads::default();
        let mut ports = Vec::with_capacity(shards);
        for (index, ((poll, io), links)) in polls.into_iter().zip(ios).zip(links).enumerate() {
            let (commands, inbox) = bounded(COMMANDS_MAX);
            let (orders, order_inbox) = unbounded();
            let (chat, chat_inbox) = bounded(CHAT_COMMANDS_MAX);
            let chat_woken = Arc::<AtomicBool>::default();
            let start = Start {
                id: ShardId(index as u16),
                shards,
                shared: shared.clone(),
                io,
                links,
                outside: Outside {
                    events: events.clone(),
                    chat: ChatOutbox::new(
                        ShardId(index as u16),
                        chat_inbox,
                        Arc::clone(&chat_woken),
                        chat_events.clone(),
                    ),
                },
                core: (config.pin && shards <= cores).then_some(index),
            };
            let (alive, running) = Running::new();
            let faults = Faults::default();
            let inboxes = Inboxes {
                commands: inbox,
                orders: order_inbox,
                faults: faults.clone(),
            };
            threads.spawn(format!("media-{index}"), move || {
                let _alive = alive;
                start.run(poll, &inboxes)
            })?;
            ports.push(Port {
                commands,
                orders,
                chat,
                chat_woken,
                waker: Arc::clone(&wakers[index]),
                running,
                #[cfg(debug_assertions)]
                faults,
                stats: Arc::clone(&stats[index]),
            });
        }
        let plane = Self {
            shards: ports.into(),
            stats,
            next: Arc::default(),
            chat_events: Arc::new(Mutex::new(Some(chat_receiver))),
            taps: Arc::default(),
        };
        Ok((plane, receiver, MediaThreads(threads)))
    }

    /// Opens a session and answers its offer. A publisher goes to its room's home shard, where it is
    /// parked, a viewer to the shard with the fewest.
    ///
    /// # Errors
    /// [`OpenError`]; nothing stays allocated. The same holds when the future is dropped.
    pub async fn open(&self, request: OpenSession) -> Result<SessionOpened, OpenError> {
        // Without its home a room has no media, wherever its viewers are.
        let home = self.home(request.room);
        self.running(home)?;
        let (side, shard) = match request.role {
            RoleConfig::Publisher { .. } => (Role::Publisher, home),
            RoleConfig::Viewer { .. } => (Role::Viewer, self.lightest().ok_or(ShardError::Gone)?),
        };
        let opening = Box::new(Opening {
            // Read here: a media thread has no time for long texts.
            offer: Offer::read(&request.offer, side)?,
            session: request.session,
            room: request.room,
            role: request.role,
            member: request.member,
        });
        self.port(shard)
            .ask(|reply| Command::Open { opening, reply })
            .await?
    }

    /// Restarts ICE with the peer's new credentials. The old path goes on until the new one works.
    ///
    /// # Errors
    /// [`CommandError`]; the session goes on as it was.
    pub async fn restart_ice(
        &self,
        shard: ShardId,
        session: SessionId,
        ice: RemoteIce,
    ) -> Result<LocalIce, CommandError> {
        self.port(shard)
            .ask(|reply| Command::RestartIce {
                session,
                ice,
                reply,
            })
            .await?
    }

    /// Changes what a viewer asks for.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn choose(
        &self,
        shard: ShardId,
        session: SessionId,
        choice: ViewerChoice,
    ) -> Result<(), CommandError> {
        self.port(shard)
            .ask(|reply| Command::Choose {
                session,
                choice,
                reply,
            })
            .await?
    }

    /// Makes a parked publisher its room's publisher, after [`MediaEvent::PublisherReady`]. The one
    /// before is in the room no more, and stays open. An unknown session is no error. Never blocks.
    pub fn promote(&self, shard: ShardId, session: SessionId) {
        self.order(shard, Order::Promote(session));
    }

    /// Ends a session. [`MediaEvent::SessionClosed`] follows; an unknown session is no error.
    /// Never blocks.
    pub fn close(&self, shard: ShardId, session: SessionId) {
        self.order(shard, Order::Close(session));
    }

    /// Shows a video track of a room first, to all viewers who have not chosen themselves; `None`:
    /// the first one. To be said again of each publisher that is promoted. A room without one is no
    /// error. Never blocks.
    pub fn set_main(&self, room: RoomId, track: Option<TrackId>) {
        let home = room.home(self.shards.len());
        self.order(home, Order::Main(room, track));
    }

    /// Orders are followed in the order in which they were given.
    fn order(&self, shard: ShardId, order: Order) {
        let port = self.port(shard);
        // A shard that has ended holds no session.
        if port.orders.send(order).is_ok() {
            port.wake();
        }
    }

    /// What a room sends now; `None` while nobody publishes, or its shard does not answer.
    pub async fn room_media(&self, room: RoomId) -> Option<RoomMedia> {
        let home = self.port(self.home(room));
        let asked = home.ask(|reply| Command::RoomMedia { room, reply });
        asked.await.ok().flatten()
    }

    /// What a session does now; `None` when there is none, or its shard does not answer.
    pub async fn session_media(&self, shard: ShardId, session: SessionId) -> Option<SessionMedia> {
        let port = self.port(shard);
        let asked = port.ask(|reply| Command::SessionMedia { session, reply });
        asked.await.ok().flatten()
    }

    /// What happens on chat channels. There is one receiver: whoever asks first has it.
    #[must_use]
    pub fn take_chat_events(&self) -> Option<mpsc::Receiver<ChatEvent>> {
        let mut place = self
            .chat_events
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        place.take()
    }

    /// Hands a shard a command of the chat. Never blocks; what is handed over while the shard is
    /// busy costs no further wake-up.
    ///
    /// # Errors
    /// The command, when the shard's queue is full or the shard is gone: try again later. What
    /// concerns the same room or session must wait behind it.
    // Callers take the command back and keep it, so it comes as it went.
    #[allow(clippy::result_large_err)]
    pub fn chat(&self, shard: ShardId, command: ChatCommand) -> Result<(), ChatCommand> {
        let port = self.port(shard);
        match port.chat.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => {
                return Err(command);
            }
        }
        if !port.chat_woken.swap(true, Ordering::SeqCst) {
            port.wake();
        }
        Ok(())
    }

    /// All shards: what a room shows goes to each of them.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards.len()).map(|index| ShardId(index as u16))
    }

    /// Each shard's counters, in shard order.
    #[must_use]
    pub fn stats(&self) -> &[Arc<ShardStats>] {
        &self.stats
    }

    /// Causes a fault in a shard's thread. False: there is no such shard.
    #[cfg(debug_assertions)]
    pub fn cause(&self, shard: ShardId, fault: crate::Fault) -> bool {
        let port = self.shards.get(usize::from(shard.0));
        port.inspect(|port| {
            port.faults.cause(fault);
            port.wake();
        })
        .is_some()
    }

    /// The shard that a room comes from.
    fn home(&self, room: RoomId) -> ShardId {
        room.home(self.shards.len())
    }

    fn port(&self, shard: ShardId) -> &Port {
        &self.shards[usize::from(shard.0)]
    }

    fn running(&self, shard: ShardId) -> Result<(), ShardError> {
        let port = self.port(shard);
        if port.is_running() {
            return Ok(());
        }
        port.count(ShardError::Gone);
        Err(ShardError::Gone)
    }

    /// The running shard with the fewest viewers; ties go round.
    fn lightest(&self) -> Option<ShardId> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let shards = self.shards.len();
        (0..shards)
            .map(|n| (turn + n) % shards)
            .filter(|at| self.shards[*at].is_running())
            .min_by_key(|at| self.stats[*at].viewers.get())
            .map(|best| ShardId(best as u16))
    }
}

/// What a media thread starts from.
struct Start {
    id: ShardId,
    shards: usize,
    shared: Shared,
    io: Io,
    links: Links,
    outside: Outside,
    core: Option<usize>,
}

impl Start {
    fn run(self, poll: Poll, inboxes: &Inboxes) -> io::Result<()> {
        if let Some(index) = self.core
            && let Err(error) = pin_to_core(index)
        {
            tracing::warn!(shard = self.id.0, %error, "the media thread is not pinned to a core");
        }
        let now = Instant::now();
        Shard::new(
            self.id,
            self.shards,
            self.shared,
            self.io,
            self.links,
            self.outside,
            now,
        )
        .run(poll, inboxes)
    }
}

/// Pins the calling thread to the `index`-th of the cores that it may run on.
fn pin_to_core(index: usize) -> rustix::io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let core = (0..CpuSet::MAX_CPU)
        .filter(|core| allowed.is_set(*core))
        .nth(index)
        .ok_or(rustix::io::Errno::INVAL)?;
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only)
}

fn check(config: &MediaConfig, shards: usize) -> Result<(), StartError> {
    config.validate()?;
    if config.port != 0 && usize::from(config.port) + shards > usize::from(u16::MAX) + 1 {
        return Err(StartError::PortRange {
            port: config.port,
            shards,
        });
    }
    Ok(())
}

/// How many descriptors this process may open. `None`: as many as it likes.
fn descriptors() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// TCP connections of one shard: half of the descriptors stay with the control plane, whatever comes
/// to the media ports.
fn tcp_connections(wanted: usize, descriptors: Option<u64>, shards: usize) -> usize {
    let Some(descriptors) = descriptors else {
        return wanted;
    };
    let share = usize::try_from(descriptors / 2).unwrap_or(usize::MAX) / shards.max(1);
    wanted.min(share)
}

fn open_sockets(
    config: &MediaConfig,
    tcp_max: usize,
    index: usize,
    poll: &Poll,
    stats: Arc<ShardStats>,
) -> Result<Io, StartError> {
    let mut udp: Vec<UdpPort> = Vec::new();
    for ip in &config.bind {
        // With port 0 the first socket's free port serves all of this shard's addresses.
        let port = match (config.port, udp.first()) {
            (0, Some(first)) => first.port(),
            (0, None) => 0,
            (port, _) => port + index as u16,
        };
        let addr = SocketAddr::new(*ip, port);
        match UdpPort::bind(addr, &config.advertise, config.socket_buffer_bytes) {
            Ok(mut socket) => {
                socket.register(poll.registry(), Token(FIRST_UDP + udp.len()))?;
                udp.push(socket);
            }
            Err(error) if *ip == IpAddr::V6(std::net::Ipv6Addr::LOCALHOST) => {
                tracing::warn!(%addr, %error, "cannot receive media on this address");
            }
            Err(source) => return Err(StartError::Bind { addr, source }),
        }
    }
    if udp.is_empty() {
        return Err(StartError::NoAddress);
    }
    let first_token = FIRST_UDP + udp.len();
    let tcp = TcpPorts::open(config, tcp_max, &udp, first_token, poll.registry())?;
    Ok(Io::new(udp.into(), tcp, stats))
}

#[cfg(test)]
mod tests;
