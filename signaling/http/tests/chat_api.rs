//! The chat over HTTP, with the real rooms and the real archive.

mod support;

use lightstick_chat::ChatConfig;
use lightstick_chat::wire::RefusalCode;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::part::Part;
use lightstick_signaling::Code;
use lightstick_types::ChatRole;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use support::ws::Ws;
use support::{Server, claims, header_of, problem, signer};

const CHAT: &str = "/api/v1/rooms/stage/chat";

async fn send(server: &Server, method: Method, path: &str, body: Value) -> Response {
    let request = server.request(method, path).json(&body);
    request.send().await.unwrap()
}

async fn post(server: &Server, path: &str, body: Value) -> Value {
    let response = send(server, Method::POST, &format!("{CHAT}{path}"), body).await;
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

async fn paid(server: &Server, key: &str, body: &Value) -> Response {
    let request = server
        .request(Method::POST, &format!("{CHAT}/messages"))
        .header("idempotency-key", key);
    request.json(body).send().await.unwrap()
}

fn token(who: &str, role: ChatRole, moderate: bool) -> String {
    let mut claims = claims(who, "stage", |grants| {
        grants.chat = true;
        grants.moderate = moderate;
    });
    claims.role = Some(role);
    signer("a").mint(&claims).unwrap()
}

fn admin(room: &str) -> String {
    let claims = claims("shop", room, |grants| grants.admin = true);
    signer("a").mint(&claims).unwrap()
}

#[tokio::test]
async fn the_artist_has_all_powers_in_her_room_and_none_elsewhere() {
    let server = Server::chatting_keyed(ChatConfig::default()).await;
    let artist = claims("hana", "stage", |grants| grants.publish = true);
    let as_artist = |method, path: &str| {
        let token = signer("a").mint(&artist).unwrap();
        server.request(method, path).bearer_auth(token)
    };
    let path = format!("{CHAT}/settings");
    let read = as_artist(Method::GET, &path).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    let bans = format!("{CHAT}/sanctions");
    let listed = as_artist(Method::GET, &bans).send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
    let slow = as_artist(Method::PUT, &path).json(&json!({"slowSeconds": 5}));
    assert_eq!(slow.send().await.unwrap().status(), StatusCode::OK);
    let elsewhere = path.replace("/stage/", "/other/");
    let refused = as_artist(Method::GET, &elsewhere).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let dead = as_artist(Method::GET, "/api/v1/chat/dead-letters");
    assert_eq!(dead.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_the_server_says_is_shown_kept_and_deleted() {
    let server = Server::chatting(ChatConfig::default()).await;
    let (mut fan, _) = Ws::join(&server, "stage", "").await;
    let said = json!({"text": "Welcome <all>!", "name": "Stage"});
    let done = post(&server, "/messages", said).await;
    let id = done["id"].as_str().unwrap().to_owned();
    let shown = fan.message().await;
    assert_eq!(
        (shown.id.to_string(), &*shown.text),
        (id.clone(), "Welcome <all>!")
    );
    assert_eq!(shown.author.unwrap().name, "Stage");

    let path = format!("{CHAT}/messages/{id}");
    let kept = server.json(&path).await;
    assert_eq!(kept["text"], "Welcome <all>!");
    assert_eq!(kept["author"]["role"], "ROLE_SERVER");
    assert_eq!(
        (&kept["shown"], &kept["removed"]),
        (&json!(true), &Value::Null)
    );

    let gone = server.delete(&format!("{path}?reason=typo")).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let deleted = fan
        .entry(|entry| match entry {
            Entry::Deleted(deleted) => Some(deleted.ids),
            _ => None,
        })
        .await;
    assert_eq!(deleted, [id.parse::<u64>().unwrap()]);
    assert_eq!(server.json(&path).await["removed"]["by"], "development");

    // Newest first; the log is whole, and says why.
    let audit = server.json(&format!("{CHAT}/audit")).await;
    let actions: Vec<_> = audit["records"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&actions[0]["action"], &actions[0]["reason"]),
        (&json!("delete"), &json!("typo"))
    );
    assert_eq!(
        (&actions[0]["before"], &actions[0]["sequence"]),
        (&json!("Welcome <all>!"), &json!("2"))
    );
    assert_eq!(actions[1]["action"], "message");
    let page = server.json(&format!("{CHAT}/audit?limit=1")).await;
    assert_eq!(
        (&page["records"][0]["sequence"], &page["next"]),
        (&json!("2"), &json!("2"))
    );
    let page = server.json(&format!("{CHAT}/audit?limit=1&before=2")).await;
    assert_eq!(
        (&page["records"][0]["sequence"], &page["next"]),
        (&json!("1"), &Value::Null)
    );
    let page = server.json(&format!("{CHAT}/audit?limit=1&after=0")).await;
    assert_eq!(
        (&page["records"][0]["sequence"], &page["next"]),
        (&json!("1"), &json!("1"))
    );
    let verdict = server.json(&format!("{CHAT}/audit/verify")).await;
    assert_eq!(
        verdict,
        json!({"whole": true, "records": "2", "brokenAt": null})
    );
}

#[tokio::test]
async fn history_goes_page_by_page_and_whole() {
    let server = Server::chatting(ChatConfig::default()).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let user = if number % 2 == 0 { "mina" } else { "hana" };
        let done = post(
            &server,
            "/messages",
            json!({"text": format!("m{number}"), "user": user}),
        )
        .await;
        ids.push(done["id"].as_str().unwrap().to_owned());
    }
    let texts = |page: &Value| -> Vec<String> {
        let messages = page["messages"].as_array().unwrap().iter();
        messages
            .map(|m| m["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = server.json(&format!("{CHAT}/messages?limit=2")).await;
    assert_eq!(texts(&page), ["m4", "m3"]);
    let next = page["next"].as_str().unwrap();
    let page = server
        .json(&format!("{CHAT}/messages?limit=3&before={next}"))
        .await;
    assert_eq!(
        (texts(&page), &page["next"]),
        (vec!["m2".into(), "m1".into(), "m0".into()], &Value::Null)
    );
    let page = server
        .json(&format!("{CHAT}/messages?after={}", ids[2]))
        .await;
    assert_eq!(texts(&page), ["m3", "m4"]);
    let page = server.json(&format!("{CHAT}/messages?user=hana")).await;
    assert_eq!(texts(&page), ["m3", "m1"]);
    let user = server.json(&format!("{CHAT}/users/hana")).await;
    assert_eq!(
        (texts(&user), &user["sanction"]),
        (vec!["m3".into(), "m1".into()], &Value::Null)
    );

    let export = server.get(&format!("{CHAT}/export?user=mina")).await;
    assert_eq!(
        header_of(&export, "content-type"),
        Some("application/x-ndjson")
    );
    let lines = export.text().await.unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<_> = lines.iter().map(|line| &line["text"]).collect();
    assert_eq!(seen, ["m0", "m2", "m4"]);
    for query in ["limit=0", "limit=1001", "before=x", "size=1"] {
        let response = server.get(&format!("{CHAT}/messages?{query}")).await;
        problem(response, Code::MalformedRequest).await;
    }
    problem(
        server.get(&format!("{CHAT}/messages/1")).await,
        Code::Chat(RefusalCode::NotFound),
    )
    .await;
}

#[tokio::test]
async fn a_payment_makes_one_message_over_restarts() {
    let server = Server::chatting(ChatConfig::default()).await;
    let order = json!({
        "user": "mina", "name": "Mina", "text": "사랑해요",
        "paid": {"amount": "5000", "currency": "krw", "tier": 3, "pinSeconds": 60},
    });
    let first = paid(&server, "order-1", &order).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let location = header_of(&first, "location").unwrap().to_owned();
    let first: Value = first.json().await.unwrap();
    let again: Value = paid(&server, "order-1", &order).await.json().await.unwrap();
    assert_eq!(first, again);
    let mut other = order.clone();
    other["text"] = json!("other");
    problem(
        paid(&server, "order-1", &other).await,
        Code::Chat(RefusalCode::KeyReused),
    )
    .await;
    for key in ["", "a b", &"k".repeat(129)] {
        problem(paid(&server, key, &order).await, Code::MalformedRequest).await;
    }
    let mut bad = order.clone();
    bad["paid"]["tier"] = json!(8);
    problem(
        paid(&server, "order-2", &bad).await,
        Code::Chat(RefusalCode::OutOfRange),
    )
    .await;
    bad["paid"]["amount"] = json!(0);
    problem(
        paid(&server, "order-2", &bad).await,
        Code::Chat(RefusalCode::OutOfRange),
    )
    .await;

    let server = server.restarted(ChatConfig::default()).await;
    let again: Value = paid(&server, "order-1", &order).await.json().await.unwrap();
    assert_eq!(first, again);
    let messages = server.json(&format!("{CHAT}/messages")).await;
    assert_eq!(messages["messages"].as_array().unwrap().len(), 1);
    let kept = server.json(&location).await;
    let paid = json!({"amount": "5000", "currency": "KRW", "tier": 3, "key": "order-1"});
    assert_eq!(kept["paid"], paid);
}

#[tokio::test]
async fn settings_moderation_and_who_may() {
    let server = Server::chatting_keyed(ChatConfig::default()).await;
    let moderator = token("jisoo", ChatRole::Moderator, true);
    let lead = token("mod", ChatRole::LeadModerator, true);
    let guest = token("fake", ChatRole::Guest, true);
    let ask = |method: Method, path: &str, token: Option<&String>, body: Option<Value>| {
        let mut request = server.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        async move { request.send().await.unwrap() }
    };
    problem(ask(Method::GET, CHAT, None, None).await, Code::TokenMissing).await;
    let fan = token("fan", ChatRole::Member, false);
    problem(
        ask(Method::GET, CHAT, Some(&fan), None).await,
        Code::TokenNoGrant,
    )
    .await;
    problem(
        ask(Method::GET, CHAT, Some(&guest), None).await,
        Code::TokenNoGrant,
    )
    .await;
    let elsewhere = admin("other");
    problem(
        ask(Method::GET, CHAT, Some(&elsewhere), None).await,
        Code::TokenWrongRoom,
    )
    .await;
    for path in ["/api/v1/chat/statistics", "/api/v1/chat/dead-letters"] {
        problem(
            ask(Method::GET, path, Some(&moderator), None).await,
            Code::TokenNoGrant,
        )
        .await;
        problem(
            ask(Method::GET, path, Some(&elsewhere), None).await,
            Code::TokenWrongRoom,
        )
        .await;
    }
    let messages = format!("{CHAT}/messages");
    let forged = json!({"text": "x", "user": "idol"});
    let response = ask(Method::POST, &messages, Some(&lead), Some(forged)).await;
    problem(response, Code::TokenNoGrant).await;

    // A moderator does not change the room, a lead moderator does; viewers do not hear the terms.
    let (mut viewer, _) = Ws::join(&server, "stage", &fan).await;
    let settings = format!("{CHAT}/settings");
    let wanted = json!({"slowSeconds": 3, "blockedTerms": ["flurb"]});
    let response = ask(
        Method::PUT,
        &settings,
        Some(&moderator),
        Some(wanted.clone()),
    )
    .await;
    problem(response, Code::Chat(RefusalCode::NotModerator)).await;
    let response = ask(Method::PUT, &settings, Some(&lead), Some(wanted.clone())).await;
    assert_eq!(response.json::<Value>().await.unwrap(), wanted);
    let heard = viewer
        .entry(|entry| match entry {
            Entry::Settings(settings) => Some(settings),
            _ => None,
        })
        .await;
    assert_eq!((heard.slow_seconds, heard.blocked_terms.len()), (3, 0));
    let seen = ask(Method::GET, &settings, Some(&moderator), None).await;
    assert_eq!(seen.json::<Value>().await.unwrap(), wanted);
    let bad = json!({"slowSeconds": 1000});
    let response = ask(Method::PUT, &settings, Some(&lead), Some(bad)).await;
    problem(response, Code::Chat(RefusalCode::OutOfRange)).await;
    let response = ask(Method::PUT, &settings, Some(&lead), Some(json!([1]))).await;
    problem(response, Code::UnacceptableBody).await;

    let options = ask(Method::OPTIONS, &settings, None, None).await;
    assert_eq!(
        header_of(&options, "allow"),
        Some("GET, HEAD, PUT, OPTIONS")
    );

    // A timeout reaches the fan, stands in the list, and can be appealed.
    let moderation = format!("{CHAT}/moderation");
    let timeout = json!({"reason": "loud", "timeout": {"user": "fan", "seconds": 60}});
    let response = ask(Method::POST, &moderation, Some(&moderator), Some(timeout)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let notice = viewer
        .until(|part| match part {
            Part::Notice(notice) => Some(notice),
            _ => None,
        })
        .await;
    assert_eq!((&*notice.code, &*notice.detail), ("timed_out", "loud"));
    viewer.say(1, "hello?").await;
    assert_eq!(viewer.answer(1).await, Err("timed_out".into()));
    let list = ask(
        Method::GET,
        &format!("{CHAT}/sanctions?limit=50"),
        Some(&moderator),
        None,
    )
    .await;
    let list: Value = list.json().await.unwrap();
    let sanction = &list["sanctions"][0];
    assert_eq!(
        (&sanction["user"], &sanction["kind"], &sanction["by"]),
        (&json!("fan"), &json!("timeout"), &json!("jisoo"))
    );
    let until: u64 = sanction["untilMs"].as_str().unwrap().parse().unwrap();
    let at: u64 = sanction["atMs"].as_str().unwrap().parse().unwrap();
    assert_eq!(until - at, 60_000);
    let ban = json!({"ban": "fan"});
    let response = ask(Method::POST, &moderation, Some(&moderator), Some(ban)).await;
    problem(response, Code::Chat(RefusalCode::NotModerator)).await;
    for bad in [json!({}), json!({"explode": "fan"})] {
        let response = ask(Method::POST, &moderation, Some(&lead), Some(bad)).await;
        problem(response, Code::UnacceptableBody).await;
    }
    let state: Value = ask(Method::GET, CHAT, Some(&moderator), None)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&state["present"], &state["sanctions"]),
        (&json!(1), &json!(1))
    );
    let audit = ask(
        Method::GET,
        &format!("{CHAT}/audit"),
        Some(&moderator),
        None,
    )
    .await;
    let audit: Value = audit.json().await.unwrap();
    assert_eq!(
        (&audit["records"][0]["actor"], &audit["records"][0]["role"]),
        (&json!("jisoo"), &json!("moderator"))
    );
}

#[tokio::test]
async fn held_messages_wait_for_a_moderator() {
    let server = Server::chatting(ChatConfig::default()).await;
    let hold = send(
        &server,
        Method::PUT,
        &format!("{CHAT}/settings"),
        json!({"hold": "HOLD_ALL"}),
    )
    .await;
    assert_eq!(hold.status(), StatusCode::OK);
    let (mut fan, _) = Ws::join(&server, "stage", "").await;
    fan.say(1, "may I?").await;
    let id = fan.answer(1).await.unwrap();
    let queue = server.json(&format!("{CHAT}/queue")).await;
    assert_eq!(queue["held"][0]["message"]["id"], id.to_string());
    post(&server, "/moderation", json!({"approve": id.to_string()})).await;
    assert_eq!(fan.message().await.text, "may I?");
    assert_eq!(server.json(&format!("{CHAT}/queue")).await, json!({}));
}

#[tokio::test]
async fn an_erased_user_is_gone_and_the_log_is_whole() {
    let server = Server::chatting(ChatConfig::default()).await;
    let (mut fan, welcome) = Ws::join(&server, "stage", "").await;
    let user = welcome.you.unwrap().user;
    fan.say(1, "my number is 555").await;
    let id = fan.answer(1).await.unwrap();
    post(
        &server,
        "/moderation",
        json!({"warn": user, "reason": "gave a number away"}),
    )
    .await;
    let path = format!("{CHAT}/messages/{id}");
    assert_eq!(server.json(&path).await["text"], "my number is 555");
    let gone = server.delete(&format!("/api/v1/chat/users/{user}")).await;
    assert_eq!(
        (gone.status(), gone.json::<Value>().await.unwrap()),
        (StatusCode::OK, json!({"state": "done"}))
    );
    let kept = server.json(&path).await;
    assert_eq!(
        (&kept["text"], &kept["author"]),
        (&Value::Null, &Value::Null)
    );
    let cleared = fan
        .entry(|entry| match entry {
            Entry::UserCleared(user) => Some(user),
            _ => None,
        })
        .await;
    assert_eq!(cleared, user);
    let audit = server.json(&format!("{CHAT}/audit?after=0")).await;
    let warned = &audit["records"][0];
    assert_eq!(
        (&warned["action"], &warned["target"], &warned["reason"]),
        (&json!("warn"), &Value::Null, &Value::Null)
    );
    let verdict = server.json(&format!("{CHAT}/audit/verify")).await;
    assert_eq!(verdict["whole"], true);
    // A newcomer's snapshot has no trace either.
    let (mut other, _) = Ws::join(&server, "stage", "").await;
    let snapshot = other
        .until(|part| match part {
            Part::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        })
        .await;
    assert!(snapshot.messages.is_empty());
}

#[tokio::test]
async fn captions_are_shown_and_become_webvtt() {
    let server = Server::chatting(ChatConfig::default()).await;
    let (mut fan, _) = Ws::join(&server, "stage", "").await;
    for (at, language, text) in [("1000", "ko", "안녕 & <3"), ("3000", "en", "hello")] {
        post(
            &server,
            "/captions",
            json!({"atMs": at, "language": language, "text": text}),
        )
        .await;
    }
    let cue = fan
        .until(|part| match part {
            Part::Caption(cue) => Some(cue),
            _ => None,
        })
        .await;
    assert_eq!((&*cue.text, cue.at_ms), ("안녕 & <3", 1_000));
    let vtt = server
        .get(&format!("{CHAT}/captions.vtt?language=ko&originMs=500"))
        .await;
    assert_eq!(
        header_of(&vtt, "content-type"),
        Some("text/vtt; charset=utf-8")
    );
    let text = vtt.text().await.unwrap();
    assert!(
        text.ends_with("\n00:00:00.500 --> 00:00:04.500\n안녕 &amp; &lt;3\n"),
        "{text}"
    );
    let bad = json!({"language": "no spaces", "text": "x"});
    let response = send(&server, Method::POST, &format!("{CHAT}/captions"), bad).await;
    problem(response, Code::Chat(RefusalCode::OutOfRange)).await;
}

#[tokio::test]
async fn without_a_chat_there_is_a_problem_and_with_one_there_are_numbers() {
    let server = Server::start(Default::default()).await;
    problem(server.get(CHAT).await, Code::ChatOff).await;
    let server = Server::chatting(ChatConfig::default()).await;
    assert_eq!(server.json("/api/v1/client-config").await["chat"], true);
    let (mut fan, _) = Ws::join(&server, "stage", "").await;
    fan.say(1, "hi").await;
    fan.answer(1).await.unwrap();
    let seen = server.json("/api/v1/chat/statistics").await;
    assert_eq!(
        (&seen["rooms"], &seen["sockets"], &seen["accepted"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let letters = server.json("/api/v1/chat/dead-letters").await;
    assert_eq!(letters, json!({"letters": [], "next": null}));
    problem(
        server.delete("/api/v1/chat/dead-letters/x").await,
        Code::Chat(RefusalCode::NotFound),
    )
    .await;
}
