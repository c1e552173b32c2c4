//! The way to the shards: in order, without waiting, within bounds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lightstick_sfu::{ChatCommand, MediaPlane};
use lightstick_types::ShardId;
use tokio::sync::Notify;

use crate::stats::PlaneStats;

/// Commands that wait for a shard whose own queue is full. More are dropped and counted: a shard
/// that is so far behind has other worries.
const WAITING_MAX: usize = 32_768;
/// How often a shard is asked again whether it has room.
const RETRY: Duration = Duration::from_millis(5);

/// Commands to all shards. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shards {
    media: MediaPlane,
    /// One queue a shard, empty nearly always. Rooms' tasks and the retry share it.
    waiting: Arc<[Mutex<VecDeque<ChatCommand>>]>,
    behind: Arc<Notify>,
    stats: Arc<PlaneStats>,
}

impl Shards {
    pub(crate) fn new(media: MediaPlane, stats: Arc<PlaneStats>) -> Self {
        let waiting = media.shards().map(|_| Mutex::default()).collect();
        Self {
            media,
            waiting,
            behind: Arc::default(),
            stats,
        }
    }

    /// Hands a shard a command, behind those that wait already.
    pub(crate) fn command(&self, shard: ShardId, command: ChatCommand) {
        let mut waiting = self.queue(shard);
        if waiting.is_empty() {
            match self.media.chat(shard, command) {
                Ok(()) => {}
                Err(command) => {
                    waiting.push_back(command);
                    self.behind.notify_one();
                }
            }
        } else if waiting.len() < WAITING_MAX {
            waiting.push_back(command);
        } else {
            self.stats.commands_dropped.add(1);
        }
    }

    /// Asks shards again that were behind, for ever.
    pub(crate) async fn retry(self) {
        loop {
            self.behind.notified().await;
            while !self.hand_over() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Whether nothing waits any more.
    fn hand_over(&self) -> bool {
        let mut all = true;
        for shard in self.media.shards() {
            let mut waiting = self.queue(shard);
            while let Some(command) = waiting.pop_front() {
                if let Err(command) = self.media.chat(shard, command) {
                    waiting.push_front(command);
                    all = false;
                    break;
                }
            }
        }
        all
    }

    fn queue(&self, shard: ShardId) -> std::sync::MutexGuard<'_, VecDeque<ChatCommand>> {
        let queue = &self.waiting[usize::from(shard.0)];
        queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
