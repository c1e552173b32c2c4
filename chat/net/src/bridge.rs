//! Sessions of the media plane as clients of rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lightstick_chat_core::frame::Frame;
use lightstick_chat_core::refusal::{Code, Refusal};
use lightstick_chat_core::room::{ClientKey, answer_frame};
use lightstick_chat_proto::ClientFrame;
use lightstick_chat_proto::client_frame::Frame as Request;
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

/// When to ask a room again that is behind.
const AGAIN: Duration = Duration::from_secs(1);

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
                ChatEvent::Frame {
                    shard,
                    session,
                    bytes,
                } => {
                    if let Some((room, client)) = sessions.get(&session) {
                        let command = match read(bytes) {
                            Some(request) => Command::Request {
                                client: *client,
                                request,
                            },
                            None => Command::Malformed { client: *client },
                        };
                        // One room that is behind must not hold up the others.
                        if let Err(TrySendError::Full(command)) = room.commands.try_send(command) {
                            self.stats.overload.add(1);
                            if let Some(frame) = come_again(&command) {
                                let tell = ChatCommand::Tell { session, frame };
                                self.shards.command(shard, tell);
                            }
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

/// What a client is told whose request its room has no place for; `None`: it waits for no answer.
fn come_again(command: &Command) -> Option<Frame> {
    let Command::Request { request, .. } = command else {
        return None;
    };
    let nonce = match request {
        Request::Send(send) => send.nonce,
        Request::Vote(vote) => vote.nonce,
        Request::Moderate(moderate) => moderate.nonce,
        _ => return None,
    };
    Some(answer_frame(nonce, &Err(Refusal::later(Code::Full, AGAIN))))
}

fn read(bytes: bytes::Bytes) -> Option<Request> {
    ClientFrame::decode(bytes).ok()?.frame
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto::{Ping, Send, ServerFrame, part};

    use super::*;

    #[test]
    fn whoever_waits_for_an_answer_is_told_to_come_again() {
        let of = |request| {
            let client = ClientKey(1);
            come_again(&Command::Request { client, request })
        };
        let send = Send {
            nonce: 7,
            ..Send::default()
        };
        let frame = of(Request::Send(send)).expect("an answer");
        let read = ServerFrame::decode(frame.proto().clone()).expect("a frame");
        let Some(part::Part::Refusal(refusal)) = read.parts[0].part.clone() else {
            panic!("{read:?}");
        };
        assert_eq!((refusal.nonce, refusal.code.as_str()), (7, "full"));
        assert!(refusal.retry_after_ms > 0, "{refusal:?}");
        assert!(of(Request::Ping(Ping::default())).is_none());
    }
}
