//! Peers with a valid certificate that misbehave, and strangers. Another link stays as it is.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use lightstick_types::NodeRole;
use quinn::{Connection, ConnectionError, Endpoint, SendStream};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Cluster, Node, PATIENCE, config, exchange};
use crate::framing::{MESSAGE_BYTES_MAX, PREAMBLE};
use crate::{CloseReason, DownReason, LinkConfig, LinkId, Outgoing};

/// A node, its honest child, and a peer that speaks QUIC as it likes.
struct Scene {
    node: Node,
    honest: (Node, LinkId, LinkId),
    peer: Connection,
    endpoint: Endpoint,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::new();
        let mut config = config(&[]);
        config.link = LinkConfig {
            frame_bytes_max: 60_000,
            frames_in_flight_bytes_max: 120_000,
            receive_window_bytes: 240_000,
            ..config.link
        };
        let mut node = Node::start(config, cluster.credentials("hub", NodeRole::Hub));
        let mut honest = cluster.node("edge", NodeRole::Edge, &[node.address]);
        let (down, ..) = node.up().await;
        let (up, ..) = honest.up().await;
        let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let credentials = cluster.credentials("other", NodeRole::Edge);
        let client = quinn::ClientConfig::new(credentials.client());
        let peer = endpoint
            .connect_with(client, node.address, "node.lightstick")
            .unwrap();
        let peer = timeout(PATIENCE, peer).await.unwrap().unwrap();
        Self {
            node,
            honest: (honest, down, up),
            peer,
            endpoint,
        }
    }

    /// A control stream that has begun.
    async fn linked(&mut self) -> (SendStream, LinkId) {
        let mut control = self.peer.open_uni().await.unwrap();
        control.write_all(&PREAMBLE).await.unwrap();
        let (link, ..) = self.node.up().await;
        (control, link)
    }

    /// The node has closed the link, the peer knows why, and the honest child is still served.
    async fn ends(mut self, link: LinkId, reason: CloseReason) {
        loop {
            match self.node.next().await {
                crate::RelayEvent::LinkDown {
                    link: down,
                    reason: because,
                } => {
                    assert_eq!(
                        (down, because),
                        (link, DownReason::ClosedHere(reason.clone()))
                    );
                    break;
                }
                crate::RelayEvent::Message { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        self.told(&reason).await;
        self.honest_is_served().await;
    }

    async fn told(&self, reason: &CloseReason) {
        match timeout(PATIENCE, self.peer.closed()).await.unwrap() {
            ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code.into_inner(), reason.code());
            }
            other => panic!("{other:?}"),
        }
    }

    async fn honest_is_served(&mut self) {
        let (honest, down, up) = &mut self.honest;
        exchange((&mut self.node, *down), (honest, *up)).await;
    }
}

#[tokio::test]
async fn a_peer_that_reads_nothing() {
    let mut scene = Scene::new().await;
    let (_control, link) = scene.linked().await;
    let message = Bytes::from(vec![0; MESSAGE_BYTES_MAX]);
    // More than all windows and the queue hold together.
    for _ in 0..100 {
        scene
            .node
            .send(link, Outgoing::Control(message.clone().into()));
    }
    scene.ends(link, CloseReason::PeerDoesNotRead).await;
}

#[tokio::test]
async fn a_message_that_is_too_large() {
    let mut scene = Scene::new().await;
    let (mut control, link) = scene.linked().await;
    let length = MESSAGE_BYTES_MAX as u32 + 1;
    control.write_all(&length.to_be_bytes()).await.unwrap();
    scene.ends(link, CloseReason::Oversized).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large() {
    let mut scene = Scene::new().await;
    let (_control, link) = scene.linked().await;
    let mut stream = scene.peer.open_uni().await.unwrap();
    stream.write_all(&[0; 60_001]).await.unwrap();
    scene.ends(link, CloseReason::Oversized).await;
}

#[tokio::test]
async fn frames_that_never_end() {
    let mut scene = Scene::new().await;
    let (_control, link) = scene.linked().await;
    let mut streams = Vec::new();
    // It fails as soon as the link is closed.
    while let Ok(mut stream) = scene.peer.open_uni().await {
        if stream.write_all(&[0; 50_000]).await.is_err() {
            break;
        }
        streams.push(stream);
    }
    scene.ends(link, CloseReason::UnfinishedFrames).await;
}

#[tokio::test]
async fn streams_without_number() {
    let mut scene = Scene::new().await;
    let (_control, _) = scene.linked().await;
    let mut streams = Vec::new();
    while let Some(stream) = futures_util::FutureExt::now_or_never(scene.peer.open_uni()) {
        let mut stream = stream.unwrap();
        stream.write_all(&[0]).await.unwrap();
        streams.push(stream);
    }
    assert_eq!(
        streams.len(),
        LinkConfig::default().streams_max as usize - 1
    );
    scene.honest_is_served().await;
}

#[tokio::test]
async fn another_protocol() {
    let mut scene = Scene::new().await;
    let mut control = scene.peer.open_uni().await.unwrap();
    control.write_all(b"HTTP").await.unwrap();
    scene.told(&CloseReason::Protocol).await;
    assert_eq!(scene.node.stats().links_up, 1);
    scene.honest_is_served().await;
}

#[tokio::test]
async fn a_control_stream_that_ends() {
    let mut scene = Scene::new().await;
    let (mut control, link) = scene.linked().await;
    control.finish().unwrap();
    scene.ends(link, CloseReason::Protocol).await;
}

#[tokio::test]
async fn no_more_links_than_allowed() {
    let cluster = Cluster::new();
    let mut config = config(&[]);
    config.links_max = 1;
    let mut node = Node::start(config, cluster.credentials("hub", NodeRole::Hub));
    let mut first = cluster.node("edge-1", NodeRole::Edge, &[node.address]);
    let (down, ..) = node.up().await;
    let (up, ..) = first.up().await;
    let second = cluster.node("edge-2", NodeRole::Edge, &[node.address]);
    second.stats_when(|stats| stats.dials_failed >= 2).await;
    assert_eq!(node.stats().links_up, 1);
    exchange((&mut node, down), (&mut first, up)).await;
}

#[tokio::test]
async fn junk_at_the_port() {
    let mut scene = Scene::new().await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    // QUIC of another version, the first bytes of a connection that never goes on, and no QUIC at all.
    let mut greeting = vec![0; 1_200];
    greeting[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 20]);
    let mut grease = greeting.clone();
    grease[1..5].copy_from_slice(&[0x0a, 0x0a, 0x0a, 0x0a]);
    for _ in 0..50 {
        for junk in [
            &b"\x16\x03\x01\x02\x00"[..],
            &grease,
            &greeting,
            &[0x40; 30],
        ] {
            socket.send_to(junk, scene.node.address).await.unwrap();
        }
    }
    scene
        .node
        .stats_when(|stats| stats.junk_datagrams >= 100)
        .await;
    scene.honest_is_served().await;
    assert_eq!(scene.endpoint.open_connections(), 1);
}
