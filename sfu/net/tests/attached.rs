//! Taps, and sources without SDP, over real sockets.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_sfu::{SourceConfig, SourceEnd, SourceHandle, SourceRefused, TapEnd, TapReceiver};
use lightstick_sfu_core::packet::{Format, MediaPacket, PacketExtensions};
use lightstick_sfu_core::room::{Policy, TapBatch, TapConfig};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{Bitrate, Codec, Layer, RoomId, StreamId, TrackId};
use str0m::format::Codec as Str0mCodec;
use support::plane::Plane;
use support::{Client, PATIENCE, Seen, vp8};

fn tap(policy: Policy, bytes_max: u64) -> TapConfig {
    TapConfig {
        streams: StreamId::all().collect(),
        policy,
        bytes_max,
    }
}

fn attach(plane: &Plane, room: u64, config: TapConfig) -> TapReceiver {
    let attached = plane.plane().attach_tap(RoomId(room), config);
    plane.runtime.block_on(attached).expect("a tap")
}

/// The next packets of a tap, or its end.
fn next(plane: &Plane, tap: &mut TapReceiver) -> Result<TapBatch, TapEnd> {
    let next = async { tokio::time::timeout(PATIENCE, tap.recv()).await };
    plane.runtime.block_on(next).expect("something in time")
}

/// Sends a frame of three packets, its payloads; a second one of audio.
fn frame(publisher: &mut Client, number: u32, key: bool) -> Vec<Vec<u8>> {
    let (pt, opus) = (
        publisher.pt(Str0mCodec::Vp8),
        publisher.pt(Str0mCodec::Opus),
    );
    let payloads: Vec<_> = (0..3_u32)
        .map(|n| vp8(n == 0, n == 0 && key, number as u16, n as u8))
        .collect();
    for (n, payload) in payloads.iter().enumerate() {
        let sequence = u64::from(number * 3) + n as u64 + 60_000;
        let video = publisher.video;
        publisher.write(video, pt, sequence, number * 3_000, n == 2, payload);
    }
    let (audio, sound) = (publisher.audio, [0xfc, 1, 2, number as u8]);
    publisher.write(
        audio,
        opus,
        u64::from(number) + 1,
        number * 1_600,
        false,
        &sound,
    );
    publisher.turn(Duration::from_millis(2));
    payloads
}

/// Waits until the shards count so many.
fn until(plane: &Plane, what: &str, done: impl Fn(&Plane) -> bool) {
    let begun = Instant::now();
    while !done(plane) {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_tap_reads_whole_frames_of_one_publisher_after_another() {
    let plane = Plane::start(2);
    let mut tap = attach(&plane, 1, tap(Policy::Lossless, 8 << 20));
    let mut sources = Vec::new();
    for _ in 0..2 {
        let mut publisher = plane.publisher(1);
        publisher.until_connected();
        let mut sent = Vec::new();
        for number in 0..60 {
            sent.extend(frame(&mut publisher, number, number % 20 == 0));
        }
        let last = sent.last().expect("a packet").clone();
        let (mut video, mut sound): (Vec<Arc<_>>, usize) = (Vec::new(), 0);
        while video
            .last()
            .is_none_or(|packet: &Arc<MediaPacket>| *packet.payload != *last)
        {
            let batch = next(&plane, &mut tap).expect("packets");
            assert_eq!(batch.missed, 0);
            for packet in batch.batch.packets.iter() {
                match packet.stream.track {
                    TrackId::AUDIO => sound += 1,
                    _ => video.push(Arc::clone(packet)),
                }
            }
            publisher.turn(Duration::ZERO);
        }
        assert!(video[0].starts_keyframe());
        assert!(video.iter().all(|packet| packet.source == video[0].source));
        let payloads: Vec<&[u8]> = video.iter().map(|packet| &*packet.payload).collect();
        let first = sent.len() - payloads.len();
        assert_eq!(
            payloads,
            sent[first..],
            "every packet of every frame, in order"
        );
        let frames = video.iter().filter(|packet| packet.marker).count();
        assert!(
            frames >= 40 && frames * 3 == video.len(),
            "{frames} whole frames"
        );
        assert!(sound >= 40, "{sound} packets of audio");
        sources.push(video[0].source);
    }
    assert_ne!(sources[0], sources[1], "the second one is another source");

    plane.plane().end_attached(RoomId(1));
    let end = loop {
        if let Err(end) = next(&plane, &mut tap) {
            break end;
        }
    };
    assert_eq!(end, TapEnd::RoomEnded);
    assert_eq!(plane.total(|s| s.attached.taps_room_ended.get()), 1);
    assert_eq!(
        plane.total(|s| s.panics.get() + s.attached.taps_missed.get()),
        0
    );
}

#[test]
fn a_tap_that_is_never_read_holds_little_and_costs_a_viewer_nothing() {
    const BYTES_MAX: u64 = 30_000;
    let plane = Plane::start(1);
    let mut stalled = attach(&plane, 1, tap(Policy::DropToKeyframe, BYTES_MAX));
    let mut lossless = attach(&plane, 1, tap(Policy::Lossless, BYTES_MAX));
    let mut viewer = plane.viewer(1);
    viewer.until_connected();
    let mut publisher = plane.publisher(1);
    publisher.until_connected();
    let mut last = Vec::new();
    for number in 0..100 {
        last = frame(&mut publisher, number, number % 20 == 0)
            .pop()
            .expect("packets");
        viewer.turn(Duration::from_millis(1));
    }
    viewer.until("the last packet", |viewer| {
        let is_last = |seen: &Seen| matches!(seen, Seen::Packet(p) if *p.payload == *last);
        viewer.seen.iter().any(is_last)
    });
    let packets = viewer.packets(viewer.pt(Str0mCodec::Vp8));
    for pair in packets.windows(2) {
        assert_eq!(*pair[1].seq_no, *pair[0].seq_no + 1, "nothing is missing");
    }
    until(&plane, "the taps to be full", |plane| {
        plane.total(|s| s.attached.taps_overrun.get()) == 1
            && plane.total(|s| s.attached.taps_missed.get()) > 100
    });

    let mut bytes = 0;
    let end = loop {
        match next(&plane, &mut lossless) {
            Ok(batch) => bytes += batch.bytes(),
            Err(end) => break end,
        }
    };
    assert_eq!(end, TapEnd::Overrun);
    assert!((1..=BYTES_MAX).contains(&bytes), "{bytes}");

    let (mut bytes, mut packets) = (0, Vec::new());
    while let Some(batch) = stalled.try_recv().expect("it goes on") {
        assert_eq!(batch.missed, 0);
        bytes += batch.bytes();
    }
    assert!((1..=BYTES_MAX).contains(&bytes), "{bytes}");
    // It has caught up, hears what it has missed, and goes on from a keyframe.
    let (mut number, mut missed) = (100, 0);
    let first = loop {
        frame(&mut publisher, number, number % 20 == 0);
        number += 1;
        while let Some(batch) = stalled.try_recv().expect("it goes on") {
            missed += batch.missed;
            packets.extend(batch.batch.packets.iter().map(Arc::clone));
        }
        let video = |packet: &&Arc<MediaPacket>| packet.stream.track != TrackId::AUDIO;
        if let Some(first) = packets.iter().find(video) {
            break Arc::clone(first);
        }
    };
    assert!(first.starts_keyframe());
    assert!(missed > 100, "{missed}");

    drop(stalled);
    until(&plane, "the dropped tap to be gone", |plane| {
        plane.total(|s| s.attached.taps.get()) == 0
            && plane.total(|s| s.attached.taps_detached.get()) == 1
    });
}

fn attach_source(plane: &Plane, room: u64) -> SourceHandle {
    let config = SourceConfig {
        bitrate_max: Bitrate::kbps(50_000),
        video_tracks: 1,
        parameter_sets: Vec::new(),
    };
    let attached = plane.plane().attach_source(RoomId(room), config);
    plane.runtime.block_on(attached).expect("a source")
}

fn incoming(number: u32, n: u32, key: bool) -> Incoming {
    Incoming {
        track: TrackId::FIRST_VIDEO,
        layer: Layer::High,
        format: Format {
            codec: Codec::Vp8,
            profile: 0,
        },
        sequence: u64::from(number * 3 + n),
        timestamp: number * 3_000,
        marker: n == 2,
        extensions: PacketExtensions::default(),
        payload: vp8(n == 0, n == 0 && key, number as u16, n as u8).into(),
        report: None,
        received_at: Instant::now(),
    }
}

#[test]
fn a_source_without_sdp_plays_to_a_real_viewer_until_it_is_replaced() {
    let plane = Plane::start(2);
    let mut source = attach_source(&plane, 3);
    let mut viewers = [plane.viewer(3), plane.viewer(3)];
    viewers.iter_mut().for_each(Client::until_connected);
    let mut sent = Vec::new();
    for number in 0..90 {
        for n in 0..3 {
            let packet = incoming(number, n, number % 30 == 0);
            sent.push(packet.payload.clone());
            source.try_push(packet).expect("room for it");
        }
        for viewer in &mut viewers {
            viewer.turn(Duration::from_millis(2));
        }
    }
    for viewer in &mut viewers {
        let last = sent.last().expect("a packet").clone();
        viewer.until("the last packet", |viewer| {
            let is_last = |seen: &Seen| matches!(seen, Seen::Packet(p) if *p.payload == *last);
            viewer.seen.iter().any(is_last)
        });
        let packets = viewer.packets(viewer.pt(Str0mCodec::Vp8));
        let first = sent.len() - packets.len();
        for (packet, payload) in packets.iter().zip(&sent[first..]) {
            assert_eq!(*packet.payload, **payload, "bit for bit");
        }
        assert!(packets.len() > 150, "{}", packets.len());
    }
    // The room has asked for a keyframe for its viewers.
    let wish = async { tokio::time::timeout(PATIENCE, source.wish()).await };
    let wish = plane
        .runtime
        .block_on(wish)
        .expect("in time")
        .expect("a wish");
    let stream = StreamId {
        track: TrackId::FIRST_VIDEO,
        layer: Layer::High,
    };
    assert_eq!(wish.keyframes, StreamSet::from(stream));
    let media = plane.runtime.block_on(plane.plane().room_media(RoomId(3)));
    assert_eq!(media.expect("media").tracks.len(), 1);

    // A WebRTC publisher is promoted in its place.
    let mut publisher = plane.publisher(3);
    publisher.until_connected();
    for number in 0..5 {
        frame(&mut publisher, number, true);
    }
    let end = plane.runtime.block_on(async {
        let ended = async {
            loop {
                if let Err(end) = source.wish().await {
                    break end;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("in time")
    });
    assert_eq!(end, SourceEnd::Replaced);
    let refused = source.try_push(incoming(90, 0, true));
    assert_eq!(refused, Err(SourceRefused::Ended(SourceEnd::Replaced)));
}

#[test]
fn sources_end_with_the_show_over_their_rate_or_with_their_handle() {
    let plane = Plane::start(1);
    let source = attach_source(&plane, 1);
    let other = attach_source(&plane, 2);
    plane.plane().end_attached(RoomId(1));
    until(&plane, "the show's end", |_| {
        source.try_push(incoming(0, 0, true)) == Err(SourceRefused::Ended(SourceEnd::RoomEnded))
    });
    // Gauges follow at the end of the shard's turn.
    until(&plane, "one source to be left", |plane| {
        plane.total(|s| s.attached.sources.get()) == 1
    });

    let config = SourceConfig {
        bitrate_max: Bitrate::kbps(10),
        video_tracks: 1,
        parameter_sets: Vec::new(),
    };
    let flood = plane.plane().attach_source(RoomId(3), config);
    let flood = plane.runtime.block_on(flood).expect("a source");
    let begun = Instant::now();
    let mut number = 0;
    let end = loop {
        number += 1;
        match flood.try_push(incoming(number, 0, false)) {
            Err(SourceRefused::Ended(end)) => break end,
            Ok(()) | Err(SourceRefused::Full) => {}
        }
        assert!(begun.elapsed() < PATIENCE, "it goes on");
    };
    assert_eq!(end, SourceEnd::BitrateExceeded);

    drop(other);
    until(&plane, "nothing to be left", |plane| {
        plane.total(|s| s.attached.sources.get() + s.held_rooms.get()) == 0
    });
    let ended = |s: &lightstick_sfu::ShardStats| {
        let ended = &s.attached;
        [
            ended.sources_room_ended.get(),
            ended.sources_bitrate.get(),
            ended.sources_detached.get(),
        ]
    };
    assert_eq!(ended(&plane.plane().stats()[0]), [1, 1, 1]);
}

#[cfg(debug_assertions)]
#[test]
fn taps_and_sources_hear_that_their_shard_is_lost() {
    let mut plane = Plane::start(1);
    let mut tap = attach(&plane, 1, tap(Policy::Lossless, 1 << 20));
    let source = attach_source(&plane, 1);
    let shard = lightstick_types::ShardId(0);
    assert!(plane.plane().cause(shard, lightstick_sfu::Fault::Panic));
    assert_eq!(next(&plane, &mut tap).err(), Some(TapEnd::ShardLost));
    until(&plane, "the source's end", |_| {
        source.try_push(incoming(0, 0, true)) == Err(SourceRefused::Ended(SourceEnd::ShardLost))
    });
    let attached = plane.plane().attach_tap(RoomId(1), tap_config());
    assert!(plane.runtime.block_on(attached).is_err());
    let threads = plane.threads.as_mut().expect("threads");
    let ended = async { tokio::time::timeout(PATIENCE, threads.ended()).await };
    plane.runtime.block_on(ended).expect("it is seen");
}

fn tap_config() -> TapConfig {
    tap(Policy::DropToKeyframe, 1 << 20)
}
