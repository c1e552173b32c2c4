//! Which rooms have a chat: one task that opens and closes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lightstick_tasks::{Ended, Tasks};
use lightstick_types::RoomName;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::command::{COMMANDS_MAX, RoomCommand, Shown, TICKS_MAX};
use crate::room::{Common, RoomTask};

/// Requests for rooms that wait.
const REQUESTS_MAX: usize = 4_096;
/// How often rooms are looked at that nobody uses.
const SWEEP: Duration = Duration::from_secs(10);

/// The way to a room. Holding it keeps the room open.
#[derive(Clone, Debug)]
pub(crate) struct RoomHandle {
    pub(crate) commands: mpsc::Sender<RoomCommand>,
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
    /// As many chats are open as clients without a token may open from one address.
    #[error("too many chats were opened from this address")]
    TooManyOfAddress,
    /// Nobody is in the room's chat.
    #[error("the room has no chat")]
    NotOpen,
    /// The chat is shutting down.
    #[error("the chat is shutting down")]
    Closing,
}

/// On whose behalf a room is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opener {
    /// Whoever has a token, or comes to a show.
    Known,
    /// Anybody: a keyed hash of the address.
    Anybody(u64),
}

/// How many rooms there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoomLimits {
    pub(crate) max: usize,
    /// Opened by anybody from one address.
    pub(crate) per_address_max: usize,
}

impl RoomLimits {
    /// Opened by anybody: the last quarter is for shows and for those with a token.
    fn anybody_max(self) -> usize {
        (self.max - self.max / 4).max(1)
    }
}

pub(crate) type HubReply = oneshot::Sender<Result<RoomHandle, NoRoom>>;

enum Request {
    One {
        room: RoomName,
        /// Open the room if it is not.
        open: Option<Opener>,
        reply: HubReply,
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
    /// The address that counts for it; none once somebody known came.
    opened_by: Option<u64>,
}

impl Open {
    /// Only the hub gives handles out: nobody can come in between.
    fn is_unused(&self) -> bool {
        self.handle.commands.strong_count() == 1
    }
}

struct Rooms {
    limits: RoomLimits,
    open: HashMap<RoomName, Open>,
    /// By the address that opened them.
    by_address: HashMap<u64, usize>,
    by_anybody: usize,
}

impl Rooms {
    fn new(limits: RoomLimits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            by_address: HashMap::new(),
            by_anybody: 0,
        }
    }

    /// A room that is open. A room to which somebody known comes counts for no address any more.
    fn find(&mut self, room: &RoomName, opener: Option<Opener>) -> Option<RoomHandle> {
        let open = self.open.get_mut(room)?;
        let handle = open.handle.clone();
        if opener == Some(Opener::Known)
            && let Some(address) = open.opened_by.take()
        {
            self.give_back(address);
        }
        Some(handle)
    }

    /// Makes room for one more, by closing one that nobody uses if it must.
    fn admit(&mut self, opener: Opener) -> Result<(), NoRoom> {
        if let Opener::Anybody(address) = opener {
            let own = self.by_address.get(&address).copied().unwrap_or(0);
            let own_full = own >= self.limits.per_address_max;
            if own_full && !self.close_unused(|by| by == address) {
                return Err(NoRoom::TooManyOfAddress);
            }
            let full = self.by_anybody >= self.limits.anybody_max();
            // One's own goes first: nobody pushes out what others have opened.
            if full && !self.close_unused(|by| by == address) {
                return Err(NoRoom::TooMany);
            }
        }
        if self.open.len() >= self.limits.max
            && (opener != Opener::Known || !self.close_unused(|_| true))
        {
            return Err(NoRoom::TooMany);
        }
        Ok(())
    }

    fn insert(&mut self, room: RoomName, handle: RoomHandle, opener: Opener) {
        let opened_by = match opener {
            Opener::Known => None,
            Opener::Anybody(address) => {
                *self.by_address.entry(address).or_default() += 1;
                self.by_anybody += 1;
                Some(address)
            }
        };
        let open = Open {
            handle,
            idle: 0,
            opened_by,
        };
        self.open.insert(room, open);
    }

    /// Closes the room that has been unused for longest among those that such addresses opened.
    fn close_unused(&mut self, of: impl Fn(u64) -> bool) -> bool {
        let unused = self
            .open
            .iter()
            .filter(|(_, open)| open.opened_by.is_some_and(&of) && open.is_unused());
        let longest = unused.max_by_key(|(_, open)| open.idle);
        let Some(room) = longest.map(|(room, _)| room.clone()) else {
            return false;
        };
        self.remove(&room);
        true
    }

    fn remove(&mut self, room: &RoomName) {
        if let Some(address) = self.open.remove(room).and_then(|open| open.opened_by) {
            self.give_back(address);
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut Open) -> bool) {
        let gone = self.open.iter_mut().filter_map(|(room, open)| {
            let kept = keep(open);
            (!kept).then(|| room.clone())
        });
        for room in gone.collect::<Vec<_>>() {
            self.remove(&room);
        }
    }

    fn give_back(&mut self, address: u64) {
        self.by_anybody -= 1;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Hub {
    /// Starts the task. It ends, with all rooms, when `cancel` says so.
    ///
    /// The clients of a room whose task has failed hear nothing more and would wait for ever: a task
    /// of its own fails with the first of them, while the others go on.
    pub(crate) fn start(
        common: Common,
        limits: RoomLimits,
        idle: Duration,
        cancel: CancellationToken,
        tasks: &mut Tasks,
    ) -> Self {
        let (sender, mut requests) = mpsc::channel::<Request>(REQUESTS_MAX);
        let (failed, failure) = oneshot::channel::<Ended>();
        tasks.spawn(
            "chat-room",
            async move { failure.await.map_or(Ok(()), Err) },
        );
        tasks.spawn("chat-rooms", async move {
            let mut failed = Some(failed);
            let mut rooms = Rooms::new(limits);
            let mut running = Tasks::default();
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
                                let _ = reply.send(rooms.open.keys().cloned().collect());
                                continue;
                            }
                        };
                        let handle = match (rooms.find(&room, open), open) {
                            (Some(handle), _) => Ok(handle),
                            (None, None) => Err(NoRoom::NotOpen),
                            (None, Some(opener)) => rooms.admit(opener).map(|()| {
                                let handle = spawn(room.clone(), common.clone(), &mut running);
                                rooms.insert(room, handle.clone(), opener);
                                handle
                            }),
                        };
                        // Whoever asked may have stopped waiting.
                        let _ = reply.send(handle);
                    }
                    _ = sweep.tick() => rooms.retain(|open| {
                        open.idle = if open.is_unused() { open.idle + 1 } else { 0 };
                        open.idle <= sweeps
                    }),
                    Some(ended) = running.next() => {
                        if ended.is_failure() {
                            rooms.retain(|open| !open.handle.commands.is_closed());
                            match failed.take() {
                                // Nobody listens where the server stops anyhow.
                                Some(failed) => drop(failed.send(ended)),
                                None => ended.log(),
                            }
                        }
                    }
                    () = cancel.cancelled() => break,
                }
            }
            requests.close();
            drop(rooms);
            running.join().await
        });
        Self(sender)
    }

    /// A hub that does what a test says: it hears which rooms are asked for.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (Self, mpsc::Receiver<(RoomName, HubReply)>) {
        let (sender, mut requests) = mpsc::channel::<Request>(REQUESTS_MAX);
        let (asked, asks) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                if let Request::One { room, reply, .. } = request
                    && asked.send((room, reply)).await.is_err()
                {
                    return;
                }
            }
        });
        (Self(sender), asks)
    }

    /// The way to a room, which is opened if it must be.
    pub(crate) async fn open(&self, room: RoomName, opener: Opener) -> Result<RoomHandle, NoRoom> {
        self.ask(room, Some(opener)).await
    }

    /// The way to a room that is open.
    pub(crate) async fn find(&self, room: RoomName) -> Result<RoomHandle, NoRoom> {
        self.ask(room, None).await
    }

    pub(crate) async fn all(&self) -> Result<Vec<RoomName>, NoRoom> {
        let (reply, answer) = oneshot::channel();
        let request = Request::All { reply };
        self.0.send(request).await.map_err(|_| NoRoom::Closing)?;
        answer.await.map_err(|_| NoRoom::Closing)
    }

    async fn ask(&self, room: RoomName, open: Option<Opener>) -> Result<RoomHandle, NoRoom> {
        let (reply, answer) = oneshot::channel();
        let request = Request::One { room, open, reply };
        self.0.send(request).await.map_err(|_| NoRoom::Closing)?;
        answer.await.map_err(|_| NoRoom::Closing)?
    }
}

fn spawn(room: RoomName, common: Common, running: &mut Tasks) -> RoomHandle {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let (ticks, _) = broadcast::channel(TICKS_MAX);
    let me = commands.downgrade();
    let handle = RoomHandle {
        commands,
        ticks,
        gone: Arc::default(),
    };
    let (ticks, gone) = (handle.ticks.clone(), Arc::clone(&handle.gone));
    let task = RoomTask::run(room, common, me, inbox, ticks, gone);
    running.spawn("a room", task);
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> (RoomHandle, mpsc::Receiver<RoomCommand>) {
        let (commands, inbox) = mpsc::channel(1);
        let (ticks, _) = broadcast::channel(1);
        let gone = Arc::default();
        (
            RoomHandle {
                commands,
                ticks,
                gone,
            },
            inbox,
        )
    }

    fn name(n: usize) -> RoomName {
        format!("room-{n}").parse().expect("a room's name")
    }

    /// Opens a room as the hub does. Whoever keeps the handle uses the room.
    fn open(rooms: &mut Rooms, n: usize, opener: Opener) -> Result<RoomHandle, NoRoom> {
        if let Some(handle) = rooms.find(&name(n), Some(opener)) {
            return Ok(handle);
        }
        rooms.admit(opener)?;
        let (handle, _) = handle();
        rooms.insert(name(n), handle.clone(), opener);
        Ok(handle)
    }

    #[test]
    fn one_address_holds_few_rooms_and_keeps_nobody_out() {
        let limits = RoomLimits {
            max: 1_000,
            per_address_max: 10,
        };
        let mut rooms = Rooms::new(limits);
        let opened = (0..1_000).map(|n| open(&mut rooms, n, Opener::Anybody(7)));
        let held: Vec<_> = opened.filter_map(Result::ok).collect();
        assert_eq!(held.len(), 10);
        let refused = open(&mut rooms, 1_000, Opener::Anybody(7)).err();
        assert_eq!(refused, Some(NoRoom::TooManyOfAddress));
        assert!(open(&mut rooms, 1_000, Opener::Anybody(8)).is_ok());
        // Who looks into one room after the other is never refused.
        drop(held);
        for n in 0..1_000 {
            assert!(open(&mut rooms, n, Opener::Anybody(7)).is_ok(), "{n}");
        }
        assert_eq!(rooms.by_address[&7], 10);
    }

    #[test]
    fn shows_find_a_place_among_the_rooms_of_many_addresses() {
        let limits = RoomLimits {
            max: 8,
            per_address_max: 1,
        };
        let mut rooms = Rooms::new(limits);
        let anybody = |n: usize| Opener::Anybody(n as u64);
        let opened = (0..100).map(|n| open(&mut rooms, n, anybody(n)));
        let mut held: Vec<_> = opened.filter_map(Result::ok).collect();
        assert_eq!(held.len(), 6);
        let known: Vec<_> = (100..104)
            .map(|n| open(&mut rooms, n, Opener::Known))
            .collect();
        let open_now = known.iter().filter(|handle| handle.is_ok()).count();
        assert_eq!(open_now, 2, "all places are in use");
        // One that nobody uses makes room for a show, not for another stranger.
        held.pop();
        assert_eq!(
            open(&mut rooms, 200, anybody(200)).err(),
            Some(NoRoom::TooMany)
        );
        assert!(open(&mut rooms, 104, Opener::Known).is_ok());
        // A room to which somebody known comes counts for nobody.
        assert!(open(&mut rooms, 0, Opener::Known).is_ok());
        assert_eq!((rooms.by_anybody, rooms.by_address.get(&0)), (4, None));
        drop((held, known));
        rooms.retain(|_| false);
        assert_eq!(
            (rooms.open.len(), rooms.by_anybody, rooms.by_address.len()),
            (0, 0, 0)
        );
    }
}
