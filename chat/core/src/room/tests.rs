//! Rooms in virtual time.

mod crowd;
mod moderation;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lightstick_chat_proto::ServerFrame;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::moderate::Action;
use lightstick_types::ChatRole;
use prost::Message as _;

use super::crowd::LINGER;
use super::*;
use crate::record::Record;

/// A room, its clock, and what everybody heard.
struct World {
    room: ChatRoom,
    now: Now,
    /// What everybody was shown.
    parts: Vec<(Instant, Part)>,
    /// What single clients were told.
    told: HashMap<u64, Vec<Part>>,
    records: Vec<Record>,
    /// Answers, those of clients by their nonce.
    answers: Vec<(Asker, Result<Done, Refusal>)>,
    reviews: Vec<Review>,
    /// Which answers must not be given where their records are not kept.
    binding: Vec<(Asker, bool)>,
    /// Bytes of all that everybody was shown.
    bytes: usize,
    /// Whether the archive takes records; `None`: it takes its time.
    keeps: Option<bool>,
    /// Actions that wait for it.
    actions: Vec<u64>,
}

fn parts_of(frame: &Frame) -> Vec<Part> {
    let read = ServerFrame::decode(frame.proto().clone()).unwrap();
    read.parts
        .into_iter()
        .filter_map(|part| part.part)
        .collect()
}

fn member(user: &str, role: ChatRole) -> Arc<ChatMember> {
    Arc::new(ChatMember {
        room: "live".parse().unwrap(),
        user: user.into(),
        name: user.to_uppercase(),
        role,
        write: true,
        caption: false,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        anonymous: role == ChatRole::Guest,
        show: true,
    })
}

impl World {
    fn new() -> Self {
        Self::with(RoomConfig::default(), false, &Stored::new())
    }

    fn with(config: RoomConfig, review: bool, stored: &Stored) -> Self {
        config.validate().unwrap();
        let now = Now {
            at: Instant::now(),
            unix_ms: 1_700_000_000_000,
        };
        Self {
            room: ChatRoom::new(config, 7, 1, review, stored, now),
            now,
            parts: Vec::new(),
            told: HashMap::new(),
            records: Vec::new(),
            answers: Vec::new(),
            reviews: Vec::new(),
            binding: Vec::new(),
            bytes: 0,
            keeps: Some(true),
            actions: Vec::new(),
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.room.poll() {
            match output {
                Output::Show(tick) => {
                    for frame in [tick.ctl, tick.chat, tick.fx].into_iter().flatten() {
                        self.bytes += frame.len();
                        let at = self.now.at;
                        self.parts
                            .extend(parts_of(&frame).into_iter().map(|part| (at, part)));
                    }
                }
                Output::Tell { client, frame } => {
                    self.told
                        .entry(client.0)
                        .or_default()
                        .extend(parts_of(&frame));
                }
                Output::Commit {
                    records,
                    answers,
                    action,
                } => {
                    match (action, self.keeps) {
                        (Some(action), Some(kept)) => self.room.kept(self.now, action, kept),
                        (Some(action), None) => self.actions.push(action),
                        (None, _) => {}
                    }
                    if action.is_none() || self.keeps != Some(false) {
                        self.records.extend(records);
                    }
                    self.binding
                        .extend(answers.iter().map(|answer| (answer.to, answer.binding)));
                    self.answers
                        .extend(answers.into_iter().map(|a| (a.to, a.result)));
                }
                Output::Answer(answer) => self.answers.push((answer.to, answer.result)),
                Output::Review(review) => self.reviews.push(review),
                Output::Event(_) | Output::Caption(_) => {}
            }
        }
    }

    fn join(&mut self, client: u64, user: &str, role: ChatRole) {
        let address = client % 1_000;
        self.room
            .connect(self.now, ClientKey(client), member(user, role), address);
        self.hello(client, None);
    }

    fn hello(&mut self, client: u64, position: Option<proto::Position>) {
        let hello = proto::Hello {
            position,
            token: String::new(),
        };
        self.ask(client, Request::Hello(hello));
    }

    fn ask(&mut self, client: u64, request: Request) {
        self.room.receive(self.now, ClientKey(client), request);
        self.collect();
    }

    fn send(&mut self, client: u64, nonce: u64, text: &str) {
        let send = proto::Send {
            nonce,
            text: text.into(),
            reply_to: 0,
        };
        self.ask(client, Request::Send(send));
    }

    /// Lets time pass, turn by turn.
    fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(at) = self.room.deadline().filter(|at| *at <= end.at) {
            self.now = self.now.after(at.saturating_duration_since(self.now.at));
            self.room.turn(self.now);
            self.collect();
            let next = self.room.deadline();
            assert!(
                next.is_none_or(|next| next > self.now.at),
                "a turn leaves nothing due"
            );
        }
        self.now = end;
    }

    fn answer(&self, nonce: u64) -> Result<Done, Code> {
        let of = |to: &Asker| match to {
            Asker::Client { nonce, .. } => *nonce,
            Asker::Request(number) => *number,
        };
        let mut answers = self.answers.iter().rev();
        let (_, result) = answers.find(|(to, _)| of(to) == nonce).expect("an answer");
        result.clone().map_err(|refusal| refusal.code)
    }

    fn refused(&self, nonce: u64) -> Option<Code> {
        self.answer(nonce).err()
    }

    fn act(&mut self, client: u64, nonce: u64, action: Action) {
        let request = proto::Moderate {
            nonce,
            reason: "because".into(),
            action: Some(action),
        };
        self.ask(client, Request::Moderate(request));
    }

    /// Entries with their offsets, and how many messages were skipped.
    fn shown(&self) -> (Vec<(u64, Entry)>, u32) {
        let mut entries = Vec::new();
        let mut skipped = 0;
        for (_, part) in &self.parts {
            if let Part::Batch(batch) = part {
                let all = batch.entries.iter().filter_map(|entry| entry.entry.clone());
                entries.extend((batch.first_offset..).zip(all));
                skipped += batch.skipped;
            }
        }
        (entries, skipped)
    }

    fn texts(&self) -> Vec<String> {
        let (entries, _) = self.shown();
        let texts = entries.into_iter().filter_map(|(_, entry)| match entry {
            Entry::Message(message) => Some(message.text),
            _ => None,
        });
        texts.collect()
    }

    fn welcome(&self, client: u64) -> (proto::Welcome, Vec<Part>) {
        let parts = &self.told[&client];
        let at = parts
            .iter()
            .rposition(|part| matches!(part, Part::Welcome(_)))
            .unwrap();
        let Part::Welcome(welcome) = &parts[at] else {
            unreachable!()
        };
        (welcome.clone(), parts[at + 1..].to_vec())
    }

    fn snapshot(&mut self, client: u64) -> proto::Snapshot {
        self.hello(client, None);
        match &self.welcome(client).1[0] {
            Part::Snapshot(snapshot) => snapshot.clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// Some words that are like nobody else's.
fn words(seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut word = |_| {
        let letters = (0..5).map(|_| rng.lowercase());
        letters.collect::<String>()
    };
    (0..5).map(&mut word).collect::<Vec<_>>().join(" ")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_is_shown_acknowledged_and_kept() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    world.send(1, 11, "  안녕하세요  ");
    assert!(world.answers.is_empty(), "only once it is kept");
    world.pass(SECOND);
    assert_eq!(world.texts(), ["안녕하세요"]);
    let done = world.answer(11).unwrap();
    assert_eq!(
        (done.held, done.text.as_deref()),
        (false, Some("안녕하세요"))
    );
    match &world.records[..] {
        [Record::Message(record)] => {
            assert_eq!(record.message.id, done.id);
            assert!(record.shown && !record.hidden);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.room.totals().shown, 1);
    let client = ClientKey(1);
    let to = Asker::Client { client, nonce: 11 };
    assert_eq!(
        world.binding,
        [(to, false)],
        "a fan's message goes on without the archive"
    );
}

#[test]
fn the_same_nonce_writes_once() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    world.send(1, 11, "once");
    world.send(1, 11, "once");
    world.pass(SECOND);
    // Over another transport, after the first is gone.
    world.room.disconnect(world.now, ClientKey(1));
    world.pass(10 * SECOND);
    world.join(2, "mina", ChatRole::Guest);
    world.send(2, 11, "once");
    world.pass(SECOND);
    assert_eq!(world.texts(), ["once"]);
    let ids: Vec<_> = world
        .answers
        .iter()
        .map(|(_, result)| result.as_ref().unwrap().id)
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[test]
fn refusals_table() {
    for (text, code) in [
        ("", Code::Empty),
        ("   ", Code::Empty),
        (&*"x".repeat(501), Code::TooLong),
        (&*format!("a{}", "\u{301}".repeat(30)), Code::Characters),
        ("\u{202e}\u{200b}", Code::Empty),
        ("/ban mina", Code::NotModerator),
    ] {
        let mut world = World::new();
        world.join(1, "mina", ChatRole::Member);
        world.send(1, 11, text);
        assert_eq!(world.refused(11), Some(code), "{text:?}");
        world.pass(SECOND);
        assert!(world.texts().is_empty());
    }
    let mut world = World::new();
    let mut reader = (*member("hana", ChatRole::Guest)).clone();
    reader.write = false;
    world
        .room
        .connect(world.now, ClientKey(5), Arc::new(reader), 5);
    world.hello(5, None);
    assert!(!world.welcome(5).0.may.unwrap().write);
    world.send(5, 12, "hi");
    assert_eq!(world.refused(12), Some(Code::ReadOnly));
}

#[test]
fn one_user_writes_twenty_in_thirty_seconds() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    for nonce in 1..=21 {
        world.send(1, nonce, &words(nonce));
    }
    let (_, last) = world.answers.last().unwrap();
    let refusal = last.clone().unwrap_err();
    assert_eq!(refusal.code, Code::RateLimited);
    assert_eq!(refusal.retry_after, Some(Duration::from_millis(1_500)));
    world.pass(Duration::from_millis(1_500));
    world.send(1, 22, "again");
    world.pass(SECOND);
    assert!(world.answer(22).is_ok());
}

#[test]
fn a_newcomer_finds_what_was_said() {
    let mut world = World::new();
    world.join(1, "idol", ChatRole::Idol);
    for n in 0..80 {
        world.send(1, n + 1, &format!("line {n}"));
        world.pass(SECOND);
    }
    let snapshot = world.snapshot(1);
    assert_eq!(snapshot.messages.len(), 50);
    assert_eq!(snapshot.messages.last().unwrap().text, "line 79");
    assert_eq!(snapshot.present, 1);
    let (welcome, _) = world.welcome(1);
    assert_eq!(welcome.position.unwrap().offset, 80);
}

#[test]
fn who_comes_back_gets_what_was_missed_or_is_told_that_it_is_not_all() {
    let mut world = World::new();
    world.join(1, "idol", ChatRole::Idol);
    world.send(1, 1, "one");
    world.pass(SECOND);
    let position = world.welcome(1).0.position;
    world.hello(1, None);
    let before = world.welcome(1).0.position.unwrap();
    assert_ne!(Some(before), position);
    world.send(1, 2, "two");
    world.send(1, 3, "three");
    world.pass(SECOND);
    world.hello(1, Some(before));
    let (welcome, parts) = world.welcome(1);
    assert!(welcome.recovered);
    match &parts[..] {
        [Part::Batch(batch)] => {
            assert_eq!(batch.first_offset, before.offset + 1);
            assert_eq!(batch.entries.len(), 2);
        }
        other => panic!("{other:?}"),
    }
    for strange in [
        proto::Position { epoch: 8, ..before },
        proto::Position {
            offset: 1_000,
            ..before
        },
    ] {
        world.hello(1, Some(strange));
        let (welcome, parts) = world.welcome(1);
        assert!(!welcome.recovered && matches!(parts[0], Part::Snapshot(_)));
    }
    // More was said than one frame holds.
    for n in 0..200 {
        world.send(1, n + 10, &"x".repeat(120));
        world.pass(SECOND);
    }
    world.hello(1, Some(before));
    assert!(!world.welcome(1).0.recovered);
}

#[test]
fn a_welcome_fits_into_a_frame_whatever_the_room_shows() {
    let mut world = World::new();
    world.join(1, "idol", ChatRole::Idol);
    let emotes = (0..200).map(|n| proto::Emote {
        name: format!("e{n:03}"),
        url: format!("/{}", "w".repeat(25)),
    });
    let settings = proto::Settings {
        emotes: emotes.collect(),
        ..Default::default()
    };
    world.act(1, 1, Action::Settings(settings));
    let poll = proto::PollStart {
        question: "한".repeat(100),
        choices: vec!["글".repeat(100); 10],
        seconds: 0,
    };
    world.act(1, 2, Action::PollStart(poll));
    world.act(1, 3, Action::Announce("가".repeat(500)));
    let server = Actor {
        user: "shop".into(),
        role: ChatRole::Server,
    };
    for n in 0..30 {
        let posted = Posted {
            user: format!("fan-{n}"),
            text: "나".repeat(500),
            paid: Some(proto::Paid {
                amount: 1,
                currency: "KRW".into(),
                tier: 1,
                pin_seconds: 600,
            }),
            ..Posted::default()
        };
        world
            .room
            .post(world.now, &server, posted, Asker::Request(n));
        world.collect();
        world.pass(SECOND);
    }
    world
        .room
        .connect(world.now, ClientKey(2), member("mina", ChatRole::Guest), 2);
    let hello = proto::Hello {
        position: None,
        token: String::new(),
    };
    world
        .room
        .receive(world.now, ClientKey(2), Request::Hello(hello));
    let mut bytes = 0;
    while let Some(output) = world.room.poll() {
        if let Output::Tell { frame, .. } = output {
            bytes = bytes.max(frame.len());
        }
    }
    assert!(
        (1_000..=lightstick_chat_wire::FRAME_BYTES_MAX).contains(&bytes),
        "{bytes}"
    );
}

#[test]
fn hellos_without_end_are_refused() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    for _ in 0..10 {
        world.hello(1, None);
    }
    let welcomes = world.told[&1]
        .iter()
        .filter(|part| matches!(part, Part::Welcome(_)));
    assert_eq!(welcomes.count(), 5);
    assert_eq!(world.refused(0), Some(Code::RateLimited));
    world.pass(6 * SECOND);
    world.hello(1, None);
    let welcomes = world.told[&1]
        .iter()
        .filter(|part| matches!(part, Part::Welcome(_)));
    assert_eq!(welcomes.count(), 6);
}

#[test]
fn a_paid_message_is_the_servers_to_write() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    let server = Actor {
        user: "shop".into(),
        role: ChatRole::Server,
    };
    let paid = proto::Paid {
        amount: 5_000,
        currency: "krw".into(),
        tier: 3,
        pin_seconds: 60,
    };
    let posted = Posted {
        user: "mina".into(),
        name: "Mina".into(),
        text: "사랑해요".into(),
        paid: Some(paid.clone()),
        ..Posted::default()
    };
    world
        .room
        .post(world.now, &server, posted.clone(), Asker::Request(1));
    world.collect();
    world.pass(SECOND);
    assert_eq!(world.texts(), ["사랑해요"]);
    assert!(world.answer(1).is_ok());
    assert!(matches!(
        &world.records[..],
        [Record::Message(record)] if record.message.paid.is_some()
    ));
    let binding = |to| {
        let of = |(asker, binding): &(Asker, bool)| (*asker == to).then_some(*binding);
        world.binding.iter().find_map(of)
    };
    assert_eq!(binding(Asker::Request(1)), Some(true));
    let snapshot = world.snapshot(1);
    assert_eq!(
        snapshot.highlighted[0].paid.as_ref().unwrap().currency,
        "KRW"
    );
    world.pass(60 * SECOND);
    assert!(world.snapshot(1).highlighted.is_empty());
    for bad in [
        proto::Paid {
            currency: "won".repeat(2),
            ..paid.clone()
        },
        proto::Paid {
            tier: 0,
            ..paid.clone()
        },
        proto::Paid {
            pin_seconds: 1_000_000,
            ..paid
        },
    ] {
        let posted = Posted {
            paid: Some(bad),
            ..posted.clone()
        };
        world
            .room
            .post(world.now, &server, posted, Asker::Request(2));
        world.collect();
        assert_eq!(world.refused(2), Some(Code::OutOfRange));
    }
}

fn super_chat(key: &str, text: &str) -> Posted {
    Posted {
        user: "mina".into(),
        text: text.into(),
        paid: Some(proto::Paid {
            amount: 100,
            currency: "KRW".into(),
            tier: 1,
            pin_seconds: 0,
        }),
        key: key.into(),
        ..Posted::default()
    }
}

#[test]
fn a_key_gives_the_same_answer_once_it_is_kept() {
    let mut world = World::new();
    let server = Actor {
        user: "shop".into(),
        role: ChatRole::Server,
    };
    let post = |world: &mut World, number, posted| {
        world
            .room
            .post(world.now, &server, posted, Asker::Request(number));
        world.collect();
    };
    post(&mut world, 1, super_chat("order-1", "one"));
    world.pass(SECOND);
    post(&mut world, 2, super_chat("order-1", "one"));
    assert_eq!(world.refused(2), Some(Code::InProgress));
    // It could not be kept: the next try is a new one.
    world.room.settled(world.now, Asker::Request(1), false);
    post(&mut world, 3, super_chat("order-1", "one"));
    world.pass(SECOND);
    world.room.settled(world.now, Asker::Request(3), true);
    let first = world.answer(3).unwrap();
    post(&mut world, 4, super_chat("order-1", "one"));
    assert_eq!(world.answer(4), Ok(first.clone()));
    post(&mut world, 5, super_chat("order-1", "two"));
    assert_eq!(world.refused(5), Some(Code::KeyReused));
    post(&mut world, 6, super_chat(&"k".repeat(129), "x"));
    assert_eq!(world.refused(6), Some(Code::OutOfRange));
    // Free messages have keys of their own number, and push out no paid one.
    for number in 0..1_100 {
        let posted = Posted {
            paid: None,
            ..super_chat(&format!("free-{number}"), "hi")
        };
        post(&mut world, 10 + number, posted);
        if number % 100 == 0 {
            world.pass(SECOND);
        }
        world
            .room
            .settled(world.now, Asker::Request(10 + number), true);
    }
    world.pass(SECOND);
    post(&mut world, 7, super_chat("order-1", "one"));
    assert_eq!(world.answer(7), Ok(first));
    assert_eq!(
        world.texts().iter().filter(|text| *text == "one").count(),
        2
    );
    // The one that could not be kept was taken away again.
    let (shown, _) = world.shown();
    let deleted = shown
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::Deleted(_)));
    assert_eq!(deleted.count(), 1);

    // The archive tells the next life of the room.
    let kept = serde_json::json!([{"key": "order-9", "id": 9, "at_ms": 8, "user": "mina", "text": "nine"}]);
    let stored = Stored::from([("posted".to_owned(), kept.to_string())]);
    let mut world = World::with(RoomConfig::default(), false, &stored);
    post(&mut world, 1, super_chat("order-9", "nine"));
    let done = world.answer(1).unwrap();
    assert_eq!((done.id, done.at_ms), (9, 8));
    assert!(world.texts().is_empty());
}

#[test]
fn an_erased_user_leaves_bans_and_nothing_else() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    world.join(2, "hana", ChatRole::Moderator);
    world.send(1, 1, "call me");
    world.send(2, 2, "no");
    world.pass(SECOND);
    let sent = world.answer(1).unwrap().id;
    world.act(2, 3, Action::Pin(sent));
    world.act(
        2,
        4,
        Action::Timeout(proto::Timeout {
            user: "mina".into(),
            seconds: 600,
        }),
    );
    let appeal = proto::Appeal {
        nonce: 5,
        text: "sorry".into(),
    };
    world.ask(1, Request::Appeal(appeal));
    world.pass(SECOND);
    let admin = Actor {
        user: "legal".into(),
        role: ChatRole::Server,
    };
    world.records.clear();
    world
        .room
        .erase(world.now, &admin, "mina", Asker::Request(6));
    world.collect();
    world.pass(SECOND);
    assert!(world.answer(6).is_ok());
    assert!(world.room.overview().queue.appeals.is_empty());
    assert!(world.room.overview().pinned.is_none());
    let (user, sanction) = world.room.overview().sanctions.pop_first().unwrap();
    assert_eq!(
        (&*user, &*sanction.reason, &*sanction.by),
        ("mina", "", "hana")
    );
    let text = format!("{:?}", world.records);
    assert!(
        !text.contains("because") && !text.contains("sorry"),
        "{text}"
    );
    let said = world.snapshot(2).messages;
    assert_eq!(said.len(), 1, "the other's message stays");
    // Who moderated is forgotten as well.
    world
        .room
        .erase(world.now, &admin, "hana", Asker::Request(7));
    world.collect();
    let (_, sanction) = world.room.overview().sanctions.pop_first().unwrap();
    assert_eq!(&*sanction.by, "");
}

#[test]
fn reviews_allow_change_deny_or_come_too_late() {
    let mut world = World::with(RoomConfig::default(), true, &Stored::new());
    world.join(1, "mina", ChatRole::Guest);
    for (nonce, reviewed) in [
        (1, Reviewed::Allow),
        (2, Reviewed::Modify("flowers".into())),
        (3, Reviewed::Deny("rude".into())),
    ] {
        world.send(1, nonce, &format!("text {nonce}"));
        let id = world.reviews.pop().unwrap().id;
        world.send(1, nonce, "asked again meanwhile");
        assert!(world.reviews.is_empty());
        world.room.reviewed(world.now, id, reviewed);
        world.collect();
        world.pass(SECOND);
    }
    world.send(1, 4, "late");
    let late = world.reviews.pop().unwrap().id;
    world.pass(SECOND);
    world
        .room
        .reviewed(world.now, late, Reviewed::Deny("too late".into()));
    assert_eq!(world.texts(), ["text 1", "flowers", "late"]);
    assert_eq!(world.answer(2).unwrap().text.as_deref(), Some("flowers"));
    assert_eq!(world.refused(3), Some(Code::Denied));
}

#[test]
fn ids_rise_though_the_clock_jumps() {
    let mut stored = Stored::new();
    stored.insert("last_id".into(), (1_800_000_000_000_u64 << 20).to_string());
    let mut world = World::with(RoomConfig::default(), false, &stored);
    world.join(1, "idol", ChatRole::Idol);
    let mut last = 1_800_000_000_000 << 20;
    for (nonce, unix_ms) in [
        (1, 0),
        (2, 1_900_000_000_000),
        (3, 5),
        (4, u64::from(u32::MAX)),
    ] {
        world.now.unix_ms = unix_ms;
        world.send(1, nonce, "tick");
        world.pass(SECOND);
        let id = world.answer(nonce).unwrap().id;
        assert!(id > last);
        last = id;
    }
}

#[test]
fn captions_go_to_everybody_at_once() {
    let mut world = World::new();
    world.join(1, "mina", ChatRole::Guest);
    let cue = proto::CaptionCue {
        language: "ko".into(),
        text: "네".into(),
        ..Default::default()
    };
    world.ask(1, Request::Caption(cue.clone()));
    assert_eq!(world.refused(0), Some(Code::ReadOnly));
    world.join(2, "idol", ChatRole::Idol);
    world.ask(2, Request::Caption(cue));
    let captions = world.parts.iter().filter_map(|(_, part)| match part {
        Part::Caption(cue) => Some((cue.text.clone(), cue.duration_ms)),
        _ => None,
    });
    assert_eq!(captions.collect::<Vec<_>>(), [("네".to_owned(), 4_000)]);
}

#[test]
fn a_room_forgets_who_has_left() {
    let mut world = World::new();
    for client in 0..100 {
        world.join(client, &format!("user-{client}"), ChatRole::Guest);
    }
    for client in 0..100 {
        world.room.disconnect(world.now, ClientKey(client));
    }
    world.pass(SECOND);
    assert!(!world.room.is_idle(), "they may come back");
    world.join(7, "user-7", ChatRole::Guest);
    world.room.disconnect(world.now, ClientKey(7));
    world.pass(2 * LINGER);
    assert!(world.room.is_idle());
    assert!(world.room.state.talk.crowd.is_empty());
}
