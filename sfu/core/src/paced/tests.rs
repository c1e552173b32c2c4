//! Paced tracks in virtual time.

use super::*;
use crate::history::{Place, Reach};
use crate::layers::LayerSet;
use crate::packet::{Format, PacketExtensions};
use lightstick_types::{Codec, Layer, LayerChoice, NodeId, SourceId, StreamId, TrackId};

const PAYLOAD: usize = 1_150;

/// A publisher with a frame each 33 ms, its history, and one viewer.
struct Show {
    start: Instant,
    now: Instant,
    history: History,
    generation: u32,
    source: SourceId,
    sequences: [u64; Layer::COUNT],
    frame: u32,
    viewer: PacedTrack,
    /// (time, layer, source's sequence number, ours, timestamp), as it left.
    sent: Vec<(Duration, Layer, u64, u64, u32)>,
    longest: Vec<usize>,
    lost: u32,
}

impl Show {
    fn new(layers: &[Layer]) -> Self {
        let start = Instant::now();
        let mut track = DownTrack::new(TrackId::FIRST_VIDEO, 90_000, LayerChoice::Auto);
        track.set_live(layers.iter().copied().collect::<LayerSet>());
        Self {
            start,
            now: start,
            history: History::default(),
            generation: 0,
            source: SourceId::new(NodeId(0), 1),
            sequences: [1_000; Layer::COUNT],
            frame: 0,
            viewer: PacedTrack::new(track, 90_000, 0, start),
            sent: Vec::new(),
            longest: Vec::new(),
            lost: 0,
        }
    }

    fn ms(&self) -> Duration {
        self.now - self.start
    }

    fn packet(&mut self, layer: Layer, n: u32, count: u32, key: bool) -> MediaPacket {
        let mut info = crate::codec::PayloadInfo::default();
        (info.keyframe, info.starts_frame) = (key && n == 0, n == 0);
        let sequence = self.sequences[layer.index()];
        self.sequences[layer.index()] += 1;
        MediaPacket {
            source: self.source,
            stream: StreamId {
                track: TrackId::FIRST_VIDEO,
                layer,
            },
            format: Format {
                codec: Codec::Vp8,
                profile: 0,
            },
            sequence,
            timestamp: self.frame * 3_000,
            marker: n + 1 == count,
            info,
            extensions: PacketExtensions::default(),
            payload: vec![0; PAYLOAD].into(),
            primary: None,
            received_at: self.now,
            sampled_at: self.now,
        }
    }

    fn log(&mut self, packet: &MediaPacket, rewritten: Rewritten) {
        self.viewer.sent(self.now, PAYLOAD as u64 + 50);
        self.sent.push((
            self.ms(),
            packet.stream.layer,
            packet.sequence,
            rewritten.sequence,
            rewritten.timestamp,
        ));
    }

    /// A frame of `count` packets comes in, keyframe or not, `discardable` or not.
    fn frame(&mut self, layer: Layer, count: u32, key: bool) {
        self.frame_of(layer, count, key, false);
    }

    fn frame_of(&mut self, layer: Layer, count: u32, key: bool, discardable: bool) {
        let packets: Vec<_> = (0..count)
            .map(|n| {
                let mut packet = self.packet(layer, n, count, key);
                packet.info.discardable = discardable;
                Arc::new(packet)
            })
            .collect();
        for packet in &packets {
            self.history.push(packet, self.generation);
        }
        for packet in packets {
            let rewritten = self.viewer.live(&packet, self.generation, false, self.now);
            if let Some(rewritten) = rewritten {
                self.log(&packet, rewritten);
            }
        }
    }

    /// Lets time pass, a millisecond at once, and does what is due.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            if !self.viewer.begin_run(self.now, &self.history) {
                continue;
            }
            self.longest.push(self.viewer.longest(&self.history));
            let history = std::mem::take(&mut self.history);
            loop {
                match self.viewer.next(self.now, &history) {
                    Step::Packet(packet, rewritten) => self.log(packet, rewritten),
                    Step::Lost => self.lost += 1,
                    Step::Wait | Step::Head => break,
                }
            }
            self.history = history;
        }
    }

    /// A frame, and the time to the next.
    fn tick(&mut self, layer: Layer, count: u32, key: bool) {
        self.frame(layer, count, key);
        self.frame += 1;
        self.pass(33);
    }

    fn estimate(&mut self, link: u64, layer: u64) {
        let rates = LayerRates::whole([200_000, 0, layer]);
        self.viewer.on_estimate(self.now, Bitrate(link), &rates);
        let sent = self.viewer.track().stream();
        let sent = sent.and_then(|stream| rates.layer(stream.layer));
        self.viewer.set_pace(Bitrate(link), sent);
    }

    /// All that was sent since then goes by as if it were the present, or a little before it.
    fn assert_present(&self, since: Duration) {
        let sent = self.sent.iter().filter(|sent| sent.0 >= since);
        let present = |at: Duration| (at.as_millis() as u32 * 90).cast_signed();
        let (mut first, mut count) = (None, 0);
        for (at, _, _, _, timestamp) in sent {
            let ahead = timestamp.cast_signed() - present(*at);
            let off = ahead - *first.get_or_insert(ahead);
            assert!((-9_000..=9_000).contains(&off), "{off} at {at:?}");
            count += 1;
        }
        assert!(count > 0);
    }

    fn assert_in_order(&self) {
        for pair in self.sent.windows(2) {
            assert_eq!(pair[1].3, pair[0].3 + 1, "numbers go on");
            assert!(pair[1].4 >= pair[0].4, "time does not go back");
            assert!(pair[1].4 - pair[0].4 <= 9_000, "nor ahead");
        }
    }
}

#[test]
fn frames_of_usual_size_leave_at_once_and_keyframes_are_spread() {
    let mut show = Show::new(&[Layer::High]);
    show.tick(Layer::High, 10, true);
    show.estimate(4_000_000, 2_500_000);
    for _ in 0..30 {
        show.frame(Layer::High, 10, false);
        assert_eq!(show.viewer.deadline(), None, "no timer for a frame");
        show.frame += 1;
        show.pass(33);
    }
    let before = show.sent.len();
    show.tick(Layer::High, 85, true);
    let at = show.sent[before].0;
    let spread: Vec<u64> = show.sent[before..]
        .iter()
        .map(|sent| (sent.0 - at).as_millis() as u64)
        .collect();
    let first = spread.iter().filter(|ms| **ms == 0).count();
    assert!((12..=20).contains(&first), "{first} at once");
    for _ in 0..10 {
        show.tick(Layer::High, 10, false);
    }
    let keyframe: Vec<u64> = show
        .sent
        .iter()
        .skip(before)
        .take(85)
        .map(|sent| (sent.0 - at).as_millis() as u64)
        .collect();
    let took = *keyframe.last().unwrap();
    assert!((25..=66).contains(&took), "{took} ms");
    let mut runs: Vec<usize> = keyframe.chunk_by(|a, b| a == b).map(<[u64]>::len).collect();
    runs.pop();
    assert!(runs.iter().all(|run| *run >= 11), "{runs:?}");
    assert_eq!(show.sent.len(), 10 + 300 + 85 + 100);
    assert!(show.longest.iter().all(|longest| *longest == PAYLOAD));
    show.assert_in_order();
    // The viewer is at the head again: frames leave as they come.
    let last = show.sent.last().unwrap();
    assert_eq!(last.0, show.ms() - Duration::from_millis(33));
}

#[test]
fn a_viewer_is_never_late_for_long_whatever_its_link() {
    for link in [500_000, 2_000_000, 50_000_000] {
        let mut show = Show::new(&[Layer::High]);
        show.tick(Layer::High, 10, true);
        show.estimate(link, 2_500_000);
        let mut received = std::collections::HashMap::new();
        for frame in 0..200 {
            let key = frame % 50 == 20;
            let first = show.sequences[Layer::High.index()];
            let count = if key { 85 } else { 9 };
            for n in 0..count {
                received.insert(first + n, show.ms());
            }
            show.tick(Layer::High, count as u32, key);
        }
        show.pass(100);
        for &(left, _, sequence, ..) in &show.sent {
            if let Some(came) = received.get(&sequence) {
                let late = left - *came;
                assert!(late <= Duration::from_millis(75), "{link}: {late:?}");
            }
        }
        assert_eq!(show.sent.len(), 10 + 196 * 9 + 4 * 85, "{link}");
        show.assert_in_order();
    }
}

#[test]
fn resends_are_paid_for_by_video_but_only_for_a_burst() {
    let mut show = Show::new(&[Layer::High]);
    show.tick(Layer::High, 10, true);
    show.viewer.sent(show.now, 1 << 20);
    let before = show.sent.len();
    show.frame(Layer::High, 10, false);
    assert_eq!(show.sent.len(), before, "what was sent again comes first");
    show.pass(25);
    assert_eq!(show.sent.len(), before + 10);
    show.assert_in_order();
}

#[test]
fn a_switch_in_the_middle_of_a_keyframe_takes_place() {
    let mut show = Show::new(&[Layer::Low, Layer::High]);
    show.tick(Layer::High, 10, true);
    show.tick(Layer::High, 10, false);
    show.estimate(400_000, 2_500_000);
    let wanted = show.viewer.track().wanted();
    assert_eq!(
        wanted,
        Some(KeyframeWanted(TrackId::FIRST_VIDEO.layer(Layer::Low)))
    );
    // Both layers' keyframes come at once, and the viewer is busy with the high one.
    show.frame(Layer::High, 85, true);
    assert!(show.viewer.deadline().is_some());
    show.frame(Layer::Low, 6, true);
    show.frame += 1;
    show.pass(33);
    for _ in 0..10 {
        show.frame(Layer::High, 10, false);
        show.frame(Layer::Low, 2, false);
        show.frame += 1;
        show.pass(33);
    }
    let low = show.sent.iter().filter(|sent| sent.1 == Layer::Low);
    assert_eq!(
        low.count(),
        6 + 20,
        "not a packet of the new layer is missing"
    );
    let high = show.sent.iter().filter(|sent| sent.1 == Layer::High);
    assert_eq!(
        high.count(),
        10 + 10 + 85,
        "the frame under way is finished"
    );
    assert_eq!(
        show.viewer.track().stream(),
        Some(TrackId::FIRST_VIDEO.layer(Layer::Low))
    );
    assert_eq!(show.viewer.deadline(), None);
    show.assert_in_order();
}

#[test]
fn another_source_or_a_cut_ring_begins_anew() {
    for cut in [false, true] {
        let mut show = Show::new(&[Layer::High]);
        show.tick(Layer::High, 10, true);
        show.frame(Layer::High, 85, true);
        assert!(show.viewer.deadline().is_some());
        show.frame += 1;
        if cut {
            show.generation += 1;
        } else {
            show.source.number += 1;
        }
        let before = show.sent.len();
        show.frame(Layer::High, 8, true);
        let deadline = show.viewer.deadline();
        show.pass(60);
        assert_eq!(show.sent.len() - before, 8, "{deadline:?}");
        show.assert_in_order();
    }
}

#[test]
fn what_is_not_kept_any_more_is_given_up() {
    let mut show = Show::new(&[Layer::High]);
    show.history.set_reach(Reach {
        bytes: 1 << 20,
        ..Reach::default()
    });
    show.tick(Layer::High, 10, true);
    show.frame(Layer::High, 85, true);
    // The shard stalls, and more comes than the history holds.
    for _ in 0..300 {
        show.frame += 1;
        show.frame(Layer::High, 10, false);
    }
    show.pass(10);
    assert_eq!(show.lost, 1);
    assert_eq!(
        show.viewer.track().wanted(),
        Some(KeyframeWanted(TrackId::FIRST_VIDEO.layer(Layer::High)))
    );
    let before = show.sent.len();
    show.tick(Layer::High, 10, false);
    assert_eq!(show.sent.len(), before, "nothing that cannot be shown");
    show.tick(Layer::High, 10, true);
    assert_eq!(show.sent.len(), before + 10);
    for pair in show.sent.windows(2) {
        assert_eq!(pair[1].3, pair[0].3 + 1, "numbers go on");
    }
}

#[test]
fn missing_packets_are_sent_when_they_come() {
    let mut show = Show::new(&[Layer::High]);
    show.tick(Layer::High, 10, true);
    // A hole in the publisher's stream, at a place that the viewer passes while it is behind; and
    // one at a place that it passes at the head, where a frame just fits.
    for (before, after, behind) in [(1, 60, true), (1, 15, false)] {
        show.frame += 1;
        show.pass(200);
        let sent = show.sent.len();
        let count = before + 1 + after;
        let packets: Vec<_> = (0..count)
            .map(|n| Arc::new(show.packet(Layer::High, n, count, false)))
            .collect();
        let (hole, rest) = (&packets[1], [&packets[..1], &packets[2..]].concat());
        for packet in &rest {
            show.history.push(packet, 0);
        }
        for packet in &rest {
            if let Some(rewritten) = show.viewer.live(packet, 0, false, show.now) {
                show.log(packet, rewritten);
            }
        }
        assert_eq!(show.viewer.deadline().is_some(), behind);
        show.history.push(hole, 0);
        let rewritten = show.viewer.live(hole, 0, true, show.now);
        show.log(hole, rewritten.expect("to be sent at once"));
        assert_eq!(show.viewer.deadline().is_some(), behind);
        show.pass(100);
        assert_eq!(show.viewer.deadline(), None);
        assert_eq!(show.sent.len() - sent, count as usize);
    }
    let mut numbers: Vec<u64> = show.sent.iter().map(|sent| sent.3).collect();
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_keyframe_whose_beginning_comes_last_is_sent_whole() {
    let mut show = Show::new(&[Layer::High]);
    show.tick(Layer::High, 4, false);
    let packets: Vec<_> = (0..4)
        .map(|n| Arc::new(show.packet(Layer::High, n, 4, true)))
        .collect();
    for (packet, is_late) in [(1, false), (2, false), (3, false), (0, true)] {
        let packet = &packets[packet];
        let place = show.history.push(packet, 0);
        assert_eq!(place == Place::Late, is_late);
        let rewritten = show.viewer.live(packet, 0, is_late, show.now);
        assert_eq!(rewritten, None, "nothing that cannot be decoded");
    }
    show.pass(33);
    assert_eq!(show.sent.len(), 4);
    show.assert_in_order();
}

/// A show that a newcomer finds, with a keyframe `frames` ago.
fn running(frames: u32, discardable: bool) -> Show {
    let mut show = Show::new(&[Layer::High]);
    let absent = DownTrack::new(TrackId::FIRST_VIDEO, 90_000, LayerChoice::Auto);
    let fan = std::mem::replace(
        &mut show.viewer,
        PacedTrack::new(absent, 90_000, 0, show.start),
    );
    show.tick(Layer::High, 60, true);
    for frame in 1..frames {
        show.frame_of(Layer::High, 9, false, discardable && frame % 2 == 1);
        show.frame += 1;
        show.pass(33);
    }
    show.sent.clear();
    show.viewer = fan;
    let start = show
        .history
        .start(TrackId::FIRST_VIDEO.layer(Layer::High), show.now)
        .unwrap();
    show.viewer.start(
        TrackId::FIRST_VIDEO.layer(Layer::High),
        start,
        &show.history,
        show.now,
    );
    show
}

#[test]
fn a_newcomer_catches_up_in_order_and_in_time() {
    let mut show = running(55, false);
    assert!(!show.viewer.is_fresh());
    let joined = show.ms();
    show.pass(3);
    assert!(show.sent.is_empty(), "not together with the handshake");
    while show.viewer.deadline().is_some() {
        show.tick(Layer::High, 9, false);
    }
    let took = show.ms() - joined;
    assert!(took < Duration::from_millis(450), "{took:?}");
    for _ in 0..5 {
        show.tick(Layer::High, 9, false);
    }
    let last = show.sent.last().unwrap();
    assert_eq!(last.0, show.ms() - Duration::from_millis(33));
    assert_eq!(show.sent[0].2, 1_000, "from the keyframe on");
    assert_eq!(last.2, show.sequences[Layer::High.index()] - 1);
    show.assert_in_order();
    show.assert_present(joined);
}

#[test]
fn time_does_not_go_back_where_the_publisher_falters_during_a_replay() {
    for stall in [100, 300, 1_000] {
        let mut show = running(40, false);
        // Frames are late by more than they are apart, and then come as ever.
        for _ in 0..3 {
            show.tick(Layer::High, 2, false);
            show.pass(stall);
        }
        for _ in 0..30 {
            show.tick(Layer::High, 2, false);
        }
        assert!(show.sent.len() > 300);
        for pair in show.sent.windows(2) {
            assert_eq!(pair[1].3, pair[0].3 + 1, "numbers go on");
            assert!(pair[1].4 >= pair[0].4, "time goes back after {stall} ms");
        }
    }
}

#[test]
fn a_newcomer_is_spared_what_nothing_depends_on() {
    let mut all = running(55, false);
    let mut some = running(55, true);
    for show in [&mut all, &mut some] {
        for _ in 0..15 {
            show.tick(Layer::High, 9, false);
        }
        show.assert_in_order();
        assert_eq!(show.viewer.deadline(), None);
    }
    assert_eq!(all.sent.len() - some.sent.len(), 27 * 9);
}

#[test]
fn a_keyframe_that_comes_meanwhile_shortens_a_replay() {
    let mut show = running(55, false);
    show.pass(20);
    let before = show.sent.len();
    let keyframe = show.sequences[Layer::High.index()];
    show.tick(Layer::High, 30, true);
    for _ in 0..6 {
        show.tick(Layer::High, 9, false);
    }
    assert_eq!(show.viewer.deadline(), None);
    let skipped = show.sent[before..].iter().find(|sent| sent.2 >= keyframe);
    assert_eq!(skipped.unwrap().2, keyframe);
    let late = show.sent[before..]
        .iter()
        .filter(|s| s.2 < keyframe)
        .count();
    assert!(late < 20, "only the frame under way is finished: {late}");
    show.assert_in_order();
}

#[test]
fn who_was_sent_nothing_is_fresh_whatever_went_by() {
    let mut show = Show::new(&[Layer::High]);
    for _ in 0..10 {
        show.tick(Layer::High, 3, false);
    }
    assert!(show.sent.is_empty() && show.viewer.is_fresh());
    show.tick(Layer::High, 3, true);
    assert!(!show.sent.is_empty() && !show.viewer.is_fresh());
}

#[test]
fn a_switch_that_is_given_up_while_behind_leaves_no_hole() {
    let mut show = Show::new(&[Layer::Low, Layer::High]);
    show.tick(Layer::High, 3, true);
    show.viewer.track_mut().choose(LayerChoice::Low);
    // The keyframe of the layer to come waits behind one that was too much for the pacer.
    show.frame(Layer::High, 60, false);
    show.frame(Layer::Low, 60, true);
    show.viewer.track_mut().choose(LayerChoice::High);
    let begun = show.sent.len();
    for _ in 0..10 {
        show.tick(Layer::High, 3, false);
    }
    show.tick(Layer::High, 3, true);
    show.tick(Layer::High, 3, false);
    let later = &show.sent[begun..];
    assert!(later.iter().all(|packet| packet.1 == Layer::High));
    // Nothing of what it had before goes on over what it was not sent: in order and whole, or from
    // the next keyframe on.
    let keyframe = show.sequences[Layer::High.index()] - 6;
    let mut last = show.sent[begun - 1].2;
    for packet in later {
        assert!(packet.2 == last + 1 || packet.2 == keyframe, "{later:?}");
        last = packet.2;
    }
    assert_eq!(last, keyframe + 5);
    show.assert_in_order();
}

#[test]
fn a_replay_of_a_long_group_is_through_in_bounded_time_and_close_to_the_present() {
    let mut show = Show::new(&[]);
    // Ten seconds of 720p at 2.5 Mbit/s, before the viewer comes.
    show.tick(Layer::High, 60, true);
    for _ in 0..299 {
        show.tick(Layer::High, 9, false);
    }
    assert!(show.sent.is_empty());
    show.viewer
        .track_mut()
        .set_live([Layer::High].into_iter().collect());
    let begin = show
        .history
        .start(TrackId::FIRST_VIDEO.layer(Layer::High), show.now)
        .unwrap();
    assert_eq!(begin.frames, 300);
    let came = show.now;
    show.viewer.start(
        TrackId::FIRST_VIDEO.layer(Layer::High),
        begin,
        &show.history,
        came,
    );
    while show.viewer.deadline().is_some() {
        show.tick(Layer::High, 9, false);
        let passed = show.now - came;
        assert!(passed < Duration::from_secs(3), "{passed:?}");
    }
    let first = show.start + show.sent[0].0 - came;
    assert!(first <= Duration::from_millis(10), "{first:?}");
    show.assert_present(came - show.start);
    show.assert_in_order();
}
