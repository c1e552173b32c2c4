//! Several video tracks of a room: who may say which is shown first, and who hears of it.

mod support;

use lightstick_signaling::{Code, SignalingConfig};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use support::peer::{Peer, Running};
use support::sse::Events;
use support::{Server, claims, location, problem, signer};

async fn publish(server: &Server, videos: usize) -> Running {
    let (peer, offer) = Peer::cameras(videos);
    let response = server.whip("stage", "idol", &offer).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    peer.run(&response.text().await.unwrap())
}

/// A viewer with so many video sections, its URL and its events.
async fn watch(server: &Server, videos: usize) -> (Running, String, Events) {
    let (peer, offer) = Peer::screens(videos);
    let response = server.whep("stage", &offer).await;
    let path = location(&response);
    let viewer = peer.run(&response.text().await.unwrap());
    let events = Events::new(server.get(&format!("{path}/events")).await);
    (viewer, path, events)
}

async fn choose(server: &Server, viewer: &str, body: Value) -> Response {
    let request = server.request(Method::POST, &format!("{viewer}/layer"));
    request.json(&body).send().await.unwrap()
}

async fn show(server: &Server, room: &str, track: Value, token: Option<&str>) -> Response {
    let request = server.request(Method::PUT, &format!("/api/v1/rooms/{room}/main"));
    let request = request.json(&json!({ "track": track }));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    request.send().await.unwrap()
}

/// Reads on until this track is the first one.
async fn until_main(events: &mut Events, track: &str) {
    while events.until("tracks").await["main"] != track {}
}

#[tokio::test]
async fn the_main_track_is_chosen_for_one_viewer_and_for_all() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_viewer, path, mut events) = watch(&server, 2).await;
    let (_other, _, mut others) = watch(&server, 1).await;
    let early = choose(&server, &path, json!({ "main": "video-1" })).await;
    problem(early, Code::TrackNotFound).await;
    let _idol = publish(&server, 2).await;
    let both = json!({
        "tracks": [
            { "id": "video-1", "layers": ["high"] },
            { "id": "video-2", "layers": ["high"] },
        ],
        "main": "video-1",
    });
    while events.until("tracks").await != both {}
    let mut feed = Events::new(server.get("/api/v1/events").await);

    // For one viewer.
    let done = choose(&server, &path, json!({ "main": "video-2" })).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    until_main(&mut events, "video-2").await;
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(room["main"], "video-1", "the room's is another matter");
    let tracks = room["tracks"].as_array().unwrap();
    let seen: Vec<_> = tracks
        .iter()
        .map(|t| [&t["id"], &t["kind"], &t["codec"]])
        .collect();
    assert_eq!(
        json!(seen),
        json!([
            ["audio", "audio", "opus"],
            ["video-1", "video", "vp8"],
            ["video-2", "video", "vp8"],
        ])
    );
    assert!(tracks.iter().all(|t| t["layers"][0]["layer"] == "high"));

    // For all, but not for who has chosen.
    let done = show(&server, "stage", json!("video-2"), None).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    until_main(&mut others, "video-2").await;
    let changed = json!("video-2");
    assert_eq!(feed.until("main_changed").await["main"], changed);
    assert_eq!(server.json("/api/v1/rooms/stage").await["main"], changed);
    let done = choose(&server, &path, json!({ "main": "video-1" })).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    until_main(&mut events, "video-1").await;
    let done = choose(&server, &path, json!({ "main": "auto" })).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    until_main(&mut events, "video-2").await;
    let done = show(&server, "stage", Value::Null, None).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    until_main(&mut events, "video-1").await;
    until_main(&mut others, "video-1").await;

    let list = server.json("/api/v1/rooms/stage/sessions").await;
    let media = &list["sessions"][0]["media"];
    assert_eq!(media["layer"], "high");
    assert_eq!(
        media["layers"],
        json!({ "video-1": "high", "video-2": "high" })
    );
    let media = &list["sessions"][1]["media"];
    assert_eq!(media["layers"], json!({ "video-1": "high" }));

    for track in ["video-3", "video-9", "audio", ""] {
        let refused = choose(&server, &path, json!({ "main": track })).await;
        problem(refused, Code::TrackNotFound).await;
        let refused = show(&server, "stage", json!(track), None).await;
        problem(refused, Code::TrackNotFound).await;
    }
    let refused = show(&server, "stage", json!(2), None).await;
    problem(refused, Code::UnacceptableBody).await;
    let refused = show(&server, "elsewhere", json!("video-1"), None).await;
    problem(refused, Code::RoomNotFound).await;
}

#[tokio::test]
async fn the_publisher_and_administrators_choose_for_all() {
    let server = Server::keyed(SignalingConfig {
        watch_open: true,
        ..SignalingConfig::default()
    })
    .await;
    let (_viewer, _, mut events) = watch(&server, 1).await;
    let token = |who: &str, room: &str, grant: &str| {
        let claims = claims(who, room, |grants| match grant {
            "admin" => grants.admin = true,
            "publish" => grants.publish = true,
            "takeover" => (grants.publish, grants.takeover) = (true, true),
            _ => grants.watch = true,
        });
        signer("a").mint(&claims).unwrap()
    };
    let idol = token("idol", "stage", "publish");
    let (peer, offer) = Peer::cameras(2);
    let request = server
        .request(Method::POST, "/whip/stage")
        .bearer_auth(&idol);
    let request = request
        .header("content-type", "application/sdp")
        .body(offer);
    let answer = request.send().await.unwrap().text().await.unwrap();
    let _idol = peer.run(&answer);
    until_main(&mut events, "video-1").await;

    let refused = show(&server, "stage", json!("video-2"), None).await;
    problem(refused, Code::TokenMissing).await;
    for (who, room, grant, code) in [
        ("fan", "stage", "watch", Code::TokenNoGrant),
        ("idol", "other", "publish", Code::TokenWrongRoom),
        ("admin", "other", "admin", Code::TokenWrongRoom),
        ("rival", "stage", "publish", Code::RoomBusy),
    ] {
        let token = token(who, room, grant);
        let refused = show(&server, "stage", json!("video-2"), Some(&token)).await;
        problem(refused, code).await;
    }
    for (token, track) in [
        (idol, "video-2"),
        (token("admin", "*", "admin"), "video-1"),
        (token("rival", "stage", "takeover"), "video-2"),
    ] {
        let done = show(&server, "stage", json!(track), Some(&token)).await;
        assert_eq!(done.status(), StatusCode::NO_CONTENT);
        until_main(&mut events, track).await;
    }
}

#[tokio::test]
async fn a_fifth_camera_is_refused_by_its_section() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_peer, offer) = Peer::cameras(5);
    let refused = server.whip("stage", "idol", &offer).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "unacceptable_offer");
    let section = json!([&body["reason"], &body["section"], &body["kind"]]);
    assert_eq!(section, json!(["video_tracks", 5, "video"]));
}
