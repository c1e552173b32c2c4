//! The registry and a shard that hear of each other late, in every order: who publishes there and
//! here, against a model that only knows who came, who was ready and who went.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lightstick_types::{Codec, RoomName, SessionId, ShardId, TrackId};

use super::*;

const SHARD: ShardId = ShardId(0);
const GRACE: Duration = Duration::from_secs(30);

/// What happens to the publisher with a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Post,
    /// The shard answers the offer, and the registry hears of it.
    Answer,
    /// The shard does not open it.
    Refuse,
    Connect,
    /// It sends a packet.
    Send,
    /// Its client closes the connection, or it fails.
    Close,
    /// What the shard does about one that has not come so far.
    TimeOut,
    Delete,
    Kick,
}

/// One step of a history.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Of(SessionId, Act),
    CloseRoom,
    GraceOver,
    /// The registry hears the shard's next event.
    Event,
    /// The shard follows the registry's next order.
    Order,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Answered,
    Connected,
    /// So many packets wait for the promotion.
    Ready(u32),
    Promoted,
}

#[derive(Clone, Copy, Debug)]
enum Report {
    Connected(SessionId),
    Ready(SessionId),
    TrackStarted(SessionId),
    Closed(SessionId, LeaveReason),
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Promote(SessionId),
    Close(SessionId),
}

/// What the shard does, in few words.
#[derive(Default)]
struct Shard {
    sessions: BTreeMap<SessionId, Stage>,
    live: Option<SessionId>,
    events: VecDeque<Report>,
    orders: VecDeque<Order>,
}

impl Shard {
    fn remove(&mut self, id: SessionId, reason: LeaveReason) {
        if self.sessions.remove(&id).is_some() {
            self.live.take_if(|live| *live == id);
            self.events.push_back(Report::Closed(id, reason));
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Promote(id) => {
                let Some(stage) = self.sessions.get_mut(&id) else {
                    return;
                };
                assert!(matches!(stage, Stage::Ready(1..)), "{stage:?}");
                *stage = Stage::Promoted;
                self.live = Some(id);
                self.events.push_back(Report::TrackStarted(id));
            }
            Order::Close(id) => self.remove(id, LeaveReason::Internal),
        }
    }
}

/// Who should publish.
#[derive(Default)]
struct Model {
    /// Publishers that are here, oldest first.
    present: Vec<SessionId>,
    live: Option<SessionId>,
}

impl Model {
    fn come(&mut self, id: SessionId) {
        self.present.push(id);
        let parked = self.present.len() - usize::from(self.live.is_some());
        if parked > PARKED_MAX {
            let live = self.live;
            let oldest = self.present.iter().position(|id| Some(*id) != live);
            self.present.remove(oldest.unwrap());
        }
    }

    fn ready(&mut self, id: SessionId) {
        let place = self.present.iter().position(|other| *other == id);
        if let Some(place) = place {
            self.present.drain(..place);
            self.live = Some(id);
        }
    }

    fn go(&mut self, id: SessionId) {
        self.present.retain(|other| *other != id);
        self.live.take_if(|live| *live == id);
    }
}

struct Race {
    rooms: Rooms,
    now: Instant,
    shard: Shard,
    /// Asked of the shard, and not answered.
    opening: Vec<SessionId>,
    model: Model,
    interruptions: usize,
}

fn name() -> RoomName {
    "stage".parse().unwrap()
}

impl Race {
    fn new() -> Self {
        let config = RoomsConfig {
            grace: GRACE,
            ..RoomsConfig::default()
        };
        Self {
            rooms: Rooms::new(config),
            now: Instant::now(),
            shard: Shard::default(),
            opening: Vec::new(),
            model: Model::default(),
            interruptions: 0,
        }
    }

    fn can(&self, step: Step) -> bool {
        match step {
            Step::Event => !self.shard.events.is_empty(),
            Step::Order => !self.shard.orders.is_empty(),
            _ => true,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Of(id, act) => self.act(id, act),
            Step::CloseRoom => {
                if self.rooms.close_room(self.now, &name()) {
                    self.model = Model::default();
                }
            }
            Step::GraceOver => {
                self.now += GRACE;
                self.rooms.handle_timeout(self.now);
            }
            Step::Event => {
                if let Some(event) = self.shard.events.pop_front() {
                    self.hear(event);
                }
            }
            Step::Order => {
                if let Some(order) = self.shard.orders.pop_front() {
                    self.shard.follow(order);
                }
            }
        }
        self.apply();
        self.check();
    }

    fn act(&mut self, id: SessionId, act: Act) {
        match act {
            Act::Post => {
                let request = Admission {
                    session: id,
                    room: name(),
                    role: Role::Publisher,
                    participant: Some("idol".into()),
                    takeover: false,
                    address: [192, 0, 2, 1].into(),
                };
                self.rooms.admit(self.now, request).expect("her own room");
                self.opening.push(id);
                self.model.come(id);
            }
            Act::Answer | Act::Refuse if !self.opening.contains(&id) => {}
            Act::Answer => {
                self.opening.retain(|other| *other != id);
                self.shard.sessions.insert(id, Stage::Answered);
                let opened = self.rooms.opened(self.now, id, SHARD);
                let wanted = self.model.present.contains(&id);
                assert_eq!(opened == Opened::Kept, wanted);
            }
            Act::Refuse => {
                self.opening.retain(|other| *other != id);
                self.rooms.open_failed(self.now, id);
                self.model.go(id);
            }
            Act::Connect => {
                if let Some(stage @ Stage::Answered) = self.shard.sessions.get_mut(&id) {
                    *stage = Stage::Connected;
                    self.shard.events.push_back(Report::Connected(id));
                }
            }
            Act::Send => self.send(id),
            Act::Close => self.shard.remove(id, LeaveReason::PeerClosed),
            Act::TimeOut => match self.shard.sessions.get(&id) {
                Some(Stage::Answered) => self.shard.remove(id, LeaveReason::ConnectTimeout),
                Some(Stage::Connected) => self.shard.remove(id, LeaveReason::NoMedia),
                Some(Stage::Ready(_) | Stage::Promoted) | None => {}
            },
            Act::Delete => {
                // One that was not answered has no URL yet.
                if self.shard.sessions.contains_key(&id) {
                    let there = self.rooms.delete(self.now, id);
                    assert_eq!(there, self.model.present.contains(&id));
                    self.model.go(id);
                }
            }
            Act::Kick => {
                if let Some(number) = self.rooms.view().number(id) {
                    assert!(self.rooms.kick(self.now, &name(), number));
                }
                self.model.go(id);
            }
        }
    }

    fn send(&mut self, id: SessionId) {
        match self.shard.sessions.get_mut(&id) {
            Some(stage @ Stage::Connected) => {
                *stage = Stage::Ready(1);
                self.shard.events.push_back(Report::Ready(id));
            }
            Some(Stage::Ready(kept)) => *kept += 1,
            Some(Stage::Promoted) => {
                let dropped = self.shard.live != Some(id);
                let publishes = self.model.live == Some(id);
                assert!(!(dropped && publishes), "a packet of the publisher's");
            }
            Some(Stage::Answered) | None => {}
        }
    }

    fn hear(&mut self, event: Report) {
        match event {
            Report::Connected(id) => self.rooms.connected(id),
            Report::Ready(id) => {
                self.rooms.publisher_ready(self.now, id);
                self.model.ready(id);
            }
            Report::TrackStarted(id) => {
                self.rooms
                    .track_started(self.now, id, TrackId::FIRST_VIDEO, Codec::H264);
            }
            Report::Closed(id, reason) => {
                self.rooms.closed(self.now, id, reason);
                self.model.go(id);
            }
        }
    }

    fn apply(&mut self) {
        while let Some(effect) = self.rooms.poll_effect() {
            match effect {
                Effect::Promote { session, .. } => {
                    self.shard.orders.push_back(Order::Promote(session));
                }
                Effect::Close { session, .. } => {
                    self.shard.orders.push_back(Order::Close(session));
                }
                Effect::Event(Event::PublisherInterrupted { .. }) => self.interruptions += 1,
                _ => {}
            }
        }
    }

    fn check(&self) {
        let room = self.rooms.registry.rooms.values().next();
        let publisher = room.and_then(|room| room.publisher);
        assert_eq!(publisher, self.model.live);
        let here: Vec<SessionId> = room.iter().flat_map(|room| room.publishers()).collect();
        assert_eq!(here, self.model.present);
        // Whoever publishes is in the room, or is about to be, or is gone and will be missed.
        if let Some(publisher) = publisher
            && self.shard.live != Some(publisher)
        {
            let promoted = |order: &Order| matches!(order, Order::Promote(id) if *id == publisher);
            let closed =
                |event: &Report| matches!(event, Report::Closed(id, _) if *id == publisher);
            assert!(self.shard.orders.iter().any(promoted) || self.shard.events.iter().any(closed));
        }
    }

    /// Nothing is on its way any more: both sides agree.
    fn settle(&mut self) {
        for id in self.opening.clone() {
            self.step(Step::Of(id, Act::Answer));
        }
        while self.can(Step::Event) || self.can(Step::Order) {
            self.step(Step::Event);
            self.step(Step::Order);
        }
        assert_eq!(self.shard.live, self.model.live);
        let held: Vec<SessionId> = self.shard.sessions.keys().copied().collect();
        assert_eq!(held, self.model.present);
        let room = self.rooms.view().room(self.now, &name());
        let live = room.is_some_and(|room| room.activity == Activity::Live);
        assert_eq!(live, self.model.live.is_some());
    }

    /// Those who are left go, and nothing stays.
    fn wind_down(mut self) {
        self.settle();
        for id in self.model.present.clone() {
            self.step(Step::Of(id, Act::Close));
        }
        self.settle();
        while let Some(at) = self.rooms.poll_timeout() {
            self.now = self.now.max(at);
            self.rooms.handle_timeout(self.now);
            self.apply();
        }
        assert_eq!(self.rooms.view().counts(), Counts::default());
        assert!(self.rooms.registry.rooms.is_empty() && self.rooms.registry.by_address.is_empty());
        assert!(self.shard.sessions.is_empty());
    }

    /// A show that runs.
    fn live() -> Self {
        let mut race = Self::new();
        for act in [Act::Post, Act::Answer, Act::Connect, Act::Send] {
            race.step(Step::Of(session(1), act));
        }
        race.settle();
        race
    }
}

/// Runs every interleaving of `scripts`, each in its order, and of what is on its way, in a running
/// show in which `before` has happened.
fn interleave(before: &[Step], scripts: &[&[Step]], mut end: impl FnMut(Race)) {
    // The choices of this run, and between how many at each place.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut race = Race::live();
        before.iter().for_each(|step| race.step(*step));
        let mut places = vec![0; scripts.len()];
        let mut depth = 0;
        loop {
            let next = scripts.iter().zip(&places).enumerate();
            let next = next.filter_map(|(n, (script, at))| Some((Some(n), *script.get(*at)?)));
            let ways = [(None, Step::Event), (None, Step::Order)];
            let ways: Vec<(Option<usize>, Step)> = ways
                .into_iter()
                .filter(|(_, step)| race.can(*step))
                .chain(next)
                .collect();
            if ways.is_empty() {
                break;
            }
            if depth == choices.len() {
                choices.push((0, ways.len()));
            }
            let (script, step) = ways[choices[depth].0];
            depth += 1;
            if let Some(script) = script {
                places[script] += 1;
            }
            race.step(step);
        }
        end(race);
        while let Some((chosen, of)) = choices.last_mut() {
            *chosen += 1;
            if chosen < of {
                break;
            }
            choices.pop();
        }
        if choices.is_empty() {
            return;
        }
    }
}

fn session(n: u128) -> SessionId {
    SessionId::from_u128(n)
}

fn of(n: u128, acts: &[Act]) -> Vec<Step> {
    let step = |act: &Act| Step::Of(session(n), *act);
    acts.iter().map(step).collect()
}

/// What a second publisher does, up to each of its steps, and how it goes then.
fn lives() -> Vec<Vec<Step>> {
    let way = [Act::Post, Act::Answer, Act::Connect, Act::Send];
    let ends = [Act::Close, Act::TimeOut, Act::Delete, Act::Kick];
    let mut lives = vec![of(2, &way), of(2, &[Act::Post, Act::Refuse])];
    for steps in 1..=way.len() {
        for end in ends {
            let acts: Vec<Act> = way[..steps].iter().copied().chain([end]).collect();
            lives.push(of(2, &acts));
        }
    }
    lives
}

#[test]
fn a_running_show_is_interrupted_by_nobody_but_its_publisher() {
    for life in lives() {
        let sends = of(1, &[Act::Send, Act::Send]);
        interleave(&[], &[&life, &sends], |race| {
            let promoted = race.model.live != Some(session(1));
            // One that is promoted and goes is a publisher that goes.
            assert!(promoted || race.interruptions == 0);
            if life.len() < 4 {
                assert!(!promoted, "it never had media");
            }
            race.wind_down();
        });
    }
}

#[test]
fn whatever_comes_between_both_sides_agree() {
    let others = [
        of(1, &[Act::Close]),
        of(1, &[Act::Delete]),
        of(1, &[Act::Kick]),
        vec![Step::CloseRoom],
        vec![Step::GraceOver],
    ];
    for life in lives() {
        for other in &others {
            interleave(&[], &[&life, other], Race::wind_down);
        }
    }
}

#[test]
fn a_third_publisher_may_come_at_any_time() {
    let answered = of(2, &[Act::Post, Act::Answer]);
    let second = of(2, &[Act::Connect, Act::Send]);
    let third = of(3, &[Act::Post, Act::Answer, Act::Connect, Act::Send]);
    let mut runs = 0;
    interleave(&answered, &[&second, &third], |race| {
        assert_eq!(race.interruptions, 0);
        assert_eq!(race.model.present, [session(3)]);
        assert_eq!(race.model.live, Some(session(3)));
        race.wind_down();
        runs += 1;
    });
    assert!(runs > 1_000, "{runs}");
}

#[test]
fn long_random_histories_agree() {
    let way = [Act::Answer, Act::Connect, Act::Send];
    let ends = [
        Act::Refuse,
        Act::Close,
        Act::TimeOut,
        Act::Delete,
        Act::Kick,
    ];
    let mut takeovers = 0;
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut race = Race::new();
        let mut posted = 0;
        for _ in 0..300 {
            let before = race.model.live;
            let step = match random.u8(..40) {
                0 | 1 => {
                    posted += 1;
                    Step::Of(session(posted), Act::Post)
                }
                2..=23 if posted > 0 => {
                    // Of the old ones hardly any is here.
                    let back = random.u128(..posted.min(4));
                    let act = match random.u8(..16) {
                        0 => random.choice(&ends),
                        _ => random.choice(&way),
                    };
                    Step::Of(session(posted - back), *act.unwrap())
                }
                24..=30 => Step::Event,
                31..=37 => Step::Order,
                38 if random.u8(..10) == 0 => Step::CloseRoom,
                39 if random.u8(..4) == 0 => Step::GraceOver,
                _ => continue,
            };
            race.step(step);
            takeovers += usize::from(before.is_some() && race.model.live > before);
        }
        race.wind_down();
    }
    assert!(takeovers > 100, "{takeovers}");
}
