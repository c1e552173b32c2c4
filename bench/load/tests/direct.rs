//! The generator's publisher and viewer, connected directly: what one sends the other counts.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use lightstick_bench::session::{Depth, Gauges, LinkConfig, PublisherTally, Session, SessionKind};
use lightstick_bench::source::SourceConfig;
use lightstick_bench::stamp;
use lightstick_bench::tally::{ViewerTally, Window, Wire};
use lightstick_bench::worker::{Counts, Worker};
use lightstick_types::{Bitrate, Codec};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Asks again and again until it holds, a minute at most: handshakes may lose datagrams too.
fn reaches(worker: &Worker, holds: impl Fn(Counts) -> bool) {
    let started = Instant::now();
    loop {
        let counts = worker.handle().count();
        if holds(counts) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{counts:?}");
        thread::yield_now();
    }
}

fn check(codec: Codec, depth: Depth, judge: impl Fn(&ViewerTally, &PublisherTally, &Gauges)) {
    let (viewer, sent, gauges) = meet(codec, depth, None);
    for track in [&viewer.audio, &viewer.video] {
        assert_eq!((track.rtp_missing(), track.corrupt), (0, 0));
        assert_eq!((track.unstamped, track.ssrc_changes()), (0, 0));
        assert!(track.packets >= track.in_window);
    }
    judge(&viewer, &sent, &gauges);
}

/// Two seconds of media, with a link in front of the viewer.
fn meet(
    codec: Codec,
    depth: Depth,
    link: Option<LinkConfig>,
) -> (ViewerTally, PublisherTally, Gauges) {
    let source = SourceConfig {
        codec,
        video: Bitrate(2_500_000),
        audio: Bitrate(64_000),
        gop: Duration::from_secs(1),
        clip: None,
    };
    let offered = Session::offer(SessionKind::Publish(source), LOCALHOST).unwrap();
    let (viewer, answer) =
        Session::answer(SessionKind::View(depth), &offered.offer, LOCALHOST).unwrap();
    let viewer = match link {
        Some(link) => viewer.behind(link),
        None => viewer,
    };
    let publisher = offered.accept(&answer).unwrap();

    let sending = Worker::start("publisher").unwrap();
    let viewing = Worker::start("viewer").unwrap();
    viewing.handle().add(0, viewer);
    sending.handle().add(0, publisher);
    reaches(&viewing, |c| c.flowing == 1);
    // Both have heard of it before it begins.
    let from_us = stamp::now_us() + 100_000;
    let window = Window {
        from_us,
        to_us: from_us + 2_000_000,
    };
    sending.handle().measure(window);
    viewing.handle().measure(window);
    reaches(&sending, |_| stamp::now_us() > window.to_us + 200_000);

    let viewed = viewing.finish().unwrap();
    let sent = sending.finish().unwrap().publishers[0];
    let viewer = viewed.viewers[0].clone();
    assert!(
        sent.video_in_window > 300 && sent.audio_in_window > 60,
        "{sent:?}"
    );
    let times = [viewer.connected, viewer.first_packet, viewer.first_keyframe];
    assert!(times.is_sorted() && times[0].is_some(), "{times:?}");
    assert!(!viewer.lost && !sent.lost);
    (viewer, sent, viewed.gauges)
}

fn whole(viewer: &ViewerTally, sent: &PublisherTally, gauges: &Gauges) {
    assert_eq!(viewer.video.in_window, sent.video_in_window);
    assert_eq!(viewer.audio.in_window, sent.audio_in_window);
    assert_eq!((viewer.video.headers, viewer.audio.headers), (0, 0));
    assert_eq!(
        gauges.transit.len(),
        sent.video_in_window + sent.audio_in_window
    );
    assert!(gauges.transit.quantile_ms(0.5) < 20.0);
}

#[test]
fn h264_arrives_whole() {
    check(Codec::H264, Depth::Full, whole);
}

#[test]
fn vp8_arrives_whole() {
    check(Codec::Vp8, Depth::Full, whole);
}

#[test]
fn a_light_viewer_counts_by_headers_after_its_first_keyframe() {
    check(Codec::Vp8, Depth::Light, |viewer, sent, _| {
        for (track, sent) in [
            (&viewer.video, sent.video_in_window),
            (&viewer.audio, sent.audio_in_window),
        ] {
            // Up to its first keyframe it saw stamps; what came later has nothing but a header.
            let seen = track.packets - track.headers;
            assert!(track.headers > sent / 2, "{track:?}");
            assert!(
                seen >= track.in_window && track.in_window < sent,
                "{track:?}"
            );
            assert!(track.came_in_window <= sent, "{track:?}");
            assert!(track.came_in_window + 5 > sent, "{track:?}");
        }
    });
}

#[test]
fn a_viewer_behind_a_lossy_link_asks_again() {
    let link = LinkConfig {
        loss: 0.03,
        delay: Duration::from_millis(10),
    };
    let (viewer, sent, gauges) = meet(Codec::Vp8, Depth::Full, Some(link));
    let wire = |of: fn(&Wire) -> u64| gauges.wire.slices().iter().map(of).sum::<u64>();
    let (media, repaired) = (wire(|w| w.media), wire(|w| w.repaired));
    // Of some 540 packets, 16 are lost, give or take; nearly all of them come in the end.
    assert!(media < sent.video_in_window, "{media} {sent:?}");
    assert!(repaired > 0 && wire(|w| w.resent) >= repaired, "{repaired}");
    let missing = sent.video_in_window - viewer.video.in_window;
    assert!(missing < repaired, "{missing} {repaired}");
    assert!(viewer.players[0].started());
    // The stamps know of the delay, too.
    assert!(gauges.transit.quantile_ms(0.5) >= 10.0);
}
