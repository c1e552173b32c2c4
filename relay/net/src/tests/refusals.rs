//! Who gets no link. Both ends count why.

use lightstick_types::NodeRole;
use time::OffsetDateTime;

use super::{Cluster, DAY, Node, config};
use crate::{Credentials, Refusal};

const ROLES: (NodeRole, NodeRole) = (NodeRole::Hub, NodeRole::Edge);

/// A child that its parent refuses.
async fn check(refusal: Refusal, parent: Credentials, child: Credentials) {
    let parent = Node::start(config(&[]), parent);
    let child = Node::start(config(&[parent.address]), child);
    let index = refusal as usize;
    let stats = parent.stats_when(|stats| stats.refused[index] >= 2).await;
    assert_eq!(
        (stats.links_up, stats.refused_by_peers),
        (0, Default::default())
    );
    let stats = child
        .stats_when(|stats| stats.refused_by_peers[index] >= 2)
        .await;
    assert_eq!(stats.links_up, 0);
    assert!(stats.dials_failed >= 2, "it does not give up");
}

/// A parent that its child refuses.
async fn check_parent(refusal: Refusal, parent: Credentials, child: Credentials) {
    let parent = Node::start(config(&[]), parent);
    let child = Node::start(config(&[parent.address]), child);
    let index = refusal as usize;
    let stats = child.stats_when(|stats| stats.refused[index] >= 2).await;
    assert_eq!(
        (stats.links_up, stats.refused_by_peers),
        (0, Default::default())
    );
    let stats = parent
        .stats_when(|stats| stats.refused_by_peers[index] >= 2)
        .await;
    assert_eq!(stats.links_up, 0);
}

#[tokio::test]
async fn without_a_certificate() {
    let cluster = Cluster::new();
    let hub = cluster.credentials("hub", ROLES.0);
    let edge = cluster.credentials("edge", ROLES.1);
    let anonymous = edge.anonymous(&cluster.files("edge").ca);
    check(Refusal::NoCertificate, hub, anonymous).await;
}

#[tokio::test]
async fn of_a_foreign_ca() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let hub = cluster.credentials("hub", ROLES.0);
    let stranger = other.credentials("edge", ROLES.1);
    check_parent(Refusal::ForeignCa, hub.clone(), stranger.clone()).await;
    // One that takes any parent's word.
    let trusting = stranger.trusting(&cluster.files("hub").ca, &other.files("edge"));
    check(Refusal::ForeignCa, hub, trusting).await;
}

#[tokio::test]
async fn out_of_date() {
    let cluster = Cluster::new();
    let now = OffsetDateTime::now_utc();
    let hub = cluster.credentials("hub", ROLES.0);
    let edge = cluster.credentials("edge", ROLES.1);
    for (refusal, made) in [
        (Refusal::Expired, now - 2 * DAY),
        (Refusal::NotYetValid, now + 2 * DAY),
    ] {
        let child = cluster.credentials_at("old-edge", ROLES.1, made);
        check(refusal, hub.clone(), child).await;
        let parent = cluster.credentials_at("old-hub", ROLES.0, made);
        check_parent(refusal, parent, edge.clone()).await;
    }
}

#[tokio::test]
async fn clocks_may_differ_by_minutes() {
    let cluster = Cluster::new();
    let ahead = OffsetDateTime::now_utc() + time::Duration::minutes(50);
    let edge = cluster.credentials_at("edge", ROLES.1, ahead);
    let mut parent = cluster.node("hub", ROLES.0, &[]);
    let _child = Node::start(config(&[parent.address]), edge);
    parent.up().await;
}

#[tokio::test]
async fn of_a_role_that_may_not() {
    let cluster = Cluster::new();
    let hub = cluster.credentials("hub", ROLES.0);
    let origin = cluster.credentials("origin", NodeRole::Origin);
    check(Refusal::WrongRole, hub, origin).await;
    let edge = cluster.credentials("edge", ROLES.1);
    let other = cluster.credentials("edge-2", ROLES.1);
    check_parent(Refusal::WrongRole, edge, other).await;
}

#[test]
fn a_node_does_not_start_with_what_others_would_refuse() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let refusal = |files| match Credentials::load(&files) {
        Err(crate::CredentialsError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    };
    let old = OffsetDateTime::now_utc() - 3 * DAY;
    let identity = Cluster::identity("edge", ROLES.1);
    let files = cluster.issue_at("edge", &identity, old);
    assert_eq!(refusal(files), Refusal::Expired);
    let mut files = cluster.issue_at("edge", &identity, OffsetDateTime::now_utc());
    files.ca = other.files("edge").ca;
    assert_eq!(refusal(files), Refusal::ForeignCa);
    let mut mixed = cluster.issue_at("edge", &identity, OffsetDateTime::now_utc());
    let hub = cluster.issue_at("hub", &identity, OffsetDateTime::now_utc());
    mixed.key = hub.key;
    let error = Credentials::load(&mixed).unwrap_err().to_string();
    assert!(
        error.contains("hub.key") && error.contains("edge.pem"),
        "{error}"
    );
}
