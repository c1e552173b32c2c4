//! The owner of every thread and task: it hears of each end, and ends the process in order.
//!
//! An end that nobody asked for leaves a server that cannot do all it should, and whose state nobody
//! knows. So it is told (log, `/readyz`), everybody is sent away as on SIGTERM, and the process ends
//! with a failure for its service manager to start it anew (`docs/decisions/0024-panics.md`).

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use lightstick_chat::ChatTasks;
use lightstick_sfu::MediaThreads;
use lightstick_signaling::{Connections, Signaling};
use lightstick_tasks::{Ended, Tasks};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// After the drain, open requests get this long to finish.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// What `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Draining,
    Failed(Ended),
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Draining => f.write_str("draining"),
            Self::Failed(ended) => write!(f, "failed: {ended}"),
        }
    }
}

pub(crate) struct Supervisor {
    /// Listeners and what else belongs to no other part.
    pub(crate) tasks: Tasks,
    pub(crate) connections: Connections,
    pub(crate) signaling: Signaling,
    /// The tasks of the chat's WebSockets.
    pub(crate) chat_sockets: TaskTracker,
    /// With the folder of a chat that keeps nothing.
    pub(crate) chat: Option<(ChatTasks, Option<TempDir>)>,
    pub(crate) media: MediaThreads,
    pub(crate) readiness: watch::Sender<Readiness>,
    /// Ends `tasks`.
    pub(crate) ended: CancellationToken,
}

impl Supervisor {
    /// Waits until `stop` resolves or something ends, drains until `deadline`, and ends everything.
    ///
    /// # Errors
    /// The first unexpected end; each is logged.
    pub(crate) async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        deadline: Duration,
    ) -> Result<(), Ended> {
        let stopped = tokio::select! {
            () = stop => Ok(()),
            ended = self.next() => Err(ended),
        };
        self.readiness.send_replace(match &stopped {
            Ok(()) => Readiness::Draining,
            Err(ended) => {
                ended.log();
                Readiness::Failed(ended.clone())
            }
        });
        let drained = self.drain(deadline).await;
        let ended = self.end(deadline).await;
        tracing::info!("stopped");
        stopped.and(drained).and(ended)
    }

    /// The next end of anything. Safe to cancel.
    async fn next(&mut self) -> Ended {
        let chat = async {
            match &mut self.chat {
                Some((tasks, _)) => tasks.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Causes before what follows from them.
            biased;
            ended = self.media.ended() => ended,
            ended = chat => ended,
            ended = self.signaling.ended() => ended,
            ended = self.tasks.ended() => ended,
        }
    }

    /// Sends everybody away. What still ends is logged.
    async fn drain(&mut self, deadline: Duration) -> Result<(), Ended> {
        let mut outcome = Ok(());
        let mut drained = pin!(self.signaling.drain(Instant::now() + deadline));
        loop {
            tokio::select! {
                () = &mut drained => return outcome,
                ended = self.next() => if ended.is_failure() {
                    ended.log();
                    outcome = outcome.and(Err(ended));
                }
            }
        }
    }

    /// Ends what is left, each after what needs it.
    async fn end(mut self, deadline: Duration) -> Result<(), Ended> {
        self.ended.cancel();
        // Idle keep-alive connections may outlive this.
        let mut outcome = timeout(LAST_REQUESTS, self.tasks.join())
            .await
            .unwrap_or(Ok(()));
        outcome = outcome.and(self.tasks.abort().await);
        drop(self.connections);
        let sockets = self.chat_sockets;
        sockets.close();
        outcome = outcome.and(self.signaling.stop().await);
        if let Some((chat, _folder)) = self.chat {
            outcome = outcome.and(chat.shutdown(deadline).await);
        }
        if timeout(LAST_REQUESTS, sockets.wait()).await.is_err() {
            tracing::warn!(left = sockets.len(), "WebSockets did not close in time");
        }
        let media = tokio::task::spawn_blocking(move || self.media.join()).await;
        outcome.and(media.unwrap_or(Ok(())))
    }
}
