//! Who hears from a room: its clients, each by its route, and callers who wait for an answer.

use std::collections::HashMap;
use std::sync::Arc;

use lightstick_chat_core::record::Asker;
use lightstick_chat_core::room::ClientKey;
use lightstick_chat_wire::{Frame, Tick};
use lightstick_sfu::ChatCommand;
use lightstick_types::{RoomName, ShardId};
use tokio::sync::broadcast;

use crate::command::{Answered, Reply, Route, Shown};
use crate::shards::Shards;

/// A room's clients.
pub(crate) struct Recipients {
    room: RoomName,
    routes: HashMap<ClientKey, Route>,
    /// Sessions of this room on each shard.
    on_shards: HashMap<ShardId, usize>,
    shards: Shards,
    ticks: broadcast::Sender<Shown>,
}

impl Recipients {
    pub(crate) fn new(room: RoomName, shards: Shards, ticks: broadcast::Sender<Shown>) -> Self {
        Self {
            room,
            routes: HashMap::new(),
            on_shards: HashMap::new(),
            shards,
            ticks,
        }
    }

    pub(crate) fn insert(&mut self, client: ClientKey, route: Route) {
        if let Route::Session(shard, _) = &route {
            *self.on_shards.entry(*shard).or_default() += 1;
        }
        self.routes.insert(client, route);
    }

    /// Whether the client was here.
    pub(crate) fn remove(&mut self, client: ClientKey) -> bool {
        let Some(route) = self.routes.remove(&client) else {
            return false;
        };
        if let Route::Session(shard, _) = route
            && let Some(count) = self.on_shards.get_mut(&shard)
        {
            *count -= 1;
            if *count == 0 {
                self.on_shards.remove(&shard);
            }
        }
        true
    }

    /// Clients whose WebSockets have ended.
    pub(crate) fn gone(&self) -> Vec<ClientKey> {
        let gone = self.routes.iter().filter(|(_, route)| route.is_gone());
        gone.map(|(client, _)| *client).collect()
    }

    /// Sends a tick to everybody: once to each shard, and once to all WebSockets.
    pub(crate) fn show(&self, tick: Tick) {
        let tick = Arc::new(tick);
        for shard in self.on_shards.keys() {
            let show = ChatCommand::Show {
                room: self.room.clone(),
                tick: Arc::clone(&tick),
            };
            self.shards.command(*shard, show);
        }
        if self.ticks.receiver_count() > 0 {
            let whole = tick.whole();
            // Whoever listened may have left meanwhile.
            let _ = self.ticks.send(Shown { tick, whole });
        }
    }

    /// Sends a frame to one client.
    pub(crate) fn tell(&mut self, client: ClientKey, frame: Frame) {
        match self.routes.get(&client) {
            Some(Route::Session(shard, session)) => {
                let tell = ChatCommand::Tell {
                    session: *session,
                    frame,
                };
                self.shards.command(*shard, tell);
            }
            Some(Route::Socket(own)) => {
                if own.try_send(frame).is_err() {
                    // Its task finds the queue at its end, and closes.
                    self.routes.insert(client, Route::Closed);
                }
            }
            Some(Route::Closed) | None => {}
        }
    }
}

/// Callers who wait for what became of their request.
#[derive(Default)]
pub(crate) struct Requests {
    replies: HashMap<u64, Reply>,
    last: u64,
}

impl Requests {
    pub(crate) fn insert(&mut self, reply: Reply) -> Asker {
        self.last += 1;
        self.replies.insert(self.last, reply);
        Asker::Request(self.last)
    }

    pub(crate) fn answer(&mut self, number: u64, result: Answered) {
        if let Some(reply) = self.replies.remove(&number) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(result);
        }
    }
}
