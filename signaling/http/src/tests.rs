//! What no client can time from outside: a POST whose client goes away at each step.

use std::future::{Future as _, poll_fn};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

#[cfg(debug_assertions)]
use lightstick_sfu::Fault;
use lightstick_sfu::{MediaConfig, MediaPlane};
use lightstick_signaling_core::rooms::{Admission, LeaveReason};
use lightstick_types::Role;
use lightstick_types::SessionId;
#[cfg(debug_assertions)]
use lightstick_types::ShardId;
use str0m::Rtc;
use str0m::media::{Direction, MediaKind};

use super::*;
use crate::director::Join;

fn start() -> Signaling {
    let media = MediaConfig {
        shards: 1,
        pin: false,
        port: 0,
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        ..MediaConfig::default()
    };
    let (media, events, _threads) = MediaPlane::start(media).expect("a media plane");
    let auth = Auth::development(30).unwrap();
    Signaling::start(SignalingConfig::default(), auth, media, events, None).unwrap()
}

fn join(role: Role) -> Join {
    let mut rtc = Rtc::new(Instant::now());
    let direction = match role {
        Role::Publisher => Direction::SendOnly,
        Role::Viewer => Direction::RecvOnly,
    };
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Audio, direction, None, None, None);
    let (offer, _) = api.apply().expect("an offer");
    Join {
        admission: Admission {
            session: SessionId::random(),
            room: "stage".parse().unwrap(),
            role,
            participant: Some("idol".into()),
            takeover: false,
            address: Ipv4Addr::LOCALHOST.into(),
        },
        offer: offer.to_sdp_string(),
        member: None,
    }
}

/// Waits until one session was abandoned and neither side holds anything.
async fn until_clean(signaling: &Signaling) {
    let clean = || {
        let stats = signaling.stats().snapshot();
        let shard = &signaling.app.media.stats()[0];
        stats.left.contains(&(LeaveReason::Abandoned, 1))
            && (stats.rooms, stats.publishers, stats.viewers) == (0, 0, 0)
            && (shard.publishers.get(), shard.viewers.get()) == (0, 0)
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !clean() {
            tokio::task::yield_now().await;
        }
    });
    let stats = signaling.stats();
    waited
        .await
        .unwrap_or_else(|_| panic!("something is left: {:?}", stats.snapshot()));
}

#[tokio::test]
async fn a_client_that_goes_before_the_answer_leaves_nothing() {
    for role in [Role::Publisher, Role::Viewer] {
        let signaling = start();
        {
            // Polled once, the command is on its way; dropped, nobody waits for the answer.
            let mut asked = pin!(signaling.app.director.join(join(role)));
            let pending = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending()));
            assert!(pending.await);
        }
        until_clean(&signaling).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_with_the_answer_leaves_nothing() {
    for role in [Role::Publisher, Role::Viewer] {
        let signaling = start();
        let joined = signaling.app.director.join(join(role)).await;
        drop(joined.unwrap_or_else(|problem| panic!("{problem:?}")));
        until_clean(&signaling).await;
    }
}

#[tokio::test]
async fn stopping_closes_every_session() {
    let signaling = start();
    let joined = signaling.app.director.join(join(Role::Viewer)).await;
    joined.unwrap_or_else(|p| panic!("{p:?}")).guard.keep();
    let media = signaling.app.media.clone();
    assert_eq!(media.stats()[0].viewers.get(), 1);
    signaling.stop().await.expect("the director ends in order");
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while media.stats()[0].viewers.get() != 0 {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the media plane holds nothing");
}

/// Faults exist in debug builds only.
#[cfg(debug_assertions)]
#[tokio::test]
async fn a_join_finds_that_its_media_thread_has_ended_and_a_drain_does_not_wait_for_it() {
    let signaling = start();
    let viewer = || join(Role::Viewer);
    let joined = signaling.app.director.join(viewer()).await;
    joined.unwrap_or_else(|p| panic!("{p:?}")).guard.keep();
    let media = &signaling.app.media;
    assert!(media.cause(ShardId(0), Fault::Panic));
    let refused = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            // Until the thread has died it takes joins, and may die with one of them.
            match signaling.app.director.join(viewer()).await {
                Ok(joined) => joined.guard.keep(),
                Err(problem) if problem.code == Code::MediaLost => {}
                Err(problem) => return problem,
            }
        }
    });
    let problem = refused.await.expect("it has died");
    assert_eq!(problem.code, Code::MediaGone);
    let drained = signaling.drain(Instant::now() + Duration::from_secs(600));
    let drained = tokio::time::timeout(Duration::from_secs(10), drained);
    drained.await.expect("nobody is left who could leave");
}
