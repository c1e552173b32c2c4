//! One relay, and what others say to it.

// Virtual time starts somewhere.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_relay_core::limits::{PAYLOAD_MAX, RESUME_MAX, ROOMS_MAX, WANTS_MAX};
use lightstick_relay_core::message::{Alias, Message, Refusal, SubscriptionId};
use lightstick_relay_core::*;
use lightstick_types::{Layer, NodeId, NodeIdentity, RoomId, RoomName, StreamId, TrackId};

const OWN: NodeId = NodeId(1);

fn node(uri: &str) -> NodeIdentity {
    uri.parse().expect("a node")
}

fn room(name: &str) -> RoomName {
    name.parse().expect("a room")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct World {
    relay: Relay,
    now: Instant,
    told: Vec<(RoomId, ToRoom)>,
    events: Vec<Event>,
    sent: Vec<Send>,
    closed: Vec<(LinkId, CloseReason)>,
}

impl World {
    fn new(uri: &str) -> Self {
        Self {
            relay: Relay::new(RelayConfig::new(node(uri), OWN)),
            now: Instant::now(),
            told: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn hub() -> Self {
        Self::new("lightstick://hub?role=hub&region=kr")
    }

    fn poll(&mut self) {
        while let Some(output) = self.relay.poll() {
            match output {
                Output::Send(send) => self.sent.push(send),
                Output::Close { link, reason } => self.closed.push((link, reason)),
                Output::ToRoom { room, message } => self.told.push((room, message)),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn connect(&mut self, link: u32, direction: Direction, certificate: &str) {
        let link = LinkId(link);
        self.relay
            .handle_connected(link, direction, node(certificate), self.now);
        self.poll();
    }

    fn say(&mut self, link: u32, message: &Message) {
        self.bytes(link, Channel::Control, message.encode());
    }

    fn bytes(&mut self, link: u32, channel: Channel, bytes: Bytes) {
        let now = self.now;
        self.relay.handle_message(LinkId(link), channel, bytes, now);
        self.poll();
    }

    fn hello(&mut self, link: u32, uri: &str, id: u32) {
        let hello = Hello {
            versions: VERSIONS,
            id: NodeId(id),
            node: node(uri),
        };
        self.say(link, &Message::Hello(hello));
    }

    /// A parent `origin` with the id 100, on link 1.
    fn with_parent(mut self) -> Self {
        self.link(
            1,
            Direction::ToParent,
            "lightstick://origin?role=origin&region=kr",
            100,
        );
        self
    }

    /// A child `edge` with the id 200, on link 2.
    fn with_child(mut self) -> Self {
        self.link(
            2,
            Direction::ToChild,
            "lightstick://edge?role=edge&region=kr",
            200,
        );
        self
    }

    fn link(&mut self, link: u32, direction: Direction, uri: &str, id: u32) {
        self.connect(link, direction, uri);
        self.hello(link, uri, id);
        let id = NodeId(id);
        let (link, node) = (LinkId(link), node(uri));
        assert!(self.events.contains(&Event::LinkUp { link, id, node }));
    }

    fn local(&mut self, room: u64, local: Local) -> Result<(), LocalError> {
        let done = self.relay.handle_local(RoomId(room), local, self.now);
        self.poll();
        done
    }

    fn open(&mut self, id: u64, name: &str) {
        let name = room(name);
        self.local(id, Local::Open { name }).expect("a new id");
    }

    /// Time passes, and the linked nodes are heard.
    fn pass(&mut self, time: Duration, heard: &[u32]) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + ms(100));
            for link in heard {
                let now = self.now;
                let heartbeat = Bytes::from_static(&[0; 13]);
                self.relay
                    .handle_message(LinkId(*link), Channel::Datagram, heartbeat, now);
            }
            while self.relay.poll_timeout().is_some_and(|at| at <= self.now) {
                self.relay.handle_timeout(self.now);
            }
            self.poll();
        }
    }

    /// What was sent on the control stream of a link since the last time.
    fn said(&mut self, link: u32) -> Vec<Message> {
        let (said, kept) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|send| send.link == LinkId(link) && send.channel == Channel::Control);
        self.sent = kept;
        let said: Vec<Send> = said;
        said.iter()
            .map(|send| Message::decode(send.to_bytes()).expect("a message"))
            .collect()
    }

    fn told(&mut self, room: u64) -> Vec<ToRoom> {
        let told = std::mem::take(&mut self.told);
        let own = told.into_iter().filter(|(id, _)| *id == RoomId(room));
        own.map(|(_, message)| message).collect()
    }
}

fn route(epoch: u64, nodes: &[u32]) -> Route {
    let mut nodes = nodes.iter().map(|node| NodeId(*node));
    let path = Path::from_origin(nodes.next().expect("an origin"));
    Route {
        epoch,
        path: nodes.fold(path, |path, node| path.through(node).expect("a short way")),
        is_stale: false,
    }
}

fn announce(alias: u32, name: &str, route: Route) -> Message {
    Message::Announce {
        alias: Alias(alias),
        room: room(name),
        route,
    }
}

fn subscribe(alias: u32, subscription: u32) -> Message {
    Message::Subscribe {
        alias: Alias(alias),
        subscription: SubscriptionId(subscription),
        resume: Bytes::new(),
    }
}

#[test]
fn who_may_be_linked() {
    use CloseReason::{IdInUse, Identity, Itself, NameInUse, Role};
    use Direction::{ToChild, ToParent};
    for (direction, certificate, hello, id, refusal) in [
        (
            ToChild,
            "edge?role=edge&region=kr",
            "edge?role=edge&region=kr",
            9,
            None,
        ),
        (
            ToChild,
            "edge?role=all&region=kr",
            "edge?role=edge&region=kr",
            9,
            None,
        ),
        (
            ToChild,
            "edge?role=edge&region=kr",
            "edge?role=hub&region=kr",
            9,
            Some(Identity),
        ),
        (
            ToChild,
            "edge?role=edge&region=us",
            "edge?role=edge&region=kr",
            9,
            Some(Identity),
        ),
        (
            ToChild,
            "edge?role=edge&region=kr",
            "edg?role=edge&region=kr",
            9,
            Some(Identity),
        ),
        (
            ToChild,
            "hub?role=hub&region=kr",
            "hub?role=hub&region=kr",
            9,
            Some(Itself),
        ),
        (
            ToChild,
            "edge?role=edge&region=kr",
            "edge?role=edge&region=kr",
            1,
            Some(IdInUse),
        ),
        (
            ToChild,
            "edge?role=edge&region=kr",
            "edge?role=edge&region=kr",
            100,
            Some(IdInUse),
        ),
        (
            ToChild,
            "o?role=origin&region=kr",
            "o?role=origin&region=kr",
            9,
            Some(Role),
        ),
        (
            ToParent,
            "edge?role=edge&region=kr",
            "edge?role=edge&region=kr",
            9,
            Some(Role),
        ),
        (
            ToParent,
            "hub2?role=hub&region=kr",
            "hub2?role=hub&region=kr",
            9,
            None,
        ),
        (
            ToParent,
            "origin?role=all&region=kr",
            "origin?role=origin&region=kr",
            9,
            Some(NameInUse),
        ),
        (
            ToParent,
            "origin?role=all&region=kr",
            "origin?role=origin&region=kr",
            100,
            Some(NameInUse),
        ),
    ] {
        let mut world = World::hub().with_parent();
        let uri = |text: &str| format!("lightstick://{text}");
        world.connect(5, direction, &uri(certificate));
        world.hello(5, &uri(hello), id);
        let closed = world.closed.first().map(|(_, reason)| *reason);
        assert_eq!(closed, refusal, "{direction:?} {certificate} {hello} {id}");
        assert_eq!(
            world.relay.links().count(),
            1 + usize::from(refusal.is_none())
        );
        if let Some(reason) = refusal {
            assert_eq!(world.relay.take_tally().closed(reason), 1);
        }
    }
}

#[test]
fn a_version_from_the_future_is_told_what_is_supported() {
    let mut world = World::hub();
    world.connect(
        1,
        Direction::ToChild,
        "lightstick://edge?role=edge&region=kr",
    );
    let versions = Versions { min: 40, max: 42 };
    world.say(1, &Message::ForeignHello(versions));
    let (_, reason) = world.closed[0];
    assert_eq!(reason, CloseReason::Version(VERSIONS));
    assert!(reason.to_string().ends_with("supported: 1-1"));
    let text = reason.to_string();
    assert_eq!(CloseReason::decode(reason.code(), text.as_bytes()), reason);
}

#[test]
fn a_node_that_restarts_takes_its_place_when_its_last_run_is_silent() {
    let mut world = World::hub().with_child();
    let edge = "lightstick://edge?role=edge&region=kr";
    world.connect(3, Direction::ToChild, edge);
    world.hello(3, edge, 201);
    assert_eq!(world.closed, [(LinkId(3), CloseReason::NameInUse)]);
    world.pass(ms(600), &[]);
    assert!(
        world
            .events
            .contains(&Event::LinkSuspect { link: LinkId(2) })
    );
    world.link(4, Direction::ToChild, edge, 201);
    assert_eq!(world.closed[1], (LinkId(2), CloseReason::Replaced));
    assert_eq!(world.relay.links().count(), 1);
}

#[test]
fn of_two_nodes_that_dial_each_other_one_link_stays_at_both_ends() {
    // `hub` and `zoo`; the link that `hub` has dialled stays, whichever came first.
    for (first, second) in [
        (Direction::ToParent, Direction::ToChild),
        (Direction::ToChild, Direction::ToParent),
    ] {
        let mut world = World::hub();
        let zoo = "lightstick://zoo?role=hub&region=kr";
        world.link(1, first, zoo, 50);
        world.connect(2, second, zoo);
        world.hello(2, zoo, 50);
        let kept: Vec<_> = world.relay.links().map(|link| link.direction).collect();
        assert_eq!(kept, [Direction::ToParent]);
    }
}

#[test]
fn a_peer_without_a_hello_or_a_sound_is_closed() {
    let mut world = World::hub().with_child();
    world.connect(
        1,
        Direction::ToChild,
        "lightstick://mute?role=edge&region=kr",
    );
    world.bytes(1, Channel::Frame, Bytes::from_static(&[0; 9]));
    world.pass(ms(2_900), &[2]);
    assert_eq!(world.closed, []);
    world.pass(ms(200), &[2]);
    assert_eq!(world.closed, [(LinkId(1), CloseReason::HelloTimeout)]);
    world.pass(ms(3_000), &[]);
    assert_eq!(world.closed[1], (LinkId(2), CloseReason::Silent));
    assert!(world.relay.is_empty());
    assert_eq!(world.relay.poll_timeout(), None);
}

#[test]
fn messages_out_of_place_close_the_link() {
    let junk = |number| Message::Unsubscribe {
        subscription: SubscriptionId(number),
    };
    let reroute = |alias, route| Message::Reroute {
        alias: Alias(alias),
        route,
    };
    let good = announce(7, "show", route(1, &[100]));
    let cases = [
        ("a number never given", vec![junk(1)]),
        (
            "a way that ends elsewhere",
            vec![announce(1, "a", route(1, &[99]))],
        ),
        (
            "an alias again",
            vec![good.clone(), announce(7, "other", route(1, &[100]))],
        ),
        (
            "an alias of before",
            vec![good.clone(), announce(6, "other", route(1, &[100]))],
        ),
        (
            "a room again",
            vec![good.clone(), announce(8, "show", route(1, &[100]))],
        ),
        ("an alias never given", vec![reroute(9, route(1, &[100]))]),
        ("a subscription to nothing", vec![subscribe(3, 1)]),
        (
            "a question from above",
            vec![Message::Want {
                room: room("x"),
                hops_left: 1,
            }],
        ),
    ];
    for (what, messages) in cases {
        let mut world = World::hub().with_parent().with_child();
        for message in &messages {
            assert_eq!(world.closed, [], "{what}");
            world.say(1, message);
        }
        assert_eq!(world.closed, [(LinkId(1), CloseReason::Protocol)], "{what}");
        assert_eq!(world.relay.links().count(), 1, "the other link stays");
    }
    let mut world = World::hub().with_parent();
    world.hello(1, "lightstick://origin?role=origin&region=kr", 100);
    assert_eq!(world.closed, [(LinkId(1), CloseReason::Protocol)]);
}

#[test]
fn a_subscription_is_taken_once() {
    for again in [subscribe(1, 1), subscribe(1, 2)] {
        let mut world = World::hub().with_child();
        world.open(1, "show");
        world.local(1, Local::Publish { epoch: 1 }).expect("open");
        world.say(2, &subscribe(1, 1));
        assert_eq!(world.closed, []);
        world.say(2, &again);
        assert_eq!(world.closed, [(LinkId(2), CloseReason::Protocol)]);
        let link = LinkId(2);
        assert_eq!(world.told(1).last(), Some(&ToRoom::Unsubscribed { link }));
    }
}

#[test]
fn floods_close_the_link() {
    let parent = World::hub().with_parent();
    let mut world = parent;
    for n in 1..=ROOMS_MAX as u32 + 1 {
        world.say(1, &announce(n, &format!("room-{n}"), route(1, &[100])));
    }
    assert_eq!(world.closed, [(LinkId(1), CloseReason::TooManyRooms)]);
    assert!(world.relay.is_empty());

    let mut world = World::hub().with_parent();
    let mut count = 0;
    world.say(1, &announce(1, "show", route(1, &[100])));
    while world.closed.is_empty() {
        count += 1;
        let reroute = Message::Reroute {
            alias: Alias(1),
            route: route(count, &[100]),
        };
        world.say(1, &reroute);
    }
    assert_eq!(world.closed, [(LinkId(1), CloseReason::Flooded)]);
    assert!((8_000..9_000).contains(&count), "{count}");

    let mut world = World::hub().with_child();
    world.open(1, "show");
    world.local(1, Local::Publish { epoch: 1 }).expect("open");
    let mut count = 0;
    while world.closed.is_empty() {
        count += 1;
        world.say(2, &subscribe(1, count));
        let subscription = SubscriptionId(count);
        world.say(2, &Message::Unsubscribe { subscription });
    }
    assert_eq!(world.closed[0], (LinkId(2), CloseReason::Flooded));
    assert!((4_000..5_000).contains(&count), "{count}");
}

#[test]
fn a_room_that_leads_back_is_no_room() {
    let mut world = World::hub().with_parent();
    world.say(1, &announce(1, "show", route(1, &[7, OWN.0, 100])));
    assert_eq!(world.events.len(), 1, "no room: {:?}", world.events);
    let reroute = Message::Reroute {
        alias: Alias(1),
        route: route(1, &[100]),
    };
    world.say(1, &reroute);
    world.say(1, &announce(2, "other", route(1, &[100])));
    let reroute = Message::Reroute {
        alias: Alias(2),
        route: route(1, &[OWN.0, 100]),
    };
    world.say(1, &reroute);
    let name = room("other");
    let reason = Withdrawal::Unreachable;
    let withdrawn = Event::RoomWithdrawn { name, reason };
    assert_eq!(world.events.last(), Some(&withdrawn));
    assert_eq!(world.relay.take_tally().get(Count::DropLoop), 2);
    assert_eq!(world.closed, []);
}

#[test]
fn what_is_too_far_away_is_not_passed_on() {
    let mut world = World::hub().with_parent().with_child();
    world.said(2);
    world.say(1, &announce(1, "near", route(1, &[5, 6, 100])));
    assert_eq!(
        world.said(2),
        [announce(1, "near", route(1, &[5, 6, 100, OWN.0]))]
    );
    world.say(1, &announce(2, "far", route(1, &[4, 5, 6, 100])));
    assert_eq!(world.said(2), []);
    // Who asks for it is told so.
    world.say(
        2,
        &Message::Want {
            room: room("far"),
            hops_left: 3,
        },
    );
    assert_eq!(world.said(2), [Message::Unknown { room: room("far") }]);
}

#[test]
fn an_unknown_room_is_asked_for_above_and_told_when_it_begins() {
    let mut world = World::hub().with_parent().with_child();
    world.said(1);
    let want = |hops_left| Message::Want {
        room: room("late"),
        hops_left,
    };
    let unknown = || Message::Unknown { room: room("late") };
    world.say(2, &want(3));
    assert_eq!(world.said(1), [want(2)]);
    world.open(1, "late");
    world.local(1, Local::Watch).expect("open");
    assert_eq!(world.told(1), [], "the parent has not answered yet");
    world.say(1, &unknown());
    assert_eq!(world.told(1), [ToRoom::Unknown]);
    world.said(2);
    world.say(1, &announce(1, "late", route(1, &[100])));
    let link = LinkId(1);
    assert_eq!(world.told(1), [ToRoom::FeedStarted { link }]);
    assert_eq!(
        world.said(2),
        [announce(1, "late", route(1, &[100, OWN.0]))]
    );
    let reason = Withdrawal::Ended;
    let ended = |alias| Message::Withdraw { alias, reason };
    world.say(1, &ended(Alias(1)));
    assert_eq!(
        world.told(1),
        [
            ToRoom::FeedEnded { link },
            ToRoom::Withdrawn(Withdrawal::Ended)
        ]
    );
    assert_eq!(world.said(2), [ended(Alias(1))]);
    // A parent that does not answer is not waited for.
    world.say(2, &want(3));
    world.pass(ms(1_900), &[1, 2]);
    assert_eq!(world.said(2), []);
    world.pass(ms(200), &[1, 2]);
    assert_eq!(world.said(2), [unknown()]);
    assert_eq!(world.told(1), [ToRoom::Unknown]);
}

#[test]
fn questions_are_bounded() {
    let mut world = World::hub().with_child();
    for n in 0..WANTS_MAX + 10 {
        let room = room(&format!("room-{n}"));
        world.say(2, &Message::Want { room, hops_left: 3 });
    }
    let unknown = world.said(2).len() - 1;
    assert_eq!(unknown, WANTS_MAX + 10, "all are answered");
    let now = world.now;
    assert_eq!(world.relay.rooms(now).len(), WANTS_MAX);
    assert_eq!(world.relay.take_tally().get(Count::DropWant), 10);
    world.relay.handle_closed(LinkId(2), None, now);
    assert!(world.relay.is_empty());
}

#[test]
fn rooms_beyond_the_bound_are_announced_when_others_end() {
    let mut world = World::hub().with_child();
    world.said(2);
    for n in 0..ROOMS_MAX as u64 + 76 {
        world.open(n, &format!("room-{n}"));
        world.local(n, Local::Publish { epoch: 1 }).expect("open");
    }
    assert_eq!(world.said(2).len(), ROOMS_MAX);
    assert_eq!(world.relay.take_tally().get(Count::LeftOut), 76);
    for n in 0..100 {
        world.local(n, Local::Close).expect("open");
    }
    let said = world.said(2);
    let is_announcement = |message: &&Message| matches!(message, Message::Announce { .. });
    assert_eq!(said.iter().filter(is_announcement).count(), 76);
    assert_eq!(said.len(), 176);
    assert_eq!(world.closed, []);
}

#[test]
fn a_subscription_lingers() {
    let mut world = World::new("lightstick://edge-1?role=edge&region=kr").with_parent();
    world.say(1, &announce(1, "show", route(1, &[100])));
    world.open(1, "show");
    let points = Bytes::from_static(b"from here");
    world.local(1, Local::Resume(points.clone())).expect("open");
    let long = Bytes::from(vec![0; RESUME_MAX + 1]);
    assert_eq!(
        world.local(1, Local::Resume(long)),
        Err(LocalError::TooLong)
    );
    world.said(1);
    world.local(1, Local::Watch).expect("open");
    let subscribed = |resume| Message::Subscribe {
        alias: Alias(1),
        subscription: SubscriptionId(1),
        resume,
    };
    assert_eq!(world.said(1), [subscribed(points)]);
    for (local, time) in [
        (Local::Unwatch, 9_000),
        (Local::Watch, 60_000),
        (Local::Unwatch, 9_900),
    ] {
        world.local(1, local).expect("open");
        world.pass(ms(time), &[1]);
        assert_eq!(world.said(1), []);
    }
    world.pass(ms(200), &[1]);
    let subscription = SubscriptionId(1);
    assert_eq!(world.said(1), [Message::Unsubscribe { subscription }]);
    assert_eq!(world.told(1).last(), Some(&ToRoom::Idle));
    // A link that leaves is not held up by it.
    world.local(1, Local::Watch).expect("open");
    world.local(1, Local::Unwatch).expect("open");
    world.said(1);
    world.say(1, &Message::GoAway { after_ms: 5_000 });
    let subscription = SubscriptionId(2);
    assert_eq!(world.said(1), [Message::Unsubscribe { subscription }]);
    // What was on its way is dropped.
    world.bytes(1, Channel::Frame, Bytes::from_static(&[0, 0, 0, 1, 0]));
    world.bytes(1, Channel::Datagram, Bytes::from_static(&[1, 0, 0, 0, 9]));
    let tally = world.relay.take_tally();
    assert_eq!(
        (tally.get(Count::DropLate), tally.get(Count::DropUnknown)),
        (1, 1)
    );
}

#[test]
fn a_room_that_is_refused_is_not_asked_for_at_once() {
    let mut world = World::new("lightstick://edge-1?role=edge&region=kr").with_parent();
    world.say(1, &announce(1, "show", route(1, &[100])));
    world.open(1, "show");
    world.local(1, Local::Watch).expect("open");
    let subscriptions = |world: &mut World| {
        let said = world.said(1);
        let is_subscription = |message: &&Message| matches!(message, Message::Subscribe { .. });
        said.iter().filter(is_subscription).count()
    };
    assert_eq!(subscriptions(&mut world), 1);
    let refused = Message::Refused {
        subscription: SubscriptionId(1),
        reason: Refusal::NoSource,
    };
    world.say(1, &refused);
    world.pass(ms(900), &[1]);
    assert_eq!(subscriptions(&mut world), 0);
    world.pass(ms(200), &[1]);
    assert_eq!(subscriptions(&mut world), 1);
}

#[test]
fn a_room_that_cannot_be_opened_is_refused() {
    let mut world = World::hub().with_parent().with_child();
    world.say(1, &announce(1, "show", route(1, &[100])));
    world.said(2);
    world.say(2, &subscribe(1, 1));
    let name = room("show");
    let needed = Event::RoomNeeded { name: name.clone() };
    assert_eq!(world.events.last(), Some(&needed));
    world.relay.refuse_room(&name, world.now);
    world.poll();
    let refused = Message::Refused {
        subscription: SubscriptionId(1),
        reason: Refusal::NoSource,
    };
    assert_eq!(world.said(2), [refused]);
    // The next time there is room for it.
    world.say(2, &subscribe(1, 2));
    world.open(1, "show");
    let (link, resume) = (LinkId(2), Bytes::new());
    let told = [
        ToRoom::Subscribed { link, resume },
        ToRoom::FeedStarted { link: LinkId(1) },
    ];
    assert_eq!(world.told(1), told);
}

#[test]
fn the_higher_epoch_counts_and_the_other_origin_is_told() {
    let mut world = World::hub().with_parent().with_child();
    world.open(1, "show");
    world.local(1, Local::Publish { epoch: 5 }).expect("open");
    world.say(1, &announce(1, "show", route(4, &[100])));
    assert_eq!(world.told(1), []);
    let reroute = Message::Reroute {
        alias: Alias(1),
        route: route(6, &[100]),
    };
    world.say(1, &reroute);
    let source = RoomSource {
        epoch: 6,
        origin: NodeId(100),
    };
    assert_eq!(world.told(1), [ToRoom::Superseded(source)]);
    // Under one epoch the greater node counts.
    for (epoch, own_counts) in [(6, false), (7, true)] {
        world.local(1, Local::Publish { epoch }).expect("open");
        assert_eq!(world.told(1).is_empty(), own_counts, "{epoch}");
    }
    world.said(2);
    world.local(1, Local::Unpublish).expect("open");
    let rerouted = Message::Reroute {
        alias: Alias(1),
        route: route(6, &[100, OWN.0]),
    };
    assert_eq!(world.said(2), [rerouted]);
}

#[test]
fn shows_and_chat_go_through() {
    let mut world = World::hub().with_parent().with_child();
    world.say(1, &announce(1, "show", route(1, &[100])));
    world.open(1, "show");
    world.local(1, Local::Watch).expect("open");
    world.say(2, &subscribe(1, 1));
    world.said(1);
    world.said(2);
    world.told(1);
    let subscription = SubscriptionId(1);
    let show = |epoch, version| Message::Show {
        subscription,
        epoch,
        version,
        state: Bytes::from_static(b"live"),
    };
    for (epoch, version, is_new) in [
        (1, 3, true),
        (1, 2, false),
        (1, 3, false),
        (0, 9, false),
        // Beyond what the announcement says.
        (2, 1, false),
        (1, 4, true),
    ] {
        world.say(1, &show(epoch, version));
        let told = world.told(1).len();
        assert_eq!(
            (told, world.said(2).len()),
            (usize::from(is_new), usize::from(is_new))
        );
    }
    let payload = Bytes::from_static(b"hello");
    let up = |from| Message::ChatUp {
        subscription,
        from: NodeId(from),
        payload: payload.clone(),
    };
    world.say(2, &up(200));
    assert_eq!(world.said(1), [up(200)]);
    world.say(2, &up(OWN.0));
    assert_eq!(world.said(1), [], "somebody speaks for this node");
    world.local(1, Local::ChatUp(payload.clone())).expect("fed");
    assert_eq!(world.said(1), [up(OWN.0)]);
    for (to, here, below) in [
        (None, 1, 1),
        (Some(OWN), 1, 0),
        (Some(NodeId(200)), 0, 1),
        (Some(NodeId(999)), 0, 0),
    ] {
        let payload = payload.clone();
        let down = Message::ChatDown {
            subscription,
            to,
            payload,
        };
        world.say(1, &down);
        assert_eq!(
            (world.told(1).len(), world.said(2).len()),
            (here, below),
            "{to:?}"
        );
    }
    assert_eq!(world.relay.take_tally().get(Count::DropChat), 2);
    let late = Local::ChatDown { to: None, payload };
    assert_eq!(world.local(1, late), Err(LocalError::NotPublished));
}

#[test]
fn media_leave_on_their_channels_in_time() {
    let mut world = World::hub().with_child();
    world.open(1, "show");
    world.local(1, Local::Publish { epoch: 1 }).expect("open");
    world.say(2, &subscribe(1, 1));
    world.sent.clear();
    let video = |layer| TrackId::FIRST_VIDEO.layer(layer);
    let frame = |stream, is_keyframe, is_past| Class::Frame {
        stream,
        is_keyframe,
        is_past,
    };
    for (class, len, channel, priority, expiry) in [
        (Class::Control, 9, Channel::Control, Priority::Control, None),
        (
            Class::Audio,
            200,
            Channel::Datagram,
            Priority::Audio,
            Some(400),
        ),
        (
            Class::Audio,
            1_200,
            Channel::Frame,
            Priority::Audio,
            Some(400),
        ),
        (
            frame(video(Layer::Low), true, false),
            9,
            Channel::Frame,
            Priority::BaseKeyframe,
            Some(400),
        ),
        (
            frame(video(Layer::Low), false, false),
            9,
            Channel::Frame,
            Priority::Base,
            Some(400),
        ),
        (
            frame(video(Layer::Medium), true, false),
            9,
            Channel::Frame,
            Priority::Mid,
            Some(400),
        ),
        (
            frame(video(Layer::High), true, false),
            9,
            Channel::Frame,
            Priority::High,
            Some(400),
        ),
        (
            frame(video(Layer::High), true, true),
            9,
            Channel::Frame,
            Priority::CatchUp,
            Some(2_000),
        ),
    ] {
        let payload = Bytes::from(vec![7; len]);
        let to = LinkId(2);
        world
            .local(1, Local::Down { to, class, payload })
            .expect("subscribed");
        let sent = world.sent.pop().expect("it is sent");
        assert_eq!(
            (sent.channel, sent.priority),
            (channel, priority),
            "{class:?}"
        );
        let deadline = expiry.map(|expiry| world.now + ms(expiry));
        assert_eq!(sent.deadline, deadline, "{class:?}");
        assert_eq!(sent.body.len() == len, channel != Channel::Control);
    }
    let to = LinkId(2);
    let payload = Bytes::from(vec![0; PAYLOAD_MAX + 1]);
    let class = Class::Control;
    let long = Local::Down { to, class, payload };
    assert_eq!(world.local(1, long), Err(LocalError::TooLong));
    let (to, payload) = (LinkId(9), Bytes::new());
    let nobody = Local::Down { to, class, payload };
    assert_eq!(world.local(1, nobody), Err(LocalError::NotSubscribed));
}

#[test]
fn a_full_link_leaves_out_a_layer_and_says_so() {
    let mut world = World::hub().with_child();
    world.open(1, "show");
    world.local(1, Local::Publish { epoch: 1 }).expect("open");
    world.say(2, &subscribe(1, 1));
    let to = LinkId(2);
    let stream = |layer: Layer| -> StreamId { TrackId::FIRST_VIDEO.layer(layer) };
    let send = |world: &mut World, layer, is_keyframe| {
        world.sent.clear();
        let class = Class::Frame {
            stream: stream(layer),
            is_keyframe,
            is_past: false,
        };
        let payload = Bytes::from_static(b"frame");
        world
            .local(1, Local::Down { to, class, payload })
            .expect("subscribed");
        world.sent.pop()
    };
    let old = send(&mut world, Layer::Low, false).expect("sent");
    let new = send(&mut world, Layer::Low, true).expect("sent");
    let high = send(&mut world, Layer::High, true).expect("sent");
    assert!(old.is_superseded_by(&new) && !new.is_superseded_by(&old));
    assert!(!old.is_superseded_by(&high));
    world.told(1);
    world.relay.handle_backlog(to, ms(120), world.now);
    assert!(send(&mut world, Layer::Low, false).is_some());
    assert!(send(&mut world, Layer::High, false).is_none());
    assert!(send(&mut world, Layer::High, true).is_none());
    let held = ToRoom::Held {
        link: to,
        stream: stream(Layer::High),
    };
    assert_eq!(world.told(1), [held]);
    world.pass(ms(600), &[2]);
    world.relay.handle_backlog(to, Duration::ZERO, world.now);
    assert!(
        send(&mut world, Layer::High, false).is_none(),
        "up to a keyframe"
    );
    assert!(send(&mut world, Layer::High, true).is_some());
    assert_eq!(world.relay.take_tally().get(Count::DropFull), 3);
}

#[test]
fn a_node_that_drains_says_when_everybody_has_left() {
    let mut world = World::hub().with_parent().with_child();
    world.say(1, &announce(1, "show", route(1, &[100])));
    world.say(2, &subscribe(1, 1));
    world.open(1, "show");
    world.said(1);
    world.said(2);
    world.relay.drain(ms(5_000), world.now);
    world.poll();
    let go_away = Message::GoAway { after_ms: 5_000 };
    assert_eq!(
        (world.said(1), world.said(2)),
        (vec![go_away.clone()], vec![go_away])
    );
    world.connect(
        3,
        Direction::ToChild,
        "lightstick://edge-3?role=edge&region=kr",
    );
    assert_eq!(world.closed, [(LinkId(3), CloseReason::Draining)]);
    assert!(!world.events.contains(&Event::Drained));
    let subscription = SubscriptionId(1);
    world.say(2, &Message::Unsubscribe { subscription });
    assert!(world.events.contains(&Event::Drained));
    world.say(2, &subscribe(1, 2));
    let reason = Refusal::Draining;
    let subscription = SubscriptionId(2);
    let refused = Message::Refused {
        subscription,
        reason,
    };
    assert_eq!(world.said(2), [refused]);
    world.pass(ms(5_100), &[1, 2]);
    let drained = |link| (LinkId(link), CloseReason::Drained);
    assert_eq!(world.closed[1..], [drained(1), drained(2)]);
}
