//! A room's source: the publisher's packets are read once here, and become [`MediaPacket`]s.

mod layer;
mod starts;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use lightstick_types::{
    Bitrate, Codec, Layer, SourceId, StreamId, TrackId, TrackKind, VIDEO_TRACKS_MAX,
};

use crate::clock::{SenderClock, SenderReport};
use crate::codec::h264::{Nals, ParameterSets};
use crate::codec::{self, PayloadInfo, inspect};
use crate::health::{Fault, Health, Hints};
use crate::keyframe::KeyframeHabit;
use crate::meter::{Allowance, Verdict};
use crate::packet::{Format, HEADERS, MediaPacket, PacketExtensions};
use crate::streams::StreamSet;
use crate::watched::Supply;
use layer::UpLayer;
use starts::Starts;

/// `abs-capture-time` is added this often where the publisher sends none.
const CAPTURE_TIME_EVERY: Duration = Duration::from_secs(1);

/// An RTP packet as it comes from the publisher's WebRTC session.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub track: TrackId,
    pub layer: Layer,
    /// From its payload type.
    pub format: Format,
    /// Roll-overs counted.
    pub sequence: u64,
    pub timestamp: u32,
    pub marker: bool,
    /// Header extensions to pass on.
    pub extensions: PacketExtensions,
    /// RTP payload; empty for padding.
    pub payload: Bytes,
    /// The stream's last sender report.
    pub report: Option<SenderReport>,
    /// When it came off the socket.
    pub received_at: Instant,
}

/// Why a publisher's packet goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Over the publisher's bit rate limit.
    #[error("over the bit rate limit")]
    OverLimit,
    /// Over it for so long that the session must end.
    #[error("far over the bit rate limit")]
    Close,
    /// The payload is not what its payload type says.
    #[error("not a payload of its codec")]
    NotItsCodec,
    /// Its place is not known any more.
    #[error("too late")]
    TooLate,
}

/// What a packet changed, besides having to be forwarded.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Parameter sets that go before it: a packet of its own.
    pub inserted: Option<Arc<MediaPacket>>,
    /// The track's first packet, or its first in another codec.
    pub track_started: bool,
    /// The set of live video streams is another one.
    pub layers: bool,
    /// Packets missing right before this one.
    pub missing: u64,
}

/// One publisher session's media.
#[derive(Debug)]
pub struct Source {
    id: SourceId,
    clock: SenderClock,
    allowance: Allowance,
    playout_delay: Option<(u16, u16)>,
    keyframe_interval: Duration,
    tracks: [Option<UpTrack>; TrackId::COUNT],
    /// Video tracks that were announced, or have come all the same.
    video_tracks: u8,
    main: Option<TrackId>,
    /// H.264 parameter sets of the offer, of each track that has some.
    offered_sets: Vec<(TrackId, ParameterSets)>,
    health: Health,
}

/// One track of a source.
#[derive(Debug)]
pub struct UpTrack {
    format: Format,
    /// Changes of its codec.
    changes: u16,
    layers: [Option<UpLayer>; Layer::COUNT],
}

/// One available layer, for the API.
#[derive(Clone, Copy, Debug)]
pub struct LayerView {
    pub layer: Layer,
    /// Over the last second.
    pub bitrate: Bitrate,
    /// Frames over the last second.
    pub frames_per_second: f32,
    /// Since its last keyframe.
    pub keyframe_age: Option<Duration>,
    /// The publisher is asked not to send it.
    pub paused: bool,
}

/// Limits and settings of a source.
#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// The publisher's limit.
    pub bitrate_max: Bitrate,
    /// At most one keyframe request per layer upstream in this time.
    pub keyframe_interval: Duration,
    /// Added to video that names no playout delay of its own, in units of 10 ms.
    pub playout_delay: Option<(u16, u16)>,
}

impl Source {
    /// A source that has brought nothing yet. Each change of a track's codec adds to its number from
    /// the 17th bit on.
    #[must_use]
    pub fn new(id: SourceId, config: SourceConfig, now: Instant) -> Self {
        Self {
            id,
            clock: SenderClock::new(now),
            allowance: Allowance::new(config.bitrate_max),
            playout_delay: config.playout_delay,
            keyframe_interval: config.keyframe_interval,
            tracks: Default::default(),
            video_tracks: 0,
            main: None,
            offered_sets: Vec::new(),
            health: Health::default(),
        }
    }

    /// Hears how many video tracks the offer has.
    pub fn announce(&mut self, video_tracks: u8) {
        self.video_tracks = video_tracks.min(VIDEO_TRACKS_MAX as u8);
    }

    /// Hears which video track is to be shown first.
    pub fn set_main(&mut self, main: Option<TrackId>) {
        self.main = main;
    }

    /// Hears the H.264 parameter sets of the offer, for layers that send none.
    pub fn offer_parameter_sets(&mut self, sets: Vec<(TrackId, ParameterSets)>) {
        self.offered_sets = sets;
    }

    /// The publisher's health, to note what is seen elsewhere.
    pub fn health_mut(&mut self) -> &mut Health {
        &mut self.health
    }

    /// What was found wrong with the publisher.
    #[must_use]
    pub fn hints(&self) -> Hints {
        self.health.told()
    }

    /// Looks at the publisher's health; `habits` is how each stream's keyframes come. True: it
    /// has changed.
    ///
    /// Where it is not known whether keyframes come for asking, this asks.
    pub fn look_at_health(
        &mut self,
        now: Instant,
        habits: &[KeyframeHabit; StreamId::COUNT],
    ) -> bool {
        let mut hints = Hints::default();
        for stream in videos() {
            if let Some(layer) = self.layer_mut(stream).filter(|layer| layer.presence.live) {
                layer.diagnose(now, &habits[stream.index()], &mut hints);
            }
        }
        let last_packet = |kind| {
            let tracks = [TrackId::AUDIO].into_iter().chain(TrackId::videos());
            let tracks = tracks.filter(|track| track.kind() == kind);
            let layers = tracks.filter_map(|track| self.tracks[track.index()].as_ref());
            let layers = layers.flat_map(|track| track.layers.iter().flatten());
            layers.map(|layer| layer.presence.last_packet).max()
        };
        self.health.look(now, last_packet, hints)
    }

    /// Takes a packet in. `wall_now` is our wall clock, for the capture times of viewers.
    ///
    /// # Errors
    /// [`Refused`]: the packet is dropped, and only [`Refused::Close`] ends anything.
    pub fn ingest(
        &mut self,
        mut packet: Incoming,
        wall_now: SystemTime,
    ) -> Result<(MediaPacket, Changes), Refused> {
        let now = packet.received_at;
        match self.allowance.spend(now, packet.payload.len() + HEADERS) {
            Verdict::Pass => {}
            Verdict::Drop => return Err(Refused::OverLimit),
            Verdict::Close => return Err(Refused::Close),
        }
        let mut info = if packet.payload.is_empty() {
            codec::PayloadInfo::default()
        } else {
            inspect(packet.format.codec, &packet.payload).ok_or(Refused::NotItsCodec)?
        };
        if info.padding > 0 {
            let len = packet.payload.len() - info.padding;
            packet.payload.truncate(len);
        }
        let mut changes = Changes::default();
        let kind = packet.track.kind();
        let known = self.tracks[packet.track.index()].take();
        // Audio may alternate between Opus and RED. Viewers must not splice two codecs of video:
        // to them it is another source.
        let changed = |track: &UpTrack| kind == TrackKind::Video && track.format != packet.format;
        let anew = |codec_changes| UpTrack {
            format: packet.format,
            changes: codec_changes,
            layers: Default::default(),
        };
        changes.track_started = known.as_ref().is_none_or(changed);
        let track = match known {
            None => anew(0),
            Some(track) if changed(&track) => anew(track.changes.wrapping_add(1)),
            Some(track) => track,
        };
        if let Some(index) = packet.track.video_index() {
            self.video_tracks = self.video_tracks.max(index as u8 + 1);
        }
        let track = self.tracks[packet.track.index()].insert(track);
        track.format = packet.format;
        let number = self.id.number.wrapping_add(u32::from(track.changes) << 16);
        let source = SourceId::new(self.id.node, number);
        let layer = track.layers[packet.layer.index()].get_or_insert_with(|| {
            let mut offered = self.offered_sets.iter();
            let sets = offered.find(|(track, _)| *track == packet.track);
            let sets = sets.map(|(_, sets)| sets.clone()).unwrap_or_default();
            UpLayer::new(&packet, Starts::new(sets, now), self.keyframe_interval)
        });
        let counted = layer.count(&packet);
        changes.missing = counted.missing;
        if kind == TrackKind::Video && (counted.goes_back || info.nals.contains(Nals::B_SLICE)) {
            self.health.note(Fault::Reordered, now);
        }
        let mut sets = None;
        if !packet.payload.is_empty() {
            info.temporal_id = layer.pictures.layer_of(packet.timestamp, info.temporal_id);
            if packet.format.codec == Codec::H264 {
                sets = layer.find_start(&packet, &mut info, counted.ahead);
            }
        }
        let sets = sets.map(|sets| (layer.numbers.insert(packet.sequence), sets));
        let sequence = layer.numbers.of(packet.sequence).ok_or(Refused::TooLate)?;
        // H.264 may call several packets of one picture its start; the first one is.
        if info.keyframe && layer.keyframes.is_of(packet.timestamp) {
            info.starts_frame = false;
        }
        let comes_alive = layer.presence.packet(now);
        changes.layers = kind == TrackKind::Video && comes_alive;
        if info.keyframe && (info.starts_frame || sets.is_some()) {
            layer.keyframes.begin(packet.timestamp, now);
            layer.presence.keyframe();
        }

        let sampled_at = self.clock.sampled_at(
            now,
            packet.timestamp,
            packet.format.codec.clock_rate(),
            packet.report,
        );
        let mut extensions = packet.extensions;
        let stream = StreamId {
            track: packet.track,
            layer: packet.layer,
        };
        self.stamp(&mut extensions, now, sampled_at, wall_now, stream);
        let primary = (packet.format.codec == Codec::Red)
            .then(|| codec::red::primary(&packet.payload))
            .flatten();
        let packet = MediaPacket {
            source,
            stream,
            format: packet.format,
            sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            info,
            extensions,
            primary,
            payload: packet.payload,
            received_at: now,
            sampled_at,
        };
        changes.inserted = sets.map(|(sequence, payload)| {
            Arc::new(MediaPacket {
                sequence,
                marker: false,
                info: PayloadInfo {
                    starts_frame: true,
                    discardable: false,
                    nals: Nals::SPS.or(Nals::PPS),
                    ..packet.info
                },
                payload,
                ..packet.clone()
            })
        });
        Ok((packet, changes))
    }

    /// Gives every frame's clock and delay bounds that the publisher left out.
    fn stamp(
        &mut self,
        extensions: &mut PacketExtensions,
        now: Instant,
        sampled_at: Instant,
        wall_now: SystemTime,
        stream: StreamId,
    ) {
        if stream.track.kind() == TrackKind::Video && extensions.playout_delay.is_none() {
            extensions.playout_delay = self.playout_delay;
        }
        let clock = &mut self.clock;
        let track = self.tracks[stream.track.index()].as_mut();
        let Some(layer) = track.and_then(|track| track.layers[stream.layer.index()].as_mut())
        else {
            return;
        };
        if extensions.captured_at.is_some() {
            if extensions
                .capture_clock_offset
                .is_none_or(|offset| offset == 0.0)
            {
                extensions.capture_clock_offset = clock.offset_seconds(now, wall_now);
            }
            layer.capture_time_at = Some(now);
        } else if layer
            .capture_time_at
            .is_none_or(|at| now.saturating_duration_since(at) >= CAPTURE_TIME_EVERY)
        {
            layer.capture_time_at = Some(now);
            extensions.captured_at =
                wall_now.checked_sub(now.saturating_duration_since(sampled_at));
            extensions.capture_clock_offset = Some(0.0);
        }
    }

    /// A viewer asks for a keyframe of `stream`.
    pub fn request_keyframe(&mut self, stream: StreamId) {
        if let Some(layer) = self.layer_mut(stream).filter(|_| is_video(stream)) {
            layer.keyframes.gate.request();
        }
    }

    /// The streams whose keyframe request must go to the publisher now.
    pub fn poll_keyframe_requests(&mut self, now: Instant) -> StreamSet {
        let due = |layer: &mut UpLayer| layer.poll_keyframe_request(now);
        videos()
            .filter(|stream| self.layer_mut(*stream).is_some_and(due))
            .collect()
    }

    /// Marks layers that have fallen silent, or did not come back in time. True when the set of
    /// live or of available layers has changed.
    pub fn poll_silence(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for stream in videos() {
            if let Some(layer) = self.layer_mut(stream) {
                changed |= layer.presence.poll_silence(now);
            }
        }
        changed
    }

    /// Hears which streams the publisher is asked not to send: their silence means nothing, and
    /// they stay available.
    pub fn set_paused(&mut self, now: Instant, paused: StreamSet) {
        for stream in videos() {
            if let Some(layer) = self.layer_mut(stream) {
                layer.presence.set_paused(now, paused.contains(stream));
            }
        }
    }

    /// The video streams that can be had, and what is to be known of them.
    #[must_use]
    pub fn supply(&self) -> Supply {
        let mut supply = Supply {
            video_tracks: self.video_tracks,
            main: self.main,
            ..Supply::default()
        };
        for stream in videos() {
            let layer = self.layer(stream).map(|layer| &layer.presence);
            let Some(presence) = layer.filter(|presence| presence.is_available()) else {
                continue;
            };
            supply.available.insert(stream);
            if !presence.live {
                supply.asleep.insert(stream);
            }
            if presence.is_paused() {
                supply.paused.insert(stream);
            }
        }
        supply
    }

    /// When to poll again.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let layers = videos().filter_map(|stream| self.layer(stream));
        layers.filter_map(UpLayer::poll_timeout).min()
    }

    /// The live video streams.
    #[must_use]
    pub fn live_streams(&self) -> StreamSet {
        let live = |stream: &StreamId| self.layer(*stream).is_some_and(|layer| layer.presence.live);
        videos().filter(live).collect()
    }

    /// The tracks that have brought packets, and their formats.
    pub fn formats(&self) -> impl Iterator<Item = (TrackId, Format)> {
        let tracks = [TrackId::AUDIO].into_iter().chain(TrackId::videos());
        tracks.filter_map(|id| Some((id, self.tracks[id.index()].as_ref()?.format)))
    }

    /// What a track's layers bring now.
    pub fn layer_views(&mut self, track: TrackId, now: Instant) -> Vec<LayerView> {
        let Some(track) = &mut self.tracks[track.index()] else {
            return Vec::new();
        };
        let mut views = Vec::new();
        for layer in Layer::ALL {
            let Some(state) = &mut track.layers[layer.index()] else {
                continue;
            };
            if !state.presence.is_available() {
                continue;
            }
            let (bitrate, frames_per_second) = state.meter.rates(now);
            let keyframe_age = state
                .keyframes
                .at
                .map(|at| now.saturating_duration_since(at));
            views.push(LayerView {
                layer,
                bitrate,
                frames_per_second,
                keyframe_age,
                paused: state.presence.is_paused(),
            });
        }
        views
    }

    fn layer(&self, stream: StreamId) -> Option<&UpLayer> {
        let track = self.tracks[stream.track.index()].as_ref()?;
        track.layers[stream.layer.index()].as_ref()
    }

    fn layer_mut(&mut self, stream: StreamId) -> Option<&mut UpLayer> {
        let track = self.tracks[stream.track.index()].as_mut()?;
        track.layers[stream.layer.index()].as_mut()
    }
}

fn is_video(stream: StreamId) -> bool {
    stream.track.kind() == TrackKind::Video
}

fn videos() -> impl Iterator<Item = StreamId> {
    StreamId::all().filter(|stream| is_video(*stream))
}
