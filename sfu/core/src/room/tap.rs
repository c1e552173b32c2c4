//! Taps: readers of a room's packets that are no viewers, such as a packager or a recorder.
//!
//! A tap stands beside the viewers and cannot hold them up: its packets go into a bounded queue, and
//! what does not fit is dropped, or ends the tap. The queue itself is the owner's, who says when it
//! is full and when its reader has caught up ([`Hop::handle_tap`](super::Hop::handle_tap)).

use std::collections::BTreeMap;

use lightstick_types::{SourceId, StreamId, TrackKind};

use super::buffer::BatchedPacket;
use super::message::Batch;
use super::output::{Output, PACKET_OVERHEAD, TapBatch, TapId, queued_bytes};
use super::{Outputs, Tally};
use crate::streams::StreamSet;

/// What a tap is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapConfig {
    /// Its streams. Those of video count as watched.
    pub streams: StreamSet,
    pub policy: Policy,
    /// What may wait for its reader, as [`TapBatch::bytes`] counts.
    pub bytes_max: u64,
}

impl TapConfig {
    /// Streams that the publisher is to send for it.
    pub(super) fn watched(&self) -> StreamSet {
        self.streams.without(StreamId::AUDIO.into())
    }

    fn has_audio(&self) -> bool {
        self.streams.contains(StreamId::AUDIO)
    }

    /// Batches that may wait for its reader: as many as the bytes allow, however small they are.
    #[must_use]
    pub fn batches_max(&self) -> usize {
        let batches = usize::try_from(self.bytes_max / PACKET_OVERHEAD);
        batches.unwrap_or(usize::MAX).clamp(1, 1 << 24)
    }
}

/// What happens to a tap whose reader is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It misses what comes until its reader has caught up, and then what comes before the next
    /// keyframe.
    DropToKeyframe,
    /// It ends.
    Lossless,
}

/// What happens to a tap.
#[derive(Debug)]
pub enum TapEvent<'a> {
    /// It gets what it is to get: audio from the last moments on, video from its streams' next keyframes
    /// on.
    Attached(TapConfig),
    /// It is gone. One that has ended is no error.
    Detached,
    /// A batch was dropped, because its queue is full.
    Overflow(&'a TapBatch),
    /// Its queue was full, and its reader has taken everything in it.
    Ready,
}

/// A hop's taps.
#[derive(Debug, Default)]
pub(super) struct Taps(BTreeMap<TapId, TapGate>);

/// What passes to one tap.
#[derive(Debug)]
struct TapGate {
    config: TapConfig,
    streams: [Passage; StreamId::COUNT],
    /// Its queue is full: nothing passes before its reader has caught up.
    is_full: bool,
    /// Packets that it has missed since the last batch.
    missed: u64,
}

/// Where a tap is in one stream.
#[derive(Clone, Copy, Debug, Default)]
struct Passage {
    /// Source and generation that it is in.
    segment: (SourceId, u32),
    /// The keyframe that it has begun with. None: it waits for one.
    begins: Option<u64>,
    /// It waits because packets were dropped.
    is_broken: bool,
}

impl Taps {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, tap: TapId, config: TapConfig) {
        let gate = TapGate {
            config,
            streams: Default::default(),
            is_full: false,
            missed: 0,
        };
        self.0.insert(tap, gate);
    }

    /// Gives a tap the last moments of audio to begin with, where it is to get audio. Of a small queue
    /// that takes half at most: a tap must not be late from the start.
    pub(super) fn begin(&self, tap: TapId, mut audio: Batch, outputs: &mut Outputs) {
        let gate = self.0.get(&tap);
        let Some(config) = gate.map(|gate| gate.config).filter(TapConfig::has_audio) else {
            return;
        };
        let mut sum = 0;
        let newest = audio.packets.iter().rev().take_while(|packet| {
            sum += queued_bytes(packet);
            sum <= config.bytes_max / 2
        });
        let left = audio.packets.len() - newest.count();
        if left > 0 {
            audio.packets = audio.packets[left..].into();
        }
        if !audio.packets.is_empty() {
            let missed = 0;
            let batch = TapBatch {
                missed,
                batch: audio,
            };
            outputs.push_back(Output::Tap(tap, batch));
        }
    }

    pub(super) fn remove(&mut self, tap: TapId) {
        self.0.remove(&tap);
    }

    pub(super) fn watched(&self) -> StreamSet {
        let watched = self.0.values().map(|gate| gate.config.watched());
        watched.fold(StreamSet::default(), StreamSet::or)
    }

    /// The streams whose keyframes are waited for. A tap whose reader stands still waits for none:
    /// it must not cost anybody a keyframe.
    pub(super) fn waiting(&self) -> StreamSet {
        let waiting = self.0.values().map(TapGate::waiting);
        waiting.fold(StreamSet::default(), StreamSet::or)
    }

    /// Sends what was released to all of them.
    pub(super) fn send(
        &mut self,
        batch: &[BatchedPacket],
        outputs: &mut Outputs,
        tally: &mut Tally,
    ) {
        for (tap, gate) in &mut self.0 {
            for run in batch.chunk_by(BatchedPacket::goes_with) {
                let passing = run.iter().filter(|batched| gate.passes(batched, tally));
                let packets: Vec<_> = passing.map(|batched| batched.packet.clone()).collect();
                if packets.is_empty() {
                    continue;
                }
                let batch = TapBatch {
                    missed: std::mem::take(&mut gate.missed),
                    batch: Batch {
                        generation: run[0].generation,
                        is_past: run[0].is_past,
                        packets: packets.into(),
                    },
                };
                outputs.push_back(Output::Tap(*tap, batch));
            }
        }
    }

    /// A batch did not fit into a tap's queue.
    pub(super) fn handle_overflow(
        &mut self,
        tap: TapId,
        lost: &TapBatch,
        outputs: &mut Outputs,
        tally: &mut Tally,
    ) {
        let Some(gate) = self.0.get_mut(&tap) else {
            return;
        };
        let packets = lost.batch.packets.len() as u64;
        tally.tap_missed += packets;
        gate.missed += lost.missed + packets;
        gate.is_full = true;
        if gate.config.policy == Policy::Lossless {
            self.0.remove(&tap);
            outputs.push_back(Output::TapOverrun(tap));
        }
    }

    /// A tap's reader has caught up. The streams whose keyframes it needs to go on.
    pub(super) fn handle_ready(&mut self, tap: TapId) -> StreamSet {
        let Some(gate) = self.0.get_mut(&tap).filter(|gate| gate.is_full) else {
            return StreamSet::default();
        };
        gate.is_full = false;
        for passage in &mut gate.streams {
            passage.is_broken |= passage.begins.take().is_some();
        }
        gate.waiting()
    }
}

impl TapGate {
    fn waiting(&self) -> StreamSet {
        let waits = |stream: &StreamId| self.streams[stream.index()].begins.is_none();
        let streams = self.config.watched().iter();
        streams
            .filter(|stream| !self.is_full && waits(stream))
            .collect()
    }

    /// Whether the tap gets a packet.
    fn passes(&mut self, batched: &BatchedPacket, tally: &mut Tally) -> bool {
        let packet = &batched.packet;
        if !self.config.streams.contains(packet.stream) {
            return false;
        }
        if packet.kind() == TrackKind::Audio {
            self.note(self.is_full, tally);
            return !self.is_full;
        }
        let passage = &mut self.streams[packet.stream.index()];
        let segment = (packet.source, batched.generation);
        if passage.segment != segment {
            passage.segment = segment;
            passage.begins = None;
        }
        if self.is_full {
            self.note(true, tally);
            return false;
        }
        // What follows a keyframe that is late has gone by.
        if passage.begins.is_none() && packet.starts_keyframe() && !batched.is_late {
            passage.begins = Some(packet.sequence);
            passage.is_broken = false;
        }
        let Passage {
            begins, is_broken, ..
        } = *passage;
        self.note(is_broken, tally);
        begins.is_some_and(|begins| packet.sequence >= begins)
    }

    fn note(&mut self, is_missed: bool, tally: &mut Tally) {
        self.missed += u64::from(is_missed);
        tally.tap_missed += u64::from(is_missed);
    }
}
