//! Joins the transport with the core of the relay, on one thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lightstick_relay_core as core;
use lightstick_tasks::{Ended, Threads};
use lightstick_types::{NodeId, RoomId, RoomName};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Channel, CloseReason, Credentials, Direction, DownReason, Frame, LinkId, Outgoing, Payload,
    Priority, RelayCommand, RelayConfig, RelayEvent, StartError, StatsReader, Transport,
};

/// What rooms tell and that waits for the relay at most. Full: [`RelayHandle::tell`] says so, and the
/// room drops as it does for a full ring.
const LOCAL_MAX: usize = 4_096;

/// Local values that are taken in before links have their turn again.
const LOCAL_BATCH: usize = 64;

/// A name of the threads that resolve host names and read certificate files.
const HELPER: &str = "relay-helper";

/// They run for moments; more wait.
const HELPERS_MAX: usize = 2;

/// A frame without a deadline is given up after this.
const FRAME_LIFETIME_MAX: Duration = Duration::from_secs(5);

/// Where the relay's values go. Called on the relay's thread, so that it must not wait: what cannot be
/// taken is the sink's to drop and count.
pub trait Sink: Send + 'static {
    /// For the owner of a room.
    fn to_room(&mut self, room: RoomId, message: core::ToRoom);
    /// For the node as a whole.
    fn event(&mut self, event: core::Event);
    /// What a room told was not done.
    fn refused(&mut self, room: RoomId, error: core::LocalError);
}

/// What the node tells the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayLocal {
    /// The owner of a room.
    Room(RoomId, core::Local),
    /// The answer to [`core::Event::RoomNeeded`] where the room cannot be opened.
    RefuseRoom(RoomName),
    /// The node leaves after this time.
    Drain(Duration),
}

/// Why the relay does not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    #[error("the relay is busy")]
    Full,
    #[error("the relay has ended")]
    Ended,
}

/// The relay's interface to other threads.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    local: mpsc::Sender<RelayLocal>,
    stats: StatsReader,
    tally: Arc<Mutex<core::Tally>>,
    address: std::net::SocketAddr,
}

impl RelayHandle {
    /// Tells the relay something. Never waits.
    ///
    /// # Errors
    /// A full queue, or the relay's end. Nothing was told.
    pub fn tell(&self, local: RelayLocal) -> Result<(), TellError> {
        self.local.try_send(local).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => TellError::Full,
            mpsc::error::TrySendError::Closed(_) => TellError::Ended,
        })
    }

    /// Counts of links.
    #[must_use]
    pub fn stats(&self) -> &StatsReader {
        &self.stats
    }

    /// What the core has counted since the last call.
    #[must_use]
    pub fn take_tally(&self) -> core::Tally {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *tally)
    }

    /// Where the relay listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

/// The thread of the relay. Dropping it ends the thread without a farewell to other nodes.
#[derive(Debug)]
pub struct RelayThread {
    threads: Threads,
    stop: oneshot::Sender<()>,
}

impl RelayThread {
    /// Binds the socket and starts the thread.
    ///
    /// # Errors
    /// Settings that cannot work, or an address that cannot be bound.
    pub fn start(
        config: RelayConfig,
        credentials: Credentials,
        id: NodeId,
        sink: impl Sink,
    ) -> Result<(Self, RelayHandle), StartError> {
        let node = credentials.identity().clone();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name(HELPER)
            .max_blocking_threads(HELPERS_MAX)
            .build()
            .map_err(StartError::Thread)?;
        let transport = {
            let _guard = runtime.enter();
            Transport::bind(config, credentials)?
        };
        let (local, queue) = mpsc::channel(LOCAL_MAX);
        let tally = Arc::default();
        let handle = RelayHandle {
            local,
            stats: transport.stats(),
            tally: Arc::clone(&tally),
            address: transport.local_addr().map_err(StartError::Thread)?,
        };
        let (stop, stopped) = oneshot::channel();
        let driver = Driver {
            relay: core::Relay::new(core::RelayConfig::new(node, id)),
            transport,
            sink,
            local: queue,
            tally,
        };
        let mut threads = Threads::default();
        let body = move || runtime.block_on(driver.run(stopped));
        threads.spawn("relay", body).map_err(StartError::Thread)?;
        Ok((Self { threads, stop }, handle))
    }

    /// The thread's end; never, while it runs. Safe to cancel.
    pub async fn ended(&mut self) -> Ended {
        self.threads.ended().await
    }

    /// Closes all links and waits for the thread. Blocks: call it off the async runtime.
    ///
    /// # Errors
    /// A failure that [`RelayThread::ended`] has not given.
    pub fn stop(self) -> Result<(), Ended> {
        // It fails where the thread has ended by itself.
        let _ = self.stop.send(());
        self.threads.join()
    }
}

struct Driver<S> {
    relay: core::Relay,
    transport: Transport,
    sink: S,
    local: mpsc::Receiver<RelayLocal>,
    tally: Arc<Mutex<core::Tally>>,
}

impl<S: Sink> Driver<S> {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), Ended> {
        loop {
            let due = self.relay.poll_timeout();
            tokio::select! {
                _ = &mut stopped => return self.transport.shutdown().await,
                event = self.transport.next() => {
                    let event = event?;
                    self.on_link(event);
                }
                Some(local) = self.local.recv() => {
                    self.on_local(local);
                    for _ in 1..LOCAL_BATCH {
                        let Ok(local) = self.local.try_recv() else { break };
                        self.on_local(local);
                    }
                }
                () = wait_until(due) => self.relay.handle_timeout(Instant::now()),
            }
            self.flush();
        }
    }

    fn on_link(&mut self, event: RelayEvent) {
        let now = Instant::now();
        match event {
            RelayEvent::LinkUp {
                link,
                peer,
                direction,
            } => {
                let direction = match direction {
                    Direction::Outgoing => core::Direction::ToParent,
                    Direction::Incoming => core::Direction::ToChild,
                };
                self.relay
                    .handle_connected(core::LinkId(link.0), direction, peer.identity, now);
            }
            RelayEvent::Message {
                link,
                channel,
                bytes,
            } => {
                let channel = match channel {
                    Channel::Control => core::Channel::Control,
                    Channel::Frame => core::Channel::Frame,
                    Channel::Datagram => core::Channel::Datagram,
                };
                self.relay
                    .handle_message(core::LinkId(link.0), channel, bytes, now);
            }
            RelayEvent::Backlog { link, age } => {
                self.relay.handle_backlog(core::LinkId(link.0), age, now);
            }
            RelayEvent::LinkDown { link, reason } => {
                self.relay
                    .handle_closed(core::LinkId(link.0), core_reason(&reason), now);
            }
        }
    }

    fn on_local(&mut self, local: RelayLocal) {
        let now = Instant::now();
        match local {
            RelayLocal::Room(room, local) => {
                if let Err(error) = self.relay.handle_local(room, local, now) {
                    self.sink.refused(room, error);
                }
            }
            RelayLocal::RefuseRoom(name) => self.relay.refuse_room(&name, now),
            RelayLocal::Drain(after) => self.relay.drain(after, now),
        }
    }

    /// Does what the core wants done.
    fn flush(&mut self) {
        while let Some(output) = self.relay.poll() {
            match output {
                core::Output::Send(send) => self.transport.handle(command(send)),
                core::Output::Close { link, reason } => {
                    let link = LinkId(link.0);
                    let reason = CloseReason::application(reason.code(), &reason.to_string());
                    self.transport.handle(RelayCommand::Close { link, reason });
                }
                core::Output::ToRoom { room, message } => self.sink.to_room(room, message),
                core::Output::Event(event) => self.sink.event(event),
            }
        }
        let counted = self.relay.take_tally();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.merge(&counted);
    }
}

fn command(send: core::Send) -> RelayCommand {
    let link = LinkId(send.link.0);
    let payload = Payload {
        head: send.head,
        body: send.body,
    };
    let message = match send.channel {
        core::Channel::Control => Outgoing::Control(payload),
        core::Channel::Datagram => Outgoing::Datagram(payload),
        core::Channel::Frame => {
            let deadline = send
                .deadline
                .unwrap_or_else(|| Instant::now() + FRAME_LIFETIME_MAX);
            let frame = Frame {
                priority: priority(send.priority),
                deadline,
                stream: send.flow.map(flow_key),
                is_keyframe: send.is_keyframe,
            };
            Outgoing::Frame(frame, payload)
        }
    };
    RelayCommand::Send { link, message }
}

/// A link's own number for a subscription's stream.
fn flow_key(flow: core::Flow) -> u64 {
    u64::from(flow.subscription.0) << 8 | flow.stream.index() as u64
}

fn priority(priority: core::Priority) -> Priority {
    Priority::new(match priority {
        core::Priority::Control | core::Priority::Audio | core::Priority::BaseKeyframe => 6,
        core::Priority::Base => 5,
        core::Priority::Chat => 4,
        core::Priority::Mid => 3,
        core::Priority::High => 2,
        core::Priority::CatchUp => 0,
    })
}

/// What the peer has said, or what it would have to be told.
fn core_reason(reason: &DownReason) -> Option<core::CloseReason> {
    match reason {
        DownReason::ClosedByPeer(reason) => Some(match reason {
            CloseReason::Application { code, text } => {
                core::CloseReason::decode(*code, text.as_bytes())
            }
            CloseReason::Shutdown => core::CloseReason::Shutdown,
            CloseReason::TooManyLinks => core::CloseReason::TooManyLinks,
            CloseReason::PeerDoesNotRead => core::CloseReason::Backlog,
            CloseReason::Oversized | CloseReason::UnfinishedFrames | CloseReason::Protocol => {
                core::CloseReason::Malformed
            }
            CloseReason::Unknown(_) => core::CloseReason::Other(0),
        }),
        _ => None,
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
