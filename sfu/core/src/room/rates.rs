//! What a room's layers take on a viewer's link: each with its temporal layers, and audio.

use std::time::{Duration, Instant};

use crate::codec::TEMPORAL_LAYERS;
use crate::layers::{LayerRates, LayerSet};
use crate::meter::Meter;
use crate::packet::{HEADERS, MediaPacket};
use lightstick_types::{Layer, TrackKind};

/// Rates are read this often.
const READ_EVERY: Duration = Duration::from_millis(250);
/// What a meter looks back on: before that, it shows too little of a layer that has just come.
const METERED: Duration = Duration::from_secs(1);

/// Counts a room's packets, each once for all viewers of a shard.
#[derive(Debug, Default)]
pub(super) struct Rates {
    video: [[Metered; TEMPORAL_LAYERS]; Layer::COUNT],
    audio: Metered,
    /// Since when a layer is sent without a break.
    flowing_since: [Option<Instant>; Layer::COUNT],
    read_at: Option<Instant>,
    read: (LayerRates, u64),
}

#[derive(Debug, Default)]
struct Metered {
    meter: Meter,
    bps: u64,
    frames: f32,
}

impl Rates {
    pub(super) fn count(&mut self, packet: &MediaPacket, now: Instant) {
        let metered = match packet.kind {
            TrackKind::Audio => &mut self.audio,
            TrackKind::Video => {
                &mut self.video[packet.layer.index()][usize::from(packet.info.temporal_id)]
            }
        };
        let frames = u32::from(packet.marker);
        metered
            .meter
            .add(now, packet.payload.len() + HEADERS, frames);
    }

    /// Hears which layers are sent.
    pub(super) fn set_flowing(&mut self, layers: LayerSet, now: Instant) {
        for (layer, since) in Layer::ALL.into_iter().zip(&mut self.flowing_since) {
            *since = layers.contains(layer).then(|| since.unwrap_or(now));
        }
    }

    /// Forgets what layers take: the next publisher's may take anything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What each layer takes, and audio in bit/s: headers included, as the estimate of a link is. Of
    /// layers at rest, what they took before.
    pub(super) fn read(&mut self, now: Instant) -> (LayerRates, u64) {
        let fresh = |at| now.saturating_duration_since(at) < READ_EVERY;
        if !self.read_at.is_some_and(fresh) {
            self.read_at = Some(now);
            let (rates, audio) = &mut self.read;
            let layers = Layer::ALL.into_iter().zip(&mut self.video);
            for ((layer, metered), since) in layers.zip(self.flowing_since) {
                if since.is_none_or(|at| now.saturating_duration_since(at) < METERED) {
                    continue;
                }
                rates.set(layer, metered.each_mut().map(|metered| metered.read(now)));
            }
            *audio = self.audio.read(now).0;
        }
        self.read
    }
}

impl Metered {
    /// Smoothed, because a keyframe is many times a frame; upwards less, because a link that is
    /// thought to carry a layer that has grown is overrun.
    fn read(&mut self, now: Instant) -> (u64, f32) {
        let (rate, frames) = self.meter.rates(now);
        (self.bps, self.frames) = match (self.bps, rate.bps()) {
            (0, bps) | (_, bps @ 0) => (bps, frames),
            (before, bps) => {
                let part = if bps > before { 3 } else { 7 };
                let smooth_frames = (self.frames * 7.0 + frames) / 8.0;
                ((before * part + bps) / (part + 1), smooth_frames)
            }
        };
        (self.bps, self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the high layer bring packets of so many bytes, a hundred a second; its rate.
    fn run(rates: &mut Rates, now: &mut Instant, seconds: u64, bytes: usize) -> u64 {
        for _ in 0..seconds * 100 {
            *now += Duration::from_millis(10);
            if bytes > 0 {
                rates.video[Layer::High.index()][0]
                    .meter
                    .add(*now, bytes, 1);
            }
            rates.read(*now);
        }
        rates.read(*now).0.layer(Layer::High).map_or(0, |r| r.bps())
    }

    #[test]
    fn what_a_layer_takes_is_remembered_while_it_rests() {
        let high: LayerSet = [Layer::High].into_iter().collect();
        let mut now = Instant::now();
        let mut rates = Rates::default();
        rates.set_flowing(high, now);
        let rate = run(&mut rates, &mut now, 2, 1_250);
        assert!((900_000..=1_000_000).contains(&rate), "{rate}");
        rates.set_flowing(LayerSet::default(), now);
        assert_eq!(run(&mut rates, &mut now, 60, 0), rate);
        rates.set_flowing(high, now);
        let woken = run(&mut rates, &mut now, 1, 1_250);
        assert!((900_000..=1_000_000).contains(&woken), "{woken}");
        let grown = run(&mut rates, &mut now, 10, 2_500);
        assert!((1_800_000..=2_000_000).contains(&grown), "{grown}");
        rates.forget();
        assert_eq!(rates.read(now).0.layer(Layer::High), None);
    }
}
