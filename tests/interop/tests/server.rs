//! The `webrtc` crate publishes to the server and views from it: every byte arrives, in order.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result};
use lightstick_bench::session::{Depth, Session, SessionKind};
use lightstick_bench::source::SourceConfig;
use lightstick_bench::worker::Worker;
use lightstick_interop::{
    Received, Sent, Server, VIDEO_BITRATE, Viewer, compare, publish_for, whole,
};
use lightstick_types::{Bitrate, Codec, TrackKind};
use tokio::task::spawn_blocking;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOM: &str = "interop";
const TRACKS: [TrackKind; 2] = [TrackKind::Audio, TrackKind::Video];

/// Everything from now on, until `packets` of each track are there.
async fn receive(viewer: &mut Viewer, packets: usize) -> Result<Vec<Received>> {
    let mut received: Vec<Received> = Vec::new();
    let count = |received: &[Received], kind| received.iter().filter(|r| r.kind == kind).count();
    while TRACKS.iter().any(|k| count(&received, *k) < packets) {
        received.push(viewer.next().await.with_context(|| {
            let [audio, video] = TRACKS.map(|k| count(&received, k));
            format!("after {audio} audio and {video} video packets")
        })?);
    }
    Ok(received)
}

/// Compares both tracks and returns which packet of the show's video came first.
fn check(codec: Codec, received: &[Received], sent: &Sent) -> Result<usize> {
    compare(codec, TrackKind::Audio, received, sent)?;
    let (first, _) = compare(codec, TrackKind::Video, received, sent)?;
    Ok(first)
}

/// A viewer that was there before, and one that joins a running show.
async fn between_webrtc_peers(codec: Codec) -> Result<()> {
    let server = Server::start().await?;
    let mut early = server.viewer(ROOM, codec).await?.0;
    let publisher = server.publisher(ROOM, codec).await?.0;
    let show = tokio::spawn(async move {
        let time = Duration::from_secs(5);
        let sent = publish_for(&publisher, codec, time, |_| true).await;
        publisher.close().await?;
        sent
    });
    let mut from_start = receive(&mut early, 60).await?;
    let mut late = server.viewer(ROOM, codec).await?.0;
    let from_middle = receive(&mut late, 100).await?;
    let sent = show.await??;
    from_start.extend(early.drain());
    early.close().await?;
    late.close().await?;
    server.stop().await?;

    assert_eq!(check(codec, &from_start, &sent)?, 0, "the show's beginning");
    check(codec, &from_middle, &sent)?;
    // Not with its first packet on a busy machine: the stack drops what it reads together with the
    // end of the handshake.
    let starts_keyframe = |r: &Received| {
        r.kind == TrackKind::Video
            && lightstick_bench::payload::starts_keyframe(codec, &r.packet.payload) == Some(true)
    };
    assert!(from_middle.iter().any(starts_keyframe), "no keyframe");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_from_webrtc_to_webrtc() -> Result<()> {
    between_webrtc_peers(Codec::H264).await
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_from_webrtc_to_webrtc() -> Result<()> {
    between_webrtc_peers(Codec::Vp8).await
}

/// The other stack publishes, ours views.
async fn to_ours(codec: Codec) -> Result<()> {
    let server = Server::start().await?;
    let publisher = server.publisher(ROOM, codec).await?.0;
    let offered = Session::offer(SessionKind::View(Depth::Full), LOCALHOST)?;
    let session = server.whep(ROOM, offered.offer.clone()).await?;
    let worker = Worker::start("viewer")?;
    worker.handle().add(0, offered.accept(session.answer())?);
    let handle = worker.handle().clone();
    let time = Duration::from_secs(3);
    let sent = publish_for(&publisher, codec, time, |_| true).await?;
    let counts = spawn_blocking(move || handle.count()).await?;
    assert_eq!((counts.flowing, counts.lost), (1, 0));
    session.delete().await?;
    publisher.close().await?;
    server.stop().await?;
    let viewer = worker.finish()?.viewers.remove(0);
    for (track, sent) in [(&viewer.audio, &sent.audio), (&viewer.video, &sent.video)] {
        assert_eq!((track.rtp_missing(), track.corrupt), (0, 0));
        assert_eq!((track.unstamped, track.ssrc_changes()), (0, 0));
        assert!(
            track.packets > sent.len() as u64 / 2,
            "{} of {} packets",
            track.packets,
            sent.len()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_from_webrtc_to_ours() -> Result<()> {
    to_ours(Codec::H264).await
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_from_webrtc_to_ours() -> Result<()> {
    to_ours(Codec::Vp8).await
}

/// Ours publishes, the other stack views.
async fn from_ours(codec: Codec) -> Result<()> {
    let server = Server::start().await?;
    let source = SourceConfig {
        clip: None,
        codec,
        video: VIDEO_BITRATE,
        audio: Bitrate(64_000),
        gop: Duration::from_secs(1),
    };
    let offered = Session::offer(SessionKind::Publish(source), LOCALHOST)?;
    let session = server.whip(ROOM, offered.offer.clone()).await?;
    let worker = Worker::start("publisher")?;
    worker.handle().add(0, offered.accept(session.answer())?);
    let mut viewer = server.viewer(ROOM, codec).await?.0;
    let received = receive(&mut viewer, 100).await?;
    viewer.close().await?;
    session.delete().await?;
    server.stop().await?;
    for kind in TRACKS {
        assert!(whole(codec, kind, &received)? >= 100);
    }
    let tally = worker.finish()?.publishers[0];
    assert!(tally.video > 100, "{tally:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn h264_from_ours_to_webrtc() -> Result<()> {
    from_ours(Codec::H264).await
}

#[tokio::test(flavor = "multi_thread")]
async fn vp8_from_ours_to_webrtc() -> Result<()> {
    from_ours(Codec::Vp8).await
}
