//! What must not confuse the estimator: silence, clocks, wraps, repetition, junk.

use std::time::{Duration, Instant};

use lightstick_types::Bitrate;

use super::flow::{Follow, total};
use super::link::Random;
use super::receiver::write;
use super::world::Mangle;
use super::{HIGH, one, until};
use crate::bwe::{Estimator, FeedbackError, PACKETS_MAX, rate, sent};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_viewers_state_is_small() {
    let bytes = size_of::<Estimator>() + sent::BYTES;
    assert!(bytes <= 10 * 1_024, "{bytes}");
}

#[test]
fn silence_fades_the_estimate_and_probes_bring_it_back() {
    let mut world = one(3e6, 20, Follow::Layers, 1);
    world.run(20.0, |_| {});
    assert!(world.flows[0].estimate() >= total(HIGH));
    world.deaf = true;
    let faded = until(&mut world, 5.0, |estimate| estimate < 1_000_000);
    assert!(faded.is_some_and(|seconds| (1.5..4.0).contains(&seconds)));
    assert_eq!(world.flows[0].layer, 0);
    world.deaf = false;
    let back = until(&mut world, 12.0, |estimate| estimate > 2_500_000);
    assert!(back.is_some());
}

#[test]
fn nothing_sent_is_no_silence() {
    let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
    world.run(5.0, |_| {});
    let flow = &mut world.flows[0];
    let now = flow.at(world.now);
    let before = flow.estimate();
    // The last packets before the pause are lost: nobody ever speaks of them.
    flow.estimator.sent(now, 1_200);
    for second in 1..60 {
        flow.estimator.poll_probe(now + second * SECOND, None);
    }
    assert_eq!(flow.estimate(), before);
}

#[test]
fn clocks_that_jump_or_drift() {
    for jump in [3_600_000_000, -3_600_000_000, 7_200_000_000_000, -500_000] {
        let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
        world.run(10.0, |_| {});
        world.flows[0].receiver.clock_offset += jump;
        let (least, most) = world.range(30.0);
        assert!(least >= HIGH, "{jump}: {least}");
        assert!(most <= 4_000_000, "{jump}: {most}");
    }
    // A small jump ahead looks like a queue. It is forgotten, as a queue would drain.
    let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
    world.run(10.0, |_| {});
    world.flows[0].receiver.clock_offset += 500_000;
    world.run(25.0, |_| {});
    let (least, _) = world.range(10.0);
    assert!(least >= HIGH, "{least}");
    // 200 parts in a million, either way.
    for drift in [-1, 1] {
        let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
        world.run(3.0, |_| {});
        let mut least = u64::MAX;
        world.run(90.0, |world| {
            if world.now % 5_000 == 0 {
                world.flows[0].receiver.clock_offset += drift;
            }
            least = least.min(world.flows[0].estimate());
        });
        assert!(least >= HIGH, "drift {drift}: {least}");
    }
}

#[test]
fn the_reference_time_wraps() {
    let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
    world.flows[0].receiver.clock_offset = (1 << 24) * 64_000 - 15_000_000;
    world.run(5.0, |_| {});
    let (least, _) = world.range(25.0);
    assert!(least >= HIGH, "{least}");
}

#[test]
fn sequence_numbers_wrap() {
    let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
    world.run(5.0, |_| {});
    let (least, _) = world.range(230.0);
    assert!(world.flows[0].estimator.sent.next() > 70_000);
    assert!(least >= HIGH, "{least}");
}

#[test]
fn feedback_that_repeats_or_overtakes() {
    let estimate = |mangle| {
        let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
        world.mangle = mangle;
        world.run(5.0, |_| {});
        let range = world.range(20.0);
        assert_eq!(world.flows[0].estimator.loss(), Some(0.0));
        range
    };
    let (least, most) = estimate(Mangle::Nothing);
    assert_eq!(estimate(Mangle::Repeat), (least, most));
    let (swapped, _) = estimate(Mangle::Swap);
    assert!(swapped >= HIGH, "{swapped}");
}

#[test]
fn feedback_for_packets_that_nobody_remembers() {
    let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
    world.run(60.0, |_| {});
    let now = world.flows[0].at(world.now);
    let estimator = &mut world.flows[0].estimator;
    let before = (
        estimator.estimate(),
        estimator.loss(),
        estimator.round_trip(),
    );
    let next = estimator.sent.next() as u16;
    for base in [next, next.wrapping_add(500), next.wrapping_sub(5_000)] {
        let fci = write(base, 1, &[Some(5_000_000), None, Some(5_010_000), None]);
        estimator.on_feedback(now, &fci).unwrap();
    }
    let after = (
        estimator.estimate(),
        estimator.loss(),
        estimator.round_trip(),
    );
    assert_eq!(after, before);
}

#[test]
fn junk_is_an_error_or_harmless() {
    let start = Instant::now();
    let mut random = Random::new(7);
    let mut estimator = Estimator::new(start, Bitrate::kbps(1_000));
    let mut now = start;
    let mut read = 0;
    for round in 0..100_000_u32 {
        now += Duration::from_micros(random.below(20_000));
        let last = estimator.sent(now, random.below(1_500) as usize);
        let mut fci: Vec<u8> = if round % 3 == 0 {
            (0..random.below(64))
                .map(|_| random.below(256) as u8)
                .collect()
        } else {
            // A whole one for packets that were sent, with times that make no sense.
            let arrivals: Vec<Option<i64>> = (0..1 + random.below(40))
                .map(|_| match random.below(4) {
                    0 => None,
                    _ => Some(random.below(8_000_000) as i64),
                })
                .collect();
            let base = last.wrapping_sub(random.below(100) as u16);
            let mut fci = write(base, round as u8, &arrivals);
            fci[4] = random.below(256) as u8;
            fci
        };
        if round % 5 == 0 && !fci.is_empty() {
            let at = random.below(fci.len() as u64) as usize;
            fci[at] ^= 1 << random.below(8);
            fci.truncate(random.below(fci.len() as u64 + 1) as usize);
        }
        read += u32::from(estimator.on_feedback(now, &fci).is_ok());
        if let Some(probe) = estimator.poll_probe(now, Some(Bitrate::kbps(20_000))) {
            estimator.sent_probe(now, probe.bytes, probe.cluster);
        }
        if let Some(estimate) = estimator.estimate() {
            let range = rate::BPS_MIN..=rate::BPS_MAX;
            assert!(range.contains(&(estimate.bps() as f64)), "{estimate}");
        }
    }
    assert!(read > 40_000, "{read}");
}

#[test]
fn whatever_is_cut_short_is_an_error() {
    let mut random = Random::new(3);
    for _ in 0..500 {
        let mut at = 1_000_000;
        let arrivals: Vec<Option<i64>> = (0..1 + random.below(60))
            .map(|_| {
                at += random.below(100_000) as i64 - 20_000;
                (random.below(5) > 0).then_some(at)
            })
            .collect();
        let fci = write(random.below(65_536) as u16, 0, &arrivals);
        let mut estimator = Estimator::new(Instant::now(), Bitrate::kbps(1_000));
        estimator.on_feedback(Instant::now(), &fci).unwrap();
        // Up to three bytes behind the last delta are padding.
        for len in 0..fci.len() - 3 {
            let short = estimator.on_feedback(Instant::now(), &fci[..len]);
            assert!(short.is_err(), "{len} of {}", fci.len());
        }
    }
    let many = vec![None; usize::from(PACKETS_MAX) + 1];
    let mut estimator = Estimator::new(Instant::now(), Bitrate::kbps(1_000));
    assert_eq!(
        estimator.on_feedback(Instant::now(), &write(0, 0, &many)),
        Err(FeedbackError::TooMany(PACKETS_MAX + 1))
    );
}

#[test]
fn reports_stand_in_for_feedback() {
    let start = Instant::now();
    let mut estimator = Estimator::new(start, Bitrate::kbps(2_000));
    assert_eq!(estimator.estimate(), None);
    let mut now = start;
    let mut second = |estimator: &mut Estimator, lost: u8| {
        for _ in 0..200 {
            now += Duration::from_millis(5);
            estimator.sent(now, 1_200);
        }
        estimator.on_report(now, lost, Some(Duration::from_millis(80)));
        estimator.estimate().unwrap().bps()
    };
    let first = second(&mut estimator, 0);
    assert_eq!(first, 2_000_000);
    assert!(second(&mut estimator, 0) > 2_100_000);
    assert_eq!(estimator.round_trip(), Some(Duration::from_millis(80)));
    // 1.92 Mbit/s are sent, and 30 % of that is lost.
    let cut = second(&mut estimator, 77);
    assert!((1_550_000..1_700_000).contains(&cut), "{cut}");
    assert_eq!(estimator.loss(), Some(77.0 / 256.0));
    for _ in 0..30 {
        second(&mut estimator, 0);
    }
    assert!(second(&mut estimator, 0) > 2_000_000);
    estimator.on_remb(Bitrate::kbps(700));
    assert_eq!(estimator.estimate(), Some(Bitrate::kbps(700)));
}

#[test]
fn feedback_stands_above_reports_until_it_is_gone() {
    let mut world = one(3e6, 20, Follow::Fixed(HIGH), 1);
    world.run(5.0, |_| {});
    let now = world.flows[0].at(world.now);
    world.flows[0].estimator.on_remb(Bitrate::kbps(200));
    world.flows[0].estimator.on_report(now, 128, None);
    assert!(world.flows[0].estimate() >= HIGH);
    world.deaf = true;
    world.run(40.0, |_| {});
    assert!(world.flows[0].estimate() <= 200_000);
}
