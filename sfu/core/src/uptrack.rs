//! A room's source: the publisher's packets are read once here, and become [`MediaPacket`]s.

mod starts;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lightstick_types::{
    Bitrate, Codec, Hint, HintCode, Layer, StreamId, TrackId, TrackKind, VIDEO_TRACKS_MAX,
};

use crate::clock::{SenderClock, SenderReport};
use crate::codec::h264::{Nals, ParameterSets};
use crate::codec::{self, PayloadInfo, inspect};
use crate::health::{Fault, Health, Hints};
use crate::keyframe::{KeyframeGate, KeyframeHabit};
use crate::meter::{Allowance, Meter, Verdict};
use crate::packet::{Format, HEADERS, MediaPacket, PacketExtensions};
use crate::streams::StreamSet;
use crate::watched::Supply;
use starts::{Numbers, Start, Starts};

/// A layer that brings nothing for this long is dead, as long as nothing else explains it.
const SILENCE: Duration = Duration::from_millis(1_500);
/// How long a layer may take to come back once it is wanted again: the wish goes over HTTP, and
/// the encoder starts anew.
const WAKING: Duration = Duration::from_secs(5);
/// Keyframes further apart than this make late viewers wait, or replay a lot.
const INTERVAL_MAX: Duration = Duration::from_secs(4);
/// Keyframes no further apart than this make up for requests that are ignored.
const INTERVAL_SHORT: Duration = Duration::from_millis(2_500);
/// Until then a keyframe has come, or something is wrong.
const KEYFRAME_WITHIN: Duration = Duration::from_secs(5);
/// A gap of more than this backwards, or of more than 16 bits forwards, is no loss: the publisher
/// numbers anew.
const JUMP_MAX: u64 = 3_000;
/// A timestamp that goes back by less stands for a picture that is shown before others; by more it
/// is another clock. Two seconds.
const REORDER_MAX: u32 = 180_000;
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
    pub payload: Arc<[u8]>,
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
    number: u32,
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

#[derive(Debug)]
struct UpLayer {
    meter: Meter,
    gate: KeyframeGate,
    last_packet: Instant,
    keyframe_at: Option<Instant>,
    /// Between the last two keyframes.
    keyframe_gap: Option<Duration>,
    keyframe_timestamp: Option<u32>,
    timestamp: Option<u32>,
    pictures: Pictures,
    highest: u64,
    numbers: Numbers,
    starts: Starts,
    /// Since when it is live, or comes again.
    began: Instant,
    capture_time_at: Option<Instant>,
    live: bool,
    rest: Rest,
}

/// The temporal layers of the last pictures. Not every packet tells its picture's: a fragment of
/// AV1 does not, nor does a delimiter of H.264. So it is what the first packet says.
#[derive(Clone, Debug, Default)]
struct Pictures {
    last: [Option<(u32, u8)>; 4],
    newest: usize,
}

impl Pictures {
    fn layer_of(&mut self, timestamp: u32, told: u8) -> u8 {
        if let Some((_, layer)) = self.last.iter().flatten().find(|(at, _)| *at == timestamp) {
            return *layer;
        }
        self.newest = (self.newest + 1) % self.last.len();
        self.last[self.newest] = Some((timestamp, told));
        told
    }
}

/// Whether a layer's silence is our own wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    None,
    /// The publisher is asked not to send it.
    Paused,
    /// It is asked to send it again, and has time to until then.
    Waking(Instant),
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
    /// The room's `number`th publisher session.
    #[must_use]
    pub fn new(number: u32, config: SourceConfig, now: Instant) -> Self {
        Self {
            number,
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
            if let Some(layer) = self.layer_mut(stream).filter(|layer| layer.live) {
                layer.diagnose(now, &habits[stream.index()], &mut hints);
            }
        }
        let last_packet = |kind| {
            let tracks = [TrackId::AUDIO].into_iter().chain(TrackId::videos());
            let tracks = tracks.filter(|track| track.kind() == kind);
            let layers = tracks.filter_map(|track| self.tracks[track.index()].as_ref());
            let layers = layers.flat_map(|track| track.layers.iter().flatten());
            layers.map(|layer| layer.last_packet).max()
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
            packet.payload = Arc::from(&packet.payload[..len]);
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
        let source = self.number.wrapping_add(u32::from(track.changes) << 16);
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
        if info.keyframe && layer.keyframe_timestamp == Some(packet.timestamp) {
            info.starts_frame = false;
        }
        changes.layers = kind == TrackKind::Video && !layer.live;
        if !layer.live {
            layer.began = now;
        }
        layer.live = true;
        if info.keyframe && (info.starts_frame || sets.is_some()) {
            let before = layer.keyframe_at.replace(now);
            layer.keyframe_gap = before.map(|before| now.saturating_duration_since(before));
            layer.keyframe_timestamp = Some(packet.timestamp);
            layer.gate.keyframe();
            // An encoder that starts anew starts with a keyframe.
            if matches!(layer.rest, Rest::Waking(_)) {
                layer.rest = Rest::None;
            }
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
        let red = (packet.format.codec == Codec::Red)
            .then(|| codec::red::primary(&packet.payload))
            .flatten();
        let packet = MediaPacket {
            source,
            track: packet.track,
            layer: packet.layer,
            format: packet.format,
            sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            info,
            extensions,
            primary: red
                .as_ref()
                .map(|red| Arc::from(&packet.payload[red.range.clone()])),
            block_type: red.map(|red| red.payload_type),
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
            layer.gate.request();
        }
    }

    /// The streams whose keyframe request must go to the publisher now.
    pub fn poll_keyframe_requests(&mut self, now: Instant) -> StreamSet {
        let due = |layer: &mut UpLayer| layer.can_be_asked() && layer.gate.poll(now);
        videos()
            .filter(|stream| self.layer_mut(*stream).is_some_and(due))
            .collect()
    }

    /// Marks layers that have fallen silent, or did not come back in time. True when the set of
    /// live or of available layers has changed.
    pub fn poll_silence(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for stream in videos() {
            let Some(state) = self.layer_mut(stream) else {
                continue;
            };
            if state.live && now.saturating_duration_since(state.last_packet) >= SILENCE {
                state.live = false;
                changed = true;
            }
            if matches!(state.rest, Rest::Waking(until) if until <= now) {
                state.rest = Rest::None;
                changed |= !state.live;
            }
        }
        changed
    }

    /// Hears which streams the publisher is asked not to send: their silence means nothing, and
    /// they stay available.
    pub fn set_paused(&mut self, now: Instant, paused: StreamSet) {
        for stream in videos() {
            if let Some(state) = self.layer_mut(stream) {
                state.rest = match state.rest {
                    _ if paused.contains(stream) => Rest::Paused,
                    Rest::Paused => Rest::Waking(now + WAKING),
                    rest => rest,
                };
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
            let Some(state) = self.layer(stream).filter(|layer| layer.is_available()) else {
                continue;
            };
            supply.available.insert(stream);
            if !state.live {
                supply.asleep.insert(stream);
            }
            if state.rest == Rest::Paused {
                supply.paused.insert(stream);
            }
        }
        supply
    }

    /// When to poll again.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        videos()
            .filter_map(|stream| self.layer(stream))
            .flat_map(|layer| {
                let waking = match layer.rest {
                    Rest::Waking(until) => Some(until),
                    Rest::None | Rest::Paused => None,
                };
                [
                    layer.gate.deadline().filter(|_| layer.can_be_asked()),
                    layer.live.then_some(layer.last_packet + SILENCE),
                    waking,
                ]
            })
            .flatten()
            .min()
    }

    /// The live video streams.
    #[must_use]
    pub fn live_streams(&self) -> StreamSet {
        let live = |stream: &StreamId| self.layer(*stream).is_some_and(|layer| layer.live);
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
            if !state.is_available() {
                continue;
            }
            let (bitrate, frames_per_second) = state.meter.rates(now);
            let keyframe_age = state
                .keyframe_at
                .map(|at| now.saturating_duration_since(at));
            views.push(LayerView {
                layer,
                bitrate,
                frames_per_second,
                keyframe_age,
                paused: state.rest == Rest::Paused,
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

impl UpLayer {
    fn new(packet: &Incoming, starts: Starts, keyframe_interval: Duration) -> Self {
        Self {
            meter: Meter::default(),
            gate: KeyframeGate::new(keyframe_interval),
            last_packet: packet.received_at,
            keyframe_at: None,
            keyframe_gap: None,
            keyframe_timestamp: None,
            timestamp: None,
            pictures: Pictures::default(),
            highest: packet.sequence.wrapping_sub(1),
            numbers: Numbers::default(),
            starts,
            began: packet.received_at,
            capture_time_at: None,
            live: false,
            rest: Rest::None,
        }
    }

    fn is_available(&self) -> bool {
        self.live || self.rest != Rest::None
    }

    /// An encoder at rest starts with a keyframe by itself, and some answer requests for it with
    /// keyframes of all layers.
    fn can_be_asked(&self) -> bool {
        self.live || self.rest == Rest::None
    }

    fn count(&mut self, packet: &Incoming) -> Counted {
        self.last_packet = packet.received_at;
        let before = self.timestamp.replace(packet.timestamp);
        let frames = u32::from(before != Some(packet.timestamp));
        self.meter
            .add(packet.received_at, packet.payload.len(), frames);
        let ahead = packet.sequence.wrapping_sub(self.highest);
        if ahead > u64::from(u16::MAX) && packet.sequence.abs_diff(self.highest) > JUMP_MAX {
            self.numbers.restart();
            self.highest = packet.sequence;
            return Counted {
                ahead: true,
                ..Counted::default()
            };
        }
        if ahead == 0 || ahead > u64::from(u16::MAX) {
            return Counted::default();
        }
        self.highest = packet.sequence;
        let back = before.map_or(0, |before| before.wrapping_sub(packet.timestamp));
        Counted {
            ahead: true,
            missing: ahead - 1,
            goes_back: !packet.payload.is_empty() && (1..REORDER_MAX).contains(&back),
        }
    }

    /// Finds out whether a decoder can start with an H.264 packet; gives the parameter sets that go
    /// before it.
    fn find_start(
        &mut self,
        packet: &Incoming,
        info: &mut PayloadInfo,
        ahead: bool,
    ) -> Option<Arc<[u8]>> {
        let (timestamp, now) = (packet.timestamp, packet.received_at);
        let what = (timestamp, info.nals);
        let (start, keyframe) = self.starts.take(&packet.payload, what, ahead, now);
        info.keyframe = keyframe;
        match start {
            // Later packets of such a picture are none to start from.
            Start::No => info.starts_frame &= !keyframe,
            Start::Here => info.starts_frame = true,
            Start::After(sets) => {
                info.starts_frame = false;
                return Some(sets);
            }
        }
        None
    }

    /// What its keyframes give reason to tell the artist.
    fn diagnose(&mut self, now: Instant, habit: &KeyframeHabit, hints: &mut Hints) {
        if self.starts.lacks_sets() {
            hints.add(HintCode::NoParameterSets);
            return;
        }
        let age = now.saturating_duration_since(self.keyframe_at.unwrap_or(self.began));
        if self.keyframe_at.is_none() && age >= KEYFRAME_WITHIN {
            hints.add(HintCode::NoKeyframes);
        }
        if age > INTERVAL_MAX && self.rest == Rest::None && !habit.is_known() {
            self.gate.request();
        }
        if !habit.is_deaf() {
            return;
        }
        // Whatever was asked for, keyframes come by themselves only.
        let interval = self.keyframe_gap;
        // One that is overdue says more than the last interval.
        let apart = interval.map_or(age, |interval| interval.max(age));
        if apart > INTERVAL_SHORT {
            hints.add(HintCode::KeyframeRequestsIgnored);
        }
        if apart > INTERVAL_MAX && self.keyframe_at.is_some() {
            let known = interval.filter(|interval| age <= *interval + *interval / 2);
            hints.add(Hint {
                code: HintCode::LongKeyframeInterval,
                seconds: known.map(|interval| (interval.as_secs_f64().round()) as u32),
            });
        }
    }
}

/// What a packet's number and timestamp say.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// No later packet has come before it.
    ahead: bool,
    /// Packets missing right before it.
    missing: u64,
    /// Its timestamp lies before that of the packet before it.
    goes_back: bool,
}
