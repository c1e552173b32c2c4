//! Webhooks and the review hook, against receivers on loopback.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lightstick_chat::wire::RefusalCode;
use lightstick_chat::{ChatConfig, DeliveryConfig, ReviewConfig, WebhookConfig};
use lightstick_signaling::Code;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::hook::{Answer, Hook, SECRET};
use support::ws::Ws;
use support::{PATIENCE, Server, problem};

const CHAT: &str = "/api/v1/rooms/stage/chat";

fn webhook(hook: &Hook, events: &[&str]) -> WebhookConfig {
    WebhookConfig {
        url: hook.url(),
        secret: SECRET.into(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
    }
}

/// Tries follow each other closely.
fn quick(webhooks: Vec<WebhookConfig>) -> ChatConfig {
    ChatConfig {
        webhooks,
        delivery: DeliveryConfig {
            tries: 3,
            retry_wait: Duration::from_millis(1),
            retry_wait_max: Duration::from_millis(10),
            timeout: Duration::from_secs(60),
            ..DeliveryConfig::default()
        },
        ..ChatConfig::default()
    }
}

async fn post(server: &Server, path: &str, body: Value) -> Value {
    let request = server.request(Method::POST, &format!("{CHAT}{path}"));
    let response = request.json(&body).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.json().await.unwrap()
}

/// Waits until a list of dead letters has so many.
async fn letters(server: &Server, count: usize) -> Vec<Value> {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let page = server.json("/api/v1/chat/dead-letters").await;
            let letters = page["letters"].as_array().unwrap().clone();
            if letters.len() == count {
                return letters;
            }
        }
    });
    waited.await.expect("dead letters")
}

/// Waits until the numbers of webhooks are these.
async fn counted(server: &Server, wanted: &Value) {
    let mut seen = Value::Null;
    let waited = tokio::time::timeout(PATIENCE, async {
        while seen != *wanted {
            seen = server.json("/api/v1/chat/statistics").await["webhooks"].clone();
        }
    });
    let waited = waited.await;
    assert!(waited.is_ok(), "{seen}");
}

#[tokio::test]
async fn every_event_is_told_to_who_wants_it() {
    let mut all = Hook::start(|_| Answer::Status(204)).await;
    let mut polls = Hook::start(|_| Answer::Status(200)).await;
    let config = quick(vec![webhook(&all, &[]), webhook(&polls, &["poll.ended"])]);
    let server = Server::chatting(config).await;
    let (mut fan, welcome) = Ws::join(&server, "stage", "").await;
    let user = welcome.you.unwrap().user;
    fan.say(1, "hello").await;
    let id = fan.answer(1).await.unwrap();
    let told = all.next().await;
    assert_eq!(told.body["type"], "message.created");
    assert_eq!(told.body["data"]["room"], "stage");
    assert_eq!(told.body["data"]["message"]["id"], id.to_string());
    assert_eq!(told.body["data"]["message"]["author"]["user"], user);
    post(&server, "/moderation", json!({"delete": id.to_string()})).await;
    let told = all.next().await;
    assert_eq!(told.body["type"], "messages.deleted");
    assert_eq!(told.body["data"]["ids"], json!([id.to_string()]));
    let timeout = json!({"timeout": {"user": user, "seconds": 60}, "reason": "loud"});
    post(&server, "/moderation", timeout).await;
    let told = all.next().await;
    assert_eq!(told.body["type"], "user.moderated");
    let data = &told.body["data"];
    assert_eq!(
        (&data["action"], &data["user"], &data["reason"]),
        (&json!("timeout"), &json!(user), &json!("loud"))
    );
    assert_eq!(data["after"]["kind"], "timeout");
    let appeal = lightstick_chat_proto::Appeal {
        nonce: 2,
        text: "sorry".into(),
    };
    fan.ask(lightstick_chat_proto::client_frame::Frame::Appeal(appeal))
        .await;
    let told = all.next().await;
    assert_eq!(
        (&told.body["type"], &told.body["data"]["text"]),
        (&json!("appeal.opened"), &json!("sorry"))
    );
    post(
        &server,
        "/moderation",
        json!({"pollStart": {"question": "Encore?", "choices": ["yes", "YES"]}}),
    )
    .await;
    post(&server, "/moderation", json!({"pollEnd": "0"})).await;
    let told = all.next().await;
    assert_eq!(
        (&told.body["type"], &told.body["data"]["poll"]["ended"]),
        (&json!("poll.ended"), &json!(true))
    );
    let hold = server.request(Method::PUT, &format!("{CHAT}/settings"));
    hold.json(&json!({"hold": "HOLD_ALL"}))
        .send()
        .await
        .unwrap();
    // A guest's timeout holds for the address.
    post(&server, "/moderation", json!({"unban": user})).await;
    assert_eq!(all.next().await.body["data"]["action"], "unban");
    let (mut other, _) = Ws::join(&server, "stage", "").await;
    other.say(1, "wait").await;
    let told = all.next().await;
    assert_eq!(
        (&told.body["type"], &told.body["data"]["reason"]),
        (&json!("message.held"), &json!("hold_all"))
    );
    // The other receiver heard of the poll, and of nothing else.
    assert_eq!(polls.next().await.body["type"], "poll.ended");
    assert_eq!(polls.rest(), 0);
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_id() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let mut hook = Hook::start(move |_| match seen.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::Status(500),
        1 => Answer::Status(302),
        _ => Answer::Status(200),
    })
    .await;
    let server = Server::chatting(quick(vec![webhook(&hook, &["message.created"])])).await;
    post(&server, "/messages", json!({"text": "hi"})).await;
    let first = hook.next().await;
    for _ in 0..2 {
        let again = hook.next().await;
        assert_eq!(
            (again.id, again.body),
            (first.id.clone(), first.body.clone())
        );
    }
    let wanted = json!({"waiting": 0, "delivered": 1, "failed": 2, "dead": 0, "dropped": 0});
    counted(&server, &wanted).await;
}

#[tokio::test]
async fn one_that_hangs_holds_up_nobody() {
    let mut stuck = Hook::start(|_| Answer::Hang).await;
    let mut fine = Hook::start(|_| Answer::Status(200)).await;
    let mut config = quick(vec![webhook(&stuck, &[]), webhook(&fine, &[])]);
    config.delivery.queue_max = 4;
    config.delivery.at_once_max = 2;
    let server = Server::chatting(config).await;
    let (mut fan, _) = Ws::join(&server, "stage", "").await;
    for number in 0..12 {
        post(&server, "/messages", json!({"text": format!("m{number}")})).await;
        assert_eq!(fan.message().await.text, format!("m{number}"));
        if number < 2 {
            stuck.next().await;
        }
        assert_eq!(
            fine.next().await.body["data"]["message"]["text"],
            format!("m{number}")
        );
    }
    // Two are with it, four wait, six were dropped; all is counted.
    let wanted = json!({"waiting": 6, "delivered": 12, "failed": 0, "dead": 0, "dropped": 6});
    counted(&server, &wanted).await;
    assert_eq!(stuck.rest(), 0);
    // What it did not take when the server stops waits for the next.
    let server = server.restarted(ChatConfig::default()).await;
    assert_eq!(letters(&server, 6).await.len(), 6);
}

#[tokio::test]
async fn dead_letters_are_kept_and_tried_again() {
    let works = Arc::new(AtomicUsize::new(0));
    let switch = Arc::clone(&works);
    let mut hook = Hook::start(move |_| match switch.load(Ordering::Relaxed) {
        0 => Answer::Status(503),
        _ => Answer::Status(200),
    })
    .await;
    let config = quick(vec![webhook(&hook, &["message.created"])]);
    let server = Server::chatting(config.clone()).await;
    post(&server, "/messages", json!({"text": "hi", "user": "mina"})).await;
    post(&server, "/messages", json!({"text": "ho"})).await;
    let dead = letters(&server, 2).await;
    let of = |text: &str| {
        let mut found = dead.iter();
        let letter = found.find(|letter| letter["body"]["data"]["message"]["text"] == text);
        letter.unwrap()["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (&dead[0]["attempts"], &dead[0]["event"]),
        (&json!(3), &json!("message.created"))
    );
    assert_eq!(
        (&dead[0]["url"], &dead[0]["lastError"]),
        (&json!(hook.url()), &json!("503 Service Unavailable"))
    );
    assert_eq!(hook.rest(), 6);

    // It outlives a restart, and goes when it is taken.
    let server = server.restarted(config).await;
    works.store(1, Ordering::Relaxed);
    let retry = |id: String| {
        let path = format!("/api/v1/chat/dead-letters/{id}/retry");
        let request = server.request(Method::POST, &path);
        async move { request.send().await.unwrap() }
    };
    let id = of("ho");
    assert_eq!(retry(id.clone()).await.status(), StatusCode::ACCEPTED);
    let told = hook.next().await;
    assert_eq!(told.body["data"]["message"]["text"], "ho");
    assert!(
        id.starts_with(&format!("{}~", told.id)),
        "the same webhook-id"
    );
    letters(&server, 1).await;
    problem(retry(id).await, Code::Chat(RefusalCode::NotFound)).await;
    // What an erased user said is in no letter.
    let gone = server.delete("/api/v1/chat/users/mina").await;
    assert_eq!(gone.status(), StatusCode::OK);
    assert_eq!(letters(&server, 1).await[0]["body"], Value::Null);
    problem(retry(of("hi")).await, Code::ChatNoReceiver).await;
    let path = format!("/api/v1/chat/dead-letters/{}", of("hi"));
    assert_eq!(server.delete(&path).await.status(), StatusCode::NO_CONTENT);
    letters(&server, 0).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone() {
    let mut hook = Hook::start(|_| Answer::Status(410)).await;
    let server = Server::chatting(quick(vec![webhook(&hook, &[])])).await;
    post(&server, "/messages", json!({"text": "one"})).await;
    let letter = &letters(&server, 1).await[0];
    assert_eq!(
        (&letter["attempts"], &letter["lastError"]),
        (&json!(1), &json!("410 Gone"))
    );
    post(&server, "/messages", json!({"text": "two"})).await;
    let wanted = json!({"waiting": 0, "delivered": 0, "failed": 1, "dead": 1, "dropped": 1});
    counted(&server, &wanted).await;
    hook.next().await;
    assert_eq!(hook.rest(), 0);
    let path = format!(
        "/api/v1/chat/dead-letters/{}/retry",
        letter["id"].as_str().unwrap()
    );
    let refused = server.request(Method::POST, &path).send().await.unwrap();
    problem(refused, Code::ChatNoReceiver).await;
}

#[tokio::test]
async fn reviews_allow_modify_deny_and_are_not_waited_for() {
    let hook = Hook::start(|body| {
        assert_eq!(body["type"], "message.review");
        let text = body["data"]["message"]["text"].as_str().unwrap();
        match text {
            "change" => Answer::Json(json!({"verdict": "modify", "text": "changed"})),
            "deny" => Answer::Json(json!({"verdict": "deny", "reason": "rude"})),
            "slow" => Answer::Hang,
            "broken" => Answer::Json(json!({"verdict": "perhaps"})),
            "down" => Answer::Status(500),
            _ => Answer::Json(json!({"verdict": "allow"})),
        }
    })
    .await;
    let mut config = ChatConfig {
        review: ReviewConfig {
            url: hook.url(),
            secret: SECRET.into(),
            ..ReviewConfig::default()
        },
        ..ChatConfig::default()
    };
    // Long enough for a busy machine to answer, and not too long to wait for the one that hangs.
    config.room.review_timeout = Duration::from_secs(3);
    let server = Server::chatting(config).await;
    let (mut fan, _) = Ws::join(&server, "stage", "").await;
    fan.say(1, "slow").await;
    // Others are shown while it is waited for.
    fan.say(2, "fine").await;
    assert_eq!(fan.message().await.text, "fine");
    fan.say(3, "change").await;
    assert_eq!(fan.message().await.text, "changed");
    fan.say(4, "deny").await;
    assert_eq!(fan.answer(4).await, Err("denied".into()));
    let mut late = Vec::new();
    for (nonce, text) in [(5, "broken"), (6, "down")] {
        fan.say(nonce, text).await;
    }
    // By default what could not be reviewed is shown, the slow one after its budget.
    while late.len() < 3 {
        late.push(fan.message().await.text);
    }
    late.sort_unstable();
    assert_eq!(late, ["broken", "down", "slow"]);
    let stats = server.stats();
    let seen = [
        &stats.reviews_allowed,
        &stats.reviews_modified,
        &stats.reviews_denied,
    ];
    assert_eq!(seen.map(lightstick_chat::Number::get), [1, 1, 1]);
}

#[tokio::test]
async fn late_reviews_hold_where_the_operator_says_so() {
    let hook = Hook::start(|_| Answer::Hang).await;
    let mut config = ChatConfig {
        review: ReviewConfig {
            url: hook.url(),
            secret: SECRET.into(),
            at_once_max: 1,
        },
        ..ChatConfig::default()
    };
    config.room.review_timeout = Duration::from_millis(50);
    config.room.review_late_holds = true;
    let server = Server::chatting(config).await;
    let (mut fan, _) = Ws::join(&server, "stage", "").await;
    // More than are asked about at once: those that wait are decided about as well.
    for nonce in 1..=3 {
        fan.say(nonce, &format!("m{nonce}")).await;
    }
    for nonce in 1..=3 {
        fan.answer(nonce).await.unwrap();
    }
    let queue = server.json(&format!("{CHAT}/queue")).await;
    assert_eq!(queue["held"].as_array().unwrap().len(), 3);
    assert_eq!(queue["held"][0]["reason"], "not reviewed in time");
}
