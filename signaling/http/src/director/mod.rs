//! The director: the one task that owns the registry of rooms and speaks for it.
//!
//! Handlers send it commands over a bounded channel and wait for the answers; the media plane's
//! events come in beside them. It never waits for the media plane itself: opening a session and
//! restarting ICE run in its own task set, whose ends it hears. So a client that goes away in the
//! middle of a POST cancels nothing halfway: the session is opened, found to be unwanted, and
//! closed.

mod commands;
mod effects;
mod ended;
mod handle;
mod sessions;
mod streams;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu::{MediaEvent, MediaPlane};
use lightstick_signaling_core::rooms::{Rooms, RoomsConfig};
use lightstick_types::{Bitrate, RoomId, SessionId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::feed::{Feed, RoomView};
use crate::stats::SignalingStats;

pub(crate) use commands::{Command, Join, Joined, Patch, Patched, SessionUrl, Watch};
use ended::RecentlyEnded;
pub(crate) use handle::DirectorHandle;
use sessions::{Done, SessionState};
pub(crate) use streams::{EventKinds, StreamNumber};

/// Capacity of the command channel. Full: a join is refused as overload, everything else waits.
pub(crate) const COMMANDS_MAX: usize = 1_024;

/// How long the end waits for joins that the media plane has not answered.
const LAST_JOINS: Duration = Duration::from_secs(1);

/// What the director is made of.
pub(crate) struct Parts {
    pub(crate) rooms: RoomsConfig,
    pub(crate) bitrate_max: Bitrate,
    pub(crate) reconnect_after: Duration,
    pub(crate) event_streams_per_session_max: usize,
    pub(crate) media: MediaPlane,
    pub(crate) stats: Arc<SignalingStats>,
}

struct Draining {
    deadline: Instant,
    replies: Vec<oneshot::Sender<()>>,
}

pub(crate) struct Director {
    parts: Parts,
    rooms: Rooms,
    /// For guards that ask back. Weak, so that the director ends with the last handler.
    commands: mpsc::WeakSender<Command>,
    ended: RecentlyEnded,
    sessions: HashMap<SessionId, SessionState>,
    /// What the viewers of a room are told; only rooms where somebody has asked.
    views: HashMap<RoomId, watch::Sender<RoomView>>,
    feed: Feed,
    tasks: JoinSet<Done>,
    /// The session that each task in `tasks` opens or restarts.
    task_sessions: HashMap<task::Id, SessionId>,
    draining: Option<Draining>,
    /// Some media thread runs: sessions can end by themselves.
    media_runs: bool,
}

impl Director {
    pub(crate) fn new(parts: Parts, feed: Feed, commands: mpsc::WeakSender<Command>) -> Self {
        Self {
            rooms: Rooms::new(parts.rooms.clone()),
            parts,
            commands,
            ended: RecentlyEnded::default(),
            sessions: HashMap::new(),
            views: HashMap::new(),
            feed,
            tasks: JoinSet::new(),
            task_sessions: HashMap::new(),
            draining: None,
            media_runs: true,
        }
    }

    /// Runs until it is cancelled or drained.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<MediaEvent>,
        cancel: CancellationToken,
    ) {
        loop {
            let deadline = self.deadline();
            tokio::select! {
                () = cancel.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                event = events.recv(), if self.media_runs => match event {
                    Some(event) => self.media_event(event),
                    // Viewers are still to be told where to go.
                    None => self.media_runs = false,
                },
                Some(done) = self.tasks.join_next_with_id() => self.done(done),
                () = sleep_until(deadline) => self.rooms.handle_timeout(Instant::now()),
            }
            self.apply_effects().await;
            if self.is_drained() {
                break;
            }
        }
        self.finish().await;
    }

    fn deadline(&self) -> Option<Instant> {
        let drain = self.draining.as_ref().map(|draining| draining.deadline);
        [self.rooms.poll_timeout(), drain]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_drained(&self) -> bool {
        self.draining.as_ref().is_some_and(|draining| {
            self.rooms.view().session_count() == 0
                || !self.media_runs
                || Instant::now() >= draining.deadline
        })
    }

    /// Closes what is left.
    async fn finish(mut self) {
        self.rooms.drain();
        self.rooms.close_all(Instant::now());
        self.apply_effects().await;
        let last = tokio::time::Instant::now() + LAST_JOINS;
        while let Ok(Some(done)) =
            tokio::time::timeout_at(last, self.tasks.join_next_with_id()).await
        {
            self.done(done);
            self.apply_effects().await;
        }
        for reply in self.draining.take().into_iter().flat_map(|d| d.replies) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(());
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
