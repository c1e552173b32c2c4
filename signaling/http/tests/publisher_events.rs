//! What a publisher hears of its layers and its audience, with real media behind it.

mod support;

use lightstick_signaling::{Code, SignalingConfig};
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::peer::Peer;
use support::sse::Events;
use support::{Server, location, problem};

/// The ids of the layers that are wanted.
fn wanted(layers: &Value) -> Vec<&str> {
    let layers = layers["layers"].as_array().expect("a list");
    let wanted = layers.iter().filter(|layer| layer["wanted"] == true);
    wanted.map(|layer| layer["rid"].as_str().unwrap()).collect()
}

/// Reads on until these layers are wanted, and no others.
async fn until_wanted(events: &mut Events, rids: &[&str]) {
    while wanted(&events.until("layers").await) != rids {}
}

async fn choose(server: &Server, viewer: &str, layer: &str) {
    let response = server
        .request(reqwest::Method::POST, &format!("{viewer}/layer"))
        .json(&json!({ "layer": layer }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn layers_that_nobody_watches_are_paused() {
    let server = Server::start(SignalingConfig::default()).await;
    let (peer, offer) = Peer::simulcast(&["l", "m", "h"]);
    let response = server.whip("stage", "idol", &offer).await;
    let path = location(&response);
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    let events = format!(
        "<{path}/events>; rel=\"urn:ietf:params:whip:ext:core:server-sent-events\"; \
         events=\"layers,audience,hints\""
    );
    assert_eq!(link, events);
    let mut events = Events::new(server.get(&format!("{path}/events")).await);
    let all = json!({"layers": [
        {"track": "video-1", "layer": "low", "rid": "l", "wanted": true},
        {"track": "video-1", "layer": "medium", "rid": "m", "wanted": true},
        {"track": "video-1", "layer": "high", "rid": "h", "wanted": true},
    ]});
    assert_eq!(events.next().await.unwrap(), ("layers".into(), all));
    let nobody = json!({"viewers": 0});
    assert_eq!(events.next().await.unwrap(), ("audience".into(), nobody));
    let none = json!({"hints": []});
    assert_eq!(events.next().await.unwrap(), ("hints".into(), none));

    let _idol = peer.run(&response.text().await.unwrap());
    until_wanted(&mut events, &["h"]).await;
    let (viewer, offer) = Peer::viewer();
    let response = server.whep("stage", &offer).await;
    let watching = location(&response);
    choose(&server, &watching, "low").await;
    let _viewer = viewer.run(&response.text().await.unwrap());
    until_wanted(&mut events, &["l"]).await;
    let mut told = Events::new(server.get(&format!("{watching}/events")).await);
    while told.until("layers").await
        != json!({"layers": ["low", "medium", "high"], "current": "low"})
    {}
    choose(&server, &watching, "high").await;
    until_wanted(&mut events, &["h"]).await;
    // This publisher goes on with all layers, so the viewer's comes whatever was asked.
    while told.until("layers").await["current"] != "high" {}

    // Whoever opens a stream now hears how things stand.
    let mut late = Events::new(server.get(&format!("{path}/events")).await);
    assert_eq!(wanted(&late.next().await.unwrap().1), ["h"]);
    assert_eq!(server.delete(&path).await.status(), StatusCode::OK);
    events.ended().await;
    let gone = server.get(&format!("{path}/events")).await;
    problem(gone, Code::SessionNotFound).await;
}

#[tokio::test]
async fn without_simulcast_there_is_nothing_to_pause() {
    let server = Server::start(SignalingConfig::default()).await;
    let (peer, offer) = Peer::publisher();
    let response = server.whip("stage", "idol", &offer).await;
    let path = location(&response);
    let _idol = peer.run(&response.text().await.unwrap());
    let mut events = Events::new(server.get(&format!("{path}/events")).await);
    let none = json!({"layers": []});
    assert_eq!(events.next().await.unwrap(), ("layers".into(), none));
    // A viewer's URL is no publisher's.
    let (_, offer) = Peer::viewer();
    let response = server.whep("stage", &offer).await;
    let stranger = location(&response).replace("/whep/", "/whip/");
    let refused = server.get(&format!("{stranger}/events")).await;
    problem(refused, Code::SessionNotFound).await;
}

#[tokio::test]
async fn the_audience_is_counted() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_peer, offer) = Peer::publisher();
    let response = server.whip("stage", "idol", &offer).await;
    let path = location(&response);
    let mut events = Events::new(server.get(&format!("{path}/events")).await);
    assert_eq!(events.until("audience").await, json!({"viewers": 0}));
    let mut fans = Vec::new();
    for _ in 0..3 {
        let (_, offer) = Peer::viewer();
        fans.push(location(&server.whep("stage", &offer).await));
    }
    while events.until("audience").await != json!({"viewers": 3}) {}
    // Whoever opens a stream now hears how things stand.
    let mut late = Events::new(server.get(&format!("{path}/events")).await);
    assert_eq!(late.until("audience").await, json!({"viewers": 3}));
    for fan in fans {
        assert_eq!(server.delete(&fan).await.status(), StatusCode::OK);
    }
    while events.until("audience").await != json!({"viewers": 0}) {}
}
