//! HTTP as clients speak it: every method on every resource, and what stands on the wire.

mod support;

use std::time::Duration;

use lightstick_signaling::{Code, ConnectionLimits, SignalingConfig};
use reqwest::{Method, StatusCode, header};
use support::peer::Peer;
use support::wire::Wire;
use support::{SDP, Server, header_of, location, problem};

/// Every resource with the methods that it knows.
async fn resources(server: &Server) -> Vec<(String, Vec<&'static str>)> {
    let viewer = location(&server.whep("stage", &Peer::viewer().1).await);
    let artist = location(&server.whip("stage", "idol", &Peer::publisher().1).await);
    let session = ["GET", "HEAD", "PATCH", "DELETE"];
    let made = server
        .request(Method::POST, &format!("{viewer}/events"))
        .send()
        .await
        .unwrap();
    let rows: [(&str, &[&str]); 16] = [
        ("/whip/stage", &["GET", "HEAD", "POST"]),
        ("/whep/stage", &["GET", "HEAD", "POST"]),
        (&viewer, &session),
        (&artist, &session),
        (&format!("{viewer}/events"), &["GET", "HEAD", "POST"]),
        (&location(&made), &["GET", "HEAD", "DELETE"]),
        (&format!("{artist}/events"), &["GET", "HEAD"]),
        (&format!("{viewer}/layer"), &["POST", "DELETE"]),
        ("/chat/stage", &["GET", "HEAD"]),
        ("/api/v1/rooms", &["GET", "HEAD"]),
        ("/api/v1/rooms/stage", &["GET", "HEAD", "DELETE"]),
        ("/api/v1/rooms/stage/sessions", &["GET", "HEAD"]),
        ("/api/v1/rooms/stage/sessions/1", &["DELETE"]),
        ("/api/v1/events", &["GET", "HEAD"]),
        ("/api/v1/client-config", &["GET", "HEAD"]),
        ("/api/openapi.json", &["GET", "HEAD"]),
    ];
    rows.map(|(path, methods)| (path.to_owned(), methods.to_vec()))
        .into()
}

fn sorted(list: &str) -> Vec<&str> {
    let mut list: Vec<_> = list.split(", ").collect();
    list.sort_unstable();
    list
}

#[tokio::test]
async fn options_on_every_resource() {
    let server = Server::start(SignalingConfig::default()).await;
    for (path, mut methods) in resources(&server).await {
        methods.push("OPTIONS");
        methods.sort_unstable();
        for path in [path.clone(), format!("{path}/"), format!("/{path}//?x=1")] {
            for preflight in [false, true] {
                let mut request = server
                    .request(Method::OPTIONS, &path)
                    .header(header::ORIGIN, "https://fans.example");
                if preflight {
                    request = request
                        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
                        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "etag,x-library");
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), StatusCode::NO_CONTENT, "{path}");
                let of = |name| header_of(&response, name).unwrap_or_default();
                assert_eq!(sorted(of("allow")), methods, "{path}");
                assert_eq!(of("access-control-allow-origin"), "*");
                // Page libraries ask the endpoint for PATCH without a preflight's headers.
                for method in ["POST", "PATCH", "DELETE"] {
                    assert!(
                        of("access-control-allow-methods").contains(method),
                        "{path}"
                    );
                }
                let allowed = of("access-control-allow-headers").to_lowercase();
                for name in ["authorization", "content-type", "if-match", "etag", "link"] {
                    assert!(allowed.contains(name), "{path}: {name}");
                }
                assert_eq!(allowed.contains("x-library"), preflight, "{path}");
                for name in [
                    "Location",
                    "ETag",
                    "Link",
                    "Accept-Patch",
                    "Accept-Post",
                    "Retry-After",
                    "WWW-Authenticate",
                    "Access-Control-Allow-Methods",
                ] {
                    assert!(of("access-control-expose-headers").contains(name), "{name}");
                }
                assert_eq!(of("link"), "", "no credentials here");
                assert_eq!(of("x-content-type-options"), "nosniff");
                assert_eq!(of("accept-post").is_empty(), !methods.contains(&"POST"));
                assert_eq!(of("accept-patch").is_empty(), !methods.contains(&"PATCH"));
            }
        }
    }
}

#[tokio::test]
async fn methods_that_a_resource_does_not_know() {
    let server = Server::start(SignalingConfig::default()).await;
    for (path, methods) in resources(&server).await {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"] {
            if methods.contains(&method) {
                continue;
            }
            let name = method.parse::<Method>().unwrap();
            for path in [path.clone(), format!("{path}/")] {
                let response = server.request(name.clone(), &path).send().await.unwrap();
                let allow = header_of(&response, "allow").unwrap().to_owned();
                for method in &methods {
                    assert!(sorted(&allow).contains(method), "{path}: {allow}");
                }
                assert_eq!(
                    header_of(&response, "access-control-allow-origin"),
                    Some("*")
                );
                let status = response.status();
                assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
                if method != "HEAD" {
                    problem(response, Code::MethodNotAllowed).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let config = SignalingConfig {
        // Streams that were looked at end a moment later.
        event_streams_per_session_max: 100,
        ..SignalingConfig::default()
    };
    let server = Server::start(config).await;
    for (path, methods) in resources(&server).await {
        if !methods.contains(&"HEAD") {
            continue;
        }
        for path in [path.clone(), format!("{path}/")] {
            let get = server.get(&path).await;
            let head = server.request(Method::HEAD, &path).send().await.unwrap();
            assert_eq!(get.status(), head.status(), "{path}");
            for name in ["content-type", "etag", "access-control-allow-origin"] {
                assert_eq!(
                    header_of(&get, name),
                    header_of(&head, name),
                    "{path}: {name}"
                );
            }
            assert_eq!(head.text().await.unwrap(), "");
        }
    }
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_url_from_a_form() {
    let server = Server::start(SignalingConfig::default()).await;
    for path in ["/whip/stage/", "//whip/stage", "/whip//stage///?token=none"] {
        let response = server
            .request(Method::POST, path)
            .bearer_auth(server.token("idol", false))
            .header(header::CONTENT_TYPE, "Application/SDP; charset=UTF-8")
            .body(Peer::publisher().1)
            .send()
            .await
            .unwrap();
        let session = location(&response);
        let session = format!("{session}/");
        assert_eq!(server.get(&session).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(server.delete(&session).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn what_never_was_and_what_is_gone() {
    let server = Server::start(SignalingConfig::default()).await;
    let path = location(&server.whep("stage", &Peer::viewer().1).await);
    let never = "/whep/stage/00000000000000000000000000000000";
    assert_eq!(server.delete(&path).await.status(), StatusCode::OK);
    for path in [path.as_str(), never, "/whep/stage/nonsense"] {
        for method in [Method::GET, Method::DELETE] {
            let response = server.request(method, path).send().await.unwrap();
            problem(response, Code::SessionNotFound).await;
        }
        let patch = server
            .patch(path, Some("*"), "a=end-of-candidates\r\n")
            .await;
        problem(patch, Code::SessionNotFound).await;
        for rest in ["/events", "/events/1"] {
            let response = server.get(&format!("{path}{rest}")).await;
            problem(response, Code::SessionNotFound).await;
        }
    }
    // One that was closed by somebody else: its client says DELETE once, and means the same.
    let first = location(&server.whip("stage", "idol", &Peer::publisher().1).await);
    location(&server.whip("stage", "idol", &Peer::publisher().1).await);
    assert_eq!(server.delete(&first).await.status(), StatusCode::OK);
    problem(server.delete(&first).await, Code::SessionNotFound).await;
}

#[tokio::test]
async fn wrong_types_name_the_right_one() {
    let server = Server::start(SignalingConfig::default()).await;
    let session = location(&server.whep("stage", &Peer::viewer().1).await);
    for (method, path, name, kind) in [
        (Method::POST, "/whep/stage".to_owned(), "accept-post", SDP),
        (
            Method::PATCH,
            session.clone(),
            "accept-patch",
            "application/trickle-ice-sdpfrag",
        ),
        (
            Method::POST,
            format!("{session}/layer"),
            "accept-post",
            "application/json",
        ),
        (
            Method::POST,
            format!("{session}/events"),
            "accept-post",
            "application/json",
        ),
    ] {
        let request = server.request(method, &path).body("v=0\r\n");
        let response = request.send().await.unwrap();
        assert_eq!(header_of(&response, name), Some(kind), "{path}");
        problem(response, Code::UnsupportedMediaType).await;
    }
}

const POST: &str = "POST /whep/stage HTTP/1.1\r\nHost: localhost\r\n";

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut wire = Wire::open(&server).await;
    let body = "x".repeat(50_000);
    let length = body.len();
    for (head, status) in [
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/sdp\r\n", 400),
    ] {
        wire.send(&format!(
            "{POST}{head}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        let response = wire.response().await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("connection"), None);
        let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
        wire.send(&format!(
            "{POST}{head}Transfer-Encoding: chunked\r\n\r\n{chunked}"
        ))
        .await;
        assert_eq!(wire.response().await.status, status);
    }
    // A body that is read though its resource has no use for it.
    wire.send("GET /whep/stage HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert_eq!(wire.response().await.status, 200);
}

#[tokio::test]
async fn a_connection_that_ends_says_so() {
    let config = SignalingConfig {
        body_timeout: Duration::from_millis(100),
        ..SignalingConfig::default()
    };
    let server = Server::start(config).await;
    let kind = "Content-Type: application/sdp\r\n";
    for (request, more, status) in [
        // Announced, and never read.
        (
            format!("{kind}Content-Length: 1000000\r\n\r\n"),
            1_000_000,
            413,
        ),
        ("Content-Length: 1000000\r\n\r\n".to_owned(), 1_000_000, 415),
        // Announced, and never sent.
        (format!("{kind}Content-Length: 500\r\n\r\nv=0"), 0, 408),
        ("Content-Length: 500\r\n\r\nv=0".to_owned(), 0, 415),
        // Asked whether it may come: it may not (RFC 9110 section 10.1.1).
        (
            "Expect: 100-continue\r\nContent-Length: 500\r\n\r\n".to_owned(),
            0,
            415,
        ),
    ] {
        let mut wire = Wire::open(&server).await;
        wire.send(&format!("{POST}{request}")).await;
        // The client goes on sending what it has announced, and reads the answer after that.
        let rest = "x".repeat(more);
        wire.try_send(&rest).await;
        let response = wire.response().await;
        assert_eq!(response.status, status, "{request}");
        assert_eq!(response.header("connection"), Some("close"), "{request}");
        wire.ended().await;
    }
}

#[tokio::test]
async fn a_body_is_asked_for_where_it_is_wanted() {
    let server = Server::start(SignalingConfig::default()).await;
    let mut wire = Wire::open(&server).await;
    let offer = Peer::viewer().1;
    let length = offer.len();
    wire.send(&format!(
        "{POST}Content-Type: application/sdp\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\n\r\n"
    ))
    .await;
    assert_eq!(wire.response().await.status, 100);
    wire.send(&offer).await;
    let response = wire.response().await;
    assert_eq!(response.status, 201);
    assert_eq!(response.header("connection"), None);
}

#[tokio::test]
async fn targets_and_hosts() {
    let server = Server::start(SignalingConfig::default()).await;
    for (head, status) in [
        (
            "GET http://localhost/whep/stage HTTP/1.1\r\nHost: localhost\r\n",
            200,
        ),
        (
            "GET http://localhost/whep/stage/ HTTP/1.1\r\nHost: other\r\n",
            200,
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", 204),
        ("GET /whep/stage HTTP/1.1\r\n", 400),
        (
            "GET /whep/stage HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
            400,
        ),
        ("GET /whep/stage HTTP/1.1\r\nHost: a b\r\n", 400),
        ("GET /whep/stage HTTP/1.1\r\nHost: evil@localhost\r\n", 400),
        // Without a host nobody can tell whose page asks.
        ("GET /whep/stage HTTP/1.0\r\n", 403),
    ] {
        let mut wire = Wire::open(&server).await;
        wire.send(&format!("{head}Connection: close\r\n\r\n")).await;
        assert_eq!(wire.response().await.status, status, "{head}");
        wire.ended().await;
    }
}

#[tokio::test]
async fn two_readings_of_one_request() {
    let server = Server::start(SignalingConfig::default()).await;
    let next = "GET /api/v1/client-config HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (head, body, status) in [
        // RFC 9112 section 6.1: the chunks count, and nothing is read after them.
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            format!("0\r\n\r\n{next}"),
            415,
        ),
        (
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            String::new(),
            400,
        ),
        ("Content-Length: 4, 5\r\n", String::new(), 400),
        ("Content-Length: -1\r\n", String::new(), 400),
        ("Content-Length: +1\r\n", String::new(), 400),
        ("Transfer-Encoding: gzip\r\n", String::new(), 400),
        (
            "Transfer-Encoding: chunked, identity\r\n",
            String::new(),
            400,
        ),
        ("Transfer-Encoding : chunked\r\n", String::new(), 400),
        (" Folded: x\r\n", String::new(), 400),
    ] {
        let mut wire = Wire::open(&server).await;
        wire.send(&format!("{POST}{head}\r\n{body}")).await;
        assert_eq!(wire.response().await.status, status, "{head}");
        wire.ended().await;
    }
}

#[tokio::test]
async fn heads_are_bounded_in_time_and_size() {
    let server = Server::narrow(ConnectionLimits {
        head_timeout: Duration::from_millis(300),
        head_bytes_max: 8_192,
        ..ConnectionLimits::default()
    })
    .await;
    // One that never begins, one that never ends, one that rests between requests.
    for begun in ["", "GET /whep/stage HTTP/1.1\r\nHost: localhost\r\nX: y"] {
        let mut wire = Wire::open(&server).await;
        wire.send(begun).await;
        wire.ended().await;
    }
    let mut wire = Wire::open(&server).await;
    wire.send("GET /whep/stage HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(wire.response().await.status, 200);
    wire.ended().await;
    for long in ["x".repeat(9_000), "x: y\r\n".repeat(150)] {
        let mut wire = Wire::open(&server).await;
        wire.try_send(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {long}"))
            .await;
        wire.try_send("\r\n\r\n").await;
        assert_eq!(wire.response().await.status, 431);
        wire.ended().await;
    }
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let server = Server::narrow(ConnectionLimits {
        connections_per_address_max: 3,
        ..ConnectionLimits::default()
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::open(&server).await;
        wire.send("GET /whep/stage HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(wire.response().await.status, 200);
        held.push(wire);
    }
    let mut refused = Wire::open(&server).await;
    refused.ended().await;
    drop(held.pop());
    let open = |n| move |s: &lightstick_signaling::Signaling| s.stats().snapshot().connections == n;
    server.until("a free place", open(2)).await;
    let mut wire = Wire::open(&server).await;
    wire.send("GET /whep/stage HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(wire.response().await.status, 200);
}

#[tokio::test]
async fn pages_from_elsewhere_in_development_mode() {
    let ask = async |server: &Server, path: &str, name: header::HeaderName, value: &str| {
        let request = server.request(Method::GET, path).header(name, value);
        request.send().await.unwrap()
    };
    let server = Server::start(SignalingConfig::default()).await;
    for path in ["/whep/stage", "/api/v1/client-config", "/chat/stage"] {
        for (name, value) in [
            (header::ORIGIN, "https://evil.example"),
            (header::ORIGIN, "null"),
            (header::ORIGIN, "http://[::1].evil.example"),
            (header::HOST, "rebound.example:8080"),
        ] {
            let response = ask(&server, path, name, value).await;
            problem(response, Code::ForeignOrigin).await;
        }
    }
    let local = ask(
        &server,
        "/whep/stage",
        header::ORIGIN,
        "http://localhost:3000",
    )
    .await;
    assert_eq!(local.status(), StatusCode::OK);
    let named = Server::start(SignalingConfig {
        cors_origins: vec!["https://dev.example".into()],
        ..SignalingConfig::default()
    })
    .await;
    let response = ask(&named, "/whep/stage", header::ORIGIN, "https://dev.example").await;
    assert_eq!(response.status(), StatusCode::OK);
    // With keys, tokens say who may do what, and pages come from anywhere.
    let keyed = Server::keyed(SignalingConfig::default()).await;
    let response = ask(
        &keyed,
        "/whep/stage",
        header::ORIGIN,
        "https://fans.example",
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
}
