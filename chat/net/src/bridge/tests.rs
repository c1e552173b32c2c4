//! What the bridge keeps waiting, and whom it keeps waiting for it.

use std::net::Ipv4Addr;

use bytes::Bytes;
use lightstick_chat_proto::{Ping, Send, ServerFrame, part};
use lightstick_sfu::{MediaConfig, MediaPlane};
use lightstick_types::ChatRole;

use crate::hub::HubReply;

use super::*;

fn handle(capacity: usize) -> (RoomHandle, mpsc::Receiver<RoomCommand>) {
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

fn keys(inbox: &mut mpsc::Receiver<RoomCommand>) -> Vec<(char, u64)> {
    let mut seen = Vec::new();
    while let Ok(command) = inbox.try_recv() {
        seen.push(match command {
            RoomCommand::Resync { client } => ('r', client.0),
            RoomCommand::Disconnect { client } => ('d', client.0),
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
    let resync = |n| RoomCommand::Resync {
        client: ClientKey(n),
    };
    for n in 1..=5 {
        assert!(backlogs.deliver(&name, &room, resync(n)));
    }
    let gone = RoomCommand::Disconnect {
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
        come_again(&RoomCommand::Request { client, request })
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

/// A bridge, whose hub is the test, and what a shard's chat says to it.
struct World {
    events: mpsc::Sender<ChatEvent>,
    asked: mpsc::Receiver<(RoomName, HubReply)>,
    _running: tokio::task::JoinSet<()>,
}

impl World {
    fn start() -> Self {
        let media = MediaConfig {
            shards: 1,
            pin: false,
            port: 0,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            ..MediaConfig::default()
        };
        let (media, _, _) = MediaPlane::start(media).expect("a media plane");
        let (hub, asked) = Hub::by_hand();
        let stats = Arc::<PlaneStats>::default();
        let bridge = Bridge {
            hub,
            shards: Shards::new(media, Arc::clone(&stats)),
            addresses: AddressHasher::new(&[7; 32]),
            stats,
            next_client: Arc::new(AtomicU64::new(1)),
        };
        let (events, inbox) = mpsc::channel(64);
        let mut running = tokio::task::JoinSet::new();
        running.spawn(bridge.run(inbox));
        Self {
            events,
            asked,
            _running: running,
        }
    }

    async fn opens(&self, room: &str) -> SessionId {
        let session = SessionId::random();
        self.opens_again(session, room).await;
        session
    }

    async fn opens_again(&self, session: SessionId, room: &str) {
        let member = ChatMember {
            room: room.parse().expect("a name"),
            user: "fan".to_owned(),
            name: "fan".to_owned(),
            role: ChatRole::Member,
            write: true,
            caption: false,
            address: Ipv4Addr::LOCALHOST.into(),
            anonymous: false,
            show: true,
        };
        let opened = ChatEvent::Opened {
            shard: ShardId(0),
            session,
            member: Arc::new(member),
        };
        self.events.send(opened).await.expect("a bridge");
    }

    async fn says(&self, session: SessionId, nonce: u64) {
        let frame = ClientFrame {
            frame: Some(Request::Send(Send {
                nonce,
                ..Send::default()
            })),
        };
        let frame = ChatEvent::Frame {
            shard: ShardId(0),
            session,
            bytes: Bytes::from(frame.encode_to_vec()),
        };
        self.events.send(frame).await.expect("a bridge");
    }

    async fn leaves(&self, session: SessionId) {
        let shard = ShardId(0);
        let closed = ChatEvent::Closed { shard, session };
        self.events.send(closed).await.expect("a bridge");
    }
}

/// The next command to a room, in a word.
async fn next(inbox: &mut mpsc::Receiver<RoomCommand>) -> String {
    match inbox.recv().await.expect("a bridge") {
        RoomCommand::Connect { client, .. } => format!("connect {}", client.0),
        RoomCommand::Disconnect { client } => format!("disconnect {}", client.0),
        RoomCommand::Request {
            client,
            request: Request::Send(send),
        } => format!("send {} {}", client.0, send.nonce),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_room_that_is_not_found_yet_holds_up_no_other() {
    let mut world = World::start();
    let slow = world.opens("slow").await;
    let (name, slow_reply) = world.asked.recv().await.expect("a bridge");
    assert_eq!(name.as_str(), "slow");
    world.says(slow, 1).await;
    world.says(slow, 2).await;

    let quick = world.opens("quick").await;
    let (name, reply) = world.asked.recv().await.expect("a bridge");
    assert_eq!(name.as_str(), "quick");
    let (room, mut inbox) = handle(8);
    assert!(reply.send(Ok(room)).is_ok());
    world.says(quick, 3).await;
    assert_eq!(next(&mut inbox).await, "connect 2");
    assert_eq!(next(&mut inbox).await, "send 2 3");

    let (room, mut inbox) = handle(8);
    assert!(slow_reply.send(Ok(room)).is_ok());
    for expected in ["connect 1", "send 1 1", "send 1 2"] {
        assert_eq!(next(&mut inbox).await, expected);
    }
    world.leaves(slow).await;
    assert_eq!(next(&mut inbox).await, "disconnect 1");
}

#[tokio::test]
async fn whoever_leaves_before_its_room_is_found_was_never_there() {
    let mut world = World::start();
    let fan = world.opens("slow").await;
    let (_, first) = world.asked.recv().await.expect("a bridge");
    world.says(fan, 1).await;
    world.leaves(fan).await;
    world.opens_again(fan, "slow").await;
    let (_, second) = world.asked.recv().await.expect("a bridge");
    let (room, mut inbox) = handle(8);
    assert!(first.send(Ok(room.clone())).is_ok());
    assert!(second.send(Ok(room)).is_ok());
    world.says(fan, 2).await;
    assert_eq!(next(&mut inbox).await, "connect 2");
    assert_eq!(next(&mut inbox).await, "send 2 2");
}
