use std::net::SocketAddr;

use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::*;
use crate::api::{OpenError, SessionOpened};
use crate::testing::{PUBLISHER, VIEWER, opening};

type Answer = Receiver<Result<SessionOpened, OpenError>>;

fn push(joins: &mut Joins, role: RoleConfig, stats: &ShardStats) -> Answer {
    let (reply, answer) = oneshot::channel();
    joins.push_offer(opening(role, None), reply, stats);
    answer
}

fn route(port: u16) -> Route {
    Route::Udp(0, SocketAddr::from(([192, 0, 2, 1], port)))
}

/// What comes out: offers of artists, offers of viewers, and the ports of handshakes.
fn drain(joins: &mut Joins) -> Vec<String> {
    std::iter::from_fn(|| joins.next())
        .map(|join| match join {
            Join::Offer(opening, _) => match opening.role {
                RoleConfig::Publisher { .. } => "artist".to_owned(),
                RoleConfig::Viewer { .. } => "viewer".to_owned(),
            },
            Join::Handshake { from, .. } => from.destination().port().to_string(),
        })
        .collect()
}

#[test]
fn artists_come_first_and_the_others_in_their_order() {
    let (mut joins, stats) = (Joins::default(), ShardStats::default());
    let mut waiting = Waiting::default();
    let _first = push(&mut joins, VIEWER, &stats);
    joins.push_handshake(&mut waiting, route(1), &[22; 40], &stats);
    let _second = push(&mut joins, VIEWER, &stats);
    let _artist = push(&mut joins, PUBLISHER, &stats);
    joins.push_handshake(&mut waiting, route(2), &[22; 40], &stats);
    assert_eq!((joins.len(), joins.is_empty()), (5, false));
    let order = drain(&mut joins);
    assert_eq!(order, ["artist", "viewer", "1", "viewer", "2"]);
    assert_eq!((joins.len(), joins.is_empty()), (0, true));
    assert_eq!(stats.joins_shed.get(), 0);
}

#[test]
fn one_offer_too_many_is_refused_and_the_next_turn_has_room_again() {
    let (mut joins, stats) = (Joins::default(), ShardStats::default());
    let mut artists: Vec<_> = (0..ARTISTS_MAX)
        .map(|_| push(&mut joins, PUBLISHER, &stats))
        .collect();
    for answer in &mut artists {
        assert!(matches!(answer.try_recv(), Err(TryRecvError::Empty)));
    }
    let refused = push(&mut joins, PUBLISHER, &stats).try_recv();
    let error = refused.expect("an answer").expect_err("a refusal");
    assert_eq!(error, ShardError::Full.into());
    assert_eq!(stats.joins_shed.get(), 1);
    // Viewers wait elsewhere.
    let mut viewer = push(&mut joins, VIEWER, &stats);
    assert!(matches!(viewer.try_recv(), Err(TryRecvError::Empty)));
    assert!(matches!(joins.next(), Some(Join::Offer(..))));
    let mut again = push(&mut joins, PUBLISHER, &stats);
    assert!(matches!(again.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(stats.joins_shed.get(), 1);
}

#[test]
fn handshakes_are_bounded_by_session_and_in_all_and_take_no_offer_s_place() {
    let (mut joins, stats) = (Joins::default(), ShardStats::default());
    let mut port = 0;
    let mut shed = 0;
    while joins.len() < WAITING_MAX {
        let mut waiting = Waiting::default();
        port += 1;
        for _ in 0..=WAITING_OF_ONE_MAX {
            joins.push_handshake(&mut waiting, route(port), &[22; 40], &stats);
        }
        shed += 1;
        assert_eq!(waiting.handshakes, WAITING_OF_ONE_MAX);
        assert_eq!(stats.joins_shed.get(), shed);
    }
    assert_eq!(joins.len(), WAITING_MAX);
    let mut other = Waiting::default();
    joins.push_handshake(&mut other, route(port + 1), &[22; 40], &stats);
    assert_eq!((joins.len(), other.handshakes), (WAITING_MAX, 0));
    assert_eq!(stats.joins_shed.get(), shed + 1);
    let mut offer = push(&mut joins, VIEWER, &stats);
    assert!(matches!(offer.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(drain(&mut joins).len(), WAITING_MAX + 1);
}
