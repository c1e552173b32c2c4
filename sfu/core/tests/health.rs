//! What an artist is told of the keyframes of an encoder.

#![allow(clippy::disallowed_methods)] // Virtual time starts somewhere.

mod support;

use std::time::{Duration, Instant};

use lightstick_sfu_core::keyframe::KeyframeHabit;
use lightstick_types::{HintCode, Layer, StreamId, TrackId};
use support::{Publisher, Random, ingest, source};

/// A list of hints as it is told: codes and seconds.
type Told = Vec<(HintCode, Option<u32>)>;

/// Lets an encoder send for a minute; each list of hints that is told, as codes and seconds, and the
/// requests that it got.
fn told(gop: u32, deaf: bool) -> (Vec<Told>, usize) {
    let start = Instant::now();
    let mut publisher = Publisher::new(start, &[Layer::High], &mut Random::new(1));
    publisher.gop = gop;
    let mut source = source(1, start);
    let mut habits: [KeyframeHabit; StreamId::COUNT] = Default::default();
    let (mut lists, mut asked, mut look_at) = (Vec::new(), 0, start);
    while publisher.now < start + Duration::from_secs(60) {
        let now = publisher.now;
        for packet in publisher.next_frame() {
            let (packet, _) = ingest(&mut source, packet);
            if packet.info.keyframe && packet.info.starts_frame {
                habits[TrackId::FIRST_VIDEO.layer(Layer::High).index()].keyframe(now);
            }
        }
        if now >= look_at {
            look_at += Duration::from_millis(500);
            if source.look_at_health(now, &habits) {
                let hints = source.hints().iter();
                lists.push(hints.map(|hint| (hint.code, hint.seconds)).collect());
            }
        }
        for stream in source.poll_keyframe_requests(now).iter() {
            habits[stream.index()].asked(now);
            asked += 1;
            if !deaf {
                publisher.request_keyframe(stream.layer);
            }
        }
    }
    (lists, asked)
}

#[test]
fn a_deaf_encoder_with_rare_keyframes_is_told_of_once_and_then_with_the_interval() {
    let (lists, asked) = told(300, true);
    let ignored = (HintCode::KeyframeRequestsIgnored, None);
    let long = |seconds| (HintCode::LongKeyframeInterval, seconds);
    assert_eq!(
        lists,
        [vec![long(None), ignored], vec![long(Some(10)), ignored]]
    );
    assert!(asked <= 5, "{asked} requests");
}

#[test]
fn encoders_that_answer_or_need_not_be_asked_are_left_alone() {
    let (lists, asked) = told(300, false);
    assert!(lists.is_empty(), "{lists:?}");
    assert_eq!(asked, 1, "to find out");
    assert_eq!(told(0, false).1, 1);
    assert_eq!(told(60, true), (vec![], 0));
}

#[test]
fn one_keyframe_only_is_told_of() {
    let (lists, _) = told(u32::MAX, true);
    let codes: Vec<_> = lists[0].iter().map(|(code, _)| *code).collect();
    let both = [
        HintCode::LongKeyframeInterval,
        HintCode::KeyframeRequestsIgnored,
    ];
    assert_eq!(codes, both);
    assert_eq!(lists.len(), 1);
}
