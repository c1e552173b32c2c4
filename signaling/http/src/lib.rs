//! WHIP, WHEP and the JSON API over HTTP.
//!
//! [`Signaling::start`] starts the director, the one task that owns the rooms; the router's
//! handlers ask it and the media plane, and hold no state and no locks of their own. The rules
//! stand in `lightstick-signaling-core`.
//!
//! Serve the router with [`serve`]: it needs the client's address, and `serve` does what stands
//! before routing.

mod api;
mod auth;
mod chat;
mod config;
mod director;
mod extract;
mod feed;
mod join;
mod origin;
mod outer;
mod problem;
mod publisher;
mod refusals;
mod router;
mod schema;
mod serve;
mod session;
mod stats;
mod viewer;

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lightstick_chat::ChatPlane;
use lightstick_sfu::{MediaEvent, MediaPlane};
use lightstick_tasks::{Ended, Tasks};
use lightstick_types::rate::AddressRates;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use auth::{Auth, Keys};
pub use config::{ConfigError, IceServer, SignalingConfig};
use director::{COMMANDS_MAX, Director, DirectorHandle, Parts};
use feed::{Feed, FeedSource};
pub use lightstick_signaling_core::{rooms, token};
pub use problem::{CONTENT_TYPE as PROBLEM_CONTENT_TYPE, Code};
use refusals::RefusalLog;
pub use router::openapi;
pub use serve::{ConnectionLimit, ConnectionLimits, ConnectionStats, Connections, serve};
pub use stats::{JoinOutcome, Route, SignalingStats, StatsSnapshot};

/// The chat, and who may write in it.
#[derive(Clone)]
pub struct Chat {
    pub plane: ChatPlane,
    /// Whether whoever comes without a token may write, as a guest.
    pub guests_write: bool,
}

#[derive(Clone)]
struct App(Arc<Shared>);

struct Shared {
    config: SignalingConfig,
    auth: Auth,
    media: MediaPlane,
    chat: Option<Chat>,
    chat_opens: Mutex<AddressRates>,
    director: DirectorHandle,
    feed: FeedSource,
    stats: Arc<SignalingStats>,
    refusals: RefusalLog,
    /// The tasks of WebSockets: axum starts them, apart from their connections' tasks.
    sockets: TaskTracker,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    fn watch_open(&self) -> bool {
        self.config.watch_open || self.auth.is_development()
    }
}

/// Signaling, running. Dropping it aborts the director: see [`Signaling::stop`].
pub struct Signaling {
    app: App,
    tasks: Tasks,
    cancel: DropGuard,
}

impl Signaling {
    /// Starts the director.
    ///
    /// `events` is the other end of the media plane's events: nobody else may read it. Without
    /// `chat` sessions have media only.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing runs then.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        config: SignalingConfig,
        auth: Auth,
        media: MediaPlane,
        events: mpsc::Receiver<MediaEvent>,
        chat: Option<Chat>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let stats = Arc::new(SignalingStats::default());
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let feed = Feed::new();
        let feed_source = feed.source();
        let parts = Parts {
            rooms: config.rooms(),
            bitrate_max: config.publish_bitrate_max(),
            reconnect_after: config.reconnect_after,
            event_streams_per_session_max: config.event_streams_per_session_max,
            media: media.clone(),
            stats: Arc::clone(&stats),
        };
        let director = Director::new(parts, feed, commands.downgrade());
        let cancel = CancellationToken::new();
        let mut tasks = Tasks::default();
        tasks.spawn("director", director.run(inbox, events, cancel.clone()));
        let app = App(Arc::new(Shared {
            director: DirectorHandle::new(commands, config.retry_after),
            chat_opens: Mutex::new(AddressRates::new(
                config.limits.chat_opens_per_address,
                config.limits.addresses_max,
            )),
            config,
            auth,
            media,
            chat,
            feed: feed_source,
            stats,
            refusals: RefusalLog::default(),
            sockets: TaskTracker::new(),
        }));
        Ok(Self {
            app,
            tasks,
            cancel: cancel.drop_guard(),
        })
    }

    /// Every resource of signaling, CORS included. It has no fallback.
    pub fn router(&self) -> axum::Router {
        router::router(self.app.clone())
    }

    #[must_use]
    pub fn stats(&self) -> &Arc<SignalingStats> {
        &self.app.stats
    }

    /// Refuses new sessions from now on, tells viewers to reconnect, and returns when every
    /// session is gone; those that are left at `deadline` are closed then.
    ///
    /// Afterwards every request that needs the director is answered with 503, and event streams
    /// have ended.
    pub fn drain(&self, deadline: Instant) -> impl Future<Output = ()> + Send + use<> {
        let director = self.app.director.clone();
        async move { director.drain(deadline).await }
    }

    /// The next end of a task. Before [`Signaling::drain`] it is unexpected. Safe to cancel.
    pub async fn ended(&mut self) -> Ended {
        self.tasks.ended().await
    }

    /// The tasks of the chat's WebSockets. They end with the chat.
    #[must_use]
    pub fn sockets(&self) -> TaskTracker {
        self.app.sockets.clone()
    }

    /// Closes every session and ends the director.
    ///
    /// # Errors
    /// The director's failure, which is logged.
    pub async fn stop(mut self) -> Result<(), Ended> {
        self.app.sockets.close();
        drop(self.cancel);
        self.tasks.join().await
    }
}

#[cfg(test)]
mod tests;
