//! Sessions of the media plane as clients of rooms.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lightstick_chat_core::frame::Frame;
use lightstick_chat_core::refusal::{Code, Refusal};
use lightstick_chat_core::room::{ClientKey, answer_frame, closed_frame};
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::{ClientFrame, nonce};
use lightstick_sfu::{ChatCommand, ChatEvent, ChatRefused};
use lightstick_types::{ChatMember, RoomName, SessionId, ShardId};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use crate::address::AddressHasher;
use crate::hub::{Hub, NoRoom, RoomHandle};
use crate::room::{Command, Route};
use crate::shards::Shards;
use crate::stats::PlaneStats;

/// When to ask a room again that is behind.
const AGAIN: Duration = Duration::from_secs(1);
/// Sessions that wait to be connected to one room that is behind. Further ones have their chat
/// closed, and may open it again.
const CONNECTS_WAITING_MAX: usize = 4_096;

/// Carries what happens on data channels to the rooms. It never waits for a room: what must not be
/// lost waits in a queue of that room's own.
pub(crate) struct Bridge {
    pub(crate) hub: Hub,
    pub(crate) shards: Shards,
    pub(crate) addresses: AddressHasher,
    pub(crate) stats: Arc<PlaneStats>,
    pub(crate) next_client: Arc<AtomicU64>,
}

/// A session whose `ctl` is open.
struct Seat {
    room: RoomHandle,
    name: RoomName,
    client: ClientKey,
}

/// What waits for a room whose queue is full: its sessions' comings and goings, and that they have
/// to be brought up to date. At most three commands a session.
#[derive(Default)]
struct Backlog {
    commands: VecDeque<Command>,
    connects: usize,
}

/// A room has room for a command again, or is gone.
type Freed = (RoomName, Result<mpsc::OwnedPermit<Command>, SendError<()>>);
type Waits = FuturesUnordered<Pin<Box<dyn Future<Output = Freed> + Send>>>;

#[derive(Default)]
struct Backlogs {
    of: HashMap<RoomName, Backlog>,
    waits: Waits,
}

impl Backlogs {
    /// Hands a room what must not be lost, behind what waits for it already. False: too many
    /// sessions wait to be connected.
    fn deliver(&mut self, name: &RoomName, room: &RoomHandle, command: Command) -> bool {
        let connects = usize::from(matches!(command, Command::Connect { .. }));
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

    fn wait(&self, name: RoomName, commands: mpsc::Sender<Command>) {
        let freed = async move { (name, commands.reserve_owned().await) };
        self.waits.push(Box::pin(freed));
    }

    /// A session leaves that the room has not heard of: it need not.
    fn forget(&mut self, name: &RoomName, gone: ClientKey) -> bool {
        let Some(backlog) = self.of.get_mut(name) else {
            return false;
        };
        let connects = |command: &Command| matches!(command, Command::Connect { client, .. } if *client == gone);
        let waits = backlog.commands.iter().any(connects);
        if waits {
            backlog.connects -= 1;
            backlog.commands.retain(|command| match command {
                Command::Connect { client, .. } | Command::Resync { client } => *client != gone,
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
            backlog.connects -= usize::from(matches!(command, Command::Connect { .. }));
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
        let mut seats: HashMap<SessionId, Seat> = HashMap::new();
        let mut backlogs = Backlogs::default();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event, &mut seats, &mut backlogs).await,
                    None => return,
                },
                Some(freed) = backlogs.waits.next() => backlogs.freed(freed),
            }
        }
    }

    async fn take(
        &self,
        event: ChatEvent,
        seats: &mut HashMap<SessionId, Seat>,
        backlogs: &mut Backlogs,
    ) {
        match event {
            ChatEvent::Opened {
                shard,
                session,
                member,
            } => match self.connect(shard, session, member, backlogs).await {
                Ok(seat) => {
                    seats.insert(session, seat);
                }
                Err(reason) => self.close(shard, session, reason),
            },
            ChatEvent::Frame {
                shard,
                session,
                bytes,
            } => {
                if let Some(seat) = seats.get(&session) {
                    let client = seat.client;
                    let command = match read(&bytes) {
                        Some(request) => Command::Request { client, request },
                        None => Command::Malformed {
                            client,
                            nonce: nonce::of_protobuf(&bytes),
                        },
                    };
                    self.pass(shard, session, seat, command, backlogs);
                }
            }
            ChatEvent::Refused {
                shard,
                session,
                head,
                why,
            } => {
                if seats.contains_key(&session) {
                    let refusal = match why {
                        ChatRefused::TooFast => Refusal::later(Code::RateLimited, AGAIN),
                        ChatRefused::Unreadable => Code::Malformed.into(),
                    };
                    let frame = answer_frame(nonce::of_protobuf(&head), &Err(refusal));
                    self.shards
                        .command(shard, ChatCommand::Tell { session, frame });
                }
            }
            ChatEvent::Resync { session, .. } => {
                if let Some(Seat { room, name, client }) = seats.get(&session) {
                    backlogs.deliver(name, room, Command::Resync { client: *client });
                }
            }
            ChatEvent::Closed { session, .. } => {
                if let Some(Seat { room, name, client }) = seats.remove(&session)
                    && !backlogs.forget(&name, client)
                {
                    backlogs.deliver(&name, &room, Command::Disconnect { client });
                }
            }
        }
    }

    /// Connects a session to its room, or says why it cannot be.
    async fn connect(
        &self,
        shard: ShardId,
        session: SessionId,
        member: Arc<ChatMember>,
        backlogs: &mut Backlogs,
    ) -> Result<Seat, &'static str> {
        let address = self.addresses.hash(member.address);
        let opener = crate::opener(&member, address);
        let name = member.room.clone();
        // The hub waits for no room.
        let opened = self.hub.open(name.clone(), opener).await;
        let room = opened.map_err(|error| match error {
            NoRoom::TooMany => "rooms_full",
            NoRoom::TooManyOfAddress => "address_rooms_full",
            NoRoom::NotOpen | NoRoom::Closing => "closing",
        })?;
        let client = crate::next_client(&self.next_client);
        let connect = Command::Connect {
            client,
            address,
            member,
            route: Route::Session(shard, session),
        };
        match backlogs.deliver(&name, &room, connect) {
            true => Ok(Seat { room, name, client }),
            false => Err("overloaded"),
        }
    }

    fn pass(
        &self,
        shard: ShardId,
        session: SessionId,
        seat: &Seat,
        command: Command,
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
        let Some(command) = refused else {
            return;
        };
        self.stats.overload.add(1);
        if let Some(frame) = come_again(&command) {
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
fn come_again(command: &Command) -> Option<Frame> {
    let nonce = match command {
        Command::Request {
            request: Request::Hello(_) | Request::React(_) | Request::Ping(_),
            ..
        } => return None,
        Command::Request { request, .. } => nonce::of(request),
        Command::Malformed { nonce, .. } => *nonce,
        _ => return None,
    };
    Some(answer_frame(nonce, &Err(Refusal::later(Code::Full, AGAIN))))
}

fn read(bytes: &[u8]) -> Option<Request> {
    ClientFrame::decode(bytes).ok()?.frame
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto::{Ping, Send, ServerFrame, part};

    use super::*;

    fn handle(capacity: usize) -> (RoomHandle, mpsc::Receiver<Command>) {
        let (commands, inbox) = mpsc::channel(capacity);
        let (ticks, _) = tokio::sync::broadcast::channel(1);
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

    fn keys(inbox: &mut mpsc::Receiver<Command>) -> Vec<(char, u64)> {
        let mut seen = Vec::new();
        while let Ok(command) = inbox.try_recv() {
            seen.push(match command {
                Command::Resync { client } => ('r', client.0),
                Command::Disconnect { client } => ('d', client.0),
                other => panic!("{other:?}"),
            });
        }
        seen
    }

    #[tokio::test]
    async fn what_must_not_be_lost_waits_for_its_room_in_order() {
        let name: RoomName = "slow".parse().expect("a name");
        let (room, mut inbox) = handle(2);
        let mut backlogs = Backlogs::default();
        let resync = |n| Command::Resync {
            client: ClientKey(n),
        };
        for n in 1..=5 {
            assert!(backlogs.deliver(&name, &room, resync(n)));
        }
        let gone = Command::Disconnect {
            client: ClientKey(1),
        };
        assert!(backlogs.deliver(&name, &room, gone));
        let other: RoomName = "quick".parse().expect("a name");
        let (quick, mut quickly) = handle(2);
        assert!(backlogs.deliver(&other, &quick, resync(9)));
        assert_eq!(
            keys(&mut quickly),
            [('r', 9)],
            "one room waits, the other does not"
        );
        let mut seen = keys(&mut inbox);
        while let Some(freed) = backlogs.waits.next().await {
            backlogs.freed(freed);
            seen.extend(keys(&mut inbox));
        }
        assert_eq!(
            seen,
            [('r', 1), ('r', 2), ('r', 3), ('r', 4), ('r', 5), ('d', 1)]
        );
        assert!(backlogs.of.is_empty());
    }

    #[test]
    fn whoever_waits_for_an_answer_is_told_to_come_again() {
        let of = |request| {
            let client = ClientKey(1);
            come_again(&Command::Request { client, request })
        };
        let send = Send {
            nonce: 7,
            ..Send::default()
        };
        let frame = of(Request::Send(send)).expect("an answer");
        let read = ServerFrame::decode(frame.proto().clone()).expect("a frame");
        let Some(part::Part::Refusal(refusal)) = read.parts[0].part.clone() else {
            panic!("{read:?}");
        };
        assert_eq!((refusal.nonce, refusal.code.as_str()), (7, "full"));
        assert!(refusal.retry_after_ms > 0, "{refusal:?}");
        assert!(of(Request::Ping(Ping::default())).is_none());
    }
}
