//! What the `webrtc` crate asks of the server besides media, and what the server asks of it: lost
//! packets once more, keyframes, the end.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lightstick_bench::payload::starts_keyframe;
use lightstick_interop::{
    Loss, Publisher, Received, Relay, Repair, Server, Viewer, Way, compare, in_order, payload_type,
    publish_for, publish_on_request,
};
use lightstick_types::{Codec, TrackKind};

const ROOM: &str = "interop";
/// Packets that each test loses, spread over the first seconds.
const LOST: usize = 10;
/// One packet of so many is lost, until [`LOST`] are.
const EVERY: usize = 20;

/// Publishes over a path that loses packets on one way; the viewer gets every packet that was sent.
async fn repairs(codec: Codec, way: Way, repair: Repair) -> Result<()> {
    let server = Server::start().await?;
    let loss = Loss {
        way,
        payload_type: payload_type(codec)?,
        every: EVERY,
        most: LOST,
    };
    let (mut viewer, offer) = Viewer::offer(codec, repair).await?;
    let session = server.whep(ROOM, offer).await?;
    let mut relay = None;
    let mut answer = session.answer().to_owned();
    if way == Way::Down {
        (relay, answer) = lossy(&answer, loss).await?;
    }
    viewer.accept(&answer).await?;

    let (mut publisher, offer) = Publisher::offer(codec, repair).await?;
    let session = server.whip(ROOM, offer).await?;
    let mut answer = session.answer().to_owned();
    if way == Way::Up {
        (relay, answer) = lossy(&answer, loss).await?;
    }
    publisher.accept(&answer).await?;
    let relay = relay.context("one of the two paths is lossy")?;

    let show = tokio::spawn(async move {
        // What comes after the last loss shows the receiver that something is missing.
        let sent = publish_for(&publisher, codec, Duration::from_secs(4), |_| true).await;
        (publisher, sent)
    });
    let mut received = Vec::new();
    while !show.is_finished() {
        received.push(viewer.next().await?);
    }
    let (publisher, sent) = show.await?;
    let sent = sent?;
    let mut video = in_order(TrackKind::Video, &received);
    while video.len() < sent.video.len() {
        let missing = || {
            let numbers = video.iter().map(|r| r.packet.header.sequence_number);
            let gaps: Vec<_> = numbers.clone().zip(numbers.skip(1)).collect();
            let gaps: Vec<_> = gaps
                .iter()
                .filter(|(a, b)| b.wrapping_sub(*a) != 1)
                .collect();
            let (first, sent) = (&video.first().map(|r| &r.packet.header), sent.video.len());
            format!(
                "{} of {sent} video packets, gaps {gaps:?}, first {first:?}",
                video.len()
            )
        };
        received.push(viewer.next().await.with_context(missing)?);
        video = in_order(TrackKind::Video, &received);
    }
    let lost = relay.lost();
    ensure!(lost.len() == LOST, "only {} packets were lost", lost.len());
    let (first, count) = compare(codec, TrackKind::Video, &video, &sent)?;
    ensure!((first, count) == (0, sent.video.len()), "{first} {count}");
    if way == Way::Down {
        let came = |number| {
            video
                .iter()
                .any(|r| r.packet.header.sequence_number == number)
        };
        ensure!(lost.iter().copied().all(came), "another stream was lost");
    }
    publisher.close().await?;
    viewer.close().await?;
    server.stop().await
}

async fn lossy(answer: &str, loss: Loss) -> Result<(Option<Relay>, String)> {
    let (relay, answer) = Relay::before(answer, loss).await?;
    Ok((Some(relay), answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_asks_for_what_it_misses_of_h264_with_rtx() -> Result<()> {
    repairs(Codec::H264, Way::Up, Repair::Rtx).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_asks_for_what_it_misses_of_vp8_without_rtx() -> Result<()> {
    repairs(Codec::Vp8, Way::Up, Repair::Same).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_sends_again_what_a_viewer_misses_of_h264_with_rtx() -> Result<()> {
    repairs(Codec::H264, Way::Down, Repair::Rtx).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_sends_again_what_a_viewer_misses_of_vp8_with_rtx() -> Result<()> {
    repairs(Codec::Vp8, Way::Down, Repair::Rtx).await
}

/// The next video packet that starts a keyframe.
async fn keyframe(viewer: &mut Viewer, codec: Codec) -> Result<Received> {
    // The video's packets alone tell of time: at 30 frames a second, 20 seconds of them.
    for _ in 0..2_000 {
        let received = viewer.next().await?;
        let starts = received.kind == TrackKind::Video
            && starts_keyframe(codec, &received.packet.payload) == Some(true);
        if starts {
            return Ok(received);
        }
    }
    bail!("no keyframe comes")
}

/// Between publisher and viewer there are keyframes only when somebody asks for one.
async fn keyframes_on_request(codec: Codec) -> Result<()> {
    let server = Server::start().await?;
    let (mut viewer, _) = server.viewer(ROOM, codec).await?;
    let (publisher, _) = server.publisher(ROOM, codec).await?;
    let show = tokio::spawn(async move { publish_on_request(&publisher, codec).await });
    let first = keyframe(&mut viewer, codec).await.context("the first")?;
    // The server may ask once by itself as a show begins; so the viewer asks more often than that.
    for ask in 1..=2 {
        viewer.ask_for_keyframe(first.packet.header.ssrc).await?;
        let asked = keyframe(&mut viewer, codec).await;
        asked.with_context(|| format!("after asking {ask} times"))?;
    }
    ensure!(!show.is_finished(), "the show goes on");
    show.abort();
    viewer.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewers_keyframe_request_reaches_the_publisher_of_h264() -> Result<()> {
    keyframes_on_request(Codec::H264).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewers_keyframe_request_reaches_the_publisher_of_vp8() -> Result<()> {
    keyframes_on_request(Codec::Vp8).await
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_ends_the_connection() -> Result<()> {
    let server = Server::start().await?;
    let codec = Codec::Vp8;
    let (mut viewer, viewers) = server.viewer(ROOM, codec).await?;
    let (mut publisher, publishers) = server.publisher(ROOM, codec).await?;
    publish_for(&publisher, codec, Duration::from_millis(500), |_| true).await?;
    keyframe(&mut viewer, codec).await?;
    viewers.clone().delete().await?;
    viewer.ended().await?;
    publishers.clone().delete().await?;
    publisher.ended().await?;
    for gone in [viewers, publishers] {
        let refusal = gone.delete().await.err().context("deleted twice")?;
        ensure!(refusal.to_string().contains("404"), "{refusal}");
    }
    server.stop().await
}
