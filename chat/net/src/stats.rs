//! What the chat counts. Rooms and users are never labels.

use std::sync::atomic::{AtomicU64, Ordering};

use lightstick_chat_core::room::Totals;

/// A number that many may change.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}

/// Counters of all rooms since the start, and gauges.
#[derive(Debug, Default)]
pub struct PlaneStats {
    /// Rooms with a chat now.
    pub rooms: Number,
    /// Clients of these rooms now, over whatever transport.
    pub clients: Number,
    pub sockets: Number,
    pub accepted: Number,
    /// Of these, shown to everybody.
    pub shown: Number,
    /// Of these, left out for want of room.
    pub skipped: Number,
    /// Of these, shown to their author only, or deleted before they were shown.
    pub hidden: Number,
    pub refused: Number,
    /// Messages that waited for a moderator.
    pub held: Number,
    pub reactions: Number,
    /// Reactions above a client's limit, or of no known kind.
    pub reactions_dropped: Number,
    /// Frames that could not be read.
    pub malformed: Number,
    /// Frames of clients that were dropped because their room was behind.
    pub overload: Number,
    /// Commands to shards that were dropped because the shard was behind.
    pub commands_dropped: Number,
    /// Batches of records that could not be kept.
    pub not_kept: Number,
    /// Events that webhooks were not told of, for too many waited.
    pub events_dropped: Number,
    /// Events that wait for a receiver of webhooks now, or are on their way.
    pub webhooks_waiting: Number,
    /// Webhooks that were taken.
    pub webhooks_delivered: Number,
    pub webhooks_failed: Number,
    /// Webhooks that became dead letters.
    pub webhooks_dead: Number,
    /// Of these, those that could not be kept.
    pub webhooks_lost: Number,
    /// Events that were not sent: their receiver's queue was full, or it is gone.
    pub webhooks_dropped: Number,
    /// Messages that the review hook allowed.
    pub reviews_allowed: Number,
    /// Messages that the review hook changed.
    pub reviews_modified: Number,
    /// Messages that the review hook denied.
    pub reviews_denied: Number,
    /// Messages that the review hook gave no answer about in time.
    pub reviews_failed: Number,
    /// Frames that were sent to WebSockets.
    pub socket_frames: Number,
    /// Messages that slow WebSockets missed.
    pub socket_missed: Number,
}

impl PlaneStats {
    /// Adds what a room has counted since the last time.
    pub(crate) fn add_room(&self, before: &mut Totals, now: Totals) {
        let pairs = [
            (&self.accepted, now.accepted - before.accepted),
            (&self.shown, now.shown - before.shown),
            (&self.skipped, now.skipped - before.skipped),
            (&self.hidden, now.hidden - before.hidden),
            (&self.refused, now.refused - before.refused),
            (&self.held, now.held - before.held),
            (&self.reactions, now.reactions - before.reactions),
            (
                &self.reactions_dropped,
                now.reactions_dropped - before.reactions_dropped,
            ),
        ];
        for (number, more) in pairs {
            if more != 0 {
                number.add(more);
            }
        }
        *before = now;
    }
}
