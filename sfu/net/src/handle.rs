//! The control plane's handle on the media threads.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Sender, TrySendError, bounded, unbounded};
use lightstick_sfu_core::offer::{Offer, Side};
use lightstick_types::{LayerChoice, RoomId, SessionId, ShardId};
use mio::{Poll, Token, Waker};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::{mpsc, oneshot};

use crate::api::{
    COMMANDS_MAX, CommandError, EVENTS_MAX, LocalIce, MediaEvent, OpenError, OpenSession,
    RemoteIce, Role, RoomMedia, SessionMedia, SessionOpened,
};
use crate::chat::{CHAT_COMMANDS_MAX, CHAT_EVENTS_MAX, ChatCommand, ChatEvent, Desk};
use crate::command::{Command, Opening, Order};
use crate::config::{MediaConfig, MediaConfigError};
use crate::link::{Links, mesh};
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
}

/// The way to one shard.
#[derive(Debug)]
struct Port {
    commands: Sender<Command>,
    /// Without a bound, as these must neither be lost nor wait: there are at most two of each
    /// session.
    orders: Sender<Order>,
    chat: Sender<ChatCommand>,
    /// The shard was woken for the chat, and has not looked yet.
    chat_woken: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Drop for Port {
    fn drop(&mut self) {
        // The thread must notice that nobody can command it any more.
        let (closed, _) = bounded(0);
        self.commands = closed;
        let _ = self.waker.wake();
    }
}

/// The running media threads.
#[derive(Debug)]
pub struct MediaThreads {
    threads: Vec<thread::JoinHandle<()>>,
}

impl MediaThreads {
    /// Waits for the threads, which end when every [`MediaPlane`] is gone. Blocks: call it off
    /// the async runtime.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a media thread ended by a panic");
            }
        }
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
    #[error("none of the media addresses can be used")]
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
    #[error("cannot make a DTLS certificate")]
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
                "the limit of descriptors leaves fewer TCP connections to each shard than configured",
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
        let mut threads = Vec::with_capacity(shards);
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
                    chat: Desk::new(chat_inbox, Arc::clone(&chat_woken), chat_events.clone()),
                },
                core: (config.pin && shards <= cores).then_some(index),
            };
            threads.push(
                thread::Builder::new()
                    .name(format!("media-{index}"))
                    .spawn(move || {
                        let commands = inbox;
                        let orders = order_inbox;
                        start.run(poll, &Inboxes { commands, orders });
                    })?,
            );
            ports.push(Port {
                commands,
                orders,
                chat,
                chat_woken,
                waker: Arc::clone(&wakers[index]),
            });
        }
        let plane = Self {
            shards: ports.into(),
            stats,
            next: Arc::default(),
            chat_events: Arc::new(Mutex::new(Some(chat_receiver))),
        };
        Ok((plane, receiver, MediaThreads { threads }))
    }

    /// Opens a session and answers its offer. A publisher goes to its room's home shard, where it is
    /// parked, a viewer to the shard with the fewest.
    ///
    /// # Errors
    /// [`OpenError`]; nothing stays allocated. The same holds when the future is dropped.
    pub async fn open(&self, request: OpenSession) -> Result<SessionOpened, OpenError> {
        let (side, shard) = match request.role {
            Role::Publisher { .. } => (Side::Publisher, request.room.home(self.shards.len())),
            Role::Viewer { .. } => (Side::Viewer, self.lightest()),
        };
        let opening = Box::new(Opening {
            // Read here: a media thread has no time for long texts.
            offer: Offer::read(&request.offer, side)?,
            session: request.session,
            room: request.room,
            role: request.role,
            member: request.member,
        });
        self.ask(shard, |reply| Command::Open { opening, reply })
            .await
            .unwrap_or(Err(OpenError::Overloaded))
    }

    /// Adds trickled candidates (RFC 8840).
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn add_candidates(
        &self,
        shard: ShardId,
        session: SessionId,
        _ice: RemoteIce,
    ) -> Result<(), CommandError> {
        self.ask(shard, |reply| Command::AddCandidates { session, reply })
            .await
            .unwrap_or(Err(CommandError::Overloaded))
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
        self.ask(shard, |reply| Command::RestartIce {
            session,
            ice,
            reply,
        })
        .await
        .unwrap_or(Err(CommandError::Overloaded))
    }

    /// Changes what a viewer asks for.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn choose_layer(
        &self,
        shard: ShardId,
        session: SessionId,
        choice: LayerChoice,
    ) -> Result<(), CommandError> {
        self.ask(shard, |reply| Command::ChooseLayer {
            session,
            choice,
            reply,
        })
        .await
        .unwrap_or(Err(CommandError::Overloaded))
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

    /// Orders are followed in the order in which they were given.
    fn order(&self, shard: ShardId, order: Order) {
        let port = &self.shards[usize::from(shard.0)];
        if port.orders.send(order).is_ok() {
            let _ = port.waker.wake();
        }
    }

    /// What a room sends now; `None` while nobody publishes.
    pub async fn room_media(&self, room: RoomId) -> Option<RoomMedia> {
        let home = room.home(self.shards.len());
        self.ask(home, |reply| Command::RoomMedia { room, reply })
            .await
            .flatten()
    }

    /// What a session does now.
    pub async fn session_media(&self, shard: ShardId, session: SessionId) -> Option<SessionMedia> {
        self.ask(shard, |reply| Command::SessionMedia { session, reply })
            .await
            .flatten()
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
        let port = &self.shards[usize::from(shard.0)];
        match port.chat.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => {
                return Err(command);
            }
        }
        if !port.chat_woken.swap(true, Ordering::SeqCst)
            && let Err(error) = port.waker.wake()
        {
            tracing::error!(%error, "cannot wake a shard");
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

    /// `None` when the shard's queue is full or the shard is gone.
    async fn ask<T>(
        &self,
        shard: ShardId,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Option<T> {
        let port = &self.shards[usize::from(shard.0)];
        let (reply, answer) = oneshot::channel();
        match port.commands.try_send(command(reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return None,
        }
        port.waker.wake().ok()?;
        answer.await.ok()
    }

    /// The shard with the fewest viewers; ties go round.
    fn lightest(&self) -> ShardId {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let shards = self.stats.len();
        let at = |n: usize| (turn + n) % shards;
        let best = (0..shards)
            .min_by_key(|n| self.stats[at(*n)].viewers.get())
            .map_or(0, at);
        ShardId(best as u16)
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
    fn run(self, poll: Poll, inboxes: &Inboxes) {
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
        .run(poll, inboxes);
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
                tracing::warn!(%addr, %error, "no media on this address");
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
mod tests {
    use crossbeam_channel::Receiver;

    use super::*;

    /// A plane whose only shard does not look at its queues.
    fn asleep(capacity: usize) -> (MediaPlane, Receiver<ChatCommand>, Poll) {
        let poll = Poll::new().expect("a poller");
        let (chat, inbox) = bounded(capacity);
        let port = Port {
            commands: bounded(1).0,
            orders: unbounded().0,
            chat,
            chat_woken: Arc::default(),
            waker: Arc::new(Waker::new(poll.registry(), WAKER).expect("a waker")),
        };
        let plane = MediaPlane {
            shards: [port].into(),
            stats: [Arc::default()].into(),
            next: Arc::default(),
            chat_events: Arc::default(),
        };
        (plane, inbox, poll)
    }

    #[test]
    fn the_control_plane_keeps_half_of_the_descriptors() {
        for (wanted, descriptors, shards, connections) in [
            (1_024, None, 2, 1_024),
            (1_024, Some(1 << 20), 2, 1_024),
            (1_024, Some(1_024), 2, 256),
            (1_024, Some(1_024), 1, 512),
            (1_024, Some(10), 8, 0),
            (16, Some(1_024), 2, 16),
        ] {
            assert_eq!(tcp_connections(wanted, descriptors, shards), connections);
        }
    }

    #[test]
    fn a_full_queue_gives_the_command_back_and_one_wake_up_is_enough() {
        let (plane, inbox, mut poll) = asleep(3);
        let ids: Vec<SessionId> = (0..4).map(|_| SessionId::random()).collect();
        let close = |n: usize| plane.chat(ShardId(0), ChatCommand::Close { session: ids[n] });
        for n in 0..3 {
            close(n).expect("room in the queue");
        }
        match close(3) {
            Err(ChatCommand::Close { session }) => assert_eq!(session, ids[3]),
            other => panic!("{other:?} of a full queue"),
        }
        let mut events = mio::Events::with_capacity(8);
        let now = Some(std::time::Duration::ZERO);
        poll.poll(&mut events, now).expect("a poll");
        assert_eq!(events.iter().filter(|e| e.token() == WAKER).count(), 1);
        inbox.recv().expect("the first");
        close(3).expect("room in the queue");
        poll.poll(&mut events, now).expect("a poll");
        assert!(events.is_empty(), "the shard has not looked yet");
        plane.shards[0].chat_woken.store(false, Ordering::SeqCst);
        inbox.recv().expect("the second");
        close(0).expect("room in the queue");
        poll.poll(&mut events, now).expect("a poll");
        assert!(!events.is_empty(), "it has looked");
        drop(inbox);
        assert!(close(1).is_err(), "the shard is gone");
    }
}
