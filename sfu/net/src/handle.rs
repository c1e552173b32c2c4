//! The control plane's handle on the media threads.

use std::sync::Arc;
use std::thread;

use lightstick_types::{LayerChoice, RoomId, SessionId, ShardId};
use tokio::sync::mpsc;

use crate::api::{
    CommandError, LocalIce, MediaEvent, OpenError, OpenSession, RemoteIce, RoomMedia, SessionMedia,
    SessionOpened,
};
use crate::config::MediaConfig;
use crate::stats::ShardStats;

/// A cheap, cloneable handle. Dropping the last one stops the threads.
#[derive(Clone, Debug)]
pub struct MediaPlane {
    _shards: Arc<[Arc<ShardStats>]>,
}

/// The running media threads.
#[derive(Debug)]
pub struct MediaThreads {
    _threads: Vec<thread::JoinHandle<()>>,
}

impl MediaThreads {
    /// Stops the threads and waits for them. Blocks: call it off the async runtime.
    pub fn join(self) {}
}

/// Why the media plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be opened.
    #[error("cannot receive media on {addr}: {source}")]
    Bind {
        /// Where.
        addr: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No usable address at all.
    #[error("none of the media addresses can be used")]
    NoAddress,
    /// A thread or its poller could not be made.
    #[error("cannot start a media thread: {0}")]
    Thread(std::io::Error),
}

impl MediaPlane {
    /// Binds every socket, then starts the threads.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        _config: MediaConfig,
    ) -> Result<(Self, mpsc::Receiver<MediaEvent>, MediaThreads), StartError> {
        Err(StartError::NoAddress)
    }

    /// Opens a session and answers its offer.
    ///
    /// # Errors
    /// [`OpenError`]; nothing stays allocated.
    pub async fn open(&self, _request: OpenSession) -> Result<SessionOpened, OpenError> {
        Err(OpenError::Overloaded)
    }

    /// Adds trickled candidates (RFC 8840).
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn add_candidates(
        &self,
        _shard: ShardId,
        _session: SessionId,
        _ice: RemoteIce,
    ) -> Result<(), CommandError> {
        Err(CommandError::NoSession)
    }

    /// Restarts ICE with the peer's new credentials. The old path goes on until the new one works.
    ///
    /// # Errors
    /// [`CommandError`]; the session goes on as it was.
    pub async fn restart_ice(
        &self,
        _shard: ShardId,
        _session: SessionId,
        _ice: RemoteIce,
    ) -> Result<LocalIce, CommandError> {
        Err(CommandError::NoSession)
    }

    /// Changes what a viewer asks for.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn choose_layer(
        &self,
        _shard: ShardId,
        _session: SessionId,
        _choice: LayerChoice,
    ) -> Result<(), CommandError> {
        Err(CommandError::NoSession)
    }

    /// Ends a session. [`MediaEvent::SessionClosed`] follows; an unknown session is no error.
    pub fn close(&self, _shard: ShardId, _session: SessionId) {}

    /// What a room sends now; `None` while nobody publishes.
    pub async fn room_media(&self, _room: RoomId) -> Option<RoomMedia> {
        None
    }

    /// What a session does now.
    pub async fn session_media(
        &self,
        _shard: ShardId,
        _session: SessionId,
    ) -> Option<SessionMedia> {
        None
    }

    /// Each shard's counters, in shard order.
    #[must_use]
    pub fn stats(&self) -> &[Arc<ShardStats>] {
        &self._shards
    }
}
