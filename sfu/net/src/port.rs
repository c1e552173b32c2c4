//! The way to one shard, and what becomes of a command on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, TrySendError, bounded};
use mio::Waker;
use tokio::sync::{oneshot, watch};

use crate::api::ShardError;
use crate::chat::ChatCommand;
use crate::command::{Command, Order};
use crate::stats::ShardStats;

/// The control plane's end.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) commands: Sender<Command>,
    /// Without a bound, as these must neither be lost nor wait: there are at most two of each
    /// session, and one of each show.
    pub(crate) orders: Sender<Order>,
    pub(crate) chat: Sender<ChatCommand>,
    /// The shard was woken for the chat, and has not looked yet.
    pub(crate) chat_woken: Arc<AtomicBool>,
    pub(crate) waker: Arc<Waker>,
    /// Its other end goes with the shard's thread.
    pub(crate) running: watch::Receiver<()>,
    #[cfg(debug_assertions)]
    pub(crate) faults: crate::faults::Faults,
    pub(crate) stats: Arc<ShardStats>,
}

/// Held by a shard's thread: however it ends, nobody is sent there any more, and nobody waits.
pub(crate) struct Running(#[allow(dead_code)] watch::Sender<()>);

impl Running {
    pub(crate) fn new() -> (Self, watch::Receiver<()>) {
        let (running, seen) = watch::channel(());
        (Self(running), seen)
    }
}

impl Port {
    pub(crate) fn is_running(&self) -> bool {
        self.running.has_changed().is_ok()
    }

    /// Hands the shard a command and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ShardError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.try_send(command(reply));
        let asked = match sent {
            Ok(()) => {
                self.wake();
                let mut running = self.running.clone();
                tokio::select! {
                    biased;
                    answer = answer => answer.map_err(|_| ShardError::Lost),
                    // A queue keeps what it holds when its reader goes.
                    _ = running.changed() => Err(ShardError::Lost),
                }
            }
            Err(TrySendError::Full(_)) => Err(ShardError::Full),
            Err(TrySendError::Disconnected(_)) => Err(ShardError::Gone),
        };
        asked.inspect_err(|error| self.count(*error))
    }

    /// Counts what was not answered, and says so where the shard is at fault.
    pub(crate) fn count(&self, error: ShardError) {
        let unanswered = &self.stats.unanswered;
        let count = match error {
            ShardError::Full => &unanswered.full,
            ShardError::Gone => &unanswered.gone,
            ShardError::Lost => &unanswered.lost,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if error == ShardError::Lost {
            tracing::error!("a shard took a command and did not answer");
        }
    }

    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a shard");
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // The thread must notice that nobody can command it any more.
        let (closed, _) = bounded(0);
        self.commands = closed;
        let _ = self.waker.wake();
    }
}
