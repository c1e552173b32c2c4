//! Which frames arrive, and in which order, where a link does not take all of them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::NodeRole;

use super::proxy::Path;
use super::{Cluster, Node, PATIENCE, config, frame};
use crate::{Frame, LinkId, Outgoing, RelayConfig, RelayEvent};

const FRAME: usize = 20_000;

fn bytes(number: u8) -> Bytes {
    Bytes::from(vec![number; FRAME])
}

/// A parent and a child, with a path between them.
async fn pair(change: fn(&mut RelayConfig)) -> (Node, LinkId, Node, Path) {
    let cluster = Cluster::new();
    let mut parent_config = config(&[]);
    change(&mut parent_config);
    let mut parent = Node::start(parent_config, cluster.credentials("hub", NodeRole::Hub));
    let path = Path::to(parent.address).await;
    let mut child = cluster.node("edge", NodeRole::Edge, &[path.address]);
    let (link, ..) = parent.up().await;
    child.up().await;
    (parent, link, child, path)
}

fn send(parent: &mut Node, link: LinkId, frame: Frame, bytes: Bytes) {
    parent.send(link, Outgoing::Frame(frame, bytes.into()));
}

#[tokio::test]
async fn the_base_layer_leaves_before_a_backlog_of_the_high_one() {
    let (mut parent, link, mut child, _path) = pair(|_| {}).await;
    for _ in 0..60 {
        send(&mut parent, link, frame(2, 3, PATIENCE), bytes(2));
    }
    for number in 0..10 {
        send(
            &mut parent,
            link,
            frame(5, 1, PATIENCE),
            bytes(100 + number),
        );
    }
    let (mut base, mut high) = (Vec::new(), 0);
    while base.len() < 10 {
        match child.message().await.2[0] {
            2 => high += 1,
            number => base.push(number),
        }
    }
    // Some of it may have left before: what fits into the first windows, while the link takes its turns.
    assert!(
        high <= 20,
        "{high} frames of the high layer came before the base layer"
    );
    base.sort_unstable();
    assert_eq!(base, (100..110).collect::<Vec<_>>());
}

#[tokio::test]
async fn frames_of_one_priority_leave_oldest_first() {
    let (mut parent, link, mut child, _path) = pair(|_| {}).await;
    for number in 0..40 {
        send(&mut parent, link, frame(3, 1, PATIENCE), bytes(number));
    }
    // Those that are complete with the same batch of datagrams are read in any order.
    for _ in 0..10 {
        let came = child.message().await.2[0];
        assert!(came < 30, "{came} is among the first ten");
    }
}

#[tokio::test]
async fn frames_past_their_deadline_are_given_up() {
    let (mut parent, link, mut child, path) = pair(|_| {}).await;
    let late = Frame {
        deadline: Instant::now(),
        ..frame(5, 1, PATIENCE)
    };
    send(&mut parent, link, late, bytes(1));
    path.set_cut(true);
    send(
        &mut parent,
        link,
        frame(5, 1, Duration::from_millis(30)),
        bytes(2),
    );
    send(&mut parent, link, frame(5, 1, PATIENCE), bytes(3));
    let stats = parent
        .stats_when(|stats| stats.links[0].frames.expired == 1)
        .await;
    assert_eq!(stats.links[0].frames.late, 1);
    path.set_cut(false);
    assert_eq!(
        child.message().await.2[0],
        3,
        "only what is in time arrives"
    );
    parent
        .stats_when(|stats| stats.links[0].frames.delivered == 1)
        .await;
}

#[tokio::test]
async fn a_keyframe_takes_the_place_of_older_frames_where_the_link_is_behind() {
    let (mut parent, link, mut child, path) = pair(|_| {}).await;
    path.set_cut(true);
    // More than a first window.
    for _ in 0..10 {
        send(&mut parent, link, frame(3, 2, PATIENCE), bytes(1));
    }
    send(&mut parent, link, frame(3, 9, PATIENCE), bytes(9));
    let backlog = loop {
        match parent.transport.next().await.unwrap() {
            RelayEvent::Backlog { age, .. } => break age,
            other => assert!(matches!(other, RelayEvent::Message { .. }), "{other:?}"),
        }
    };
    assert!(!backlog.is_zero());
    let keyframe = Frame {
        is_keyframe: true,
        ..frame(3, 2, PATIENCE)
    };
    send(&mut parent, link, keyframe, bytes(2));
    parent
        .stats_when(|stats| stats.links[0].frames.superseded == 10)
        .await;
    path.set_cut(false);
    let mut came = [child.message().await.2[0], child.message().await.2[0]];
    came.sort_unstable();
    assert_eq!(came, [2, 9], "the keyframe, and the other stream");
}

#[tokio::test]
async fn the_lowest_priority_is_dropped_where_too_much_is_under_way() {
    let (mut parent, link, mut child, path) = pair(|config| {
        config.link.frames_in_flight_max = 4;
    })
    .await;
    path.set_cut(true);
    for _ in 0..4 {
        send(&mut parent, link, frame(2, 3, PATIENCE), bytes(2));
    }
    for number in 10..14 {
        send(&mut parent, link, frame(5, 1, PATIENCE), bytes(number));
    }
    send(&mut parent, link, frame(2, 3, PATIENCE), bytes(3));
    parent
        .stats_when(|stats| stats.links[0].frames.shed == 5)
        .await;
    path.set_cut(false);
    let mut came = Vec::new();
    for _ in 0..4 {
        came.push(child.message().await.2[0]);
    }
    came.sort_unstable();
    assert_eq!(came, [10, 11, 12, 13]);
}
