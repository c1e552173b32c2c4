//! What a room's layers take on a viewer's link: each with its temporal layers, and audio.

use std::time::{Duration, Instant};

use lightstick_sfu_core::codec::TEMPORAL_LAYERS;
use lightstick_sfu_core::layers::LayerRates;
use lightstick_sfu_core::meter::Meter;
use lightstick_sfu_core::packet::{HEADERS, MediaPacket};
use lightstick_types::{Layer, TrackKind};

/// Rates are read this often.
const READ_EVERY: Duration = Duration::from_millis(250);

/// Counts a room's packets, each once for all viewers of a shard.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    video: [[Metered; TEMPORAL_LAYERS]; Layer::COUNT],
    audio: Metered,
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
    pub(crate) fn count(&mut self, packet: &MediaPacket, now: Instant) {
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

    /// What each layer takes, and audio in bit/s: headers included, as the estimate of a link is.
    pub(crate) fn read(&mut self, now: Instant) -> (LayerRates, u64) {
        let fresh = |at| now.saturating_duration_since(at) < READ_EVERY;
        if !self.read_at.is_some_and(fresh) {
            self.read_at = Some(now);
            let (rates, audio) = &mut self.read;
            for (layer, metered) in Layer::ALL.into_iter().zip(&mut self.video) {
                rates.set(layer, metered.each_mut().map(|metered| metered.read(now)));
            }
            *audio = self.audio.read(now).0;
        }
        self.read
    }
}

impl Metered {
    /// Smoothed, because a keyframe is many times a frame.
    fn read(&mut self, now: Instant) -> (u64, f32) {
        let (rate, frames) = self.meter.rates(now);
        (self.bps, self.frames) = match (self.bps, rate.bps()) {
            (0, bps) | (_, bps @ 0) => (bps, frames),
            (before, bps) => ((before * 7 + bps) / 8, (self.frames * 7.0 + frames) / 8.0),
        };
        (self.bps, self.frames)
    }
}
