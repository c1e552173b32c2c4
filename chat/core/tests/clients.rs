//! A room, its clients and their links in virtual time: whatever the links do, what a client has in
//! the end is what the room has shown, less what it was told that it missed.

#![allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_core::config::RoomConfig;
use lightstick_chat_core::now::Now;
use lightstick_chat_core::room::{ChatRoom, ClientKey, Output, Stored};
use lightstick_chat_proto as proto;
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::moderate::Action;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::{Channel, Frame, LAG_MAX, Link, OWED_BYTES_MAX, Reader};
use lightstick_types::{ChatMember, ChatRole};
use prost::Message as _;

const STEP: Duration = Duration::from_millis(10);
/// What a link holds before it takes no more, in bytes: as the data channels' budget.
const LINK_BYTES_MAX: usize = 46 * 1024;

/// A link of a fixed rate. What arrives is read at once.
struct Pipe {
    bytes_per_step: usize,
    waiting: Vec<(Channel, Frame, usize)>,
    unsent: usize,
}

impl Link for Pipe {
    fn unsent_bytes(&mut self) -> usize {
        self.unsent
    }

    fn write(&mut self, channel: Channel, frame: &Frame) -> bool {
        if self.unsent + frame.len() > LINK_BYTES_MAX {
            return false;
        }
        self.unsent += frame.len();
        self.waiting.push((channel, frame.clone(), frame.len()));
        true
    }
}

impl Pipe {
    /// Lets a step's bytes through.
    fn step(&mut self) -> Vec<Frame> {
        let mut left = self.bytes_per_step;
        let mut arrived = Vec::new();
        while let Some((_, frame, rest)) = self.waiting.first_mut() {
            let passed = left.min(*rest);
            (left, *rest) = (left - passed, *rest - passed);
            self.unsent -= passed;
            if *rest > 0 {
                break;
            }
            arrived.push(frame.clone());
            self.waiting.remove(0);
        }
        arrived
    }
}

/// What a client makes of what it hears, as the protocol tells it to.
#[derive(Default)]
struct Screen {
    position: Option<proto::Position>,
    messages: BTreeMap<u64, proto::Message>,
    gone: BTreeSet<u64>,
    /// Messages that it was told it missed.
    missed: u64,
    heard: u64,
    snapshots: u32,
    /// When each message came.
    lag: Duration,
}

impl Screen {
    fn hear(&mut self, frame: &Frame, now: Now) {
        let frame = proto::ServerFrame::decode(frame.proto().clone()).expect("our own frame");
        for part in frame.parts.into_iter().filter_map(|part| part.part) {
            match part {
                Part::Welcome(welcome) => {
                    let anew = !welcome.recovered;
                    self.snapshots += u32::from(anew);
                    self.messages.retain(|_, _| !anew);
                }
                Part::Snapshot(snapshot) => {
                    for message in snapshot.messages {
                        self.take(message);
                    }
                }
                Part::Batch(batch) => {
                    for (offset, entry) in (batch.first_offset..).zip(batch.entries) {
                        self.entry(offset, entry.entry, now);
                    }
                }
                Part::Gap(gap) => self.missed += u64::from(gap.messages),
                _ => {}
            }
        }
    }

    fn entry(&mut self, offset: u64, entry: Option<Entry>, now: Now) {
        let known = self.position.map_or(0, |position| position.offset);
        self.position = Some(proto::Position {
            epoch: 1,
            offset: known.max(offset),
        });
        match entry {
            Some(Entry::Message(message)) => {
                self.heard += 1;
                let age = now.unix_ms.saturating_sub(message.at_ms);
                self.lag = self.lag.max(Duration::from_millis(age));
                self.take(message);
            }
            Some(Entry::Deleted(deleted)) => {
                for id in deleted.ids {
                    self.gone.insert(id);
                    self.messages.remove(&id);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, message: proto::Message) {
        if !self.gone.contains(&message.id) {
            self.messages.insert(message.id, message);
        }
    }
}

struct Client {
    key: ClientKey,
    user: String,
    reader: Reader,
    pipe: Pipe,
    screen: Screen,
    there: bool,
}

struct World {
    room: ChatRoom,
    now: Now,
    rng: fastrand::Rng,
    clients: Vec<Client>,
    next_key: u64,
    nonce: u64,
    /// Messages that were shown to everybody, and from whom.
    shown: BTreeMap<u64, String>,
    deleted: BTreeSet<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Now {
            at: Instant::now(),
            unix_ms: 1_700_000_000_000,
        };
        Self {
            room: ChatRoom::new(RoomConfig::default(), 1, seed, false, &Stored::new(), now),
            now,
            rng: fastrand::Rng::with_seed(seed),
            clients: Vec::new(),
            next_key: 1,
            nonce: 0,
            shown: BTreeMap::new(),
            deleted: BTreeSet::new(),
        }
    }

    fn join(&mut self, user: &str, role: ChatRole, bytes_per_step: usize) -> usize {
        self.clients.push(Client {
            key: ClientKey(0),
            user: user.to_owned(),
            reader: Reader::default(),
            pipe: Pipe {
                bytes_per_step,
                waiting: Vec::new(),
                unsent: 0,
            },
            screen: Screen::default(),
            there: false,
        });
        self.connect(self.clients.len() - 1, role);
        self.clients.len() - 1
    }

    fn connect(&mut self, at: usize, role: ChatRole) {
        let client = &mut self.clients[at];
        client.key = ClientKey(self.next_key);
        self.next_key += 1;
        client.there = true;
        client.reader = Reader::default();
        client.pipe.waiting.clear();
        client.pipe.unsent = 0;
        let member = ChatMember {
            room: "live".parse().expect("a name"),
            user: client.user.clone(),
            name: client.user.clone(),
            role,
            write: true,
            caption: false,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            anonymous: false,
            show: true,
        };
        let position = client.screen.position;
        let key = client.key;
        self.room
            .connect(self.now, key, Arc::new(member), at as u64);
        let hello = proto::Hello {
            position,
            token: String::new(),
        };
        self.ask(key, Request::Hello(hello));
    }

    fn leave(&mut self, at: usize) {
        self.clients[at].there = false;
        self.room.disconnect(self.now, self.clients[at].key);
        self.collect();
    }

    fn ask(&mut self, key: ClientKey, request: Request) {
        self.room.receive(self.now, key, request);
        self.collect();
    }

    fn write(&mut self, at: usize) {
        self.nonce += 1;
        let words = (0..6).map(|_| (0..6).map(|_| self.rng.lowercase()).collect());
        let words: Vec<String> = words.collect();
        let send = proto::Send {
            nonce: self.nonce,
            text: words.join(" "),
            reply_to: 0,
        };
        self.ask(self.clients[at].key, Request::Send(send));
    }

    fn collect(&mut self) {
        while let Some(output) = self.room.poll() {
            match output {
                Output::Commit {
                    action: Some(action),
                    ..
                } => self.room.kept(self.now, action, true),
                Output::Show(tick) => {
                    for frame in [&tick.ctl, &tick.chat].into_iter().flatten() {
                        self.note(frame);
                    }
                    for client in self.clients.iter_mut().filter(|client| client.there) {
                        client.reader.offer(self.now.at, &tick, &mut client.pipe);
                    }
                }
                Output::Tell { client: key, frame } => {
                    let mut clients = self.clients.iter_mut();
                    if let Some(client) = clients.find(|client| client.there && client.key == key) {
                        client
                            .reader
                            .offer_own(self.now.at, &frame, &mut client.pipe);
                    }
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, frame: &Frame) {
        let frame = proto::ServerFrame::decode(frame.proto().clone()).expect("our own frame");
        for part in frame.parts.into_iter().filter_map(|part| part.part) {
            let Part::Batch(batch) = part else { continue };
            for entry in batch.entries {
                match entry.entry {
                    Some(Entry::Message(message)) => {
                        let author = message.author.map(|author| author.user);
                        self.shown.insert(message.id, author.unwrap_or_default());
                    }
                    Some(Entry::Deleted(deleted)) => self.deleted.extend(deleted.ids),
                    _ => {}
                }
            }
        }
    }

    fn step(&mut self) {
        self.now = self.now.after(STEP);
        if self.room.deadline().is_some_and(|at| at <= self.now.at) {
            self.room.turn(self.now);
            self.collect();
        }
        let mut resync = Vec::new();
        for client in self.clients.iter_mut().filter(|client| client.there) {
            for frame in client.pipe.step() {
                client.screen.hear(&frame, self.now);
            }
            client.reader.settle(self.now.at, &mut client.pipe);
            if client.reader.take_resync() {
                resync.push(client.key);
            }
        }
        for key in resync {
            self.room.resume(self.now, key);
            self.collect();
        }
    }
}

#[test]
fn clients_have_what_the_room_has_shown() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        let idol = world.join("idol", ChatRole::Idol, 100_000);
        let moderator = world.join("mod", ChatRole::Moderator, 100_000);
        // From a link that carries everything to one that carries a tenth of it.
        let rates = [50_000, 400, 60, 20, 4, 2];
        let fans: Vec<usize> = rates
            .iter()
            .enumerate()
            .map(|(n, rate)| world.join(&format!("fan-{n}"), ChatRole::Guest, *rate))
            .collect();
        let writers: Vec<usize> = (0..60)
            .map(|n| world.join(&format!("writer-{n}"), ChatRole::Guest, 100_000))
            .collect();
        for step in 0..3_000 {
            if world.rng.u32(..100) < 60 {
                let writer = writers[world.rng.usize(..writers.len())];
                world.write(writer);
            }
            if step % 97 == 0 {
                world.write(idol);
            }
            if step % 131 == 0
                && let Some(id) = world.shown.keys().nth_back(world.rng.usize(..5)).copied()
            {
                let key = world.clients[moderator].key;
                let action = Some(Action::Delete(id));
                let delete = proto::Moderate {
                    nonce: 1,
                    reason: String::new(),
                    action,
                };
                world.ask(key, Request::Moderate(delete));
            }
            let fan = fans[world.rng.usize(1..fans.len())];
            match world.rng.u32(..400) {
                0 if world.clients[fan].there => world.leave(fan),
                1 if !world.clients[fan].there => world.connect(fan, ChatRole::Guest),
                _ => {}
            }
            world.step();
        }
        // Links get better, and everybody is there at the end.
        for at in &fans {
            world.clients[*at].pipe.bytes_per_step = 50_000;
            if !world.clients[*at].there {
                world.connect(*at, ChatRole::Guest);
            }
        }
        for _ in 0..1_000 {
            world.step();
        }
        check(&world, seed, &fans);
    }
}

fn check(world: &World, seed: u64, fans: &[usize]) {
    let alive: Vec<u64> = world
        .shown
        .keys()
        .filter(|id| !world.deleted.contains(id))
        .copied()
        .collect();
    let last: BTreeSet<u64> = alive.iter().rev().take(40).copied().collect();
    for at in fans {
        let client = &world.clients[*at];
        let screen = &client.screen;
        let what = format!("seed {seed}, {}", client.user);
        assert!(
            screen
                .messages
                .keys()
                .all(|id| world.shown.contains_key(id)),
            "{what}: invented"
        );
        assert!(
            screen.messages.keys().all(|id| !world.deleted.contains(id)),
            "{what}: deleted"
        );
        let missing: Vec<u64> = last
            .iter()
            .filter(|id| !screen.messages.contains_key(id))
            .copied()
            .collect();
        // What nobody may miss is there; of the rest as many are missing as it was told, at most.
        let artist = missing.iter().filter(|id| world.shown[id] == "idol");
        assert_eq!(artist.count(), 0, "{what}: the artist was missed");
        assert!(
            missing.len() as u64 <= screen.missed,
            "{what}: {} missing",
            missing.len()
        );
        if screen.snapshots <= 1 {
            let heard = screen.heard + screen.missed;
            assert!(
                heard >= world.shown.len() as u64 - 60,
                "{what}: {heard} of {}",
                world.shown.len()
            );
        }
        assert!(client.pipe.unsent <= LINK_BYTES_MAX, "{what}");
    }
    // A link that carries all of it shows all of it, and soon.
    let best = &world.clients[fans[0]];
    assert_eq!(best.screen.missed, 0, "seed {seed}");
    assert!(
        best.screen.lag <= LAG_MAX,
        "seed {seed}: {:?}",
        best.screen.lag
    );
    const { assert!(OWED_BYTES_MAX < LINK_BYTES_MAX) };
}
