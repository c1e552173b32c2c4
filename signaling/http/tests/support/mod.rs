//! A whole server for tests: the real media plane, the real router, on free ports of the loopback.

#![allow(dead_code)] // Each test file uses its part.

pub(crate) mod hook;
pub(crate) mod peer;
pub(crate) mod sse;
pub(crate) mod wire;
pub(crate) mod ws;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lightstick_chat::{ChatConfig, ChatPlane, ChatTasks, PlaneStats};
use lightstick_chat_http::ChatApi;
use lightstick_sfu::{MediaConfig, MediaPlane};
use lightstick_signaling::token::{Claims, Grants, KeySet, RoomPattern, SigningKey};
use lightstick_signaling::{
    Auth, Code, ConnectionLimits, Connections, Keys, Signaling, SignalingConfig, serve,
};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the kernel keeps of the server's for each connection.
const SEND_BUFFER_BYTES: u32 = 16 * 1_024;

pub(crate) const SDP: &str = "application/sdp";
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const SECRET: [u8; 32] = [7; 32];

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) signaling: Signaling,
    pub(crate) auth: Auth,
    pub(crate) keys: Keys,
    http: reqwest::Client,
    chat: Option<(ChatTasks, TempDir)>,
    chat_stats: Option<Arc<PlaneStats>>,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    pub(crate) async fn start(config: SignalingConfig) -> Self {
        let auth = Auth::development(30).unwrap();
        Self::with(config, auth, Keys::new(KeySet::new(0)), None).await
    }

    /// With one configured key, `a`.
    pub(crate) async fn keyed(config: SignalingConfig) -> Self {
        let keys = Keys::new(key_set("a"));
        Self::with(config, Auth::keyed(keys.clone()), keys, None).await
    }

    /// With a chat, in development mode.
    pub(crate) async fn chatting(chat: ChatConfig) -> Self {
        let auth = Auth::development(30).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let chat = Some((chat, folder));
        Self::with(Default::default(), auth, Keys::new(KeySet::new(0)), chat).await
    }

    /// With a chat and other limits, in development mode.
    pub(crate) async fn chatting_with(config: SignalingConfig, chat: ChatConfig) -> Self {
        let auth = Auth::development(30).unwrap();
        let chat = Some((chat, tempfile::tempdir().unwrap()));
        Self::with(config, auth, Keys::new(KeySet::new(0)), chat).await
    }

    /// With a chat and one configured key, `a`. Watching is open.
    pub(crate) async fn chatting_keyed(chat: ChatConfig) -> Self {
        let keys = Keys::new(key_set("a"));
        let config = SignalingConfig {
            watch_open: true,
            ..SignalingConfig::default()
        };
        let chat = Some((chat, tempfile::tempdir().unwrap()));
        Self::with(config, Auth::keyed(keys.clone()), keys, chat).await
    }

    /// Ends the chat as a server's shutdown does; a server that begins again finds the same archive.
    pub(crate) async fn restarted(self, chat: ChatConfig) -> Self {
        let Self {
            signaling,
            auth,
            keys,
            chat: before,
            _serving: serving,
            ..
        } = self;
        drop((signaling, serving));
        let (tasks, folder) = before.expect("a chat");
        tasks.shutdown(PATIENCE).await.unwrap();
        Self::with(Default::default(), auth, keys, Some((chat, folder))).await
    }

    async fn with(
        config: SignalingConfig,
        auth: Auth,
        keys: Keys,
        chat: Option<(ChatConfig, TempDir)>,
    ) -> Self {
        Self::limited(config, auth, keys, chat, ConnectionLimits::default()).await
    }

    /// With a listener of narrow limits, in development mode.
    pub(crate) async fn narrow(limits: ConnectionLimits) -> Self {
        let auth = Auth::development(30).unwrap();
        let keys = Keys::new(KeySet::new(0));
        Self::limited(SignalingConfig::default(), auth, keys, None, limits).await
    }

    async fn limited(
        config: SignalingConfig,
        auth: Auth,
        keys: Keys,
        chat: Option<(ChatConfig, TempDir)>,
        limits: ConnectionLimits,
    ) -> Self {
        let media = MediaConfig {
            shards: 1,
            pin: false,
            port: 0,
            bind: vec![[127, 0, 0, 1].into()],
            pause_after: Duration::from_millis(500),
            ..MediaConfig::default()
        };
        let (media, events, _threads) = MediaPlane::start(media).expect("a media plane");
        let mut plane_handle = None;
        let mut chat_running = None;
        let mut chat_stats = None;
        if let Some((mut config, folder)) = chat {
            config.archive.data_dir = folder.path().join("chat");
            let (plane, tasks) = ChatPlane::start(&config, media.clone()).await.unwrap();
            chat_stats = Some(Arc::clone(plane.stats()));
            plane_handle = Some(plane);
            chat_running = Some((tasks, folder));
        }
        let members = plane_handle
            .as_ref()
            .map(|_| lightstick_chat_http::members(auth.is_development()));
        let chat_api = ChatApi::new(plane_handle, &config);
        let signaling = Signaling::start(config, auth.clone(), media, events, members).unwrap();
        // A client who does not read is noticed after kilobytes, not megabytes.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1_024).unwrap();
        let addr = listener.local_addr().unwrap();
        let router = signaling.router(lightstick_chat_http::routes(Arc::clone(&chat_api)));
        let stats = signaling.stats().connections();
        let ended = CancellationToken::new();
        let serving = tokio::spawn(async move {
            serve(
                listener,
                router,
                limits,
                stats,
                Connections::default(),
                ended,
            )
            .await
            .unwrap();
        });
        Self {
            addr,
            signaling,
            auth,
            keys,
            http: reqwest::Client::new(),
            chat: chat_running,
            chat_stats,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// The chat's counters.
    pub(crate) fn stats(&self) -> Arc<PlaneStats> {
        Arc::clone(self.chat_stats.as_ref().expect("a chat"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// A request to upgrade to a WebSocket.
    pub(crate) async fn upgrade(&self, path: &str) -> Response {
        self.request(Method::GET, path)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// A token of the development key.
    pub(crate) fn token(&self, who: &str, takeover: bool) -> String {
        let claims = claims(who, "*", |grants| {
            grants.publish = true;
            grants.takeover = takeover;
        });
        self.auth.development_token(&claims).unwrap()
    }

    /// `POST /whip/{room}` as somebody, in development mode.
    pub(crate) async fn whip(&self, room: &str, who: &str, offer: &str) -> Response {
        self.request(Method::POST, &format!("/whip/{room}"))
            .bearer_auth(self.token(who, false))
            .header(header::CONTENT_TYPE, SDP)
            .body(offer.to_owned())
            .send()
            .await
            .unwrap()
    }

    /// `POST /whep/{room}`, in development mode.
    pub(crate) async fn whep(&self, room: &str, offer: &str) -> Response {
        self.request(Method::POST, &format!("/whep/{room}"))
            .header(header::CONTENT_TYPE, SDP)
            .body(offer.to_owned())
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn patch(&self, path: &str, if_match: Option<&str>, body: &str) -> Response {
        let mut request = self
            .request(Method::PATCH, path)
            .header(header::CONTENT_TYPE, FRAGMENT);
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }

    /// Waits until `done`, asking again and again: for what no stream tells.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&Signaling) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !done(&self.signaling) {
                tokio::task::yield_now().await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {what}");
    }
}

pub(crate) fn key_set(kid: &str) -> KeySet {
    let mut keys = KeySet::new(0);
    keys.add_hs256(kid, &SECRET).unwrap();
    keys
}

pub(crate) fn signer(kid: &str) -> SigningKey {
    SigningKey::hs256(kid, &SECRET).unwrap()
}

pub(crate) fn claims(who: &str, room: &str, grant: impl FnOnce(&mut Grants)) -> Claims {
    let mut grants = Grants::default();
    grant(&mut grants);
    Claims {
        sub: who.into(),
        // In the year 2100.
        exp: 4_102_444_800,
        nbf: None,
        room: RoomPattern::new(room),
        grants,
        name: None,
        role: None,
    }
}

pub(crate) fn header_of<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let value = response.headers().get(name)?;
    Some(value.to_str().expect("printable headers"))
}

pub(crate) fn location(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::CREATED);
    header_of(response, "location")
        .expect("a Location")
        .to_owned()
}

pub(crate) fn etag(response: &Response) -> String {
    header_of(response, "etag").expect("an ETag").to_owned()
}

/// Checks that a response is a problem of that code, whole and consistent; returns it.
pub(crate) async fn problem(response: Response, code: Code) -> Value {
    let status = response.status();
    assert_eq!(
        header_of(&response, "content-type"),
        Some("application/problem+json"),
        "{status} for {code:?}"
    );
    let challenge = response.headers().contains_key("www-authenticate");
    assert_eq!(challenge, status == StatusCode::UNAUTHORIZED);
    let retry = header_of(&response, "retry-after").map(|v| v.parse::<u64>().unwrap());
    let come_again = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if come_again.contains(&status) {
        assert!(retry.is_some_and(|seconds| seconds > 0), "{code:?}");
    }
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], code.as_str(), "{body}");
    assert_eq!(status, code.status(), "{body}");
    assert_eq!(body["status"], status.as_u16());
    for text in ["title", "detail"] {
        assert!(!body[text].as_str().unwrap().is_empty());
    }
    body
}
