//! Sessions of the media plane as clients of rooms.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lightstick_chat_core::refusal::{Code, Refusal};
use lightstick_chat_core::room::{ClientKey, answer_frame, closed_frame};
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::{ClientFrame, nonce};
use lightstick_chat_wire::Frame;
use lightstick_sfu::{ChatCommand, ChatEvent, ChatRefused};
use lightstick_types::{ChatMember, RoomName, SessionId, ShardId};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use crate::address::AddressHasher;
use crate::command::{RoomCommand, Route};
use crate::hub::{Hub, NoRoom, RoomHandle};
use crate::shards::Shards;
use crate::stats::PlaneStats;

/// When to ask a room again that is behind.
const AGAIN: Duration = Duration::from_secs(1);
/// Sessions that wait to be connected to one room that is behind. Further ones have their chat
/// closed, and may open it again.
const CONNECTS_WAITING_MAX: usize = 4_096;

/// Frames of a session that wait for its room to be found. More are refused as a room's own are that
/// is behind.
const EARLY_MAX: usize = 32;

/// Carries what happens on data channels to the rooms. It waits for no room and for nobody who finds
/// one: what must not be lost waits in a queue of that room's own, or of that session's.
pub(crate) struct Bridge {
    pub(crate) hub: Hub,
    pub(crate) shards: Shards,
    pub(crate) addresses: AddressHasher,
    pub(crate) stats: Arc<PlaneStats>,
    pub(crate) next_client: Arc<AtomicU64>,
}

/// A session whose `ctl` is open.
enum Seat {
    /// Its room is being found.
    Opening {
        client: ClientKey,
        /// What it has sent meanwhile.
        early: Vec<RoomCommand>,
    },
    Taken(Taken),
}

struct Taken {
    room: RoomHandle,
    name: RoomName,
    client: ClientKey,
}

impl Seat {
    fn client(&self) -> ClientKey {
        match self {
            Self::Opening { client, .. } => *client,
            Self::Taken(taken) => taken.client,
        }
    }
}

/// A session's room was found, or not.
struct Found {
    shard: ShardId,
    session: SessionId,
    client: ClientKey,
    member: Arc<ChatMember>,
    address: u64,
    room: Result<RoomHandle, NoRoom>,
}

/// What waits for a room whose queue is full: its sessions' comings and goings, and that they have
/// to be brought up to date. At most three commands a session.
#[derive(Default)]
struct Backlog {
    commands: VecDeque<RoomCommand>,
    connects: usize,
}

/// A room has room for a command again, or is gone.
type Freed = (
    RoomName,
    Result<mpsc::OwnedPermit<RoomCommand>, SendError<()>>,
);
type Waits<T> = FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>;

/// What the bridge keeps.
#[derive(Default)]
struct State {
    seats: HashMap<SessionId, Seat>,
    opening: Waits<Found>,
    backlogs: Backlogs,
}

#[derive(Default)]
struct Backlogs {
    of: HashMap<RoomName, Backlog>,
    waits: Waits<Freed>,
}

impl Backlogs {
    /// Hands a room what must not be lost, behind what waits for it already. False: too many
    /// sessions wait to be connected.
    fn deliver(&mut self, name: &RoomName, room: &RoomHandle, command: RoomCommand) -> bool {
        let connects = usize::from(matches!(command, RoomCommand::Connect { .. }));
        if let Some(backlog) = self.of.get_mut(name) {
            if backlog.connects + connects > CONNECTS_WAITING_MAX {
                return false;
            }
            backlog.connects += connects;
            backlog.commands.push_back(command);
            return true;
        }
        // A room that is gone has panicked; its clients see no more of it.
        if let Err(TrySendError::Full(command)) = room.commands.try_send(command) {
            let backlog = Backlog {
                commands: VecDeque::from([command]),
                connects,
            };
            self.of.insert(name.clone(), backlog);
            self.wait(name.clone(), room.commands.clone());
        }
        true
    }

    fn wait(&self, name: RoomName, commands: mpsc::Sender<RoomCommand>) {
        let freed = async move { (name, commands.reserve_owned().await) };
        self.waits.push(Box::pin(freed));
    }

    /// A session leaves that the room has not heard of: it need not.
    fn forget(&mut self, name: &RoomName, gone: ClientKey) -> bool {
        let Some(backlog) = self.of.get_mut(name) else {
            return false;
        };
        let connects = |command: &RoomCommand| matches!(command, RoomCommand::Connect { client, .. } if *client == gone);
        let waits = backlog.commands.iter().any(connects);
        if waits {
            backlog.connects -= 1;
            backlog.commands.retain(|command| match command {
                RoomCommand::Connect { client, .. } | RoomCommand::Resync { client } => {
                    *client != gone
                }
                _ => true,
            });
        }
        waits
    }

    fn freed(&mut self, (name, permit): Freed) {
        let Some(backlog) = self.of.get_mut(&name) else {
            return;
        };
        let Ok(mut permit) = permit else {
            self.of.remove(&name);
            return;
        };
        loop {
            let Some(command) = backlog.commands.pop_front() else {
                self.of.remove(&name);
                return;
            };
            backlog.connects -= usize::from(matches!(command, RoomCommand::Connect { .. }));
            let sender = permit.send(command);
            if backlog.commands.is_empty() {
                self.of.remove(&name);
                return;
            }
            permit = match sender.try_reserve_owned() {
                Ok(permit) => permit,
                Err(TrySendError::Full(sender) | TrySendError::Closed(sender)) => {
                    return self.wait(name, sender);
                }
            };
        }
    }
}

impl Bridge {
    /// Runs until the media plane is gone.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<ChatEvent>) {
        let mut state = State::default();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event, &mut state),
                    None => return,
                },
                Some(found) = state.opening.next() => self.found(found, &mut state),
                Some(freed) = state.backlogs.waits.next() => state.backlogs.freed(freed),
            }
        }
    }

    fn take(&self, event: ChatEvent, state: &mut State) {
        match event {
            ChatEvent::Opened {
                shard,
                session,
                member,
            } => {
                let client = crate::next_client(&self.next_client);
                let early = Vec::new();
                state.seats.insert(session, Seat::Opening { client, early });
                state
                    .opening
                    .push(Box::pin(self.find(shard, session, client, member)));
            }
            ChatEvent::Frame {
                shard,
                session,
                bytes,
            } => {
                if let Some(seat) = state.seats.get_mut(&session) {
                    let client = seat.client();
                    let command = match read(&bytes) {
                        Some(request) => RoomCommand::Request { client, request },
                        None => RoomCommand::Malformed {
                            client,
                            nonce: nonce::of_protobuf(&bytes),
                        },
                    };
                    match seat {
                        Seat::Taken(taken) => {
                            self.pass(shard, session, taken, command, &state.backlogs);
                        }
                        Seat::Opening { early, .. } if early.len() < EARLY_MAX => {
                            early.push(command);
                        }
                        Seat::Opening { .. } => self.refuse(shard, session, &command),
                    }
                }
            }
            ChatEvent::Refused {
                shard,
                session,
                head,
                why,
            } => {
                if state.seats.contains_key(&session) {
                    let refusal = match why {
                        ChatRefused::TooFast => Refusal::later(Code::RateLimited, AGAIN),
                        ChatRefused::Unreadable => Code::Malformed.into(),
                    };
                    let frame = answer_frame(nonce::of_protobuf(&head), &Err(refusal));
                    self.shards
                        .command(shard, ChatCommand::Tell { session, frame });
                }
            }
            // Whoever is not in its room yet has missed nothing of it.
            ChatEvent::Resync { session, .. } => {
                if let Some(Seat::Taken(taken)) = state.seats.get(&session) {
                    let client = taken.client;
                    let resync = RoomCommand::Resync { client };
                    state.backlogs.deliver(&taken.name, &taken.room, resync);
                }
            }
            ChatEvent::Closed { session, .. } => {
                if let Some(Seat::Taken(Taken { room, name, client })) =
                    state.seats.remove(&session)
                    && !state.backlogs.forget(&name, client)
                {
                    let disconnect = RoomCommand::Disconnect { client };
                    state.backlogs.deliver(&name, &room, disconnect);
                }
            }
        }
    }

    /// Finds a session's room, and opens it if it must.
    fn find(
        &self,
        shard: ShardId,
        session: SessionId,
        client: ClientKey,
        member: Arc<ChatMember>,
    ) -> impl Future<Output = Found> + Send + use<> {
        let hub = self.hub.clone();
        let address = self.addresses.hash(member.address);
        async move {
            let opener = crate::opener(&member, address);
            Found {
                shard,
                session,
                client,
                address,
                room: hub.open(member.room.clone(), opener).await,
                member,
            }
        }
    }

    /// Connects a session to its room, or closes its chat and says why.
    fn found(&self, found: Found, state: &mut State) {
        let Found {
            shard,
            session,
            client,
            member,
            address,
            room,
        } = found;
        // It may have left meanwhile, and come again.
        let early = match state.seats.get_mut(&session) {
            Some(Seat::Opening { client: now, early }) if *now == client => std::mem::take(early),
            _ => return,
        };
        let name = member.room.clone();
        let connected = room
            .map_err(|error| match error {
                NoRoom::TooMany => "rooms_full",
                NoRoom::TooManyOfAddress => "address_rooms_full",
                NoRoom::NotOpen | NoRoom::Closing => "closing",
            })
            .and_then(|room| {
                let connect = RoomCommand::Connect {
                    client,
                    address,
                    member,
                    route: Route::Session(shard, session),
                };
                match state.backlogs.deliver(&name, &room, connect) {
                    true => Ok(Taken { room, name, client }),
                    false => Err("overloaded"),
                }
            });
        match connected {
            Ok(taken) => {
                for command in early {
                    self.pass(shard, session, &taken, command, &state.backlogs);
                }
                state.seats.insert(session, Seat::Taken(taken));
            }
            Err(reason) => {
                state.seats.remove(&session);
                self.close(shard, session, reason);
            }
        }
    }

    fn pass(
        &self,
        shard: ShardId,
        session: SessionId,
        seat: &Taken,
        command: RoomCommand,
        backlogs: &Backlogs,
    ) {
        // Not ahead of those that wait.
        let refused = match backlogs.of.contains_key(&seat.name) {
            true => Some(command),
            false => match seat.room.commands.try_send(command) {
                Err(TrySendError::Full(command)) => Some(command),
                Ok(()) | Err(TrySendError::Closed(_)) => None,
            },
        };
        if let Some(command) = refused {
            self.refuse(shard, session, &command);
        }
    }

    fn refuse(&self, shard: ShardId, session: SessionId, command: &RoomCommand) {
        self.stats.overload.add(1);
        if let Some(frame) = come_again(command) {
            self.shards
                .command(shard, ChatCommand::Tell { session, frame });
        }
    }

    fn close(&self, shard: ShardId, session: SessionId, reason: &'static str) {
        let frame = closed_frame(reason);
        self.shards
            .command(shard, ChatCommand::Tell { session, frame });
        self.shards.command(shard, ChatCommand::Close { session });
    }
}

/// What a client is told whose request its room has no place for; `None`: it waits for no answer.
fn come_again(command: &RoomCommand) -> Option<Frame> {
    let nonce = match command {
        RoomCommand::Request {
            request: Request::Hello(_) | Request::React(_) | Request::Ping(_),
            ..
        } => return None,
        RoomCommand::Request { request, .. } => nonce::of(request),
        RoomCommand::Malformed { nonce, .. } => *nonce,
        _ => return None,
    };
    Some(answer_frame(nonce, &Err(Refusal::later(Code::Full, AGAIN))))
}

fn read(bytes: &[u8]) -> Option<Request> {
    ClientFrame::decode(bytes).ok()?.frame
}

#[cfg(test)]
mod tests;
