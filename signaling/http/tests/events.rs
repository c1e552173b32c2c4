//! Event streams, with real media behind them.

mod support;

use std::time::{Duration, Instant};

use lightstick_signaling::{Code, SignalingConfig};
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use support::peer::{Peer, Running};
use support::sse::Events;
use support::{PATIENCE, Server, location, problem};

async fn publish(server: &Server, room: &str, who: &str) -> (Running, String) {
    let (peer, offer) = Peer::publisher();
    let response = server.whip(room, who, &offer).await;
    let path = location(&response);
    (peer.run(&response.text().await.unwrap()), path)
}

async fn view(server: &Server, room: &str) -> (Running, String) {
    let (peer, offer) = Peer::viewer();
    let response = server.whep(room, &offer).await;
    let path = location(&response);
    (peer.run(&response.text().await.unwrap()), path)
}

async fn follow(server: &Server, path: &str) -> Events {
    Events::new(server.get(&format!("{path}/events")).await)
}

/// A viewer waits, sees the show, its break, its return and its end.
#[tokio::test]
async fn a_viewers_evening() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut feed = Events::new(server.get("/api/v1/events").await);
    let (_viewer, path) = view(&server, "stage").await;
    let mut events = follow(&server, &path).await;
    let first = events.next().await.unwrap();
    assert_eq!(first, ("inactive".into(), json!({"reason": "not_started"})));
    let second = events.next().await.unwrap();
    assert_eq!(
        second,
        (
            "viewercount".into(),
            json!({"viewers": 1, "viewercount": 1})
        )
    );

    let (idol, _) = publish(&server, "stage", "idol").await;
    assert_eq!(events.until("active").await, json!({}));
    let layers = loop {
        let layers = events.until("layers").await;
        if layers["current"] == "high" {
            break layers;
        }
    };
    assert_eq!(layers["layers"], json!(["high"]));

    // A stream that is opened now starts with how things stand.
    let mut late = follow(&server, &path).await;
    assert_eq!(late.next().await.unwrap().0, "active");
    let (name, data) = late.next().await.unwrap();
    assert_eq!(
        (name.as_str(), &data["current"]),
        ("layers", &json!("high"))
    );

    idol.close();
    let reason = events.until("inactive").await;
    assert_eq!(reason, json!({"reason": "interrupted"}));
    let rival = server.whip("stage", "rival", &Peer::publisher().1).await;
    problem(rival, Code::RoomBusy).await;
    let (_idol, idol_path) = publish(&server, "stage", "idol").await;
    assert_eq!(events.until("active").await, json!({}));

    assert_eq!(server.delete(&idol_path).await.status(), StatusCode::OK);
    let reason = events.until("inactive").await;
    assert_eq!(reason, json!({"reason": "ended"}));

    // The stream ends with the session.
    assert_eq!(server.delete(&path).await.status(), StatusCode::OK);
    events.ended().await;
    problem(
        server.get(&format!("{path}/events")).await,
        Code::SessionNotFound,
    )
    .await;

    let mut told = Vec::new();
    while told
        .last()
        .is_none_or(|(name, role)| (name, role) != (&"session_left".to_owned(), &json!("viewer")))
    {
        let (name, data) = feed.next().await.unwrap();
        assert_eq!(
            (data["type"].as_str(), &data["room"]),
            (Some(name.as_str()), &json!("stage"))
        );
        if name != "layers_changed" {
            told.push((name, data["role"].clone()));
        }
    }
    let told: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        told,
        [
            "session_joined",
            "session_joined",
            "room_started",
            "session_left",
            "publisher_interrupted",
            "session_joined",
            "publisher_returned",
            "session_left",
            "room_ended",
            "session_left",
        ]
    );
}

/// Browsers may close the connection before their DELETE arrives: the show is over all the same.
#[tokio::test]
async fn a_delete_that_comes_after_the_connection_ends_the_show() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_viewer, path) = view(&server, "stage").await;
    let mut events = follow(&server, &path).await;
    let (idol, idol_path) = publish(&server, "stage", "idol").await;
    assert_eq!(events.until("active").await, json!({}));

    idol.close();
    let reason = events.until("inactive").await;
    assert_eq!(reason, json!({"reason": "interrupted"}));
    assert_eq!(server.delete(&idol_path).await.status(), StatusCode::OK);
    let reason = events.until("inactive").await;
    assert_eq!(reason, json!({"reason": "ended"}));
}

#[tokio::test]
async fn viewers_are_counted_together() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_first, path) = view(&server, "stage").await;
    let mut events = follow(&server, &path).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(view(&server, "stage").await);
    }
    loop {
        let count = events.until("viewercount").await;
        if count["viewers"] == 5 {
            break;
        }
    }
    for (_, path) in &others {
        server.delete(path).await;
    }
    while events.until("viewercount").await["viewers"] != 1 {}
}

#[tokio::test]
async fn streams_of_a_session_are_limited() {
    let server = Server::start(SignalingConfig {
        event_streams_per_session_max: 1,
        ..SignalingConfig::default()
    })
    .await;
    let (_viewer, path) = view(&server, "stage").await;
    let events = follow(&server, &path).await;
    let second = server.get(&format!("{path}/events")).await;
    problem(second, Code::RateLimited).await;
    drop(events);
    let again = tokio::time::timeout(PATIENCE, async {
        while server.get(&format!("{path}/events")).await.status() != StatusCode::OK {}
    });
    again.await.expect("the first stream's place is free again");
}

#[tokio::test]
async fn layers_are_chosen() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_idol, _) = publish(&server, "stage", "idol").await;
    let (_viewer, path) = view(&server, "stage").await;
    let choose = |kind: &'static str, body: &'static str, path: String| {
        server
            .request(Method::POST, &format!("{path}/layer"))
            .header(header::CONTENT_TYPE, kind)
            .body(body)
            .send()
    };
    let json = "application/json";
    for layer in ["auto", "high", "medium", "low"] {
        let response = server
            .request(Method::POST, &format!("{path}/layer"))
            .json(&json!({"layer": layer}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{layer}");
    }
    for (kind, body, code) in [
        (json, r#"{"layer":"ultra"}"#, Code::UnacceptableBody),
        (json, r#"{"rid":"ultra"}"#, Code::UnacceptableBody),
        (json, r#"{"layer":"low","x":1}"#, Code::UnacceptableBody),
        (json, "nonsense", Code::MalformedRequest),
        ("text/plain", "low", Code::UnsupportedMediaType),
    ] {
        problem(choose(kind, body, path.clone()).await.unwrap(), code).await;
    }
    // As players of draft-ietf-wish-whep say it.
    for body in [
        r#"{"mediaId":"1","rid":"low"}"#,
        r#"{"mediaId":1,"encodingId":"high"}"#,
        r#"{"mediaId":"1"}"#,
        "{}",
    ] {
        let response = choose(json, body, path.clone()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{body}");
    }
    let response = server.delete(&format!("{path}/layer")).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    let stranger = format!("/whep/stage/{}", "0".repeat(32));
    let response = choose(json, r#"{"layer":"low"}"#, stranger).await.unwrap();
    problem(response, Code::SessionNotFound).await;
}

/// draft-ietf-wish-whep-03: a POST makes a stream of the events that it lists.
#[tokio::test]
async fn streams_of_some_events() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_viewer, path) = view(&server, "stage").await;
    let make = async |body: &'static str| {
        let request = server
            .request(Method::POST, &format!("{path}/events"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        request.send().await.unwrap()
    };
    let count = json!({"viewers": 1, "viewercount": 1});
    let inactive = json!({"reason": "not_started"});

    let made = location(&make(r#"["viewercount","scte35"]"#).await);
    let mut events = Events::new(server.get(&made).await);
    assert_eq!(
        events.next().await,
        Some(("viewercount".into(), count.clone()))
    );
    let all = location(&make("").await);
    let mut both = Events::new(server.get(&all).await);
    assert_eq!(both.next().await, Some(("inactive".into(), inactive)));
    assert_eq!(both.next().await, Some(("viewercount".into(), count)));

    assert_eq!(server.delete(&made).await.status(), StatusCode::OK);
    assert!(events.ended().await.is_empty());
    problem(server.get(&made).await, Code::NotFound).await;
    problem(server.delete(&made).await, Code::NotFound).await;

    for (body, code) in [
        ("nonsense", Code::MalformedRequest),
        (r#"{"events":[]}"#, Code::UnacceptableBody),
        ("[1]", Code::UnacceptableBody),
    ] {
        problem(make(body).await, code).await;
    }
    assert_eq!(server.delete(&path).await.status(), StatusCode::OK);
    both.ended().await;
    problem(make("").await, Code::SessionNotFound).await;
}

/// A drain refuses newcomers, tells viewers, waits for the last to go, and ends the streams.
#[tokio::test]
async fn a_drain_waits_for_the_last_session() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut feed = Events::new(server.get("/api/v1/events").await);
    let (_viewer, path) = view(&server, "stage").await;
    let mut events = follow(&server, &path).await;
    let drain = server.signaling.drain(Instant::now() + 6 * PATIENCE);
    tokio::pin!(drain);
    let reconnect = tokio::select! {
        () = &mut drain => panic!("a viewer is still there"),
        reconnect = events.until("reconnect") => reconnect,
    };
    let after = reconnect["retryAfterMs"].as_u64().unwrap();
    assert!((2_000..4_000).contains(&after), "{after}");
    let (_, offer) = Peer::viewer();
    problem(server.whep("stage", &offer).await, Code::Draining).await;
    let (_, offer) = Peer::publisher();
    problem(server.whip("stage", "idol", &offer).await, Code::Draining).await;
    assert_eq!(server.delete(&path).await.status(), StatusCode::OK);
    tokio::time::timeout(PATIENCE, drain)
        .await
        .expect("drained with the last session");
    events.ended().await;
    feed.ended().await;
    problem(server.whep("stage", &offer).await, Code::Draining).await;
    problem(server.get(&path).await, Code::Draining).await;
}

#[tokio::test]
async fn a_drain_closes_what_is_left_at_its_deadline() {
    let mut server = Server::start(SignalingConfig::default()).await;
    let (_idol, _) = publish(&server, "stage", "idol").await;
    let (_viewer, path) = view(&server, "stage").await;
    let mut events = follow(&server, &path).await;
    events.until("active").await;
    let start = Instant::now();
    server
        .signaling
        .drain(start + Duration::from_millis(500))
        .await;
    assert!(start.elapsed() >= Duration::from_millis(500));
    let rest = events.ended().await;
    let names: Vec<_> = rest.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"reconnect"), "{names:?}");
    assert_eq!(rest.last().unwrap().1, json!({"reason": "ended"}));
    let ended = server.signaling.ended().await;
    assert!(!ended.is_failure(), "{ended}");
    let stats = server.signaling.stats().snapshot();
    assert_eq!((stats.publishers, stats.viewers, stats.rooms), (0, 0, 0));
}
