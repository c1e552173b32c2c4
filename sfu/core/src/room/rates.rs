//! What a room's video takes on a viewer's link, each layer with its temporal layers, and audio.

use std::time::{Duration, Instant};

use lightstick_types::{Bitrate, StreamId, TrackId, TrackKind, VIDEO_TRACKS_MAX};

use crate::codec::TEMPORAL_LAYERS;
use crate::layers::LayerRates;
use crate::meter::Meter;
use crate::packet::{HEADERS, MediaPacket};
use crate::streams::StreamSet;

/// Rates are read this often.
const READ_EVERY: Duration = Duration::from_millis(250);
/// What a meter looks back on: before that, it shows too little of a layer that has just come.
const METERED: Duration = Duration::from_secs(1);

/// Counts a room's packets, each once for all viewers of a shard.
#[derive(Debug, Default)]
pub(super) struct Rates {
    streams: [[Metered; TEMPORAL_LAYERS]; StreamId::COUNT],
    /// Since when a stream is sent without a break.
    flowing_since: [Option<Instant>; StreamId::COUNT],
    read_at: Option<Instant>,
    read: RoomRates,
}

/// What a room's tracks take, headers included, as the estimate of a link is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoomRates {
    pub(super) video: [LayerRates; VIDEO_TRACKS_MAX],
    pub(super) audio: Bitrate,
}

impl RoomRates {
    /// What the layers of a video track take; nothing is known of audio.
    pub(super) fn of(&self, track: TrackId) -> LayerRates {
        let video = track.video_index().and_then(|index| self.video.get(index));
        video.copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Metered {
    meter: Meter,
    bps: u64,
    frames: f32,
}

impl Rates {
    pub(super) fn count(&mut self, packet: &MediaPacket, now: Instant) {
        let temporal = match packet.kind() {
            TrackKind::Audio => 0,
            TrackKind::Video => usize::from(packet.info.temporal_id),
        };
        let metered = &mut self.streams[packet.stream.index()][temporal];
        let frames = u32::from(packet.marker);
        metered
            .meter
            .add(now, packet.payload.len() + HEADERS, frames);
    }

    /// Hears which video streams are sent.
    pub(super) fn set_flowing(&mut self, flowing: StreamSet, now: Instant) {
        for (stream, since) in StreamId::all().zip(&mut self.flowing_since) {
            *since = flowing.contains(stream).then(|| since.unwrap_or(now));
        }
    }

    /// Forgets what layers take: the next publisher's may take anything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What each track takes. Of layers at rest, what they took before.
    pub(super) fn read(&mut self, now: Instant) -> &RoomRates {
        let fresh = |at| now.saturating_duration_since(at) < READ_EVERY;
        if !self.read_at.is_some_and(fresh) {
            self.read_at = Some(now);
            let streams = StreamId::all().zip(&mut self.streams);
            for ((stream, metered), since) in streams.zip(self.flowing_since) {
                let Some(track) = stream.track.video_index() else {
                    self.read.audio = Bitrate(metered[0].read(now).0);
                    continue;
                };
                if since.is_none_or(|at| now.saturating_duration_since(at) < METERED) {
                    continue;
                }
                let read = metered.each_mut().map(|metered| metered.read(now));
                self.read.video[track].set(stream.layer, read);
            }
        }
        &self.read
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
    use lightstick_types::Layer;

    const HIGH: StreamId = StreamId {
        track: TrackId::FIRST_VIDEO,
        layer: Layer::High,
    };

    /// Lets the high layer bring packets of so many bytes, a hundred a second; its rate.
    fn run(rates: &mut Rates, now: &mut Instant, seconds: u64, bytes: usize) -> u64 {
        for _ in 0..seconds * 100 {
            *now += Duration::from_millis(10);
            if bytes > 0 {
                rates.streams[HIGH.index()][0].meter.add(*now, bytes, 1);
            }
            rates.read(*now);
        }
        rates
            .read(*now)
            .of(HIGH.track)
            .layer(HIGH.layer)
            .map_or(0, |r| r.bps())
    }

    #[test]
    fn what_a_layer_takes_is_remembered_while_it_rests() {
        let high = StreamSet::from(HIGH);
        let mut now = Instant::now();
        let mut rates = Rates::default();
        rates.set_flowing(high, now);
        let rate = run(&mut rates, &mut now, 2, 1_250);
        assert!((900_000..=1_000_000).contains(&rate), "{rate}");
        rates.set_flowing(StreamSet::default(), now);
        assert_eq!(run(&mut rates, &mut now, 60, 0), rate);
        rates.set_flowing(high, now);
        let woken = run(&mut rates, &mut now, 1, 1_250);
        assert!((900_000..=1_000_000).contains(&woken), "{woken}");
        let grown = run(&mut rates, &mut now, 10, 2_500);
        assert!((1_800_000..=2_000_000).contains(&grown), "{grown}");
        rates.forget();
        assert_eq!(rates.read(now).of(HIGH.track).layer(HIGH.layer), None);
    }
}
