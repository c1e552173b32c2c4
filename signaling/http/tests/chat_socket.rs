//! The chat over WebSockets.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use lightstick_chat::ChatConfig;
use lightstick_chat_proto::client_frame::Frame as Request;
use lightstick_chat_proto::part::Part;
use lightstick_chat_proto::{ClientFrame, Hello, Ping, React, Reaction, Role, Send};
use lightstick_signaling::{Code, SignalingConfig};
use lightstick_types::rate::Rate;
use prost::Message as _;
use support::ws::{JSON, PROTOBUF, Ws};
use support::{Server, claims, problem, signer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

fn token(who: &str, room: &str) -> String {
    let mut claims = claims(who, room, |grants| grants.chat = true);
    claims.name = Some(who.to_uppercase());
    signer("a").mint(&claims).unwrap()
}

/// Texts that nobody takes for each other, of so many words.
fn texts(words: usize) -> impl Iterator<Item = String> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(move || {
        let word = |_| random.u32(1_000..10_000).to_string();
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    })
}

#[tokio::test]
async fn two_clients_see_each_other_in_both_encodings() {
    let server = Server::chatting(ChatConfig::default()).await;
    let (mut binary, welcome) = Ws::join(&server, "stage", "").await;
    assert!(!welcome.recovered && welcome.may.unwrap().write);
    let mut text = Ws::open(&server, "stage", JSON).await;
    text.hello("", None).await;
    binary.say(7, "from protobuf").await;
    let id = binary.answer(7).await.unwrap();
    let heard = text.message().await;
    assert_eq!((heard.id, &*heard.text), (id, "from protobuf"));
    // As a person would write it.
    let frame = r#"{"send": {"nonce": "8", "text": "from JSON 💜", "replyTo": "ID"}}"#;
    text.raw(Message::text(frame.replace("ID", &id.to_string())))
        .await;
    text.answer(8).await.unwrap();
    let heard = loop {
        let heard = binary.message().await;
        if heard.id != id {
            break heard;
        }
    };
    assert_eq!(heard.text, "from JSON 💜");
    let reply = heard.reply.unwrap();
    assert_eq!((reply.id, &*reply.excerpt), (id, "from protobuf"));
    // The same nonce again is the same message.
    binary.say(7, "from protobuf").await;
    assert_eq!(binary.answer(7).await, Ok(id));
    let hearts = React {
        reactions: vec![Reaction {
            kind: "heart".into(),
            count: 3,
        }],
    };
    binary.ask(Request::React(hearts)).await;
    let count = text
        .until(|part| match part {
            Part::Effects(effects) => effects.reactions.first().map(|r| r.count),
            _ => None,
        })
        .await;
    assert_eq!(count, 3);
    binary.ask(Request::Ping(Ping { number: 42 })).await;
    let number = binary
        .until(|part| match part {
            Part::Pong(pong) => Some(pong.number),
            _ => None,
        })
        .await;
    assert_eq!(number, 42);
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_over_another_encoding_too() {
    let server = Server::chatting(ChatConfig::default()).await;
    let (mut talker, _) = Ws::join(&server, "stage", "").await;
    let (away, welcome) = Ws::join(&server, "stage", "").await;
    let position = welcome.position;
    drop(away);
    for nonce in 1..=3 {
        talker.say(nonce, &format!("m{nonce}")).await;
        talker.answer(nonce).await.unwrap();
    }
    let mut back = Ws::open(&server, "stage", JSON).await;
    assert!(back.hello("", position).await.recovered);
    let mut missed = Vec::new();
    while missed.len() < 3 {
        let batch = back
            .until(|part| match part {
                Part::Batch(batch) => Some(batch),
                _ => None,
            })
            .await;
        missed.extend(batch.entries);
    }
    assert_eq!(missed.len(), 3);
    // A place of another life of the room is no place.
    let mut lost = Ws::open(&server, "stage", PROTOBUF).await;
    let elsewhere = position.map(|mut position| {
        position.epoch += 1;
        position
    });
    assert!(!lost.hello("", elsewhere).await.recovered);
}

#[tokio::test]
async fn tokens_come_in_the_hello_and_guests_read_along() {
    let server = Server::chatting_keyed(ChatConfig::default()).await;
    let (mut mina, welcome) = Ws::join(&server, "stage", &token("mina", "stage")).await;
    let you = welcome.you.unwrap();
    assert_eq!(
        (&*you.user, &*you.name, you.role()),
        ("mina", "MINA", Role::Member)
    );
    let (mut guest, welcome) = Ws::join(&server, "stage", "").await;
    assert!(!welcome.may.unwrap().write);
    guest.say(1, "hi").await;
    assert_eq!(guest.answer(1).await, Err("read_only".into()));
    mina.say(1, "hello @mina").await;
    mina.answer(1).await.unwrap();
    assert_eq!(guest.message().await.mentions, ["mina"]);
    mina.say(2, "/ban guest").await;
    assert_eq!(mina.answer(2).await, Err("not_moderator".into()));
    mina.say(3, "   ").await;
    assert_eq!(mina.answer(3).await, Err("empty".into()));
    for (token, reason) in [
        (token("mina", "other"), "token_wrong_room"),
        ("nonsense".into(), "token_malformed"),
    ] {
        let mut ws = Ws::open(&server, "stage", PROTOBUF).await;
        ws.ask(Request::Hello(Hello {
            position: None,
            token,
        }))
        .await;
        assert_eq!(ws.closed().await, (4_001, reason.into()));
    }
    let plain = server.get("/chat/stage").await;
    problem(plain, Code::MalformedRequest).await;
    let off = Server::start(Default::default()).await;
    problem(off.get("/chat/stage").await, Code::ChatOff).await;
}

#[tokio::test]
async fn nonsense_is_answered_and_too_much_of_it_closes() {
    let server = Server::chatting(ChatConfig::default()).await;
    let mut silent = Ws::open(&server, "stage", PROTOBUF).await;
    silent.raw(Message::binary(b"\xff\xff".to_vec())).await;
    let reason = "the first frame is a hello".to_owned();
    assert_eq!(silent.closed().await, (4_000, reason));
    let (mut ws, _) = Ws::join(&server, "stage", "").await;
    ws.raw(Message::binary(b"\xff\xff".to_vec())).await;
    assert_eq!(ws.answer(0).await, Err("malformed".into()));
    ws.raw(Message::text("{}")).await;
    assert_eq!(ws.answer(0).await, Err("malformed".into()));
    // Still there.
    ws.say(1, "hi").await;
    ws.answer(1).await.unwrap();
    // A frame that is too long, or whose text is not UTF-8, is refused by its nonce.
    for text in [vec![b'x'; 9_000], vec![0xff; 4]] {
        let length = u16::try_from(text.len()).unwrap();
        let send = Send {
            nonce: length.into(),
            text: "x".repeat(text.len()),
            reply_to: 0,
        };
        let frame = Some(Request::Send(send));
        let mut bytes = ClientFrame { frame }.encode_to_vec();
        let at = bytes.len() - text.len();
        bytes[at..].copy_from_slice(&text);
        ws.raw(Message::binary(bytes)).await;
        assert_eq!(ws.answer(length.into()).await, Err("malformed".into()));
    }
    ws.raw(Message::binary(vec![0; 20_000])).await;
    // The close may be lost where the peer still writes what nobody reads.
    let end = ws.closed().await;
    let whole = (1_009, "a frame is too long".to_owned());
    assert!(end == whole || end.0 == 0, "{end:?}");
    let (mut other, _) = Ws::join(&server, "stage", "").await;
    other.say(1, "nobody else was hurt").await;
    other.answer(1).await.unwrap();
}

#[tokio::test]
async fn a_flood_is_refused_with_a_time() {
    let mut config = ChatConfig::default();
    config.room.messages_per_user = 5;
    config.room.rate_window = Duration::from_secs(3_600);
    let server = Server::chatting(config).await;
    let (mut ws, _) = Ws::join(&server, "stage", "").await;
    let (mut reader, _) = Ws::join(&server, "stage", "").await;
    for (nonce, text) in (1..=20).zip(texts(3)) {
        ws.say(nonce, &text).await;
    }
    let mut refused = 0;
    let mut accepted = 0;
    while refused + accepted < 20 {
        ws.until(|part| match part {
            Part::Ack(_) => {
                accepted += 1;
                Some(())
            }
            Part::Refusal(refusal) => {
                assert_eq!(refusal.code, "rate_limited");
                assert!(refusal.retry_after_ms > 0);
                refused += 1;
                Some(())
            }
            _ => None,
        })
        .await;
    }
    assert_eq!((accepted, refused), (5, 15));
    assert_eq!(Some(reader.message().await.text), texts(3).next());
}

#[tokio::test]
async fn places_of_an_address_are_counted_and_given_back() {
    let config = ChatConfig {
        sockets_per_address_max: 2,
        ..ChatConfig::default()
    };
    let server = Server::chatting(config).await;
    let (first, _) = Ws::join(&server, "stage", "").await;
    let (_second, _) = Ws::join(&server, "stage", "").await;
    // Whether it says hello or not.
    let mut third = Ws::open(&server, "stage", PROTOBUF).await;
    assert_eq!(third.closed().await, (4_002, "address_full".into()));
    drop(first);
    let stats = server.stats();
    server
        .until("a place that is free", |_| stats.sockets.get() == 1)
        .await;
    Ws::join(&server, "stage", "").await;
}

#[tokio::test]
async fn pings_are_no_hello() {
    let config = ChatConfig {
        hello_timeout: Duration::from_secs(1),
        ..ChatConfig::default()
    };
    let server = Server::chatting(config).await;
    let stats = server.stats();
    let mut ws = Ws::open(&server, "stage", PROTOBUF).await;
    let mut sent = 0;
    let end = loop {
        // A ping after each answer, for as long as there is one.
        if ws
            .socket
            .send(Message::Ping(vec![7; 8].into()))
            .await
            .is_err()
        {
            break (4_000, "no hello in time".to_owned());
        }
        sent += 1;
        match ws.socket.next().await {
            Some(Ok(Message::Pong(data))) => assert_eq!(&data[..], [7; 8]),
            Some(Ok(Message::Close(Some(frame)))) => {
                break (u16::from(frame.code), frame.reason.to_string());
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end, (4_000, "no hello in time".into()));
    // They count as frames do: 60 at once, 20 a second.
    assert!((1..=100).contains(&sent), "{sent}");
    server
        .until("its place is free", |_| stats.sockets.get() == 0)
        .await;
}

/// Writes pings that nobody reads the answers of, until the server takes no more.
async fn ping_flood(server: &Server, hello: bool) {
    const FLOOD_BYTES: usize = 64 << 20;
    let mut ws = Ws::narrow(server, "stage").await;
    if hello {
        ws.hello("", None).await;
    }
    let MaybeTlsStream::Plain(stream) = ws.socket.into_inner() else {
        panic!("a plain socket");
    };
    let (mut reader, mut writer) = stream.into_split();
    let frame = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[7; 125]].concat();
    let burst = frame.repeat(512);
    let taken = AtomicUsize::new(0);
    let flood = async {
        while taken.load(Ordering::Relaxed) < FLOOD_BYTES {
            match writer.write(&burst).await {
                Ok(written) => taken.fetch_add(written, Ordering::Relaxed),
                Err(_) => return,
            };
        }
    };
    // Somebody else is served all the while. When it has had many answers and the flood got no
    // further, the server has stopped reading.
    let stalled = async {
        let (mut other, _) = Ws::join(server, "other", "").await;
        let (mut before, mut same) = (0, 0);
        let mut number = 0;
        while same < 50 {
            number += 1;
            other.ask(Request::Ping(Ping { number })).await;
            other
                .until(|part| {
                    matches!(part, Part::Pong(pong) if pong.number == number).then_some(())
                })
                .await;
            let now = taken.load(Ordering::Relaxed);
            same = if now == before && now > 0 {
                same + 1
            } else {
                0
            };
            before = now;
        }
    };
    tokio::select! {
        () = stalled => {}
        () = flood => {}
    }
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < FLOOD_BYTES / 2, "{taken} bytes of pings were taken");
    // What is there to read is a pong or two, and what the room shows.
    let mut unread = vec![0; 1 << 20];
    let read = tokio::time::timeout(support::PATIENCE, reader.read(&mut unread)).await;
    let read = read.expect("a pong").unwrap();
    assert!(read < 64 << 10, "{read} bytes wait");
}

#[tokio::test]
async fn a_flood_of_pings_that_nobody_reads_is_not_read() {
    let server = Server::chatting(ChatConfig::default()).await;
    ping_flood(&server, false).await;
    ping_flood(&server, true).await;
}

#[tokio::test]
async fn an_address_opens_so_many_sockets_a_minute() {
    let mut signaling = SignalingConfig::default();
    signaling.limits.chat_opens_per_address = Rate::new(1, 2);
    let server = Server::chatting_with(signaling, ChatConfig::default()).await;
    for _ in 0..2 {
        drop(Ws::join(&server, "stage", "").await);
    }
    // What browsers see of it, and what their page may ask for.
    let refused = server.upgrade("/chat/stage").await;
    let detail = problem(refused, Code::RateLimited).await;
    assert!(detail["detail"].as_str().unwrap().contains("WebSockets"));
}

#[tokio::test]
async fn one_address_holds_few_chats_of_rooms_without_a_show() {
    let config = ChatConfig {
        rooms_per_address_max: 3,
        ..ChatConfig::default()
    };
    let server = Server::chatting_keyed(config).await;
    let mut held = Vec::new();
    for n in 0..3 {
        held.push(Ws::join(&server, &format!("invented-{n}"), "").await);
    }
    let mut fourth = Ws::open(&server, "invented-3", PROTOBUF).await;
    fourth.ask(Request::Hello(Hello::default())).await;
    assert_eq!(fourth.closed().await, (4_002, "address_rooms_full".into()));
    // Whoever has a token is not counted, and their room is not either.
    let (_mina, _) = Ws::join(&server, "stage", &token("mina", "stage")).await;
    Ws::join(&server, "stage", "").await;
    let (_mina, _) = Ws::join(&server, "invented-0", &token("mina", "invented-0")).await;
    Ws::join(&server, "invented-3", "").await;
}

#[tokio::test]
async fn guests_who_come_back_have_written_already() {
    let mut config = ChatConfig::default();
    config.room.messages_per_user = 5;
    config.room.rate_window = Duration::from_secs(3_600);
    let server = Server::chatting(config).await;
    let mut accepted = 0;
    for text in texts(3).take(20) {
        let (mut ws, _) = Ws::join(&server, "stage", "").await;
        ws.say(1, &text).await;
        match ws.answer(1).await {
            Ok(_) => accepted += 1,
            Err(code) => assert_eq!(code, "rate_limited"),
        }
    }
    assert_eq!(accepted, 5);
}

#[tokio::test]
async fn who_does_not_read_hears_of_a_gap() {
    // More is shown than its socket holds: that of a client who reads nothing is small.
    let mut config = ChatConfig::default();
    config.room.viewer_bitrate = 1_000_000;
    config.room.text_chars_max = 1_000;
    config.room.tick = Duration::from_millis(50);
    config.room.messages_per_user = 100_000;
    let server = Server::chatting(config).await;
    let mut slow = Ws::narrow(&server, "stage").await;
    slow.hello("", None).await;
    let stats = server.stats();
    let (mut writer, _) = Ws::join(&server, "stage", "").await;
    let mut texts = (1..).zip(texts(190));
    let waited = tokio::time::timeout(6 * support::PATIENCE, async {
        while stats.socket_missed.get() == 0 {
            for (nonce, text) in texts.by_ref().take(10) {
                writer.say(nonce, &text).await;
                if nonce % 10 == 0 {
                    writer.answer(nonce).await.unwrap();
                }
            }
        }
    });
    waited.await.expect("messages that are left out");
    // It reads again, and hears how many it has not seen.
    let missed = slow
        .until(|part| match part {
            Part::Gap(gap) => Some(gap.messages),
            _ => None,
        })
        .await;
    assert!(missed > 0);
    // The one who read lost nothing.
    assert!(writer.message().await.text.len() > 900);
}

/// What a client sends in docs/chat.md, and what it answers to webhooks, is what the protocol reads.
#[test]
fn the_documents_examples_are_sound() {
    let text = include_str!("../../../docs/chat.md");
    let frames = text.lines().filter_map(|line| line.strip_prefix("> "));
    let mut seen = 0;
    for frame in frames {
        let read: ClientFrame = serde_json::from_str(frame).expect(frame);
        assert!(read.frame.is_some(), "{frame}");
        // Unknown names are passed over, so what was read must be all that was written.
        let written = serde_json::to_value(&read).unwrap();
        let meant: serde_json::Value = serde_json::from_str(frame).unwrap();
        assert_eq!(written, meant);
        seen += 1;
    }
    assert!(seen > 3, "only {seen} frames");
    for code in Code::ALL {
        let name = code.as_str();
        let documented = name.strip_prefix("chat_").is_none_or(|short| {
            text.contains(&format!("`{short}`")) || text.contains(&format!("`{name}`"))
        });
        assert!(documented, "{name} is not in docs/chat.md");
    }
}
