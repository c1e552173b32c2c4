//! What another node says over a link.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_relay_core::limits::ROOMS_MAX;
use lightstick_relay_core::message::{Alias, Message, SubscriptionId};
use lightstick_relay_core::{
    Channel, Class, CloseReason, Direction, Event, Hello, LinkId, Local, Output, Relay,
    RelayConfig, ToRoom, VERSIONS,
};
use lightstick_types::{NodeId, NodeIdentity, RoomId, RoomName};

/// A message of the control stream, behind the code of a close. What is read can be written and read
/// again.
pub fn relay_message(data: &[u8]) {
    read_message(data);
}

/// Whether there was a message.
fn read_message(data: &[u8]) -> bool {
    let Some((code, rest)) = data.split_first_chunk() else {
        return false;
    };
    let reason = CloseReason::decode(u32::from_be_bytes(*code), rest);
    let again = CloseReason::decode(reason.code(), reason.to_string().as_bytes());
    assert_eq!(reason, again);
    assert!(reason.index() < CloseReason::COUNT);
    let Ok(message) = Message::decode(Bytes::copy_from_slice(rest)) else {
        return false;
    };
    assert_eq!(Message::decode(message.encode()), Ok(message));
    true
}

/// Messages, each behind its channel and its length in two bytes. Whatever they say, the links and rooms
/// of others stay as they are.
pub fn relay_link(data: &[u8]) {
    walk(data);
}

const GOOD: LinkId = LinkId(1);
const LIAR: LinkId = LinkId(2);
/// Of the good link's room, which is published here, and of one that comes from wherever it may.
const OWN_ROOM: RoomId = RoomId(1);
const OTHER_ROOM: RoomId = RoomId(2);

fn node(uri: &str) -> NodeIdentity {
    uri.parse().expect("a node")
}

struct World {
    relay: Relay,
    now: Instant,
    heartbeat: Option<Bytes>,
    outputs: usize,
    /// What the liar has reached: the room's owner was told of it.
    told: usize,
    feeds: BTreeMap<LinkId, usize>,
    is_liar_closed: bool,
}

impl World {
    fn drain(&mut self) {
        while let Some(output) = self.relay.poll() {
            self.outputs += 1;
            match output {
                Output::Send(send) if send.link == GOOD && send.channel == Channel::Datagram => {
                    self.heartbeat = Some(send.to_bytes());
                }
                Output::Send(send) if send.channel == Channel::Control => {
                    let message = Message::decode(send.to_bytes());
                    assert!(message.is_ok(), "{message:?}");
                }
                Output::Close { link, reason } => {
                    assert_eq!(link, LIAR, "{reason}");
                    self.is_liar_closed = true;
                }
                Output::Event(Event::RoomNeeded { name }) => {
                    self.relay.refuse_room(&name, self.now);
                }
                Output::ToRoom { room, message } => self.tell(room, &message),
                Output::Send(_) | Output::Event(_) => {}
            }
        }
    }

    fn tell(&mut self, room: RoomId, message: &ToRoom) {
        self.told += 1;
        match message {
            ToRoom::FeedStarted { link } => *self.feeds.entry(*link).or_default() += 1,
            ToRoom::FeedEnded { link } => assert!(self.feeds.contains_key(link)),
            ToRoom::Down { link, .. } => {
                assert_eq!((room, *link), (OTHER_ROOM, LIAR));
            }
            _ => {}
        }
    }

    fn hello(&mut self, link: LinkId, uri: &str, id: u32) {
        let hello = Message::Hello(Hello {
            versions: VERSIONS,
            id: NodeId(id),
            node: node(uri),
        });
        let (now, bytes) = (self.now, hello.encode());
        self.relay
            .handle_message(link, Channel::Control, bytes, now);
        self.drain();
    }

    fn local(&mut self, room: RoomId, local: Local) {
        let done = self.relay.handle_local(room, local, self.now);
        assert_eq!(done, Ok(()));
        self.drain();
    }

    /// The good node goes on, and time passes.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        if let Some(heartbeat) = self.heartbeat.take() {
            let now = self.now;
            self.relay
                .handle_message(GOOD, Channel::Datagram, heartbeat, now);
        }
        self.relay.handle_timeout(self.now);
        assert!(self.relay.poll_timeout().is_some_and(|at| at > self.now));
        self.drain();
    }
}

/// How much the owners of rooms were told because of it.
fn walk(data: &[u8]) -> usize {
    let config = RelayConfig::new(node("lightstick://hub?role=all&region=kr"), NodeId(1));
    let mut world = World {
        relay: Relay::new(config),
        now: Instant::now(),
        heartbeat: None,
        outputs: 0,
        told: 0,
        feeds: BTreeMap::new(),
        is_liar_closed: false,
    };
    for (link, direction, uri, id) in [
        (
            GOOD,
            Direction::ToChild,
            "lightstick://edge?role=edge&region=kr",
            9,
        ),
        (
            LIAR,
            Direction::ToParent,
            "lightstick://liar?role=all&region=us",
            8,
        ),
    ] {
        let now = world.now;
        world
            .relay
            .handle_connected(link, direction, node(uri), now);
        world.hello(link, uri, id);
    }
    let own: RoomName = "own".parse().expect("a name");
    let other: RoomName = "other".parse().expect("a name");
    for (room, name) in [(OWN_ROOM, &own), (OTHER_ROOM, &other)] {
        let name = name.clone();
        world.local(room, Local::Open { name });
    }
    world.local(OWN_ROOM, Local::Publish { epoch: 5 });
    world.local(OTHER_ROOM, Local::Watch);
    let subscribe = Message::Subscribe {
        alias: Alias(1),
        subscription: SubscriptionId(1),
        resume: Bytes::new(),
    };
    let now = world.now;
    world
        .relay
        .handle_message(GOOD, Channel::Control, subscribe.encode(), now);
    world.drain();
    let told = world.told;

    let mut rest = data;
    let mut messages = 0;
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        messages += 1;
        let channel = match head[0] {
            0 => Channel::Control,
            1 => Channel::Frame,
            2 => Channel::Datagram,
            _ => {
                // A while passes.
                world.pass(Duration::from_millis(length.min(550) as u64));
                rest = after;
                continue;
            }
        };
        let (message, after) = after.split_at(length.min(after.len()));
        rest = after;
        let bytes = Bytes::copy_from_slice(message);
        let now = world.now;
        world.relay.handle_message(LIAR, channel, bytes, now);
        world.drain();
    }
    // Each message makes this node say something to each link and owner at most.
    assert!(world.outputs < 64 + 24 * messages, "{}", world.outputs);
    for link in world.relay.links() {
        assert!(link.link != LIAR || (link.heard <= ROOMS_MAX && !world.is_liar_closed));
    }
    let now = world.now;
    let rooms = world.relay.rooms(now);
    let room = |name: &RoomName| rooms.iter().find(|room| room.name == *name);
    let own = room(&own).expect("it is published");
    let is_served = world
        .relay
        .links()
        .any(|link| link.link == GOOD && link.serving == 1);
    assert!(is_served && own.published == Some(5) && own.feeds.is_empty());
    // And what is said to the good node goes out.
    let down = Local::Down {
        to: GOOD,
        class: Class::Audio,
        payload: Bytes::from_static(b"sound"),
    };
    let before = world.outputs;
    world.local(OWN_ROOM, down);
    assert_eq!(world.outputs, before + 1);
    world.relay.handle_closed(LIAR, None, now);
    world.drain();
    assert!(world.relay.rooms(now).len() <= 2);
    world.told - told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_gets_past_the_checks() {
        for file in [
            &include_bytes!("../corpus/relay_message/announce")[..],
            include_bytes!("../corpus/relay_message/chat_down"),
            include_bytes!("../corpus/relay_message/hello"),
            include_bytes!("../corpus/relay_message/later_hello"),
            include_bytes!("../corpus/relay_message/subscribe"),
        ] {
            assert!(read_message(file));
        }
        for (file, least) in [
            (&include_bytes!("../corpus/relay_link/feeds")[..], 6),
            (include_bytes!("../corpus/relay_link/subscribes"), 3),
            (include_bytes!("../corpus/relay_link/moves"), 3),
        ] {
            let told = walk(file);
            assert!(told >= least, "{told}");
        }
    }
}
