//! Sessions of the media plane as clients of rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lightstick_chat_core::room::ClientKey;
use lightstick_chat_proto::ClientFrame;
use lightstick_sfu::{ChatCommand, ChatEvent};
use lightstick_types::SessionId;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::address::AddressKey;
use crate::hub::{Hub, RoomHandle};
use crate::room::{Command, Route};
use crate::shards::Shards;
use crate::stats::PlaneStats;

/// Carries what happens on data channels to the rooms.
pub(crate) struct Bridge {
    pub(crate) hub: Hub,
    pub(crate) shards: Shards,
    pub(crate) addresses: AddressKey,
    pub(crate) stats: Arc<PlaneStats>,
    pub(crate) next_client: Arc<AtomicU64>,
}

impl Bridge {
    /// Runs until the media plane is gone.
    pub(crate) async fn run(self, mut events: mpsc::Receiver<ChatEvent>) {
        let mut sessions: HashMap<SessionId, (RoomHandle, ClientKey)> = HashMap::new();
        while let Some(event) = events.recv().await {
            match event {
                ChatEvent::Opened {
                    shard,
                    session,
                    member,
                } => {
                    let Ok(room) = self.hub.open(member.room.clone()).await else {
                        self.shards.command(shard, ChatCommand::Close { session });
                        continue;
                    };
                    let client = crate::next_client(&self.next_client);
                    let connect = Command::Connect {
                        client,
                        address: self.addresses.hash(member.address),
                        member,
                        route: Route::Session(shard, session),
                    };
                    // A room that is gone has panicked; its clients see no more of it.
                    if room.commands.send(connect).await.is_ok() {
                        sessions.insert(session, (room, client));
                    }
                }
                ChatEvent::Frame { session, bytes, .. } => {
                    if let Some((room, client)) = sessions.get(&session) {
                        let command = match read(bytes) {
                            Some(request) => Command::Request {
                                client: *client,
                                request,
                            },
                            None => Command::Malformed { client: *client },
                        };
                        // One room that is behind must not hold up the others.
                        if let Err(TrySendError::Full(_)) = room.commands.try_send(command) {
                            self.stats.overload.add(1);
                        }
                    }
                }
                ChatEvent::Resync { session, .. } => {
                    if let Some((room, client)) = sessions.get(&session) {
                        let _ = room
                            .commands
                            .send(Command::Resync { client: *client })
                            .await;
                    }
                }
                ChatEvent::Closed { session, .. } => {
                    if let Some((room, client)) = sessions.remove(&session) {
                        let _ = room.commands.send(Command::Disconnect { client }).await;
                    }
                }
            }
        }
    }
}

fn read(bytes: bytes::Bytes) -> Option<lightstick_chat_proto::client_frame::Frame> {
    ClientFrame::decode(bytes).ok()?.frame
}
