//! A publisher's packets: which of its streams each is of, before str0m opens it, and on its way
//! from str0m into the core after.
//!
//! str0m is told of every stream by its SSRC. Which of the offer's streams a new SSRC is, the
//! core's [`Binding`] tells from the packet's header. That header is not authentic yet: a new
//! stream counts, and takes another's place, only when a packet of it was opened.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_sfu_core::binding::Binding;
use lightstick_sfu_core::clock::SenderReport;
use lightstick_sfu_core::codec::h264::ParameterSets;
use lightstick_sfu_core::health::Promise;
use lightstick_sfu_core::offer::{Offer, Track};
use lightstick_sfu_core::packet::PacketExtensions;
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::rate::{Bucket, Limit};
use lightstick_types::{Layer, StreamId, TrackId, TrackKind};
use str0m::Rtc;
use str0m::media::{KeyframeRequestKind, MediaKind, MediaTime, Mid, Rid};
use str0m::rtp::{RtpPacket, Ssrc};

use splice::Splice;

mod splice;

/// Streams that str0m is told of at a time. Past it, the one that was heard the longest ago goes,
/// unless it is the one that is forwarded.
const STREAMS_MAX: usize = 32;
/// New streams of one session: an encoder that restarts has one. str0m remembers each.
const NEW_STREAMS: Limit = Limit {
    every: Duration::from_secs(2),
    burst: 32,
};
/// A stream that was replaced comes back when its successor is silent for so long.
const SILENCE: Duration = Duration::from_secs(1);
/// Replaced streams of repairs that are remembered, so that their late packets are not taken for
/// their successors'.
const RETIRED_MAX: usize = 16;

/// What a publisher sends.
#[derive(Debug)]
pub(crate) struct Ingress {
    binding: Binding,
    rids: Vec<(StreamId, String)>,
    video_tracks: u8,
    /// Whether it wants keyframe requests as FIR (RFC 5104 section 4.3.1).
    request: KeyframeRequestKind,
    streams: HashMap<Ssrc, Stream>,
    /// By [`StreamId::index`].
    slots: [Slot; StreamId::COUNT],
    retired_repairs: Vec<Ssrc>,
    new_streams: Bucket,
    new_repairs: Bucket,
    /// A stream has gone on under another SSRC.
    ssrc_changed: bool,
    promise: Promise,
    parameter_sets: Vec<(TrackId, ParameterSets)>,
}

/// A stream of media that str0m knows.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    /// A packet of it was opened.
    authentic: bool,
    /// Another one has taken its place.
    replaced: bool,
    heard_at: Instant,
}

/// Audio, or a layer of video: what one stream after another fills.
#[derive(Debug, Default)]
struct Slot {
    now: Option<(Ssrc, Splice)>,
    /// What sends it again.
    repair: Option<Ssrc>,
}

/// What str0m calls a track. The peer's own names are not limited as str0m's are.
pub(crate) fn mid_of(track: TrackId) -> Mid {
    Mid::from(&*track.to_string())
}

/// What str0m calls a layer of video.
fn rid_of(stream: StreamId) -> Option<Rid> {
    let name = match stream.layer {
        Layer::Low => "low",
        Layer::Medium => "medium",
        Layer::High => "high",
    };
    (stream.track.kind() == TrackKind::Video).then(|| Rid::from(name))
}

pub(crate) fn kind_of(kind: TrackKind) -> MediaKind {
    match kind {
        TrackKind::Audio => MediaKind::Audio,
        TrackKind::Video => MediaKind::Video,
    }
}

impl Ingress {
    /// What `offer` announces.
    pub(crate) fn new(offer: &Offer) -> Self {
        let encodings = offer.numbered().flat_map(|(id, track)| {
            let named = track.encodings().iter();
            named.map(move |encoding| {
                let layer = encoding.layer;
                (StreamId { track: id, layer }, encoding.rid.to_string())
            })
        });
        let videos = offer.tracks().filter(|t| t.kind == TrackKind::Video);
        let wants_fir = offer
            .tracks()
            .filter(|track| track.kind == TrackKind::Video)
            .any(|track| !track.has_feedback("nack pli") && track.has_feedback("ccm fir"));
        Self {
            binding: Binding::new(offer),
            rids: encodings.collect(),
            video_tracks: videos.count() as u8,
            request: match wants_fir {
                true => KeyframeRequestKind::Fir,
                false => KeyframeRequestKind::Pli,
            },
            streams: HashMap::new(),
            slots: Default::default(),
            retired_repairs: Vec::new(),
            new_streams: Bucket::default(),
            new_repairs: Bucket::default(),
            ssrc_changed: false,
            promise: Promise::read(offer),
            parameter_sets: offer.numbered().map(offered_sets).collect(),
        }
    }

    /// What the offer promises.
    pub(crate) fn promise(&self) -> Promise {
        self.promise
    }

    /// How many video tracks are announced.
    pub(crate) fn video_tracks(&self) -> u8 {
        self.video_tracks
    }

    /// The H.264 parameter sets of the offer, of each track.
    pub(crate) fn parameter_sets(&self) -> &[(TrackId, ParameterSets)] {
        &self.parameter_sets
    }

    /// Whether a stream has gone on under another SSRC since this was asked last.
    pub(crate) fn take_ssrc_changed(&mut self) -> bool {
        std::mem::take(&mut self.ssrc_changed)
    }

    /// Makes sure that str0m knows the stream of a datagram. False: it is of none that was
    /// offered.
    pub(crate) fn admit(&mut self, rtc: &mut Rtc, datagram: &[u8], now: Instant) -> bool {
        let Some(ssrc) = datagram.get(8..12).and_then(|ssrc| ssrc.try_into().ok()) else {
            return false;
        };
        let ssrc = Ssrc::from(u32::from_be_bytes(ssrc));
        // str0m takes what libwebrtc probes with before it has media.
        if ssrc.is_probe()
            || self.streams.contains_key(&ssrc)
            || self.slots.iter().any(|slot| slot.repair == Some(ssrc))
        {
            return true;
        }
        let Some(place) = self.binding.place(datagram) else {
            return false;
        };
        let (mid, rid) = (mid_of(place.stream.track), rid_of(place.stream));
        if place.repair {
            let slot = &mut self.slots[place.stream.index()];
            // Before the first media libwebrtc probes with padding in the place of repairs: str0m
            // reports that it came, and drops what is more than padding.
            let Some((media, _)) = slot.now else {
                return true;
            };
            if self.retired_repairs.contains(&ssrc) || !self.new_repairs.take(now, NEW_STREAMS) {
                return false;
            }
            slot.repair = Some(ssrc);
            rtc.direct_api()
                .expect_stream_rx(media, Some(ssrc), mid, rid);
            return true;
        }
        // Taken when the stream turns out to be authentic.
        if !self.new_streams.clone().take(now, NEW_STREAMS) {
            return false;
        }
        self.make_room(rtc);
        let repair = self.binding.repair_of(*ssrc).map(Ssrc::from);
        let mut api = rtc.direct_api();
        let stream = api.expect_stream_rx(ssrc, repair, mid, rid);
        // A peer without RTX sends lost packets again as they were. Lost audio comes too late.
        stream.suppress_nack(place.stream.track.kind() == TrackKind::Audio);
        let stream = Stream {
            id: place.stream,
            authentic: false,
            replaced: false,
            heard_at: now,
        };
        self.streams.insert(ssrc, stream);
        true
    }

    fn make_room(&mut self, rtc: &mut Rtc) {
        if self.streams.len() < STREAMS_MAX {
            return;
        }
        let forwarded = |ssrc: &Ssrc| {
            let mut slots = self.slots.iter().flat_map(|slot| &slot.now);
            slots.any(|(now, _)| now == ssrc)
        };
        let others = self.streams.iter().filter(|(ssrc, _)| !forwarded(ssrc));
        let oldest = others.min_by_key(|(_, stream)| stream.heard_at);
        if let Some(oldest) = oldest.map(|(ssrc, _)| *ssrc) {
            self.streams.remove(&oldest);
            rtc.direct_api().remove_stream_rx(oldest);
        }
    }

    /// Places a packet that str0m has opened. `None`: of a payload type or stream that is not
    /// forwarded.
    pub(crate) fn place(&mut self, rtc: &mut Rtc, packet: RtpPacket) -> Option<Incoming> {
        let (ssrc, now) = (packet.header.ssrc, packet.timestamp);
        let stream = self.streams.get_mut(&ssrc)?;
        stream.heard_at = now;
        if !stream.authentic {
            stream.authentic = true;
            self.new_streams.take(now, NEW_STREAMS);
        }
        let id = stream.id;
        let payload_type = *packet.header.payload_type;
        let format = self.binding.format(id.track, payload_type)?;
        let slot = &mut self.slots[id.index()];
        let (sequence, timestamp) = (*packet.seq_no, packet.header.timestamp);
        let rate = format.codec.clock_rate();
        match &mut slot.now {
            Some((forwarded, _)) if *forwarded == ssrc => {}
            None => slot.now = Some((ssrc, Splice::new(sequence, now))),
            Some((forwarded, splice)) => {
                // Two streams at once in one place: the one that came last stays.
                if stream.replaced && !splice.is_silent(now, SILENCE) {
                    return None;
                }
                let before = std::mem::replace(forwarded, ssrc);
                splice.follow(sequence, timestamp, now, rate);
                self.ssrc_changed = true;
                self.replace(rtc, before, ssrc);
            }
        }
        let slot = &mut self.slots[id.index()];
        let (_, splice) = slot.now.as_mut()?;
        let (sequence, timestamp) = splice.place(sequence, timestamp, now)?;
        let shift = splice.shift();
        let extensions = extensions(&packet);
        Some(Incoming {
            track: id.track,
            layer: id.layer,
            format,
            sequence,
            timestamp,
            marker: packet.header.marker,
            extensions,
            payload: Bytes::from_owner(packet.payload),
            report: packet.last_sender_info.map(|info| SenderReport {
                wall: info.ntp_time,
                timestamp: ((info.rtp_time.numer() & u64::from(u32::MAX)) as u32)
                    .wrapping_add(shift),
            }),
            received_at: packet.timestamp,
        })
    }

    /// A stream has taken the place of another one.
    fn replace(&mut self, rtc: &mut Rtc, before: Ssrc, after: Ssrc) {
        let mut api = rtc.direct_api();
        if let Some(stream) = api.stream_rx(&before) {
            stream.suppress_nack(true);
        }
        if let Some(stream) = self.streams.get_mut(&before) {
            stream.replaced = true;
        }
        let Some(stream) = self.streams.get_mut(&after) else {
            return;
        };
        stream.replaced = false;
        let id = stream.id;
        tracing::debug!(stream = %id, before = *before, after = *after, "another SSRC");
        if id.track.kind() == TrackKind::Video
            && let Some(stream) = api.stream_rx(&after)
        {
            stream.suppress_nack(false);
            // An encoder that starts anew starts with one, which may be lost.
            stream.request_keyframe(self.request);
        }
        if let Some(repair) = self.slots[id.index()].repair.take() {
            if self.retired_repairs.len() == RETIRED_MAX {
                self.retired_repairs.remove(0);
            }
            self.retired_repairs.push(repair);
        }
    }

    /// The simulcast id of a stream, where it has one.
    pub(crate) fn rid(&self, stream: StreamId) -> Option<&str> {
        let mut rids = self.rids.iter();
        rids.find(|(of, _)| *of == stream).map(|(_, rid)| &**rid)
    }

    /// Asks the publisher for a keyframe. False when nothing of that stream has come yet.
    pub(crate) fn request_keyframe(&self, rtc: &mut Rtc, stream: StreamId) -> bool {
        let slot = &self.slots[stream.index()];
        let Some((ssrc, _)) = &slot.now else {
            return false;
        };
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_rx(ssrc) else {
            return false;
        };
        stream.request_keyframe(self.request);
        true
    }
}

fn offered_sets((id, track): (TrackId, &Track)) -> (TrackId, ParameterSets) {
    let sets = track.parameters("sprop-parameter-sets");
    (id, ParameterSets::offered(sets))
}

fn extensions(packet: &RtpPacket) -> PacketExtensions {
    let ext = &packet.header.ext_vals;
    PacketExtensions {
        captured_at: ext.abs_capture_time.map(|capture| capture.capture_time),
        capture_clock_offset: ext.abs_capture_time.and_then(|c| c.clock_offset_secs()),
        playout_delay: ext
            .play_delay_min
            .zip(ext.play_delay_max)
            .map(|(min, max)| {
                let units = |t: MediaTime| (t.as_seconds() * 100.0).round() as u16;
                (units(min), units(max))
            }),
        audio_level: ext
            .audio_level
            .map(|l| (l, ext.voice_activity.unwrap_or_default())),
        orientation: ext.video_orientation.map(|o| o as u8),
    }
}

#[cfg(test)]
mod tests;
