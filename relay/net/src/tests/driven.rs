//! Nodes with the core of the relay.

use bytes::Bytes;
use lightstick_relay_core as core;
use lightstick_types::{NodeId, NodeRole, RoomId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::{Cluster, PATIENCE, config};
use crate::{RelayHandle, RelayLocal, RelayThread, Sink};

#[derive(Debug)]
enum Told {
    Room(RoomId, core::ToRoom),
    Event(core::Event),
    Refused(core::LocalError),
}

/// As much as a test causes.
struct Recorder(UnboundedSender<Told>);

impl Sink for Recorder {
    fn to_room(&mut self, room: RoomId, message: core::ToRoom) {
        let _ = self.0.send(Told::Room(room, message));
    }

    fn event(&mut self, event: core::Event) {
        let _ = self.0.send(Told::Event(event));
    }

    fn refused(&mut self, _room: RoomId, error: core::LocalError) {
        let _ = self.0.send(Told::Refused(error));
    }
}

struct Driven {
    thread: RelayThread,
    handle: RelayHandle,
    told: UnboundedReceiver<Told>,
}

impl Driven {
    fn start(cluster: &Cluster, name: &str, role: NodeRole, id: u32, above: &[&Self]) -> Self {
        let credentials = cluster.credentials(name, role);
        let above: Vec<_> = above.iter().map(|node| node.handle.address()).collect();
        let (sender, told) = unbounded_channel();
        let sink = Recorder(sender);
        let started = RelayThread::start(config(&above), credentials, NodeId(id), sink);
        let (thread, handle) = started.unwrap();
        Self {
            thread,
            handle,
            told,
        }
    }

    fn tell(&self, room: u64, local: core::Local) {
        self.handle
            .tell(RelayLocal::Room(RoomId(room), local))
            .unwrap();
    }

    /// Waits for what `wanted` finds something in.
    async fn until<T>(&mut self, wanted: impl Fn(&Told) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let told = self.told.recv().await.expect("the relay runs");
                if let Some(found) = wanted(&told) {
                    return found;
                }
            }
        });
        found.await.expect("it is told")
    }

    async fn stop(self) {
        let stopped = tokio::task::spawn_blocking(|| self.thread.stop());
        stopped.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_room_crosses_two_hops() {
    let cluster = Cluster::new();
    let mut origin = Driven::start(&cluster, "origin", NodeRole::Origin, 1, &[]);
    let mut hub = Driven::start(&cluster, "hub", NodeRole::Hub, 2, &[&origin]);
    let mut edge = Driven::start(&cluster, "edge", NodeRole::Edge, 3, &[&hub]);
    let name: lightstick_types::RoomName = "idol".parse().unwrap();
    let state = Bytes::from_static(b"live");
    origin.tell(10, core::Local::Open { name: name.clone() });
    origin.tell(10, core::Local::Publish { epoch: 1 });
    origin.tell(
        10,
        core::Local::Show {
            version: 1,
            state: state.clone(),
        },
    );

    edge.until(|told| matches!(told, Told::Event(core::Event::RoomAnnounced { .. })).then_some(()))
        .await;
    edge.tell(30, core::Local::Open { name: name.clone() });
    edge.tell(30, core::Local::Watch);
    let needed = hub.until(|told| match told {
        Told::Event(core::Event::RoomNeeded { name }) => Some(name.clone()),
        _ => None,
    });
    assert_eq!(needed.await, name);
    hub.tell(20, core::Local::Open { name });
    hub.tell(20, core::Local::Watch);
    let shown = edge.until(|told| match told {
        Told::Room(RoomId(30), core::ToRoom::Show { version: 1, state }) => Some(state.clone()),
        _ => None,
    });
    assert_eq!(shown.await, state);

    // Media as the hub hands it on.
    let below = origin.until(|told| match told {
        Told::Room(RoomId(10), core::ToRoom::Subscribed { link, .. }) => Some(*link),
        _ => None,
    });
    let to = below.await;
    let payload = Bytes::from(vec![7; 50_000]);
    let class = core::Class::Frame {
        stream: lightstick_types::StreamId::all().nth(1).unwrap(),
        is_keyframe: true,
        is_past: false,
    };
    origin.tell(
        10,
        core::Local::Down {
            to,
            class,
            payload: payload.clone(),
        },
    );
    let came = hub.until(|told| match told {
        Told::Room(RoomId(20), core::ToRoom::Down { payload, .. }) => Some(payload.clone()),
        _ => None,
    });
    assert_eq!(came.await, payload);

    // The end of the hub is heard of.
    hub.stop().await;
    edge.until(|told| match told {
        Told::Event(core::Event::LinkClosed { reason, .. }) => {
            assert_eq!(*reason, Some(core::CloseReason::Shutdown));
            Some(())
        }
        _ => None,
    })
    .await;
    origin.stop().await;
    edge.stop().await;
}

#[tokio::test]
async fn what_is_not_done_is_told() {
    let cluster = Cluster::new();
    let mut node = Driven::start(&cluster, "node", NodeRole::All, 1, &[]);
    node.tell(1, core::Local::Watch);
    let refused = node.until(|told| match told {
        Told::Refused(error) => Some(*error),
        _ => None,
    });
    assert_eq!(refused.await, core::LocalError::NoSuchRoom);
    let handle = node.handle.clone();
    node.stop().await;
    assert_eq!(
        handle.tell(RelayLocal::Drain(PATIENCE)),
        Err(crate::TellError::Ended)
    );
}
