//! Taps in a tree: their queues, how their readers behave, and what must hold of what they get.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use lightstick_sfu_core::room::{Policy, TapBatch, TapConfig, TapEvent, TapId};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_types::{SourceId, StreamId, TrackKind};

use super::Tree;

/// How a tap is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Prompt,
    /// It takes a batch, and rests.
    Slow(Duration),
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Tap {
    pub(super) node: usize,
    config: TapConfig,
    pub(crate) reader: Reader,
    read_at: Instant,
    queue: VecDeque<TapBatch>,
    queued: u64,
    is_full: bool,
    /// Each stream's source, generation and last number.
    streams: [Option<(SourceId, u32, u64)>; StreamId::COUNT],
    audio: HashSet<(SourceId, u64)>,
    /// Audio that later packets came before.
    skipped: HashSet<(SourceId, u64)>,
    /// Something was missed since a stream's last packet.
    gaps: StreamSet,
    pub(crate) missed: u64,
    pub(crate) packets: u64,
    pub(crate) last_at: Option<Instant>,
}

impl Tap {
    /// The owner's part: a batch goes into the queue, or is refused.
    pub(super) fn offer(&mut self, batch: TapBatch) -> Result<(), TapBatch> {
        let bytes = batch.bytes();
        if self.is_full || self.queued + bytes > self.config.bytes_max {
            self.is_full = true;
            return Err(batch);
        }
        assert!(!batch.batch.packets.is_empty());
        self.queued += bytes;
        self.queue.push_back(batch);
        Ok(())
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        let slow = matches!(self.reader, Reader::Slow(_)) && !self.queue.is_empty();
        slow.then_some(self.read_at)
    }

    /// The reader's part. True: it has caught up after its queue was full.
    pub(super) fn read(
        &mut self,
        dropped: &HashSet<(SourceId, u64)>,
        now: Instant,
        is_lossy: bool,
    ) -> bool {
        loop {
            let is_due = match self.reader {
                Reader::Prompt => true,
                Reader::Slow(_) => self.read_at <= now,
                Reader::Stopped => false,
            };
            if !is_due {
                break;
            }
            let Some(batch) = self.queue.pop_front() else {
                break;
            };
            self.queued -= batch.bytes();
            self.look(&batch, dropped, now, is_lossy);
            if let Reader::Slow(rest) = self.reader {
                self.read_at = now + rest;
            }
        }
        let caught_up = self.is_full && self.queue.is_empty();
        self.is_full &= !caught_up;
        caught_up
    }

    fn look(
        &mut self,
        batch: &TapBatch,
        dropped: &HashSet<(SourceId, u64)>,
        now: Instant,
        is_lossy: bool,
    ) {
        self.missed += batch.missed;
        if batch.missed > 0 {
            self.gaps = StreamId::all().collect();
        }
        self.last_at = Some(now);
        let generation = batch.batch.generation;
        for packet in batch.batch.packets.iter() {
            self.packets += 1;
            let stream = packet.stream;
            assert!(
                self.config.streams.contains(stream),
                "{stream} was not asked for"
            );
            let last = &mut self.streams[stream.index()];
            let goes_on = last.is_some_and(|(source, cuts, number)| {
                (source, cuts) == (packet.source, generation)
                    && (is_lossy || packet.sequence == number + 1)
            });
            if packet.kind() == TrackKind::Audio {
                let name = (packet.source, packet.sequence);
                assert!(self.audio.insert(name), "audio {name:?} came twice");
                let last_of_it = last.filter(|(source, ..)| *source == packet.source);
                if let Some((.., number)) = last_of_it {
                    // Links of bytes change the order, and what one link has dropped may come over
                    // another one.
                    if packet.sequence < number {
                        self.skipped.remove(&name);
                        continue;
                    }
                    if !self.gaps.contains(stream) {
                        let skipped = number + 1..packet.sequence;
                        let skipped = skipped.map(|number| (packet.source, number));
                        self.skipped
                            .extend(skipped.filter(|name| !dropped.contains(name)));
                    }
                }
                self.gaps.remove(stream);
                *last = Some((packet.source, generation, packet.sequence));
                continue;
            }
            let anew =
                last.is_none_or(|(source, cuts, _)| (source, cuts) != (packet.source, generation));
            assert!(
                goes_on || (packet.starts_keyframe() && (anew || self.gaps.contains(stream))),
                "{stream} {} after {last:?}",
                packet.sequence
            );
            self.gaps.remove(stream);
            *last = Some((packet.source, generation, packet.sequence));
        }
    }
}

impl Tree {
    pub(crate) fn attach_tap(&mut self, node: usize, config: TapConfig, reader: Reader) -> u32 {
        self.tap_count += 1;
        let (tap, now) = (self.tap_count, self.now);
        self.taps.insert(
            tap,
            Tap {
                node,
                config,
                reader,
                read_at: now,
                queue: VecDeque::new(),
                queued: 0,
                is_full: false,
                streams: [None; StreamId::COUNT],
                audio: HashSet::new(),
                skipped: HashSet::new(),
                gaps: StreamSet::default(),
                missed: 0,
                packets: 0,
                last_at: None,
            },
        );
        self.tell_tap(node, tap, TapEvent::Attached(config));
        self.settle(node);
        tap
    }

    pub(crate) fn detach_tap(&mut self, tap: u32) {
        if let Some(Tap { node, .. }) = self.taps.remove(&tap) {
            self.tell_tap(node, tap, TapEvent::Detached);
            self.settle(node);
        }
    }

    pub(super) fn tell_tap(&mut self, node: usize, tap: u32, event: TapEvent<'_>) {
        let hop = &mut self.nodes[node].as_mut().expect("the hop lives").hop;
        hop.handle_tap(TapId(tap), event, self.now, &mut self.tally);
    }

    /// A tap of any kind, anywhere. Its own random numbers leave the rest of the world as it is.
    pub(crate) fn attach_any_tap(&mut self) {
        let random = &mut self.tap_random;
        let nodes: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].is_some())
            .collect();
        let node = nodes[random.below(nodes.len() as u64) as usize];
        let chosen = StreamId::all().filter(|_| random.chance(50));
        let streams = chosen.collect();
        let reader = match random.below(3) {
            0 => Reader::Prompt,
            1 => Reader::Slow(Duration::from_millis(random.below(120))),
            _ => Reader::Stopped,
        };
        let policy = match random.chance(50) {
            true => Policy::DropToKeyframe,
            false => Policy::Lossless,
        };
        let config = TapConfig {
            streams,
            policy,
            bytes_max: 20_000 + random.below(400_000),
        };
        self.attach_tap(node, config, reader);
    }

    /// Something happens to the taps.
    pub(crate) fn disturb_taps(&mut self) {
        let taps: Vec<u32> = self.taps.keys().copied().collect();
        let any = self.tap_random.below(taps.len().max(1) as u64) as usize;
        match (self.tap_random.below(8), taps.get(any)) {
            (0..=1, _) => self.attach_any_tap(),
            (2, Some(tap)) => self.detach_tap(*tap),
            (3, Some(tap)) => self.taps.get_mut(tap).expect("it is there").reader = Reader::Prompt,
            (4, Some(tap)) => self.taps.get_mut(tap).expect("it is there").reader = Reader::Stopped,
            _ => {}
        }
    }

    /// A batch leaves a hop for a tap.
    pub(super) fn feed_tap(&mut self, node: usize, tap: TapId, batch: TapBatch) {
        let offered = match self.taps.get_mut(&tap.0) {
            Some(tap) => tap.offer(batch),
            None => panic!("{tap:?} has ended"),
        };
        if let Err(lost) = offered {
            self.tell_tap(node, tap.0, TapEvent::Overflow(&lost));
        }
    }

    pub(super) fn tap_overrun(&mut self, tap: TapId) {
        let ended = self.taps.remove(&tap.0).expect("it ends once");
        assert_eq!(ended.config.policy, Policy::Lossless);
        assert!(ended.is_full && ended.missed == 0);
        self.overruns += 1;
    }

    pub(super) fn read_taps(&mut self) {
        let (now, is_lossy) = (self.now, self.is_lossy);
        let taps: Vec<u32> = self.taps.keys().copied().collect();
        for tap in taps {
            let state = self.taps.get_mut(&tap).expect("it is there");
            let node = state.node;
            if state.read(&self.dropped, now, is_lossy) {
                self.tell_tap(node, tap, TapEvent::Ready);
                self.settle(node);
            }
        }
    }

    /// What must hold after a quiet time.
    pub(crate) fn check_taps(&self) {
        for (number, tap) in &self.taps {
            let since = tap.last_at.map(|at| self.now - at);
            let sees = since.is_some_and(|since| since < Duration::from_millis(200));
            assert!(
                sees || tap.reader == Reader::Stopped
                    || !tap.config.streams.contains(StreamId::AUDIO),
                "tap {number} has seen nothing for {since:?}: {tap:?}"
            );
            assert!(tap.queued <= tap.config.bytes_max);
            let lost = tap.skipped.iter().find(|name| !self.dropped.contains(name));
            assert!(
                lost.is_none(),
                "tap {number} missed audio {lost:?}: {tap:?}"
            );
        }
        let missed: u64 = self.taps.values().map(|tap| tap.missed).sum();
        assert!(missed <= self.tally.tap_missed, "{missed} were missed");
    }
}
