//! The media path from a publisher to its viewers, in virtual time.

// Virtual time starts somewhere.
#![allow(clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use lightstick_sfu_core::downtrack::DownTrack;
use lightstick_sfu_core::room::LinkGate;
use lightstick_types::{Layer, LayerChoice, StreamId, TrackId};
use support::{FRAME, Publisher, Random, Watcher, ingest, source};

fn viewer(choice: LayerChoice) -> DownTrack {
    DownTrack::new(TrackId::FIRST_VIDEO, 90_000, choice)
}

#[test]
fn numbers_are_continuous_over_layer_switches() {
    for seed in 1..=20 {
        let mut random = Random::new(seed);
        let start = Instant::now();
        let mut publisher = Publisher::new(start, &Layer::ALL, &mut random);
        let mut source = source(1, start);
        let mut viewer = viewer(LayerChoice::High);
        let mut watcher = Watcher::default();
        let mut layers_seen = Vec::new();
        for frame in 0..600 {
            if frame % 50 == 49 {
                let choices = [LayerChoice::Low, LayerChoice::Medium, LayerChoice::High];
                viewer.choose(choices[random.below(3) as usize]);
            }
            for packet in publisher.next_frame() {
                let (packet, changes) = ingest(&mut source, packet);
                if changes.layers {
                    viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
                }
                if let Some(out) = viewer.forward(&packet, 0) {
                    watcher.see(&packet, out);
                    layers_seen.push(packet.stream.layer);
                }
            }
            if let Some(wanted) = viewer.wanted() {
                source.request_keyframe(wanted.0);
            }
            for StreamId { layer, .. } in source.poll_keyframe_requests(publisher.now).iter() {
                publisher.request_keyframe(layer);
            }
        }
        layers_seen.dedup();
        assert!(
            layers_seen.len() > 3,
            "seed {seed}: no switches happened: {layers_seen:?}"
        );
        watcher.assert_no_gap();
        // A switch may skip the frames between the old layer's last and the keyframe.
        watcher.assert_frames_follow(3_000 * 3);
        assert!(
            watcher.frames.len() > 500,
            "seed {seed}: {} frames",
            watcher.frames.len()
        );
    }
}

#[test]
fn loss_and_reordering_leave_gaps_only_where_packets_are_missing() {
    for seed in 1..=20 {
        let mut random = Random::new(seed);
        let start = Instant::now();
        let mut publisher = Publisher::new(start, &[Layer::High], &mut random);
        publisher.gop = 60;
        let mut source = source(1, start);
        let mut viewer = viewer(LayerChoice::Auto);
        let mut watcher = Watcher::default();
        let (mut lost, mut late) = (0_usize, Vec::new());
        for frame in 0..300 {
            let mut packets = publisher.next_frame();
            for n in 1..packets.len() {
                if random.chance(10) {
                    packets.swap(n - 1, n);
                }
            }
            for packet in packets {
                // The first keyframe comes through whole: without it there is nothing to follow.
                if frame > 0 && random.chance(5) {
                    // Half of the lost packets come back as retransmissions.
                    if random.chance(50) {
                        late.push(packet)
                    } else {
                        lost += 1
                    }
                    continue;
                }
                let (packet, changes) = ingest(&mut source, packet);
                if changes.layers {
                    viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
                }
                if let Some(out) = viewer.forward(&packet, 0) {
                    watcher.see(&packet, out);
                }
            }
            if late.len() > 3 {
                for mut packet in late.drain(..) {
                    packet.received_at = publisher.now;
                    let (packet, _) = ingest(&mut source, packet);
                    if let Some(out) = viewer.forward(&packet, 0) {
                        watcher.see(&packet, out);
                    }
                }
            }
        }
        let lost = lost + late.len();
        let first = watcher.sequences.iter().min().unwrap();
        let last = watcher.sequences.iter().max().unwrap();
        let missing = (last - first + 1) as usize - watcher.sequences.len();
        // Packets lost at the very end leave no gap, and the first frame's own order may cost
        // what came before its first packet.
        assert!(
            missing <= lost && missing + 12 >= lost,
            "seed {seed}: {missing} of {lost}"
        );
    }
}

#[test]
fn padding_leaves_no_gap_even_where_media_comes_after_it() {
    for seed in 1..=20 {
        let mut random = Random::new(seed);
        let start = Instant::now();
        let mut publisher = Publisher::new(start, &[Layer::High], &mut random);
        let mut source = source(1, start);
        let mut viewer = viewer(LayerChoice::Auto);
        let mut watcher = Watcher::default();
        let (mut sequence, mut media) = (500, 0);
        for frame in 0..200 {
            let mut packets = Vec::new();
            for mut packet in publisher.next_frame() {
                packet.sequence = sequence;
                sequence += 1;
                media += 1;
                packets.push(packet.clone());
                if random.chance(30) {
                    packet.sequence = sequence;
                    packet.payload = Vec::new().into();
                    sequence += 1;
                    packets.push(packet);
                    // The padding overtakes the media before it.
                    let last = packets.len() - 1;
                    if frame > 0 && random.chance(50) {
                        packets.swap(last - 1, last);
                    }
                }
            }
            for packet in packets {
                let (packet, changes) = ingest(&mut source, packet);
                if changes.layers {
                    viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
                }
                if let Some(out) = viewer.forward(&packet, 0) {
                    watcher.see(&packet, out);
                }
            }
        }
        assert_eq!(watcher.sequences.len(), media, "seed {seed}");
        watcher.assert_no_gap();
    }
}

#[test]
fn after_a_jump_of_the_numbering_a_viewer_goes_on_at_a_keyframe() {
    let mut random = Random::new(3);
    let start = Instant::now();
    let mut publisher = Publisher::new(start, &[Layer::High], &mut random);
    let mut source = source(1, start);
    let mut viewer = viewer(LayerChoice::Auto);
    let mut watcher = Watcher::default();
    let mut frames = 0;
    for frame in 0..200 {
        for mut packet in publisher.next_frame() {
            packet.sequence += if frame < 100 { 0 } else { 1_000_000 };
            let (packet, changes) = ingest(&mut source, packet);
            if changes.layers {
                viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
            }
            let keyframe = packet.info.keyframe;
            if let Some(out) = viewer.forward(&packet, 0) {
                watcher.see(&packet, out);
                frames += u32::from(packet.marker);
                assert!(frame != 100 || keyframe, "a keyframe comes first");
            }
        }
        if let Some(wanted) = viewer.wanted() {
            source.request_keyframe(wanted.0);
        }
        for StreamId { layer, .. } in source.poll_keyframe_requests(publisher.now).iter() {
            publisher.request_keyframe(layer);
        }
    }
    watcher.assert_no_gap();
    assert!(frames > 190, "{frames} frames");
}

#[test]
fn a_thousand_joins_ask_for_one_keyframe_a_second_and_layer() {
    let mut random = Random::new(3);
    let start = Instant::now();
    let mut publisher = Publisher::new(start, &Layer::ALL, &mut random);
    let mut source = source(1, start);
    let mut viewers: Vec<DownTrack> = Vec::new();
    let mut asked = [const { Vec::new() }; Layer::COUNT];
    let choices = [LayerChoice::Low, LayerChoice::Medium, LayerChoice::High];
    for frame in 0..300_u64 {
        let mut changed = false;
        for packet in publisher.next_frame() {
            let (packet, changes) = ingest(&mut source, packet);
            changed |= changes.layers;
            for viewer in &mut viewers {
                viewer.forward(&packet, 0);
            }
        }
        if changed {
            for viewer in &mut viewers {
                viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
            }
        }
        // 1,000 joins over ten seconds.
        for _ in 0..frame * 1_000 / 300 - viewers.len() as u64 {
            let mut viewer = viewer(choices[random.below(3) as usize]);
            viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
            viewers.push(viewer);
        }
        for viewer in &viewers {
            if let Some(wanted) = viewer.wanted() {
                source.request_keyframe(wanted.0);
            }
        }
        for StreamId { layer, .. } in source.poll_keyframe_requests(publisher.now).iter() {
            asked[layer.index()].push(publisher.now);
            publisher.request_keyframe(layer);
        }
    }
    assert!(viewers.len() > 990, "{} joined", viewers.len());
    for times in asked {
        assert!(
            (8..=10).contains(&times.len()),
            "{} requests in ten seconds",
            times.len()
        );
        assert!(
            times
                .windows(2)
                .all(|w| w[1] - w[0] >= Duration::from_secs(1))
        );
    }
    let waiting = viewers
        .iter()
        .filter(|viewer| viewer.stream().map(|stream| stream.layer).is_none())
        .count();
    assert!(
        waiting < 150,
        "{waiting} of 1,000 still wait: more than a second's joins"
    );
}

#[test]
fn a_publisher_that_returns_continues_the_viewers_stream() {
    for seed in 1..=10 {
        let mut random = Random::new(seed);
        let start = Instant::now();
        let mut viewer = viewer(LayerChoice::High);
        let mut watcher = Watcher::default();
        let mut at = start;
        for number in 1..=3 {
            let mut publisher = Publisher::new(at, &[Layer::Low, Layer::High], &mut random);
            let mut source = source(number, at);
            for _ in 0..40 {
                for packet in publisher.next_frame() {
                    let (packet, changes) = ingest(&mut source, packet);
                    if changes.layers {
                        viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
                    }
                    if let Some(out) = viewer.forward(&packet, 0) {
                        watcher.see(&packet, out);
                    }
                }
            }
            // Away for seven seconds.
            at = publisher.now + Duration::from_secs(7);
            viewer.set_live([].into_iter().collect());
        }
        watcher.assert_no_gap();
        assert!(
            watcher.frames.len() >= 3 * 38,
            "{} frames",
            watcher.frames.len()
        );
        let seconds = 9 * 90_000;
        watcher.assert_frames_follow(seconds);
        let away = watcher
            .frames
            .windows(2)
            .map(|w| w[1].0.wrapping_sub(w[0].0));
        let pauses = away.filter(|ticks| *ticks > 6 * 90_000).count();
        assert_eq!(pauses, 2, "the time away shows in the timestamps");
    }
}

#[test]
fn a_full_ring_costs_frames_but_no_gap() {
    let mut random = Random::new(9);
    let start = Instant::now();
    let mut publisher = Publisher::new(start, &[Layer::High], &mut random);
    let mut source = source(1, start);
    let mut gate = LinkGate::default();
    let mut viewer = viewer(LayerChoice::High);
    let mut watcher = Watcher::default();
    let (mut overflows, mut requests) = (0, 0);
    for frame in 0..300 {
        let full = random.chance(4) && frame > 10;
        for packet in publisher.next_frame() {
            let (packet, changes) = ingest(&mut source, packet);
            if changes.layers {
                viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
            }
            if !gate.passes(&packet) {
                continue;
            }
            if full && !packet.info.starts_frame {
                // The ring is full in the middle of a frame.
                gate.cut(packet.stream.into());
                overflows += 1;
                continue;
            }
            if let Some(out) = viewer.forward(&packet, gate.generation(packet.stream)) {
                watcher.see(&packet, out);
            }
        }
        let broken = gate.broken();
        broken
            .iter()
            .for_each(|stream| source.request_keyframe(stream));
        for StreamId { layer, .. } in source.poll_keyframe_requests(publisher.now).iter() {
            requests += 1;
            publisher.request_keyframe(layer);
        }
    }
    assert!(
        overflows >= 3 && requests >= 3,
        "{overflows} overflows, {requests} requests"
    );
    watcher.assert_no_gap();
    assert!(
        watcher.frames.len() > 100,
        "{} frames",
        watcher.frames.len()
    );
}

#[test]
fn a_silent_layer_dies_and_comes_back() {
    let mut random = Random::new(5);
    let start = Instant::now();
    let mut publisher = Publisher::new(start, &Layer::ALL, &mut random);
    let mut source = source(1, start);
    let mut drop_high = false;
    let mut lives = Vec::new();
    for frame in 0..300 {
        if frame == 60 || frame == 200 {
            drop_high = frame == 60;
        }
        for packet in publisher.next_frame() {
            if drop_high && packet.layer == Layer::High {
                continue;
            }
            let (_, changes) = ingest(&mut source, packet);
            if changes.layers {
                lives.push((
                    frame,
                    source
                        .live_streams()
                        .of(TrackId::FIRST_VIDEO)
                        .iter()
                        .count(),
                ));
            }
        }
        if source.poll_silence(publisher.now) {
            lives.push((
                frame,
                source
                    .live_streams()
                    .of(TrackId::FIRST_VIDEO)
                    .iter()
                    .count(),
            ));
        }
    }
    let silence_ends = 60 + (Duration::from_millis(1_500).as_micros() / FRAME.as_micros()) as i32;
    assert_eq!(lives[..3], [(0, 1), (0, 2), (0, 3)]);
    let (died, left) = lives[3];
    assert!((died - silence_ends).abs() <= 2 && left == 2, "{lives:?}");
    assert_eq!(lives[4], (200, 3));
}

#[test]
fn frames_that_are_left_out_leave_no_gap_in_any_numbering() {
    for seed in 1..=20 {
        let mut random = Random::new(seed);
        let start = Instant::now();
        let mut publisher = Publisher::new(start, &[Layer::High], &mut random);
        let mut source = source(1, start);
        let mut viewer = viewer(LayerChoice::Auto);
        let mut watcher = Watcher::default();
        let mut left_out = 0;
        for frame in 0..300 {
            let spared = frame > 0 && random.chance(40);
            left_out += usize::from(spared);
            for packet in publisher.next_frame() {
                let (packet, changes) = ingest(&mut source, packet);
                if changes.layers {
                    viewer.set_live(source.live_streams().of(TrackId::FIRST_VIDEO));
                }
                if spared {
                    viewer.leave_out(&packet);
                } else if let Some(out) = viewer.forward(&packet, 0) {
                    watcher.see(&packet, out);
                }
            }
        }
        watcher.assert_no_gap();
        watcher.assert_frames_follow(3_000 * 15);
        assert_eq!(watcher.frames.len(), 300 - left_out, "seed {seed}");
    }
}
