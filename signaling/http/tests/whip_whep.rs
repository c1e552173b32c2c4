//! WHIP and WHEP on the wire, row by row.

mod support;

use lightstick_signaling::{Code, IceServer, JoinOutcome, SignalingConfig};
use reqwest::{Method, StatusCode, header};
use support::peer::Peer;
use support::{FRAGMENT, SDP, Server, claims, etag, header_of, location, problem, signer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| {
        line.strip_prefix("a=")?
            .strip_prefix(name)?
            .strip_prefix(':')
    };
    sdp.lines().find_map(value).expect(name)
}

/// A fragment with these credentials and one candidate.
fn fragment(ufrag: &str, pwd: &str) -> String {
    format!(
        "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
         a=candidate:1 1 udp 2122260223 3c9a1c5e.local 61764 typ host\r\n"
    )
}

const PWD: &str = "abcdefghijklmnopqrstuvwx";

#[tokio::test]
async fn a_session_from_post_to_delete() {
    let server = Server::start(SignalingConfig::default()).await;
    for role in ["whip", "whep"] {
        let (offer, response) = if role == "whip" {
            let (_, offer) = Peer::publisher();
            let response = server.whip("stage", "idol", &offer).await;
            (offer, response)
        } else {
            let (_, offer) = Peer::viewer();
            let response = server.whep("stage", &offer).await;
            (offer, response)
        };
        assert_eq!(response.status(), StatusCode::CREATED, "{role}");
        assert_eq!(header_of(&response, "content-type"), Some(SDP));
        let tag = etag(&response);
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 4);
        let path = location(&response);
        let id = path.strip_prefix(&format!("/{role}/stage/")).unwrap();
        assert_eq!(id.len(), 32);
        let links: Vec<_> = response.headers().get_all("link").iter().collect();
        assert_eq!(links.len(), if role == "whep" { 2 } else { 1 });
        let answer = response.text().await.unwrap();
        let (wanted, other) = match role {
            "whip" => ("a=recvonly", "a=sendonly"),
            _ => ("a=sendonly", "a=recvonly"),
        };
        assert!(
            answer.contains(wanted) && !answer.contains(other),
            "{answer}"
        );
        assert!(answer.contains("a=group:BUNDLE") && answer.contains("a=rtcp-mux"));
        assert!(answer.contains("a=candidate:"));

        let response = server.get(&path).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(etag(&response), tag);
        let response = server.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);

        // Trickle.
        let (ufrag, pwd) = (attribute(&offer, "ice-ufrag"), attribute(&offer, "ice-pwd"));
        let trickle = fragment(ufrag, pwd);
        for accepted in [tag.as_str(), &format!("\"other\", {tag}"), "*"] {
            let response = server.patch(&path, Some(accepted), &trickle).await;
            assert_eq!(response.status(), StatusCode::NO_CONTENT, "{accepted}");
            assert_eq!(header_of(&response, "etag"), None);
        }
        // Published clients send no tag, one that a proxy has made weak, or one without quotes.
        let weak = format!("W/{tag}");
        for accepted in [None, Some(weak.as_str()), Some(tag.trim_matches('"'))] {
            let response = server.patch(&path, accepted, &trickle).await;
            assert_eq!(response.status(), StatusCode::NO_CONTENT, "{accepted:?}");
        }
        let unnamed = "a=candidate:2 1 udp 1 192.0.2.7 9 typ host\r\n";
        let response = server.patch(&path, None, unnamed).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let response = server.patch(&path, Some(&tag), unnamed).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        for (if_match, body, code) in [
            (None, fragment("newfrag", PWD).as_str(), Code::EtagRequired),
            (Some("\"other\""), &trickle, Code::StaleEtag),
            (Some("nonsense"), &trickle, Code::MalformedRequest),
            (Some(&tag), &fragment("newfrag", PWD), Code::UnacceptableIce),
            (Some("*"), unnamed, Code::UnacceptableIce),
            (Some(&tag), "nonsense", Code::MalformedFragment),
            (Some(&tag), "", Code::MalformedFragment),
            (Some(&tag), &"a=x\r\n".repeat(5_000), Code::BodyTooLarge),
        ] {
            problem(server.patch(&path, if_match, body).await, code).await;
        }
        let response = server
            .request(Method::PATCH, &path)
            .header(header::CONTENT_TYPE, SDP)
            .header(header::IF_MATCH, &tag)
            .body(trickle.clone())
            .send()
            .await
            .unwrap();
        problem(response, Code::UnsupportedMediaType).await;

        // Restart.
        let restart = fragment("newfrag", PWD);
        let response = server.patch(&path, Some("*"), &restart).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header_of(&response, "content-type"), Some(FRAGMENT));
        let new = etag(&response);
        assert_ne!(new, tag);
        let ours = response.text().await.unwrap();
        assert_ne!(
            attribute(&ours, "ice-ufrag"),
            attribute(&answer, "ice-ufrag")
        );
        assert_ne!(attribute(&ours, "ice-pwd"), attribute(&answer, "ice-pwd"));
        assert_eq!(attribute(&ours, "mid"), "0");
        assert!(ours.contains("a=candidate:"), "{ours}");
        assert_eq!(etag(&server.get(&path).await), new);
        let stale = server.patch(&path, Some(&tag), &restart).await;
        problem(stale, Code::StaleEtag).await;
        let response = server.patch(&path, Some(&new), &restart).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let response = server
            .patch(&path, Some("\"*\""), &fragment("third", PWD))
            .await;
        assert_eq!(
            response.status(),
            StatusCode::OK,
            "quoted, as the RFC's example has it"
        );

        assert_eq!(server.delete(&path).await.status(), StatusCode::OK);
        problem(server.delete(&path).await, Code::SessionNotFound).await;
        problem(server.get(&path).await, Code::SessionNotFound).await;
        let gone = server.patch(&path, Some("*"), &restart).await;
        problem(gone, Code::SessionNotFound).await;
    }
    let stats = server.signaling.stats().snapshot();
    assert_eq!((stats.publishers, stats.viewers, stats.rooms), (0, 0, 0));
}

#[tokio::test]
async fn sessions_answer_only_to_their_whole_url() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_, offer) = Peer::viewer();
    let path = location(&server.whep("stage", &offer).await);
    let id = path.rsplit('/').next().unwrap();
    for wrong in [
        format!("/whep/other/{id}"),
        format!("/whip/stage/{id}"),
        format!("/whep/stage/{}", "0".repeat(32)),
        format!("/whep/stage/{}", id.to_uppercase()),
        "/whep/stage/x".into(),
    ] {
        problem(server.get(&wrong).await, Code::SessionNotFound).await;
        problem(server.delete(&wrong).await, Code::SessionNotFound).await;
    }
    problem(
        server.get(&format!("{path}/nonsense")).await,
        Code::NotFound,
    )
    .await;
    problem(
        server.get(&format!("/whep/.env/{id}")).await,
        Code::RoomName,
    )
    .await;
    assert_eq!(server.get(&path).await.status(), StatusCode::NO_CONTENT);
}

/// Every way in which an offer is refused, and that nothing of it stays.
#[tokio::test]
async fn refused_offers() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_, publish) = Peer::publisher();
    let (_, view) = Peer::viewer();
    let unknown_codecs = publish
        .lines()
        .filter(|line| !line.starts_with("a=rtpmap") && !line.starts_with("a=fmtp"))
        .map(|line| format!("{line}\r\n"))
        .collect::<String>();
    let without = |what: &str| -> String {
        let kept = publish.lines().filter(|line| !line.contains(what));
        kept.map(|line| format!("{line}\r\n")).collect()
    };
    let head: String = publish
        .lines()
        .take_while(|line| !line.starts_with("m="))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let large = format!("{publish}{}", "a=x\r\n".repeat(200_000));
    for (kind, offer, code) in [
        (SDP, String::new(), Code::MalformedOffer),
        (SDP, "nonsense".into(), Code::MalformedOffer),
        (SDP, "{\"sdp\":\"v=0\"}".into(), Code::MalformedOffer),
        (SDP, head, Code::UnacceptableOffer),
        (SDP, unknown_codecs, Code::UnacceptableOffer),
        (SDP, without("a=ice-"), Code::UnacceptableOffer),
        (SDP, without("a=fingerprint"), Code::UnacceptableOffer),
        (SDP, view.clone(), Code::UnacceptableOffer),
        (SDP, large, Code::BodyTooLarge),
        (
            "application/json",
            publish.clone(),
            Code::UnsupportedMediaType,
        ),
        ("", publish.clone(), Code::UnsupportedMediaType),
    ] {
        let mut request = server
            .request(Method::POST, "/whip/stage")
            .bearer_auth(server.token("idol", false));
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        // A server that refuses early may close while the rest is being written.
        let response = request.body(offer).send().await.unwrap();
        problem(response, code).await;
    }
    problem(
        server.whep("stage", &publish).await,
        Code::UnacceptableOffer,
    )
    .await;
    // Which section is at fault, and why, in words and for programs.
    let h265 = publish.replace("H264/90000", "H265/90000");
    let h265 = ["VP8", "VP9", "AV1"].iter().fold(h265, |sdp, codec| {
        sdp.replace(&format!(" {codec}/90000"), " H265/90000")
    });
    let response = server.whip("stage", "idol", &h265).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let fault: serde_json::Value = response.json().await.unwrap();
    let mid = fault["mid"].as_str().unwrap();
    assert_eq!(
        fault["detail"],
        format!("video section 1 (mid {mid}): H265 is not supported; send H264, VP8, VP9 or AV1")
    );
    let told = (&fault["section"], &fault["kind"], &fault["reason"]);
    assert_eq!(told, (&1.into(), &"video".into(), &"codec".into()));
    let response = server
        .whip("stage", "idol", "v=0\r\ns=-\r\nm=audio\r\n")
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let fault: serde_json::Value = response.json().await.unwrap();
    assert_eq!(
        (&fault["line"], &fault["code"]),
        (&3.into(), &"malformed_offer".into())
    );
    // A viewer has to have something that it can be sent.
    let mute = view.replace("/90000", "/1").replace("/48000", "/1");
    problem(server.whep("stage", &mute).await, Code::UnacceptableOffer).await;
    problem(server.whep(".env", &view).await, Code::RoomName).await;
    problem(server.whep("%EB%B0%A9", &view).await, Code::RoomName).await;
    let stats = server.signaling.stats().snapshot();
    assert_eq!((stats.publishers, stats.viewers, stats.rooms), (0, 0, 0));
    // A type with a parameter is the same type.
    let response = server
        .request(Method::POST, "/whep/stage")
        .header(header::CONTENT_TYPE, "Application/SDP; charset=utf-8")
        .body(view)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn tokens() {
    let server = Server::keyed(SignalingConfig::default()).await;
    let (_, publish) = Peer::publisher();
    let (_, view) = Peer::viewer();
    let good = |room: &str| {
        let claims = claims("idol", room, |grants| {
            grants.publish = true;
            grants.watch = true;
        });
        signer("a").mint(&claims).unwrap()
    };
    let none = signer("a").mint(&claims("idol", "stage", |_| {})).unwrap();
    let mut expired = claims("idol", "stage", |grants| grants.publish = true);
    expired.exp = 1;
    let mut early = expired.clone();
    (early.exp, early.nbf) = (u64::MAX, Some(4_102_444_800));
    let mint = |claims| signer("a").mint(&claims).unwrap();
    let whole = good("stage");
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{signed}.{flipped}{}", &signature[1..]);
    for (token, code) in [
        (None, Code::TokenMissing),
        (Some("nonsense".to_owned()), Code::TokenMalformed),
        (Some(forged), Code::TokenBadSignature),
        (Some(mint(expired)), Code::TokenExpired),
        (Some(mint(early)), Code::TokenNotYetValid),
        (
            Some(signer("b").mint(&claims("idol", "*", |_| {})).unwrap()),
            Code::TokenUnknownKey,
        ),
        (Some(none), Code::TokenNoGrant),
        (Some(good("other")), Code::TokenWrongRoom),
    ] {
        for (path, offer) in [("/whip/stage", &publish), ("/whep/stage", &view)] {
            let mut request = server
                .request(Method::POST, path)
                .header(header::CONTENT_TYPE, SDP)
                .body(offer.clone());
            if let Some(token) = &token {
                request = request.bearer_auth(token);
            }
            problem(request.send().await.unwrap(), code).await;
        }
    }
    for (path, offer) in [("/whip/stage", &publish), ("/whep/stage", &view)] {
        let send = || {
            server
                .request(Method::POST, path)
                .header(header::CONTENT_TYPE, SDP)
                .bearer_auth(good("sta*"))
                .body(offer.clone())
                .send()
        };
        assert_eq!(send().await.unwrap().status(), StatusCode::CREATED);
    }
    // The key goes, and with it its tokens; not the sessions.
    server.keys.replace(support::key_set("b"));
    let response = server
        .request(Method::POST, "/whep/stage")
        .header(header::CONTENT_TYPE, SDP)
        .bearer_auth(good("stage"))
        .body(view)
        .send()
        .await
        .unwrap();
    problem(response, Code::TokenUnknownKey).await;
    assert_eq!(server.signaling.stats().snapshot().viewers, 1);
}

#[tokio::test]
async fn paths_that_lead_nowhere_say_so_to_pages_too() {
    let server = Server::start(SignalingConfig::default()).await;
    for path in [
        "/api",
        "/api/",
        "/whip",
        "/whip/",
        "/chat/",
        "/whep/stage/1/more",
        "/whep/stage/1/events/2/more",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let response = server.request(method, path).send().await.unwrap();
            let origin = header_of(&response, "access-control-allow-origin");
            assert_eq!(origin, Some("*"), "{path}");
            problem(response, Code::NotFound).await;
        }
    }
}

/// RFC 8853: each encoding that the publisher offers is taken, under its own name.
#[tokio::test]
async fn simulcast_is_answered() {
    let server = Server::start(SignalingConfig::default()).await;
    let (_, offer) = Peer::publisher();
    // The video is the offer's last section.
    let rids = "a=rid:l send\r\na=rid:m send\r\na=rid:h send\r\na=simulcast:send l;m;h\r\n";
    let response = server
        .whip("stage", "idol", &format!("{offer}{rids}"))
        .await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let answer = response.text().await.unwrap();
    assert_eq!(attribute(&answer, "simulcast"), "recv l;m;h");
    for rid in ["l", "m", "h"] {
        assert!(
            answer.contains(&format!("a=rid:{rid} recv\r\n")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn only_configured_origins() {
    let server = Server::start(SignalingConfig {
        cors_origins: vec!["https://fans.example".into()],
        ..SignalingConfig::default()
    })
    .await;
    for (origin, allowed) in [
        ("https://fans.example", true),
        ("https://evil.example", false),
    ] {
        let response = server
            .request(Method::OPTIONS, "/whep/stage")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .send()
            .await
            .unwrap();
        let header = header_of(&response, "access-control-allow-origin");
        assert_eq!(header, allowed.then_some(origin));
        assert_eq!(header_of(&response, "vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn ice_servers_are_linked() {
    let server = Server::start(SignalingConfig {
        ice_servers: vec![IceServer {
            urls: vec![
                "stun:turn.example:3478".into(),
                "turn:turn.example:3478".into(),
            ],
            secret: Some("north".into()),
            ..IceServer::default()
        }],
        ..SignalingConfig::default()
    })
    .await;
    let (_, offer) = Peer::publisher();
    let response = server.whip("stage", "idol", &offer).await;
    let links: Vec<_> = response
        .headers()
        .get_all("link")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(links[0], "<stun:turn.example:3478>; rel=\"ice-server\"");
    assert!(links[1].starts_with("<turn:turn.example:3478>; rel=\"ice-server\"; username=\""));
    assert!(
        links[1].contains("; credential=\"") && links[1].contains("credential-type=\"password\"")
    );
}

#[tokio::test]
async fn viewers_who_may_not_wait_are_told_when_to_come() {
    let server = Server::start(SignalingConfig {
        viewers_wait: false,
        ..SignalingConfig::default()
    })
    .await;
    let (_, offer) = Peer::viewer();
    let response = server.whep("stage", &offer).await;
    assert_eq!(header_of(&response, "retry-after"), Some("5"));
    problem(response, Code::NotLive).await;
}

#[tokio::test]
async fn limits() {
    let mut config = SignalingConfig::default();
    config.limits.viewers_per_room_max = 1;
    config.limits.waiting_rooms_max = 2;
    config.limits.sessions_per_address_max = 2;
    config.limits.joins_per_address.burst = 6;
    config.limits.joins_per_address.per_minute = 1;
    config.limits.requests_per_address.burst = 3;
    config.limits.requests_per_address.per_minute = 1;
    let server = Server::start(config).await;
    let offer = || Peer::viewer().1;
    let path = location(&server.whep("a", &offer()).await);
    problem(server.whep("a", &offer()).await, Code::RoomFull).await;
    location(&server.whep("b", &offer()).await);
    problem(server.whep("c", &offer()).await, Code::RoomsFull).await;
    server.delete(&path).await;
    location(&server.whep("c", &offer()).await);
    problem(
        server.whip("d", "idol", &Peer::publisher().1).await,
        Code::AddressFull,
    )
    .await;
    problem(server.whep("c", &offer()).await, Code::RateLimited).await;
    for _ in 0..2 {
        problem(server.get(&path).await, Code::SessionNotFound).await;
    }
    problem(server.get(&path).await, Code::RateLimited).await;
    let stats = server.signaling.stats().snapshot();
    let refused = |code| stats.refusals.iter().find(|(c, _)| *c == code).unwrap().1;
    assert_eq!(refused(Code::RoomFull), 1);
    assert_eq!(refused(Code::RateLimited), 2);
}

/// Sends bytes as they are and reads until the server closes.
async fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    let read = stream.read_to_end(&mut response);
    tokio::time::timeout(support::PATIENCE, read)
        .await
        .expect("an end")
        .unwrap();
    String::from_utf8(response).unwrap()
}

#[tokio::test]
async fn slow_and_endless_bodies() {
    let server = Server::start(SignalingConfig {
        body_timeout: std::time::Duration::from_millis(200),
        ..SignalingConfig::default()
    })
    .await;
    let head = "POST /whep/stage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                Connection: close\r\n";
    let slow = raw(
        &server,
        &format!("{head}Content-Length: 500\r\n\r\nv=0\r\n"),
    )
    .await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    assert!(slow.contains(r#""code":"slow_body""#));
    let announced = raw(
        &server,
        &format!("{head}Content-Length: 1000000\r\n\r\nv=0\r\n"),
    )
    .await;
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let endless = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}1\r\nx\r\n");
    let endless = raw(&server, &endless).await;
    assert!(endless.starts_with("HTTP/1.1 413"), "{endless}");
    assert_eq!(server.signaling.stats().snapshot().rooms, 0);
}

#[tokio::test]
async fn a_client_that_goes_in_the_middle_of_its_body_leaves_nothing() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = "POST /whep/stage HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                Content-Length: 500\r\n\r\nv=0\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    server
        .until("the join's outcome", |signaling| {
            let stats = signaling.stats().snapshot();
            stats.joins.iter().map(|(_, _, count)| count).sum::<u64>() == 1
        })
        .await;
    let stats = server.signaling.stats().snapshot();
    assert_eq!((stats.rooms, stats.viewers), (0, 0));
    let joined =
        |(_, outcome, count): &(_, JoinOutcome, u64)| *outcome == JoinOutcome::Joined && *count > 0;
    assert!(!stats.joins.iter().any(joined));
}
