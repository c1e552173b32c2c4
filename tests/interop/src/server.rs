//! The server under test: the whole of it, in this process, on free ports of the loopback.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use lightstick::config::Config;
use lightstick::serve::serve;
use lightstick_bench::signal::{Opened, Signal, SignalError};
use lightstick_types::Codec;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::peer::{Publisher, Repair, Viewer};

/// A server in development mode.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    token: String,
    stop: CancellationToken,
    serving: AbortOnDropHandle<Result<()>>,
}

/// A session at the server.
#[derive(Clone, Debug)]
pub struct Session {
    endpoint: String,
    token: Option<String>,
    opened: Opened,
}

impl Server {
    /// Starts a server of two shards: packets cross from one to the other.
    ///
    /// # Errors
    /// When there is no port, thread or poller to be had.
    pub async fn start() -> Result<Self> {
        let loopback = Ipv4Addr::LOCALHOST;
        let mut config = Config::default();
        config.http.bind = (loopback, 0).into();
        config.operations.bind = (loopback, 0).into();
        config.media.shards = 2;
        config.media.pin = false;
        config.media.port = 0;
        config.media.bind = vec![loopback.into()];
        // Sessions that a test leaves behind end with the server.
        config.shutdown.deadline = std::time::Duration::ZERO;
        let stop = CancellationToken::new();
        let until = stop.clone().cancelled_owned();
        let (started_tx, started) = oneshot::channel();
        let mut serving = AbortOnDropHandle::new(tokio::spawn(async move {
            let started = |running: &lightstick::serve::Running| {
                // A test that gave up waiting has failed already.
                let _ = started_tx.send((running.http, running.publish_token.clone()));
            };
            serve(config, started, until).await
        }));
        let (address, token) = tokio::select! {
            Ok(started) = started => started,
            ended = &mut serving => {
                ended??;
                anyhow::bail!("the server ended without a word");
            }
        };
        Ok(Self {
            address,
            token: token.context("development mode mints a token")?,
            stop,
            serving,
        })
    }

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// What the server ended with.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.serving.await?
    }

    /// `POST /whip/{room}`, with a token that may.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn whip(&self, room: &str, offer: String) -> Result<Session> {
        let token = Some(self.token.as_str());
        self.post(&format!("whip/{room}"), token, offer).await
    }

    /// `POST /whep/{room}`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn whep(&self, room: &str, offer: String) -> Result<Session> {
        self.post(&format!("whep/{room}"), None, offer).await
    }

    /// A publisher that is connected, and its session.
    ///
    /// # Errors
    /// When the server refuses, or the connection does not come up.
    pub async fn publisher(&self, room: &str, codec: Codec) -> Result<(Publisher, Session)> {
        let (mut publisher, offer) = Publisher::offer(codec, Repair::Rtx).await?;
        let session = self.whip(room, offer).await?;
        publisher.accept(session.answer()).await?;
        Ok((publisher, session))
    }

    /// A viewer that is connected, and its session.
    ///
    /// # Errors
    /// When the server refuses, or the connection does not come up.
    pub async fn viewer(&self, room: &str, codec: Codec) -> Result<(Viewer, Session)> {
        let (mut viewer, offer) = Viewer::offer(codec, Repair::Rtx).await?;
        let session = self.whep(room, offer).await?;
        viewer.accept(session.answer()).await?;
        Ok((viewer, session))
    }

    async fn post(&self, path: &str, token: Option<&str>, offer: String) -> Result<Session> {
        let endpoint = format!("http://{}/{path}", self.address);
        let token = token.map(str::to_owned);
        let opened = signal(&endpoint, token.as_deref(), move |signal| {
            signal.open(&offer)
        });
        Ok(Session {
            opened: opened.await?,
            endpoint,
            token,
        })
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
        let Self {
            endpoint,
            token,
            opened,
        } = self;
        let close = move |signal: &Signal| signal.close(&opened.url);
        signal(&endpoint, token.as_deref(), close).await
    }
}

/// Speaks WHIP or WHEP with an endpoint. That client blocks, and may not even be dropped where tasks
/// run.
///
/// # Errors
/// What the server, or the way to it, refuses.
pub async fn signal<T: Send + 'static>(
    endpoint: &str,
    token: Option<&str>,
    speak: impl FnOnce(&Signal) -> Result<T, SignalError> + Send + 'static,
) -> Result<T> {
    let (endpoint, token) = (endpoint.to_owned(), token.map(str::to_owned));
    let spoken = spawn_blocking(move || speak(&Signal::new(&endpoint, token.as_deref())));
    Ok(spoken.await??)
}
