//! Links that come up, carry messages, end and come again.

use std::fs;

use bytes::Bytes;
use lightstick_types::NodeRole;
use time::OffsetDateTime;

use super::proxy::Path;
use super::{Cluster, PATIENCE, exchange, frame};
use crate::{
    Channel, CloseReason, Direction, DownReason, MESSAGE_BYTES_MAX, Outgoing, Payload, RelayCommand,
};

#[tokio::test]
async fn two_nodes_exchange_messages_of_each_channel() {
    let cluster = Cluster::new();
    let mut parent = cluster.node("origin-1", NodeRole::Origin, &[]);
    let mut child = cluster.node("edge-1", NodeRole::Edge, &[parent.address]);
    let (down, peer, direction) = parent.up().await;
    assert_eq!(peer.identity, Cluster::identity("edge-1", NodeRole::Edge));
    assert_eq!(
        (peer.address, direction),
        (child.address, Direction::Incoming)
    );
    let (up, peer, direction) = child.up().await;
    assert_eq!(
        peer.identity,
        Cluster::identity("origin-1", NodeRole::Origin)
    );
    assert_eq!(
        (peer.address, direction),
        (parent.address, Direction::Outgoing)
    );

    let largest = Bytes::from(vec![7; MESSAGE_BYTES_MAX]);
    let ordered = [
        Bytes::from_static(b"first"),
        Bytes::new(),
        largest,
        Bytes::from_static(b"last"),
    ];
    for bytes in &ordered {
        parent.send(down, Outgoing::Control(bytes.clone().into()));
    }
    for bytes in &ordered {
        assert_eq!(child.message().await, (up, Channel::Control, bytes.clone()));
    }

    let payload = Payload {
        head: Bytes::from_static(b"head"),
        body: Bytes::from(vec![1; 100_000]),
    };
    parent.send(
        down,
        Outgoing::Frame(frame(5, 1, PATIENCE), payload.clone()),
    );
    let (_, channel, bytes) = child.message().await;
    assert_eq!((channel, bytes), (Channel::Frame, payload.into_bytes()));

    child.send(up, Outgoing::Datagram(Bytes::from_static(b"audio").into()));
    assert_eq!(
        parent.message().await,
        (down, Channel::Datagram, Bytes::from_static(b"audio"))
    );
    child.send(up, Outgoing::Datagram(Bytes::from(vec![0; 10_000]).into()));
    child
        .stats_when(|stats| stats.links[0].messages.datagrams_dropped == 1)
        .await;

    let stats = parent
        .stats_when(|stats| stats.links[0].frames.delivered == 1)
        .await;
    let link = &stats.links[0];
    assert_eq!(
        (link.direction, &link.peer.identity.name),
        (Direction::Incoming, &"edge-1".parse().unwrap())
    );
    assert_eq!(link.messages.control_sent, 4);
    assert!(
        link.path.bytes_sent > 300_000 && link.path.mtu >= 1_200,
        "{link:?}"
    );

    let reason = CloseReason::application(0x107, "draining");
    parent.transport.handle(RelayCommand::Close {
        link: down,
        reason: reason.clone(),
    });
    assert_eq!(
        child.down().await,
        (up, DownReason::ClosedByPeer(reason.clone()))
    );
    assert_eq!(parent.down().await, (down, DownReason::ClosedHere(reason)));
    assert_eq!(parent.stats().closed_frames.delivered, 1);
}

#[tokio::test]
async fn a_hub_has_a_parent_and_children() {
    let cluster = Cluster::new();
    let mut origin = cluster.node("origin", NodeRole::Origin, &[]);
    let mut hub = cluster.node("hub", NodeRole::Hub, &[origin.address]);
    let (to_hub, ..) = origin.up().await;
    let (to_origin, _, direction) = hub.up().await;
    assert_eq!(direction, Direction::Outgoing);
    let mut edge = cluster.node("edge", NodeRole::Edge, &[hub.address]);
    let (to_edge, _, direction) = hub.up().await;
    assert_eq!(direction, Direction::Incoming);
    let (from_hub, ..) = edge.up().await;
    exchange((&mut origin, to_hub), (&mut hub, to_origin)).await;
    exchange((&mut hub, to_edge), (&mut edge, from_hub)).await;
}

#[tokio::test]
async fn a_child_connects_again_when_its_parent_has_restarted() {
    let cluster = Cluster::new();
    let mut parent = cluster.node("hub", NodeRole::Hub, &[]);
    // The same address for the child; the port of a socket that closes is not free at once.
    let path = Path::to(parent.address).await;
    let mut child = cluster.node("edge", NodeRole::Edge, &[path.address]);
    parent.up().await;
    let (first, ..) = child.up().await;
    parent.transport.shutdown().await.unwrap();
    assert_eq!(
        child.down().await,
        (first, DownReason::ClosedByPeer(CloseReason::Shutdown))
    );
    let mut parent = cluster.node("hub", NodeRole::Hub, &[]);
    path.lead_to(parent.address).await;
    let (down, ..) = parent.up().await;
    let (up, ..) = child.up().await;
    assert_ne!(up, first);
    exchange((&mut parent, down), (&mut child, up)).await;
}

#[tokio::test]
async fn new_links_use_changed_certificates() {
    let cluster = Cluster::new();
    let mut parent = cluster.node("hub", NodeRole::Hub, &[]);
    let mut child = cluster.node("edge", NodeRole::Edge, &[parent.address]);
    parent.up().await;
    let (mut link, peer, _) = child.up().await;
    assert_eq!(peer.identity.name.as_str(), "hub");

    // Half a change keeps what is there.
    fs::write(cluster.files("hub").certificate, "no certificate").unwrap();
    parent.stats_when(|stats| stats.reloads_failed >= 1).await;
    let renamed = Cluster::identity("hub-2", NodeRole::Hub);
    cluster.issue_at("hub", &renamed, OffsetDateTime::now_utc());
    // Until it is noticed, new links show the old one.
    loop {
        let reason = CloseReason::application(0x100, "again");
        child.transport.handle(RelayCommand::Close { link, reason });
        child.down().await;
        parent.down().await;
        parent.up().await;
        let (again, peer, _) = child.up().await;
        link = again;
        if peer.identity == renamed {
            break;
        }
        assert_eq!(peer.identity.name.as_str(), "hub");
    }
}
