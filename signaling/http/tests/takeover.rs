//! A second publisher of a room: parked until its first media, with real media behind it.

mod support;

use lightstick_signaling::{Code, SignalingConfig};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use support::peer::{Peer, Running};
use support::sse::Events;
use support::{SDP, Server, etag, location, problem};

/// A publisher that was answered, and does nothing yet.
struct Parked {
    peer: Peer,
    path: String,
    etag: String,
    answer: String,
}

impl Parked {
    async fn open(server: &Server, who: &str, takeover: bool) -> Self {
        let (peer, offer) = Peer::publisher();
        let response = server
            .request(Method::POST, "/whip/stage")
            .bearer_auth(server.token(who, takeover))
            .header(header::CONTENT_TYPE, SDP)
            .body(offer)
            .send()
            .await
            .unwrap();
        Self {
            peer,
            path: location(&response),
            etag: etag(&response),
            answer: response.text().await.unwrap(),
        }
    }

    fn run(self) -> (Running, String) {
        (self.peer.run(&self.answer), self.path)
    }
}

/// The number of publishers in the API's list, and of the one whose media is the room's.
async fn publishers(server: &Server) -> (usize, Value) {
    let listed = server.json("/api/v1/rooms/stage/sessions").await;
    let sessions = listed["sessions"].as_array().unwrap();
    let publishers = sessions.iter().filter(|s| s["role"] == "publisher").count();
    let mut publishing = sessions.iter().filter(|s| s["publishing"] == true);
    let id = publishing.next().map_or(Value::Null, |s| s["id"].clone());
    assert!(publishing.next().is_none(), "never two");
    (publishers, id)
}

#[tokio::test]
async fn a_second_publisher_takes_over_with_its_first_media() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut feed = Events::new(server.get("/api/v1/events").await);
    let first = Parked::open(&server, "idol", false).await;
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(
        (&room["state"], &room["publisher"]),
        (&json!("not_started"), &Value::Null)
    );
    assert_eq!(publishers(&server).await, (1, Value::Null));
    let (first_peer, first) = first.run();
    feed.until("room_started").await;
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(
        (&room["state"], &room["publisher"]),
        (&json!("live"), &json!("idol"))
    );
    let (_, live) = publishers(&server).await;
    assert_ne!(live, Value::Null);

    // Whoever is refused leaves the show alone, and so does a return that sends nothing yet.
    let rival = server.whip("stage", "rival", &Peer::publisher().1).await;
    problem(rival, Code::RoomBusy).await;
    let refused = server.whip("stage", "idol", "v=0\r\n").await;
    assert!(refused.status().is_client_error());
    let second = Parked::open(&server, "idol", false).await;
    for path in [&first, &second.path] {
        assert_eq!(server.get(path).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(publishers(&server).await, (2, live.clone()));

    let (_second_peer, second) = second.run();
    let left = feed.until("session_left").await;
    assert_eq!(
        (&left["session"], &left["reason"]),
        (&live, &json!("replaced"))
    );
    problem(server.get(&first).await, Code::SessionNotFound).await;
    drop(first_peer);
    // Its client may not know that the old session is over: to end it is no error, and ends nothing
    // else.
    assert_eq!(server.delete(&first).await.status(), StatusCode::OK);
    let (count, live) = publishers(&server).await;
    assert_eq!(count, 1);

    // Somebody who may takes over: the same holds.
    let manager = Parked::open(&server, "manager", true).await;
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(room["publisher"], "idol");
    let (_manager_peer, _) = manager.run();
    let left = feed.until("session_left").await;
    assert_eq!(
        (&left["session"], &left["reason"]),
        (&live, &json!("replaced"))
    );
    problem(server.get(&second).await, Code::SessionNotFound).await;
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(
        (&room["state"], &room["publisher"]),
        (&json!("live"), &json!("manager"))
    );
    assert_eq!(server.signaling.stats().snapshot().publishers, 1);
}

#[tokio::test]
async fn a_parked_session_that_goes_ends_nothing() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut feed = Events::new(server.get("/api/v1/events").await);
    let (_peer, first) = Parked::open(&server, "idol", false).await.run();
    feed.until("room_started").await;
    let (_, live) = publishers(&server).await;

    let deleted = Parked::open(&server, "idol", false).await;
    assert_eq!(server.delete(&deleted.path).await.status(), StatusCode::OK);
    let left = feed.until("session_left").await;
    assert_eq!(left["reason"], "deleted");

    let _kicked = Parked::open(&server, "idol", false).await;
    let number = feed.until("session_joined").await["session"].clone();
    let url = format!("/api/v1/rooms/stage/sessions/{}", number.as_str().unwrap());
    assert_eq!(server.delete(&url).await.status(), StatusCode::NO_CONTENT);
    let left = feed.until("session_left").await;
    assert_eq!(left["reason"], "kicked");

    // Of more than a room may have, the oldest goes.
    let mut parked = Vec::new();
    for _ in 0..3 {
        parked.push(Parked::open(&server, "idol", false).await);
    }
    problem(server.get(&parked[0].path).await, Code::SessionNotFound).await;
    assert_eq!(publishers(&server).await, (3, live));
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(room["state"], "live");

    // The publisher goes while others are parked: the room waits for them.
    assert_eq!(server.delete(&first).await.status(), StatusCode::OK);
    feed.until("publisher_interrupted").await;
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(
        (&room["state"], &room["publisher"]),
        (&json!("interrupted"), &Value::Null)
    );
    let (_peer, _) = parked.pop().unwrap().run();
    feed.until("publisher_returned").await;
}

#[tokio::test]
async fn a_parked_session_that_sends_nothing_hears_so_and_its_room_does_not() {
    let server = Server::start(SignalingConfig::default()).await;
    let parked = Parked::open(&server, "idol", false).await;
    let mut events = Events::new(server.get(&format!("{}/events", parked.path)).await);
    let _silent = parked.peer.silent().run(&parked.answer);
    let codes = |hints: &Value| {
        let hints = hints["hints"].as_array().unwrap().iter();
        hints.map(|hint| hint["code"].clone()).collect::<Vec<_>>()
    };
    let silence = [json!("no_video_packets"), json!("no_audio_packets")];
    while codes(&events.until("hints").await) != silence {}
    let room = server.json("/api/v1/rooms/stage").await;
    assert_eq!(codes(&room), [""; 0]);
    assert_eq!(room["state"], "not_started");
    assert_eq!(publishers(&server).await, (1, Value::Null));
}

#[tokio::test]
async fn a_parked_session_restarts_ice() {
    let server = Server::start(SignalingConfig::default()).await;
    let parked = Parked::open(&server, "idol", false).await;
    let fragment = "a=ice-ufrag:newu\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n";
    let restarted = server.patch(&parked.path, Some("*"), fragment).await;
    assert_eq!(restarted.status(), StatusCode::OK);
    assert_ne!(etag(&restarted), parked.etag);
}
