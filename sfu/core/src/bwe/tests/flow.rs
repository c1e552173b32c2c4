//! A sender with its estimator: layers at 30 frames a second, audio, and probes.

use std::time::{Duration, Instant};

use lightstick_types::Bitrate;

use super::link::{Link, Packet, Random};
use super::receiver::Receiver;
use crate::bwe::{Estimator, Probe};

pub(super) const LAYERS: [u64; 3] = [150_000, 500_000, 2_500_000];
const AUDIO_BYTES: usize = 120;
const PACKET: usize = 1_200;

/// How much a sender sends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Follow {
    /// One rate, whatever the estimate.
    Fixed(u64),
    /// The best layer that the estimate allows, from the next keyframe on, with probes.
    Layers,
    /// Exactly the estimate, up to this.
    Exactly(u64),
}

pub(super) struct Flow {
    id: usize,
    pub(super) estimator: Estimator,
    pub(super) receiver: Receiver,
    follow: Follow,
    pub(super) layer: usize,
    switch_at: Option<(i64, usize)>,
    /// Frames between keyframes, of five times the size; 0: none but at switches.
    pub(super) gop: u64,
    frame: u64,
    next_frame: i64,
    next_audio: i64,
    /// Packets of a large frame that wait for their turn.
    paced: Vec<(i64, usize)>,
    probe: Option<(Probe, i64, usize)>,
    pub(super) probes: u32,
    pub(super) probe_bytes: usize,
    pub(super) switches: u32,
    random: Random,
    start: Instant,
}

impl Flow {
    pub(super) fn new(id: usize, start: Instant, guess: u64, follow: Follow, seed: u64) -> Self {
        Self {
            id,
            estimator: Estimator::new(start, Bitrate(guess)),
            receiver: Receiver::new(1_000_000_007 * (id as i64 + 1)),
            follow,
            layer: 2,
            switch_at: None,
            gop: 0,
            frame: 0,
            next_frame: 3_000 * id as i64,
            next_audio: 7_000 * id as i64,
            paced: Vec::new(),
            probe: None,
            probes: 0,
            probe_bytes: 0,
            switches: 0,
            random: Random::new(seed),
            start,
        }
    }

    pub(super) fn at(&self, now: i64) -> Instant {
        self.start + Duration::from_micros(now as u64)
    }

    pub(super) fn estimate(&self) -> u64 {
        self.estimator.estimate().map_or(0, Bitrate::bps)
    }

    fn rate(&self) -> u64 {
        match self.follow {
            Follow::Fixed(bps) => bps,
            Follow::Layers => LAYERS[self.layer],
            Follow::Exactly(max) => self.estimate().clamp(50_000, max),
        }
    }

    fn send(&mut self, now: i64, bytes: usize, link: &mut Link, probe: bool) {
        let at = self.at(now);
        let sequence = match &self.probe {
            Some((running, _, _)) if probe => {
                self.probe_bytes += bytes;
                self.estimator.sent_probe(at, bytes, running.cluster)
            }
            _ => self.estimator.sent(at, bytes),
        };
        link.send(Packet {
            flow: self.id,
            sequence,
            bytes,
        });
    }

    pub(super) fn tick(&mut self, now: i64, link: &mut Link) {
        if now >= self.next_audio {
            self.next_audio += 20_000;
            self.send(now, AUDIO_BYTES, link, false);
        }
        if now >= self.next_frame {
            self.next_frame += 33_333;
            let switches = self.choose(now);
            self.send_frame(now, switches, link);
        }
        let due: Vec<usize> = {
            let (due, later) = self.paced.drain(..).partition(|(at, _)| *at <= now);
            self.paced = later;
            let due: Vec<(i64, usize)> = due;
            due.into_iter().map(|(_, bytes)| bytes).collect()
        };
        for bytes in due {
            self.send(now, bytes, link, false);
        }
        self.run_probe(now, link);
    }

    fn send_frame(&mut self, now: i64, keyframe: bool, link: &mut Link) {
        self.frame += 1;
        let keyframe = keyframe || self.gop > 0 && self.frame.is_multiple_of(self.gop);
        let mean = self.rate() as f64 / 8.0 / 30.0;
        // The frames between keyframes are the smaller for it.
        let gop = if self.gop > 0 { self.gop as f64 } else { 1e9 };
        let size = if keyframe {
            5.0 * mean
        } else {
            mean * (gop - 5.0) / (gop - 1.0) * (800 + self.random.below(401)) as f64 / 1e3
        };
        let (mut left, mut at) = (size as usize, now);
        while left > 0 {
            let bytes = left.min(PACKET);
            left -= bytes;
            if keyframe {
                // Spread at four times the rate, as the pacer does.
                self.paced.push((at, bytes));
                at += (bytes as f64 * 8e6 / (4.0 * self.rate() as f64)) as i64;
            } else {
                self.send(now, bytes, link, false);
            }
        }
    }

    /// Whether another layer begins now. A switch waits for its keyframe, a tenth of a second.
    fn choose(&mut self, now: i64) -> bool {
        if self.follow != Follow::Layers {
            return false;
        }
        let estimate = self.estimator.estimate();
        if let Some(estimate) = estimate {
            let best = (0..3)
                .rev()
                .find(|layer| total(LAYERS[*layer]) <= estimate.bps())
                .unwrap_or(0);
            if best == self.layer {
                self.switch_at = None;
            } else if self.switch_at.is_none_or(|(_, layer)| layer != best) {
                self.switch_at = Some((now + 100_000, best));
            }
        }
        match self.switch_at {
            Some((at, layer)) if at <= now => {
                self.layer = layer;
                self.switch_at = None;
                self.switches += 1;
                true
            }
            _ => false,
        }
    }

    fn run_probe(&mut self, now: i64, link: &mut Link) {
        if self.probe.is_none() && now % 25_000 == 0 {
            let wanted = (self.follow == Follow::Layers && self.layer < 2)
                .then(|| Bitrate(total(LAYERS[self.layer + 1])));
            self.probe = self
                .estimator
                .poll_probe(self.at(now), wanted)
                .map(|probe| (probe, now, 0));
            self.probes += u32::from(self.probe.is_some());
        }
        let Some((probe, since, mut sent)) = self.probe else {
            return;
        };
        let passed = (now - since) as f64 / probe.duration.as_micros() as f64;
        let due = (probe.bytes as f64 * passed.min(1.0)) as usize;
        while sent < due || passed >= 1.0 && sent < probe.bytes {
            self.send(now, PACKET, link, true);
            sent += PACKET;
        }
        self.probe = (sent < probe.bytes).then_some((probe, since, sent));
    }
}

/// A video rate with its audio.
pub(super) fn total(video: u64) -> u64 {
    video + AUDIO_BYTES as u64 * 8 * 50
}
