//! Many who join at once, over real sockets.

mod support;

use std::time::Instant;

use futures_util::future::join_all;
use lightstick_sfu::{MediaEvent, OpenSession, RoleConfig};
use lightstick_types::{LayerChoice, RoomId, SessionId};
use str0m::media::Direction;
use support::plane::Plane;
use support::{Client, PATIENCE};

const CROWD: usize = 40;

#[test]
fn a_crowd_is_let_in_and_leaves_nothing_behind() {
    let mut plane = Plane::start(1);
    let (mut clients, offers): (Vec<Client>, Vec<String>) = (0..CROWD)
        .map(|_| Client::offer(Direction::RecvOnly))
        .unzip();
    let requests: Vec<OpenSession> = offers
        .into_iter()
        .map(|offer| OpenSession {
            session: SessionId::random(),
            room: RoomId(1),
            role: RoleConfig::Viewer {
                choice: LayerChoice::Auto,
            },
            member: None,
            offer,
        })
        .collect();
    let ids: Vec<SessionId> = requests.iter().map(|request| request.session).collect();
    let opening = requests
        .into_iter()
        .map(|request| plane.plane().open(request));
    let opened = plane.runtime.block_on(join_all(opening));
    for (client, opened) in clients.iter_mut().zip(opened) {
        client.answer(&opened.expect("an answer").answer);
    }
    clients.iter_mut().for_each(Client::until_connected);
    for _ in 0..CROWD {
        plane.event("a connection", |e| {
            matches!(e, MediaEvent::SessionConnected { .. })
        });
    }
    let held = |plane: &Plane| {
        plane.total(|s| {
            s.viewers.get()
                + s.held_rooms.get()
                + s.held_addresses.get()
                + s.held_names.get()
                + s.held_timers.get()
        })
    };
    assert!(held(&plane) > 4 * CROWD as u64);
    let shard = lightstick_types::ShardId(0);
    for id in &ids {
        plane.plane().close(shard, *id);
    }
    for _ in 0..CROWD {
        plane.event("an end", |e| matches!(e, MediaEvent::SessionClosed { .. }));
    }
    // The thread counts at the end of each turn, and a command begins one.
    let start = Instant::now();
    while held(&plane) > 0 {
        assert!(start.elapsed() < PATIENCE, "{} left", held(&plane));
        let media = plane.plane().session_media(shard, ids[0]);
        assert!(plane.runtime.block_on(media).is_none());
    }
    assert_eq!(
        plane.total(|s| s.joins_waiting.get() + s.joins_shed.get()),
        0
    );
}
