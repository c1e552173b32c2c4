//! A media thread that dies: it is seen, its peers are refused in so many words, the others go on.
//! Faults exist in debug builds only.

#![cfg(debug_assertions)]

mod support;

use lightstick_sfu::{CloseReason, Fault, MediaEvent, OpenError, RoleConfig, ShardError};
use lightstick_types::{LayerChoice, RoomId, ShardId};
use str0m::media::Direction;

use support::plane::Plane;
use support::{Client, PATIENCE};

const SHARDS: u16 = 2;

/// A room whose home is this shard.
fn room_at(shard: u16) -> u64 {
    let at = |room: &u64| RoomId(*room).home(SHARDS.into()) == ShardId(shard);
    (1..100).find(at).expect("a room")
}

fn viewer() -> RoleConfig {
    RoleConfig::Viewer {
        choice: LayerChoice::Auto,
    }
}

/// How a media thread has ended.
fn ended(plane: &mut Plane) -> String {
    let threads = plane.threads.as_mut().expect("threads");
    let ended = async { tokio::time::timeout(PATIENCE, threads.ended()).await };
    let ended = plane.runtime.block_on(ended);
    ended.expect("it is seen").to_string()
}

fn dies(fault: Fault, cause: &str) -> Plane {
    let mut plane = Plane::start(SHARDS);
    assert!(plane.plane().cause(ShardId(1), fault));
    assert_eq!(ended(&mut plane), cause);

    let open = |room| {
        let (_, offer) = Client::offer(Direction::RecvOnly);
        plane.open(room_at(room), viewer(), offer)
    };
    assert_eq!(open(1).err(), Some(OpenError::Shard(ShardError::Gone)));
    for _ in 0..4 {
        assert_eq!(open(0).expect("an answer").shard, ShardId(0));
    }
    plane
}

#[test]
fn a_media_thread_that_panics() {
    dies(Fault::Panic, "media-1 panicked: a test asked for it");
}

#[test]
fn a_media_thread_whose_poller_fails() {
    dies(Fault::Poller, "media-1 failed: a test asked for it");
}

#[test]
fn a_poller_that_fails_ends_its_sessions_in_order() {
    let mut plane = Plane::start(SHARDS);
    let (_, offer) = Client::offer(Direction::SendOnly);
    let role = RoleConfig::Publisher {
        bitrate_max: lightstick_types::Bitrate::kbps(1_000),
    };
    let opened = plane.open(room_at(1), role, offer).expect("an answer");
    assert_eq!(opened.shard, ShardId(1));
    assert!(plane.plane().cause(ShardId(1), Fault::Poller));
    let closed = plane.event("the end of its session", |event| {
        matches!(event, MediaEvent::SessionClosed { .. })
    });
    let MediaEvent::SessionClosed { reason, .. } = closed else {
        unreachable!("filtered")
    };
    assert_eq!(reason, CloseReason::Requested);
    ended(&mut plane);
    assert_eq!(plane.plane().stats()[1].publishers.get(), 0);
}
