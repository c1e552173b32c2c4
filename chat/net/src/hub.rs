//! Which rooms have a chat: one task that opens and closes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lightstick_types::RoomName;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::room::{COMMANDS_MAX, Command, Common, RoomTask, TICKS_MAX};
use crate::socket::Shown;

/// Requests for rooms that wait.
const REQUESTS_MAX: usize = 4_096;
/// How often rooms are looked at that nobody uses.
const SWEEP: Duration = Duration::from_secs(10);

/// The way to a room. Holding it keeps the room open.
#[derive(Clone, Debug)]
pub(crate) struct RoomHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) ticks: broadcast::Sender<Shown>,
    /// A WebSocket has gone that found no place for its farewell.
    pub(crate) gone: Arc<AtomicBool>,
}

/// Why there is no way to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// As many rooms have a chat as may.
    #[error("too many rooms have a chat")]
    TooMany,
    /// Nobody is in the room's chat.
    #[error("the room has no chat now")]
    NotOpen,
    /// The chat is shutting down.
    #[error("the chat is shutting down")]
    Closing,
}

enum Request {
    One {
        room: RoomName,
        /// Open the room if it is not.
        open: bool,
        reply: oneshot::Sender<Result<RoomHandle, NoRoom>>,
    },
    /// The names of those that are open.
    All {
        reply: oneshot::Sender<Vec<RoomName>>,
    },
}

/// Asks the hub. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Hub(mpsc::Sender<Request>);

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One { room, .. } => f.debug_tuple("One").field(room).finish(),
            Self::All { .. } => f.write_str("All"),
        }
    }
}

struct Open {
    handle: RoomHandle,
    /// Sweeps since somebody else held the handle.
    idle: u32,
}

impl Hub {
    /// Starts the task. It ends, with all rooms, when `cancel` says so.
    pub(crate) fn start(
        common: Common,
        rooms_max: usize,
        idle: Duration,
        cancel: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, mut requests) = mpsc::channel::<Request>(REQUESTS_MAX);
        tasks.spawn(async move {
            let mut rooms: HashMap<RoomName, Open> = HashMap::new();
            let mut running = JoinSet::new();
            let mut sweep = tokio::time::interval(SWEEP);
            let sweeps = idle.as_secs().div_ceil(SWEEP.as_secs()).max(1) as u32;
            loop {
                tokio::select! {
                    request = requests.recv() => {
                        let (room, open, reply) = match request {
                            None => break,
                            Some(Request::One { room, open, reply }) => (room, open, reply),
                            Some(Request::All { reply }) => {
                                // Whoever asked may have stopped waiting.
                                let _ = reply.send(rooms.keys().cloned().collect());
                                continue;
                            }
                        };
                        let found = rooms.get(&room).map(|open| open.handle.clone());
                        let handle = match found {
                            Some(handle) => Ok(handle),
                            None if !open => Err(NoRoom::NotOpen),
                            None if rooms.len() >= rooms_max => Err(NoRoom::TooMany),
                            None => {
                                let handle = spawn(room.clone(), common.clone(), &mut running);
                                let open = Open { handle: handle.clone(), idle: 0 };
                                rooms.insert(room, open);
                                Ok(handle)
                            }
                        };
                        // Whoever asked may have stopped waiting.
                        let _ = reply.send(handle);
                    }
                    _ = sweep.tick() => rooms.retain(|_, open| {
                        // Only this task gives handles out: nobody can come in between.
                        let unused = open.handle.commands.strong_count() == 1;
                        open.idle = if unused { open.idle + 1 } else { 0 };
                        open.idle <= sweeps
                    }),
                    Some(ended) = running.join_next() => {
                        if let Err(error) = ended {
                            tracing::error!(%error, "a room's chat ended by a panic");
                            rooms.retain(|_, open| !open.handle.commands.is_closed());
                        }
                    }
                    () = cancel.cancelled() => break,
                }
            }
            requests.close();
            drop(rooms);
            while let Some(ended) = running.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a room's chat ended by a panic");
                }
            }
        });
        Self(sender)
    }

    /// The way to a room, which is opened if it must be.
    pub(crate) async fn open(&self, room: RoomName) -> Result<RoomHandle, NoRoom> {
        self.ask(room, true).await
    }

    /// The way to a room that is open.
    pub(crate) async fn find(&self, room: RoomName) -> Result<RoomHandle, NoRoom> {
        self.ask(room, false).await
    }

    /// The rooms that are open.
    pub(crate) async fn all(&self) -> Result<Vec<RoomName>, NoRoom> {
        let (reply, answer) = oneshot::channel();
        let request = Request::All { reply };
        self.0.send(request).await.map_err(|_| NoRoom::Closing)?;
        answer.await.map_err(|_| NoRoom::Closing)
    }

    async fn ask(&self, room: RoomName, open: bool) -> Result<RoomHandle, NoRoom> {
        let (reply, answer) = oneshot::channel();
        let request = Request::One { room, open, reply };
        self.0.send(request).await.map_err(|_| NoRoom::Closing)?;
        answer.await.map_err(|_| NoRoom::Closing)?
    }
}

fn spawn(room: RoomName, common: Common, running: &mut JoinSet<()>) -> RoomHandle {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let (ticks, _) = broadcast::channel(TICKS_MAX);
    let me = commands.downgrade();
    let handle = RoomHandle {
        commands,
        ticks,
        gone: Arc::default(),
    };
    let (ticks, gone) = (handle.ticks.clone(), Arc::clone(&handle.gone));
    running.spawn(RoomTask::run(room, common, me, inbox, ticks, gone));
    handle
}
