//! `/api/v1` and its description.

mod support;

use lightstick_chat_http::ChatApi;
use lightstick_signaling::{Code, SignalingConfig, openapi};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use support::peer::{Peer, Running};
use support::sse::Events;
use support::{Server, claims, location, problem, signer};

async fn viewer(server: &Server, room: &str) -> (Running, String) {
    let (peer, offer) = Peer::viewer();
    let response = server.whep(room, &offer).await;
    let path = location(&response);
    (peer.run(&response.text().await.unwrap()), path)
}

#[tokio::test]
async fn a_live_room_and_its_sessions() {
    let server = Server::start(SignalingConfig::default()).await;
    assert_eq!(
        server.json("/api/v1/rooms").await,
        json!({"rooms": [], "next": null})
    );
    let (_viewer, watched) = viewer(&server, "stage").await;
    let mut events = Events::new(server.get(&format!("{watched}/events")).await);
    let (peer, offer) = Peer::publisher();
    let response = server.whip("stage", "idol", &offer).await;
    let published = location(&response);
    let _idol = peer.run(&response.text().await.unwrap());
    events.until("active").await;
    // A viewer that is given a layer is connected, and the track is known.
    while events.until("layers").await["current"] != "high" {}

    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(
        (&room["name"], &room["state"]),
        (&json!("stage"), &json!("live"))
    );
    assert_eq!(
        (&room["viewers"], &room["publisher"]),
        (&json!(1), &json!("idol"))
    );
    assert_eq!(room["layers"], json!(["high"]));
    let video = room["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|track| track["kind"] == "video")
        .unwrap();
    assert_eq!(video["codec"], "vp8");
    assert_eq!(video["layers"][0]["layer"], "high");
    assert!(room["ageSeconds"].as_f64() >= room["liveSeconds"].as_f64());
    let list = server.json("/api/v1/rooms").await;
    assert_eq!(list["rooms"][0]["name"], "stage");
    assert!(
        list["rooms"][0]["tracks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|t| t["codec"] == "vp8")
    );

    let list = server.json("/api/v1/rooms/stage/sessions").await;
    let sessions = list["sessions"].as_array().unwrap();
    let roles: Vec<_> = sessions.iter().map(|session| &session["role"]).collect();
    assert_eq!(roles, ["viewer", "publisher"]);
    for session in sessions {
        assert_eq!(session["connected"], true, "{session}");
        assert_eq!(session["media"]["connected"], Value::Null, "said once");
        assert_eq!(session["media"]["transport"], "udp");
        let id = session["id"].as_str().unwrap();
        assert!(id.len() < 10, "a number, not the secret");
    }
    assert_eq!(sessions[0]["media"]["layer"], "high");
    let text = list.to_string();
    for path in [&watched, &published] {
        let secret = path.rsplit('/').next().unwrap();
        assert!(!text.contains(secret), "no session URL leaks");
    }

    // Kick the viewer, close the room.
    let id = sessions[0]["id"].as_str().unwrap();
    let path = format!("/api/v1/rooms/stage/sessions/{id}");
    assert_eq!(server.delete(&path).await.status(), StatusCode::NO_CONTENT);
    problem(server.delete(&path).await, Code::SessionNotFound).await;
    events.ended().await;
    problem(server.get(&watched).await, Code::SessionNotFound).await;
    let room = "/api/v1/rooms/stage";
    assert_eq!(server.delete(room).await.status(), StatusCode::NO_CONTENT);
    problem(server.delete(room).await, Code::RoomNotFound).await;
    problem(server.get(room).await, Code::RoomNotFound).await;
    problem(server.get(&published).await, Code::SessionNotFound).await;
    let sessions = server.get("/api/v1/rooms/stage/sessions").await;
    problem(sessions, Code::RoomNotFound).await;
}

#[tokio::test]
async fn lists_go_page_by_page() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut held = Vec::new();
    for room in ["a", "b", "c"] {
        held.push(viewer(&server, room).await);
        held.push(viewer(&server, room).await);
    }
    let mut names = Vec::new();
    let mut after = 0;
    loop {
        let page = server
            .json(&format!("/api/v1/rooms?limit=2&after={after}"))
            .await;
        for room in page["rooms"].as_array().unwrap() {
            names.push(room["name"].as_str().unwrap().to_owned());
        }
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c"]);
    let page = server.json("/api/v1/rooms/b/sessions?limit=1").await;
    let next = page["next"].as_u64().unwrap();
    let rest = server
        .json(&format!("/api/v1/rooms/b/sessions?after={next}"))
        .await;
    assert_eq!(rest["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next"], Value::Null);
    for query in ["limit=0", "limit=501", "limit=x", "after=-1", "size=3"] {
        let response = server.get(&format!("/api/v1/rooms?{query}")).await;
        problem(response, Code::MalformedRequest).await;
    }
}

#[tokio::test]
async fn administrators_see_their_rooms_only() {
    let server = Server::keyed(SignalingConfig {
        watch_open: true,
        ..SignalingConfig::default()
    })
    .await;
    let mut held = Vec::new();
    for room in ["a-1", "a-2", "b-1"] {
        held.push(viewer(&server, room).await);
    }
    let admin = |room: &str| {
        let claims = claims("admin", room, |grants| grants.admin = true);
        signer("a").mint(&claims).unwrap()
    };
    let ask = |method: Method, path: &str, token: Option<String>| {
        let mut request = server.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send()
    };
    let publisher = signer("a")
        .mint(&claims("idol", "*", |grants| grants.publish = true))
        .unwrap();
    for path in [
        "/api/v1/rooms",
        "/api/v1/rooms/a-1",
        "/api/v1/rooms/a-1/sessions",
        "/api/v1/events",
    ] {
        let response = ask(Method::GET, path, None).await.unwrap();
        problem(response, Code::TokenMissing).await;
        let response = ask(Method::GET, path, Some(publisher.clone()))
            .await
            .unwrap();
        problem(response, Code::TokenNoGrant).await;
    }
    let token = admin("a-*");
    let response = ask(Method::GET, "/api/v1/rooms", Some(token.clone()));
    let list: Value = response.await.unwrap().json().await.unwrap();
    let names: Vec<_> = list["rooms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["name"])
        .collect();
    assert_eq!(names, ["a-1", "a-2"]);
    for (method, path) in [
        (Method::GET, "/api/v1/rooms/b-1"),
        (Method::DELETE, "/api/v1/rooms/b-1"),
        (Method::GET, "/api/v1/rooms/b-1/sessions"),
        (Method::DELETE, "/api/v1/rooms/b-1/sessions/3"),
    ] {
        let response = ask(method, path, Some(token.clone())).await.unwrap();
        problem(response, Code::TokenWrongRoom).await;
    }
    let response = ask(Method::DELETE, "/api/v1/rooms/b-1", Some(admin("*")));
    assert_eq!(response.await.unwrap().status(), StatusCode::NO_CONTENT);
    let rest = ask(Method::GET, "/api/v1/rooms", Some(admin("*")));
    let list: Value = rest.await.unwrap().json().await.unwrap();
    assert_eq!(list["rooms"].as_array().unwrap().len(), 2);
}

/// In development mode the API is open to programs and pages of this machine, not to pages from
/// elsewhere that run in a browser here.
#[tokio::test]
async fn development_mode_opens_the_api_to_this_machine() {
    let server = Server::start(SignalingConfig::default()).await;
    for (name, value, refusal) in [
        (header::ORIGIN, "http://localhost:8080", None),
        (
            header::ORIGIN,
            "https://evil.example",
            Some(Code::ForeignOrigin),
        ),
        (header::HOST, "rebound.example", Some(Code::ForeignOrigin)),
        (
            header::HeaderName::from_static("x-forwarded-for"),
            "127.0.0.1",
            Some(Code::TokenMissing),
        ),
    ] {
        let response = server
            .request(Method::GET, "/api/v1/rooms")
            .header(&name, value)
            .send()
            .await
            .unwrap();
        match refusal {
            None => assert_eq!(response.status(), StatusCode::OK, "{name}: {value}"),
            Some(code) => drop(problem(response, code).await),
        }
    }
}

#[tokio::test]
async fn the_pages_settings() {
    let server = Server::start(SignalingConfig::default()).await;
    assert_eq!(
        server.json("/api/v1/client-config").await,
        json!({"developmentMode": true, "watchOpen": true, "maxPublishBitrateKbps": 8000, "graceSeconds": 30.0, "chat": false})
    );
    let server = Server::keyed(SignalingConfig {
        publish_bitrate_max_kbps: 500,
        ..SignalingConfig::default()
    })
    .await;
    assert_eq!(
        server.json("/api/v1/client-config").await,
        json!({"developmentMode": false, "watchOpen": false, "maxPublishBitrateKbps": 500, "graceSeconds": 30.0, "chat": false})
    );
}

/// A path with its parameters filled in.
fn filled(template: &str) -> String {
    template
        .replace("{room}", "nowhere")
        .replace("{session}", &"0".repeat(32))
        .replace("{user}", "mina")
        .replace("{id}", "7")
        .replace("{stream}", "1")
}

/// A method that is described exists, and one that is not is refused: the description is whole.
#[tokio::test]
async fn every_route_is_described() {
    let server = Server::start(SignalingConfig::default()).await;
    let served = server.json("/api/openapi.json").await;
    let more = lightstick_chat_http::routes(ChatApi::new(None, &SignalingConfig::default()));
    assert_eq!(served, serde_json::to_value(openapi(more)).unwrap());
    let paths = served["paths"].as_object().unwrap();
    let listed: Vec<_> = paths.keys().map(String::as_str).collect();
    assert_eq!(
        listed,
        [
            "/api/v1/chat/dead-letters",
            "/api/v1/chat/dead-letters/{id}",
            "/api/v1/chat/dead-letters/{id}/retry",
            "/api/v1/chat/statistics",
            "/api/v1/chat/users/{user}",
            "/api/v1/client-config",
            "/api/v1/events",
            "/api/v1/rooms",
            "/api/v1/rooms/{room}",
            "/api/v1/rooms/{room}/chat",
            "/api/v1/rooms/{room}/chat/audit",
            "/api/v1/rooms/{room}/chat/audit/verify",
            "/api/v1/rooms/{room}/chat/captions",
            "/api/v1/rooms/{room}/chat/captions.vtt",
            "/api/v1/rooms/{room}/chat/export",
            "/api/v1/rooms/{room}/chat/messages",
            "/api/v1/rooms/{room}/chat/messages/{id}",
            "/api/v1/rooms/{room}/chat/moderation",
            "/api/v1/rooms/{room}/chat/queue",
            "/api/v1/rooms/{room}/chat/sanctions",
            "/api/v1/rooms/{room}/chat/settings",
            "/api/v1/rooms/{room}/chat/users/{user}",
            "/api/v1/rooms/{room}/main",
            "/api/v1/rooms/{room}/sessions",
            "/api/v1/rooms/{room}/sessions/{session}",
            "/whep/{room}",
            "/whep/{room}/{session}",
            "/whep/{room}/{session}/events",
            "/whep/{room}/{session}/events/{stream}",
            "/whep/{room}/{session}/layer",
            "/whip/{room}",
            "/whip/{room}/{session}",
            "/whip/{room}/{session}/events",
        ]
    );
    for (template, operations) in paths {
        for method in ["get", "post", "put", "patch", "delete"] {
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response = server
                .request(verb, &filled(template))
                .send()
                .await
                .unwrap();
            let described = operations.get(method).is_some();
            let refused = response.status() == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(described, !refused, "{method} {template}");
            if response.status() == StatusCode::NOT_FOUND {
                let body: Value = response.json().await.unwrap();
                assert_ne!(body["code"], Code::NotFound.as_str(), "{template}");
            }
        }
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {template}");
            assert!(operation["responses"].is_object(), "{method} {template}");
        }
    }
    problem(server.get("/api/v2/rooms").await, Code::NotFound).await;
    problem(server.get("/api/v1/nonsense").await, Code::NotFound).await;
    // References lead somewhere.
    let text = served.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(served["components"]["schemas"][name].is_object(), "{name}");
    }
}
