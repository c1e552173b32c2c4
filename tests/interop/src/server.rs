//! The server under test: the whole of media plane and signaling, on free ports of the loopback.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use lightstick_bench::signal::{Opened, Signal};
use lightstick_sfu::{MediaConfig, MediaPlane};
use lightstick_signaling::token::{Claims, Grants, RoomPattern};
use lightstick_signaling::{Auth, Signaling, SignalingConfig};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

/// In the year 2100.
const NEVER: u64 = 4_102_444_800;

/// A server in development mode.
pub struct Server {
    address: SocketAddr,
    auth: Auth,
    _signaling: Signaling,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

/// A session at the server.
#[derive(Clone, Debug)]
pub struct Session {
    signal: Signal,
    opened: Opened,
}

impl Server {
    /// Starts a server of two shards: packets cross from one to the other.
    ///
    /// # Errors
    /// When there is no port, thread or poller to be had.
    pub async fn start() -> Result<Self> {
        let config = MediaConfig {
            shards: 2,
            pin: false,
            port: 0,
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            ..MediaConfig::default()
        };
        let (media, events, _threads) = MediaPlane::start(config)?;
        let auth = Auth::development(30)?;
        let signaling = Signaling::start(SignalingConfig::default(), auth.clone(), media, events)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let service = signaling
            .router()
            .into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(listener, service).await });
        Ok(Self {
            address,
            auth,
            _signaling: signaling,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// `POST /whip/{room}`, with a token that may.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn whip(&self, room: &str, offer: String) -> Result<Session> {
        let claims = Claims {
            sub: "idol".to_owned(),
            exp: NEVER,
            nbf: None,
            room: RoomPattern::new(room),
            grants: Grants {
                publish: true,
                ..Grants::default()
            },
        };
        let token = self.auth.development_token(&claims);
        let token = token.context("development mode mints tokens")?;
        self.post(&format!("whip/{room}"), Some(token), offer).await
    }

    /// `POST /whep/{room}`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn whep(&self, room: &str, offer: String) -> Result<Session> {
        self.post(&format!("whep/{room}"), None, offer).await
    }

    async fn post(&self, path: &str, token: Option<String>, offer: String) -> Result<Session> {
        let endpoint = format!("http://{}/{path}", self.address);
        let signal = Signal::new(&endpoint, token.as_deref());
        let poster = signal.clone();
        let opened = spawn_blocking(move || poster.open(&offer)).await??;
        Ok(Session { signal, opened })
    }
}

impl Session {
    /// The server's SDP answer.
    #[must_use]
    pub fn answer(&self) -> &str {
        &self.opened.answer
    }

    /// `DELETE` on the session.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete(self) -> Result<()> {
        Ok(spawn_blocking(move || self.signal.close(&self.opened.url)).await??)
    }
}
