//! The `webrtc` crate's peers with our own, nothing between them: what the other tests
//! rest on.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Result;
use lightstick_bench::payload::stamp_of;
use lightstick_bench::session::{Depth, Session, SessionKind};
use lightstick_bench::source::{MediaPacket, SourceConfig};
use lightstick_bench::stamp;
use lightstick_bench::tally::Window;
use lightstick_bench::worker::Worker;
use lightstick_interop::{Publisher, Received, Repair, VIDEO_BITRATE, Viewer, publish_for, whole};
use lightstick_types::{Bitrate, Codec, TrackKind};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn publishes(codec: Codec) -> Result<()> {
    let (mut publisher, offer) = Publisher::offer(codec, Repair::Rtx).await?;
    let (session, answer) = Session::answer(SessionKind::View(Depth::Full), &offer, LOCALHOST)?;
    let worker = Worker::start("viewer")?;
    worker.handle().add(0, session);
    publisher.accept(&answer).await?;

    // What is sent after the window shows that the viewer has all that was sent in it.
    let from_us = stamp::now_us();
    let window = Window {
        from_us,
        to_us: from_us + 1_500_000,
    };
    worker.handle().measure(window);
    let time = Duration::from_millis(2_000);
    let sent = publish_for(&publisher, codec, time, |_| true).await?;
    publisher.close().await?;

    let viewer = worker.finish()?.viewers.remove(0);
    let in_window = |codec, packets: &[MediaPacket]| {
        let stamps = packets.iter().filter_map(|p| stamp_of(codec, &p.payload));
        stamps
            .filter(|found| window.holds(found.stamp.sent_us))
            .count() as u64
    };
    assert_eq!(viewer.video.in_window, in_window(codec, &sent.video));
    assert_eq!(viewer.audio.in_window, in_window(Codec::Opus, &sent.audio));
    assert!(viewer.video.in_window > 100 && viewer.audio.in_window > 50);
    assert_eq!(viewer.video.rtp_missing() + viewer.audio.rtp_missing(), 0);
    assert_eq!(viewer.video.corrupt + viewer.audio.corrupt, 0);
    assert!(viewer.first_keyframe.is_some());
    Ok(())
}

async fn views(codec: Codec) -> Result<()> {
    let (mut viewer, offer) = Viewer::offer(codec, Repair::Rtx).await?;
    let source = SourceConfig {
        clip: None,
        codec,
        video: VIDEO_BITRATE,
        audio: Bitrate(64_000),
        gop: Duration::from_secs(1),
    };
    let (session, answer) = Session::answer(SessionKind::Publish(source), &offer, LOCALHOST)?;
    let worker = Worker::start("publisher")?;
    worker.handle().add(0, session);
    viewer.accept(&answer).await?;
    let mut received: Vec<Received> = Vec::new();
    while received.len() < 400 {
        received.push(viewer.next().await?);
    }
    viewer.close().await?;
    let video = whole(codec, TrackKind::Video, &received)?;
    let audio = whole(codec, TrackKind::Audio, &received)?;
    assert!(video > 200 && audio > 50, "{video} {audio}");
    worker.finish()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn views_h264() -> Result<()> {
    views(Codec::H264).await
}

#[tokio::test(flavor = "multi_thread")]
async fn views_vp8() -> Result<()> {
    views(Codec::Vp8).await
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_h264() -> Result<()> {
    publishes(Codec::H264).await
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_vp8() -> Result<()> {
    publishes(Codec::Vp8).await
}
