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
mod config;
mod director;
mod extract;
mod feed;
mod join;
mod member;
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
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use axum::http::request::Parts;
use lightstick_sfu::{MediaEvent, MediaPlane};
use lightstick_tasks::{Ended, Tasks};
use lightstick_types::{ChatMember, RoomName};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use utoipa_axum::router::OpenApiRouter;

pub use auth::{Auth, Keys};
pub use config::{ConfigError, IceServer, SignalingConfig};
use director::{COMMANDS_MAX, Director, DirectorHandle, Parts as DirectorParts};
pub use extract::{ClientAddress, RoomPath, read_body, require_type, room_name};
use feed::{Feed, FeedSource};
pub use lightstick_signaling_core::{rooms, token};
pub use member::Members;
pub use problem::{CONTENT_TYPE as PROBLEM_CONTENT_TYPE, Code, Problem, ProblemBody};
use refusals::RefusalLog;
pub use router::openapi;
pub use serve::{ConnectionLimit, ConnectionLimits, ConnectionStats, Connections, serve};
pub use stats::{JoinOutcome, Route, SignalingStats, StatsSnapshot};

/// What handlers share, also those of the resources that are composed with ours.
#[derive(Clone)]
pub struct App(Arc<Shared>);

#[doc(hidden)]
pub struct Shared {
    config: SignalingConfig,
    auth: Auth,
    media: MediaPlane,
    members: Option<Members>,
    director: DirectorHandle,
    feed: FeedSource,
    stats: Arc<SignalingStats>,
    refusals: RefusalLog,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Whether watching needs no token.
    #[must_use]
    pub fn watch_open(&self) -> bool {
        self.0.config.watch_open || self.0.auth.is_development()
    }

    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.0.auth
    }

    /// Whether the API needs no token: in development mode, on this machine.
    #[must_use]
    pub fn is_open(&self, client: ClientAddress, parts: &Parts) -> bool {
        api::access::is_open(self, client, parts)
    }

    /// Who somebody is in a room's chat; `None` where there is no chat.
    pub async fn member(
        &self,
        claims: Option<&token::Claims>,
        room: &RoomName,
        address: IpAddr,
    ) -> Option<Arc<ChatMember>> {
        member::member(self, claims, room, address).await
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
    /// `members` sessions have media only.
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
        members: Option<Members>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let stats = Arc::new(SignalingStats::default());
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let feed = Feed::new();
        let feed_source = feed.source();
        let parts = DirectorParts {
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
            config,
            auth,
            media,
            members,
            feed: feed_source,
            stats,
            refusals: RefusalLog::default(),
        }));
        Ok(Self {
            app,
            tasks,
            cancel: cancel.drop_guard(),
        })
    }

    /// Every resource of signaling and of `more`, CORS included. It has no fallback.
    pub fn router(&self, more: OpenApiRouter<App>) -> axum::Router {
        router::router(self.app.clone(), more)
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

    /// Closes every session and ends the director.
    ///
    /// # Errors
    /// The director's failure, which is logged.
    pub async fn stop(mut self) -> Result<(), Ended> {
        drop(self.cancel);
        self.tasks.join().await
    }
}

#[cfg(test)]
mod tests;
