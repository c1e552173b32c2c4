use std::time::{Duration, Instant};

use lightstick_types::rate::Rate;
use lightstick_types::{
    Codec, HintCode, Layer, RoomId, RoomName, SessionId, ShardId, StreamId, TrackId,
};

use super::*;

const SHARD: ShardId = ShardId(3);

/// A registry in virtual time.
struct World {
    rooms: Rooms,
    now: Instant,
    next: u128,
}

impl World {
    fn new(config: RoomsConfig) -> Self {
        Self {
            rooms: Rooms::new(config),
            now: Instant::now(),
            next: 0,
        }
    }

    fn admit(
        &mut self,
        room: &str,
        who: &str,
        role: Role,
        takeover: bool,
    ) -> Result<(SessionId, RoomId), Refusal> {
        self.next += 1;
        let mut request = self.admission(room, Some(who), role, 1);
        request.takeover = takeover;
        let session = request.session;
        let room = self.rooms.admit(self.now, request)?;
        Ok((session, room))
    }

    /// With the newest number.
    fn admission(&self, room: &str, who: Option<&str>, role: Role, address: u8) -> Admission {
        Admission {
            session: SessionId::from_u128(self.next),
            room: name(room),
            role,
            participant: who.map(Into::into),
            takeover: false,
            address: [192, 0, 2, address].into(),
        }
    }

    /// A viewer without a token.
    fn guest(&mut self, room: &str, address: u8) -> Result<SessionId, Refusal> {
        self.next += 1;
        let request = self.admission(room, None, Role::Viewer, address);
        let session = request.session;
        self.rooms.admit(self.now, request)?;
        assert_eq!(self.rooms.opened(self.now, session, SHARD), Opened::Kept);
        Ok(session)
    }

    fn join(&mut self, room: &str, who: &str, role: Role) -> Result<SessionId, Refusal> {
        let (session, _) = self.admit(room, who, role, false)?;
        assert_eq!(self.rooms.opened(self.now, session, SHARD), Opened::Kept);
        Ok(session)
    }

    fn publish(&mut self, room: &str, who: &str) -> Result<SessionId, Refusal> {
        self.join(room, who, Role::Publisher)
    }

    fn watch(&mut self, room: &str) -> Result<SessionId, Refusal> {
        self.join(room, "fan", Role::Viewer)
    }

    /// A publisher whose media flows.
    fn live(&mut self, room: &str, who: &str) -> SessionId {
        let session = self.publish(room, who).unwrap();
        self.media(room);
        session
    }

    /// The first media of the room's youngest publisher.
    fn media(&mut self, room: &str) {
        let sessions = self
            .rooms
            .view()
            .list_sessions(self.now, &name(room), 0, 1_000)
            .unwrap();
        let publishes = |session: &&SessionSummary| session.role == Role::Publisher;
        let session = sessions.iter().rfind(publishes).unwrap().session;
        self.ready(session);
    }

    /// Its first media: once promoted, a track starts.
    fn ready(&mut self, session: SessionId) {
        self.rooms.publisher_ready(self.now, session);
        self.rooms
            .track_started(self.now, session, TrackId::FIRST_VIDEO, Codec::H264);
    }

    fn publishing(&self, room: &str) -> Vec<SessionId> {
        let sessions = self
            .rooms
            .view()
            .list_sessions(self.now, &name(room), 0, 1_000)
            .unwrap();
        let publishing = sessions.iter().filter(|session| session.publishing);
        publishing.map(|session| session.session).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.rooms.handle_timeout(self.now);
    }

    fn lose(&mut self, session: SessionId) {
        self.rooms
            .closed(self.now, session, LeaveReason::ConsentExpired);
    }

    fn activity(&self, room: &str) -> Option<Activity> {
        self.rooms
            .view()
            .room(self.now, &name(room))
            .map(|room| room.activity)
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.rooms.poll_effect()).collect()
    }

    /// The names of the events since the last look, and the sessions to close.
    fn news(&mut self) -> (Vec<&'static str>, Vec<SessionId>) {
        let (mut events, mut closed) = (Vec::new(), Vec::new());
        for effect in self.effects() {
            match effect {
                Effect::Close { session, shard } => {
                    assert_eq!(shard, SHARD);
                    closed.push(session);
                }
                Effect::Event(event) => events.push(match event {
                    Event::RoomStarted { .. } => "started",
                    Event::RoomEnded { .. } => "ended",
                    Event::PublisherInterrupted { .. } => "interrupted",
                    Event::PublisherReturned { .. } => "returned",
                    Event::SessionJoined { .. } => "joined",
                    Event::SessionLeft { .. } => "left",
                    Event::LayersChanged { .. } => "layers",
                    Event::MainChanged { .. } => "main",
                    Event::HintsChanged { .. } => "hints",
                }),
                Effect::Promote { shard, .. } => {
                    assert_eq!(shard, SHARD);
                    events.push("promoted");
                }
                Effect::Main { .. }
                | Effect::EndShow(_)
                | Effect::RoomChanged(_)
                | Effect::RoomGone(_) => {}
            }
        }
        (events, closed)
    }
}

fn name(room: &str) -> RoomName {
    room.parse().unwrap()
}

fn config() -> RoomsConfig {
    RoomsConfig::default()
}

const GRACE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_show_from_first_viewer_to_end() {
    let mut world = World::new(config());
    let fan = world.watch("a").unwrap();
    assert_eq!(world.activity("a"), Some(Activity::NotStarted));
    let idol = world.publish("a", "idol").unwrap();
    assert_eq!(world.activity("a"), Some(Activity::NotStarted), "no media");
    world.media("a");
    assert_eq!(world.activity("a"), Some(Activity::Live));
    assert_eq!(world.news().0, ["joined", "joined", "promoted", "started"]);

    assert!(world.rooms.delete(world.now, idol));
    assert_eq!(world.activity("a"), Some(Activity::Ended), "no grace");
    let (events, closed) = world.news();
    assert_eq!(events, ["left", "ended"]);
    assert_eq!(closed, [idol]);
    assert!(!world.rooms.delete(world.now, idol), "only once");

    // A new show in the same room finds the same viewers there.
    world.live("a", "idol");
    assert_eq!(world.news().0, ["joined", "promoted", "started"]);
    let room = world.rooms.view().room(world.now, &name("a")).unwrap();
    assert_eq!((room.viewers, room.activity), (1, Activity::Live));
    world.lose(fan);
    assert_eq!(world.rooms.view().counts().viewers, 0);
    assert_eq!(world.news().1, [], "the media plane has closed it");
}

#[test]
fn a_lost_publisher_may_return_within_the_grace() {
    let mut world = World::new(config());
    let fan = world.watch("a").unwrap();
    let idol = world.live("a", "idol");
    world.lose(idol);
    assert_eq!(world.activity("a"), Some(Activity::Interrupted));
    assert_eq!(world.publish("a", "rival"), Err(Refusal::RoomBusy));
    world.pass(GRACE - MOMENT);
    assert_eq!(world.activity("a"), Some(Activity::Interrupted));
    world.news();
    let before = world.rooms.view().room(world.now, &name("a")).unwrap().id;
    world.live("a", "idol");
    assert_eq!(world.news().0, ["joined", "promoted", "returned"]);
    let room = world.rooms.view().room(world.now, &name("a")).unwrap();
    assert_eq!((room.id, room.viewers), (before, 1));
    // The grace that was running is over with the return.
    world.pass(2 * GRACE);
    assert_eq!(world.activity("a"), Some(Activity::Live));
    assert!(world.rooms.delete(world.now, fan));
}

#[test]
fn the_grace_ends_and_so_does_the_lingering() {
    let mut world = World::new(config());
    let fan = world.watch("a").unwrap();
    let idol = world.live("a", "idol");
    world.lose(idol);
    world.news();
    assert_eq!(
        world.rooms.poll_timeout().map(|at| at <= world.now + GRACE),
        Some(true)
    );
    world.pass(GRACE);
    assert_eq!(world.activity("a"), Some(Activity::Ended));
    assert_eq!(world.news().0, ["ended"]);
    world.pass(config().ended_linger);
    assert_eq!(world.activity("a"), None);
    assert_eq!(world.news(), (vec!["left"], vec![fan]));
    assert_eq!(world.rooms.view().session_count(), 0);
    assert_eq!(world.rooms.poll_timeout(), None);
}

#[test]
fn a_return_that_never_sends_media_does_not_hold_the_room_for_ever() {
    let mut world = World::new(config());
    world.watch("a").unwrap();
    let idol = world.live("a", "idol");
    world.lose(idol);
    let again = world.publish("a", "idol").unwrap();
    world.pass(2 * GRACE);
    assert_eq!(
        world.activity("a"),
        Some(Activity::Interrupted),
        "they are here"
    );
    world.lose(again);
    world.pass(MOMENT);
    assert_eq!(world.activity("a"), Some(Activity::Ended));
}

#[test]
fn second_publishers() {
    let mut world = World::new(config());
    let first = world.live("a", "idol");
    assert_eq!(world.publish("a", "rival"), Err(Refusal::RoomBusy));
    world.news();

    // The same participant returns while the old session hangs.
    let (second, _) = world.admit("a", "idol", Role::Publisher, false).unwrap();
    assert_eq!(world.rooms.opened(world.now, second, SHARD), Opened::Kept);
    world.rooms.connected(second);
    assert_eq!(world.news(), (vec!["joined"], vec![]));
    assert_eq!(world.publishing("a"), [first], "until it brings media");
    world
        .rooms
        .track_started(world.now, second, TrackId::AUDIO, Codec::Opus);
    let idol = world.rooms.view().room(world.now, &name("a")).unwrap();
    assert_eq!(idol.tracks, [(TrackId::FIRST_VIDEO, Codec::H264)]);
    world.ready(second);
    assert_eq!(world.news(), (vec!["promoted", "left"], vec![first]));
    assert_eq!(world.publishing("a"), [second]);
    assert_eq!(world.activity("a"), Some(Activity::Live), "without a break");
    world.lose(first);
    world.ready(first);
    world.ready(second);
    assert_eq!(world.news(), (vec![], vec![]), "a late report says nothing");

    // A bad offer of a return leaves the show alone.
    let (bad, _) = world.admit("a", "idol", Role::Publisher, false).unwrap();
    world.rooms.open_failed(world.now, bad);
    assert_eq!(world.activity("a"), Some(Activity::Live));
    assert_eq!(world.news(), (vec![], vec![]));

    // Somebody with the grant takes over.
    let (third, _) = world.admit("a", "manager", Role::Publisher, true).unwrap();
    assert_eq!(world.rooms.opened(world.now, third, SHARD), Opened::Kept);
    assert_eq!(world.publish("a", "idol"), Err(Refusal::RoomBusy));
    world.media("a");
    assert_eq!(world.news().1, [second]);
    assert_eq!(world.publish("a", "idol"), Err(Refusal::RoomBusy));
    assert_eq!(world.rooms.view().counts().publishers, 1);
}

#[test]
fn of_parked_sessions_the_youngest_that_brings_media_wins() {
    let mut world = World::new(config());
    let live = world.live("a", "idol");
    let publisher = Role::Publisher;
    let (opening, _) = world.admit("a", "idol", publisher, false).unwrap();
    assert_eq!(
        world.admit("a", "rival", publisher, false),
        Err(Refusal::RoomBusy)
    );
    let second = world.publish("a", "idol").unwrap();
    world.news();
    let third = world.publish("a", "idol").unwrap();
    assert_eq!(world.news().0, ["joined"], "one that was opening goes");
    assert_eq!(world.rooms.opened(world.now, opening, SHARD), Opened::Gone);
    assert_eq!(world.news(), (vec![], vec![opening]));
    let fourth = world.publish("a", "idol").unwrap();
    assert_eq!(world.news(), (vec!["left", "joined"], vec![second]));
    assert_eq!(world.rooms.view().counts().publishers, 1 + PARKED_MAX);

    // An older one comes first, and the youngest all the same.
    world.ready(third);
    assert_eq!(world.news(), (vec!["promoted", "left"], vec![live]));
    world.ready(fourth);
    assert_eq!(world.news(), (vec!["promoted", "left"], vec![third]));
    // The youngest comes first: those before it have nothing left to wait for.
    let fifth = world.publish("a", "idol").unwrap();
    let sixth = world.publish("a", "idol").unwrap();
    world.news();
    world.ready(sixth);
    let (events, closed) = world.news();
    assert_eq!(events, ["promoted", "left", "left"]);
    assert_eq!(closed, [fifth, fourth]);
    assert_eq!(world.rooms.view().counts().publishers, 1);
    assert_eq!(world.activity("a"), Some(Activity::Live));
}

#[test]
fn a_parked_session_that_goes_leaves_the_show_alone() {
    let lost = |reason| {
        move |world: &mut World, session| {
            world.rooms.closed(world.now, session, reason);
        }
    };
    type End = Box<dyn Fn(&mut World, SessionId)>;
    let ends: [(&str, End); 6] = [
        (
            "it never connects",
            Box::new(lost(LeaveReason::ConnectTimeout)),
        ),
        ("it sends nothing", Box::new(lost(LeaveReason::NoMedia))),
        (
            "its DTLS fails",
            Box::new(lost(LeaveReason::TransportError)),
        ),
        (
            "its client gives up",
            Box::new(lost(LeaveReason::Abandoned)),
        ),
        (
            "it is deleted",
            Box::new(|world, session| {
                assert!(world.rooms.delete(world.now, session));
            }),
        ),
        (
            "it is kicked",
            Box::new(|world, session| {
                let number = world.rooms.view().number(session).unwrap();
                assert!(world.rooms.kick(world.now, &name("a"), number));
            }),
        ),
    ];
    for (what, end) in &ends {
        for connected in [false, true] {
            let mut world = World::new(config());
            let live = world.live("a", "idol");
            let parked = world.publish("a", "idol").unwrap();
            if connected {
                world.rooms.connected(parked);
            }
            world.news();
            end(&mut world, parked);
            let (events, closed) = world.news();
            assert_eq!(events, ["left"], "{what}");
            assert!(!closed.contains(&live), "{what}");
            assert_eq!(world.publishing("a"), [live], "{what}");
            assert_eq!(world.activity("a"), Some(Activity::Live), "{what}");
            assert!(!world.rooms.delete_lost(world.now, &name("a"), parked));
            assert_eq!(world.rooms.view().counts().publishers, 1);
        }
    }
}

#[test]
fn a_room_waits_for_one_that_is_parked() {
    // However the publisher goes, another session of theirs is on the way.
    for way in 0..3 {
        let mut world = World::new(config());
        let live = world.live("a", "idol");
        let parked = world.publish("a", "idol").unwrap();
        world.news();
        match way {
            0 => world.lose(live),
            1 => assert!(world.rooms.delete(world.now, live)),
            _ => {
                let number = world.rooms.view().number(live).unwrap();
                assert!(world.rooms.kick(world.now, &name("a"), number));
            }
        }
        assert_eq!(world.news().0, ["left", "interrupted"]);
        world.pass(2 * GRACE);
        assert_eq!(world.activity("a"), Some(Activity::Interrupted));
        world.ready(parked);
        assert_eq!(world.news().0, ["promoted", "returned"]);
        assert_eq!(world.publishing("a"), [parked]);
    }
}

#[test]
fn a_return_that_is_deleted_before_its_media_ends_the_show() {
    let mut world = World::new(config());
    let live = world.live("a", "idol");
    let parked = [(); 2].map(|()| world.publish("a", "idol").unwrap());
    world.lose(live);
    world.news();
    assert!(world.rooms.delete(world.now, parked[0]));
    assert_eq!(world.news().0, ["left"], "the other is on the way");
    assert!(world.rooms.delete(world.now, parked[1]));
    assert_eq!(world.news().0, ["left", "ended"]);

    // The same where its connection went first.
    let mut world = World::new(config());
    world.watch("a").unwrap();
    let live = world.live("a", "idol");
    world.lose(live);
    let parked = world.publish("a", "idol").unwrap();
    world.lose(parked);
    assert_eq!(world.activity("a"), Some(Activity::Interrupted));
    assert!(world.rooms.delete_lost(world.now, &name("a"), parked));
    assert_eq!(world.activity("a"), Some(Activity::Ended));
}

#[test]
fn a_reload_that_deletes_late_keeps_the_show() {
    let mut world = World::new(config());
    let old = world.live("a", "idol");
    let (new, _) = world.admit("a", "idol", Role::Publisher, false).unwrap();
    assert!(world.rooms.delete(world.now, old));
    assert_eq!(world.activity("a"), Some(Activity::Interrupted));
    assert_eq!(world.rooms.opened(world.now, new, SHARD), Opened::Kept);
    world.media("a");
    assert_eq!(world.activity("a"), Some(Activity::Live));

    // So late that the new one has taken over.
    let newest = world.live("a", "idol");
    assert!(!world.rooms.delete(world.now, new));
    assert!(!world.rooms.delete_lost(world.now, &name("a"), new));
    assert_eq!(world.publishing("a"), [newest]);
    assert_eq!(world.activity("a"), Some(Activity::Live));
}

#[test]
fn a_delete_after_the_connection_ends_the_show() {
    let mut world = World::new(config());
    world.watch("a").unwrap();
    let first = world.live("a", "idol");
    world.lose(first);
    let second = world.live("a", "idol");
    assert!(
        !world.rooms.delete_lost(world.now, &name("a"), first),
        "the idol is back"
    );
    assert_eq!(world.activity("a"), Some(Activity::Live));

    world.lose(second);
    for (room, session) in [("a", first), ("b", second)] {
        assert!(!world.rooms.delete_lost(world.now, &name(room), session));
    }
    let (third, _) = world.admit("a", "idol", Role::Publisher, false).unwrap();
    assert!(
        !world.rooms.delete_lost(world.now, &name("a"), second),
        "the idol is on the way back"
    );
    world.rooms.open_failed(world.now, third);
    assert_eq!(world.activity("a"), Some(Activity::Interrupted));

    world.news();
    assert!(world.rooms.delete_lost(world.now, &name("a"), second));
    assert_eq!(world.activity("a"), Some(Activity::Ended));
    assert_eq!(world.news().0, ["ended"]);
    assert!(!world.rooms.delete_lost(world.now, &name("a"), second));
}

#[test]
fn a_show_without_media_neither_starts_nor_ends() {
    let mut world = World::new(config());
    world.watch("a").unwrap();
    for end in [true, false] {
        let idol = world.publish("a", "idol").unwrap();
        world.news();
        if end {
            world.rooms.delete(world.now, idol);
        } else {
            world.lose(idol);
        }
        assert_eq!(world.news().0, ["left"]);
        assert_eq!(world.activity("a"), Some(Activity::NotStarted));
    }
    assert_eq!(world.rooms.view().counts().rooms_started, 0);
}

#[test]
fn viewers_who_may_not_wait() {
    let mut world = World::new(RoomsConfig {
        viewers_wait: false,
        ..config()
    });
    let not_live = Err(Refusal::NotLive {
        retry_after: config().retry_after,
    });
    assert_eq!(world.watch("a"), not_live);
    assert_eq!(world.activity("a"), None, "no room is left behind");
    let idol = world.publish("a", "idol").unwrap();
    assert_eq!(world.watch("a"), not_live);
    world.media("a");
    world.watch("a").unwrap();
    world.lose(idol);
    assert_eq!(world.watch("a"), not_live);
}

#[test]
fn limits_refuse_with_their_names() {
    let limits = Limits {
        rooms_max: 2,
        waiting_rooms_max: 1,
        viewers_per_room_max: 2,
        sessions_per_address_max: 6,
        ..Limits::default()
    };
    let mut world = World::new(RoomsConfig { limits, ..config() });
    let retry_after = config().retry_after;
    world.watch("a").unwrap();
    assert_eq!(world.watch("b"), Err(Refusal::RoomsFull { retry_after }));
    world.watch("a").unwrap();
    assert_eq!(world.watch("a"), Err(Refusal::RoomFull { retry_after }));
    // Waiting viewers keep no artist out, and a started room makes room to wait.
    let idol = world.publish("a", "idol").unwrap();
    world.watch("b").unwrap();
    world.publish("c", "idol").unwrap();
    assert_eq!(
        world.publish("b", "idol"),
        Err(Refusal::RoomsFull { retry_after })
    );
    world
        .publish("a", "idol")
        .expect("a return needs no new room");
    world.lose(idol);
    world.watch("b").unwrap();
    let full = Err(Refusal::AddressFull { retry_after });
    assert_eq!(world.watch("c"), full);
    world
        .publish("a", "idol")
        .expect("it replaces one of its own");
    assert_eq!(world.watch("c"), full);
}

#[test]
fn waiting_rooms_are_shared_among_clients() {
    let limits = Limits {
        waiting_rooms_max: 4,
        waiting_rooms_per_client_max: 2,
        ..Limits::default()
    };
    let mut world = World::new(RoomsConfig { limits, ..config() });
    let full = Err(Refusal::RoomsFull {
        retry_after: config().retry_after,
    });
    // One address holds its share, and joins what others have opened.
    let first = world.guest("a", 1).unwrap();
    world.guest("b", 1).unwrap();
    assert_eq!(world.guest("c", 1), full);
    world.guest("c", 2).unwrap();
    world.guest("c", 1).unwrap();
    world.guest("d", 2).unwrap();
    assert_eq!(world.guest("e", 3), full);
    // Guests hold all of theirs; whoever has a token opens rooms none the less, up to a share too.
    world.watch("e").unwrap();
    world.watch("f").unwrap();
    assert_eq!(world.watch("g"), full);
    assert_eq!(world.rooms.registry.waiting.counts(), (6, 3));
    // A room that is gone, and one that has begun, make room.
    world.rooms.delete(world.now, first);
    world.guest("h", 1).unwrap();
    world.publish("b", "idol").unwrap();
    world.guest("i", 1).unwrap();
    assert_eq!(world.guest("j", 1), full);
    assert_eq!(world.rooms.registry.waiting.counts(), (6, 3));
    world.rooms.close_all(world.now);
    assert_eq!(world.rooms.registry.waiting.counts(), (0, 0));
}

#[test]
fn nonsense_takes_no_joins_from_others() {
    let limits = Limits {
        joins: Rate::new(60, 10),
        refused_offers_per_address: Rate::new(60, 5),
        ..Limits::default()
    };
    let mut world = World::new(RoomsConfig { limits, ..config() });
    let mut refused = 0;
    for round in 0..20 {
        for address in 100..200 {
            world.next += 1;
            let request = world.admission("a", None, Role::Viewer, address);
            let session = request.session;
            match world.rooms.admit(world.now, request) {
                Ok(_) => world.rooms.offer_refused(world.now, session),
                Err(Refusal::OffersRefused { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(round >= 10 || world.guest("fan", 1).is_ok(), "a fan's join");
    }
    assert_eq!(
        refused,
        100 * (20 - 5),
        "each address has a budget of nonsense"
    );
    assert!(matches!(
        world.guest("fan", 1),
        Err(Refusal::JoinRate { .. })
    ));
}

#[test]
fn join_rates_refuse_and_recover() {
    let limits = Limits {
        joins_per_address: Rate::new(60, 2),
        ..Limits::default()
    };
    let mut world = World::new(RoomsConfig { limits, ..config() });
    world.watch("a").unwrap();
    world.watch("a").unwrap();
    let Err(Refusal::AddressRate { retry_after }) = world.watch("a") else {
        panic!("the burst is used up");
    };
    world.pass(retry_after);
    world.watch("a").unwrap();

    let limits = Limits {
        joins: Rate::new(60, 1),
        ..Limits::default()
    };
    let mut world = World::new(RoomsConfig { limits, ..config() });
    world.watch("a").unwrap();
    assert!(matches!(world.watch("a"), Err(Refusal::JoinRate { .. })));
}

#[test]
fn administrators_kick_and_close() {
    let mut world = World::new(config());
    let fan = world.watch("a").unwrap();
    let other = world.watch("a").unwrap();
    let idol = world.live("a", "idol");
    let number = |world: &World, id| world.rooms.view().number(id).unwrap();
    world.news();
    let (room, elsewhere) = (name("a"), name("b"));
    let n = number(&world, fan);
    assert!(!world.rooms.kick(world.now, &elsewhere, n));
    assert!(world.rooms.kick(world.now, &room, n));
    assert!(!world.rooms.kick(world.now, &room, n));
    assert_eq!(world.news(), (vec!["left"], vec![fan]));
    let n = number(&world, idol);
    assert!(world.rooms.kick(world.now, &room, n));
    assert_eq!(world.activity("a"), Some(Activity::Ended));
    assert_eq!(world.news(), (vec!["left", "ended"], vec![idol]));
    assert!(world.rooms.close_room(world.now, &room));
    assert_eq!(world.news(), (vec!["left"], vec![other]));
    assert!(!world.rooms.close_room(world.now, &room));
    assert_eq!(world.rooms.view().counts(), Counts::default());
}

#[test]
fn room_ids_are_never_used_again() {
    let mut world = World::new(config());
    let mut last = RoomId(0);
    for _ in 0..3 {
        let (fan, room) = world.admit("a", "fan", Role::Viewer, false).unwrap();
        assert!(room > last);
        last = room;
        world.rooms.open_failed(world.now, fan);
        assert_eq!(world.activity("a"), None);
    }
}

#[test]
fn a_drain_refuses_and_a_close_empties() {
    let mut world = World::new(config());
    world.live("a", "idol");
    world.watch("a").unwrap();
    let (opening, _) = world.admit("b", "fan", Role::Viewer, false).unwrap();
    world.rooms.drain();
    assert!(matches!(world.watch("a"), Err(Refusal::Draining { .. })));
    world.news();
    world.rooms.close_all(world.now);
    assert_eq!(world.rooms.view().session_count(), 0);
    assert_eq!(world.rooms.view().counts(), Counts::default());
    let (events, closed) = world.news();
    assert_eq!((events.len(), closed.len()), (3, 2));
    assert_eq!(world.rooms.opened(world.now, opening, SHARD), Opened::Gone);
    assert_eq!(world.news().1, [opening]);
}

#[test]
fn counts_are_told_at_most_once_an_interval() {
    let mut world = World::new(config());
    let told = |world: &mut World| {
        let changed = |effect: &Effect| matches!(effect, Effect::RoomChanged(_));
        world.effects().iter().filter(|e| changed(e)).count()
    };
    for _ in 0..100 {
        world.watch("a").unwrap();
    }
    assert_eq!(told(&mut world), 1);
    assert_eq!(
        world.rooms.poll_timeout(),
        Some(world.now + config().count_interval)
    );
    world.pass(config().count_interval);
    assert_eq!(told(&mut world), 1);
    assert_eq!(world.rooms.poll_timeout(), None);
    let id = world.rooms.view().room(world.now, &name("a")).unwrap().id;
    assert_eq!(world.rooms.view().status(id).unwrap().viewers, 100);
}

#[test]
fn layers_are_told_when_they_differ() {
    let mut world = World::new(config());
    let idol = world.live("a", "idol");
    let parked = world.publish("a", "idol").unwrap();
    world.news();
    for (layers, told) in [
        (vec![Layer::Low], vec!["layers"]),
        (vec![Layer::Low], vec![]),
        (vec![Layer::Low, Layer::High], vec!["layers"]),
    ] {
        let stream = |layer| StreamId {
            track: TrackId::FIRST_VIDEO,
            layer,
        };
        let streams = layers.into_iter().map(stream).collect();
        world.rooms.layers_changed(idol, streams);
        assert_eq!(world.news().0, told);
    }
    for other in [parked, SessionId::from_u128(99)] {
        world.rooms.layers_changed(other, vec![]);
        assert_eq!(world.news().0, Vec::<&str>::new());
    }
    world.lose(idol);
    assert_eq!(world.news().0, ["left", "layers", "interrupted"]);
}

#[test]
fn another_track_is_shown_first() {
    let mut world = World::new(config());
    let [first, second, third] = [0, 1, 2].map(|index| TrackId::video(index).unwrap());
    let main = |world: &World| {
        let room = world.rooms.view().room(world.now, &name("a")).unwrap();
        let status = world.rooms.view().status(room.id).unwrap();
        assert_eq!(status.main, room.main);
        (room.main, status.tracks.len())
    };
    let told = |world: &mut World| {
        let effects = world.effects().into_iter();
        let told = effects.filter_map(|effect| match effect {
            Effect::Main { track, .. } => Some((track, None)),
            Effect::Event(Event::MainChanged { main, .. }) => Some((None, Some(main))),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let choose = |world: &mut World, track| world.rooms.set_main(&name("a"), track, None);
    assert_eq!(choose(&mut world, Some(first)), Err(NoMain::Room));
    world.watch("a").unwrap();
    assert_eq!(choose(&mut world, Some(first)), Err(NoMain::Track));
    assert_eq!(main(&world), (None, 0));

    let idol = world.publish("a", "idol").unwrap();
    world.rooms.announced(idol, 2);
    assert_eq!(
        choose(&mut world, Some(first)),
        Err(NoMain::Track),
        "parked"
    );
    world.ready(idol);
    assert_eq!(main(&world), (Some(first), 2));
    told(&mut world);
    for (track, want, event) in [
        (Some(first), first, None),
        (Some(second), second, Some(second)),
        (Some(second), second, None),
        (None, first, Some(first)),
        (Some(second), second, Some(second)),
    ] {
        assert_eq!(choose(&mut world, track), Ok(()));
        assert_eq!(main(&world).0, Some(want));
        let event = event.map(|main| (None, Some(main)));
        let want: Vec<_> = [(track, None)].into_iter().chain(event).collect();
        assert_eq!(told(&mut world), want);
    }
    for track in [third, TrackId::AUDIO] {
        assert_eq!(choose(&mut world, Some(track)), Err(NoMain::Track));
    }
    for (who, want) in [("rival", Err(NoMain::Busy)), ("idol", Ok(()))] {
        let found = world
            .rooms
            .set_main(&name("a"), Some(second), Some(&who.into()));
        assert_eq!(found, want);
    }
    told(&mut world);
    assert_eq!(main(&world).0, Some(second));

    // Another session of the same show: the choice holds as far as there is such a track.
    let again = world.publish("a", "idol").unwrap();
    world.rooms.announced(again, 1);
    world.ready(again);
    assert_eq!(told(&mut world), [(Some(second), None)]);
    assert_eq!(main(&world), (Some(first), 1));
    let again = world.publish("a", "idol").unwrap();
    world.rooms.announced(again, 2);
    world.ready(again);
    assert_eq!(main(&world), (Some(second), 2));

    // The next show begins anew.
    assert!(world.rooms.delete(world.now, again));
    let next = world.publish("a", "idol").unwrap();
    world.rooms.announced(next, 2);
    world.ready(next);
    assert_eq!(main(&world), (Some(first), 2));
}

#[test]
fn lists_go_page_by_page() {
    let mut world = World::new(config());
    for room in ["a", "b", "c"] {
        world.watch(room).unwrap();
        world.watch(room).unwrap();
    }
    let all = world.rooms.view().list_rooms(world.now, None, 10, |_| true);
    let names: Vec<_> = all.iter().map(|room| room.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let rest = world
        .rooms
        .view()
        .list_rooms(world.now, Some(all[0].id), 1, |room| room.as_str() != "b");
    assert_eq!(rest[0].name.as_str(), "c");
    let page = world
        .rooms
        .view()
        .list_sessions(world.now, &name("b"), 0, 1)
        .unwrap();
    let next = world
        .rooms
        .view()
        .list_sessions(world.now, &name("b"), page[0].number, 5)
        .unwrap();
    assert_eq!((page.len(), next.len()), (1, 1));
    assert_eq!(
        world
            .rooms
            .view()
            .list_sessions(world.now, &name("x"), 0, 5),
        None
    );
}

#[test]
fn a_session_is_found_by_room_role_and_id_together() {
    let mut world = World::new(config());
    let fan = world.watch("a").unwrap();
    let (room, other) = (name("a"), name("b"));
    let find = |room, role| {
        world
            .rooms
            .view()
            .find(room, role, fan)
            .map(|(_, shard)| shard)
    };
    assert_eq!(find(&room, Role::Viewer), Some(SHARD));
    assert_eq!(find(&room, Role::Publisher), None);
    assert_eq!(find(&other, Role::Viewer), None);
}

#[test]
fn hints_are_the_present_publishers_and_keep_their_age() {
    let mut world = World::new(config());
    let idol = world.live("stage", "idol");
    world.news();
    let hints = |world: &World| {
        world
            .rooms
            .view()
            .room(world.now, &name("stage"))
            .unwrap()
            .hints
    };
    let (b_frames, mono) = (HintCode::BFrames.into(), HintCode::MonoAudio.into());
    let hint = |world: &mut World, session, hints| {
        world.rooms.hints_changed(world.now, session, hints);
    };
    hint(&mut world, idol, vec![b_frames]);
    world.pass(GRACE);
    hint(&mut world, idol, vec![b_frames, mono]);
    assert_eq!(hints(&world), [(b_frames, GRACE), (mono, Duration::ZERO)]);
    assert_eq!(world.news().0, ["hints", "hints"]);
    hint(&mut world, idol, vec![b_frames, mono]);
    assert_eq!(world.news().0, [""; 0], "nothing new");

    // Another session of hers has its own, which are the room's when it is promoted.
    let again = world.publish("stage", "idol").unwrap();
    world.news();
    hint(&mut world, again, vec![mono]);
    world.pass(GRACE);
    assert_eq!(
        hints(&world),
        [(b_frames, 2 * GRACE), (mono, GRACE)],
        "while it is parked, the publisher's"
    );
    assert_eq!(world.news().0, [""; 0]);
    world.ready(again);
    assert_eq!(world.news().0, ["promoted", "hints", "left"]);
    assert_eq!(hints(&world), [(mono, GRACE)]);
    hint(&mut world, idol, vec![b_frames]);
    assert_eq!(
        world.news().0,
        [""; 0],
        "what was seen of the old one is late"
    );
    hint(&mut world, again, vec![b_frames]);
    assert_eq!(hints(&world), [(b_frames, Duration::ZERO)]);
    world.news();
    world.lose(again);
    assert_eq!(hints(&world), []);
    assert!(world.news().0.contains(&"hints"));
}
