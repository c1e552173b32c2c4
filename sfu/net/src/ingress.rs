//! A publisher's packets on their way from str0m into the core.

use std::collections::HashMap;

use lightstick_sfu_core::clock::SenderReport;
use lightstick_sfu_core::codec::h264::ParameterSets;
use lightstick_sfu_core::health::Promise;
use lightstick_sfu_core::offer::{Offer, layers_of};
use lightstick_sfu_core::packet::{Format, PacketExtensions};
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::{Codec, Layer, TrackKind};
use str0m::Rtc;
use str0m::format::Codec as RtcCodec;
use str0m::media::{KeyframeRequestKind, MediaTime, Mid, Pt, Rid};
use str0m::rtp::{RtpPacket, Ssrc};

/// What the publisher negotiated: enough to place any of its packets.
#[derive(Debug)]
pub(crate) struct Ingress {
    tracks: Vec<(Mid, TrackKind)>,
    layers: Vec<(Rid, Layer)>,
    formats: HashMap<Pt, Format>,
    /// Learnt from the first packet of each stream, which names its mid and rid.
    streams: HashMap<Ssrc, (TrackKind, Layer)>,
    /// Streams that go on where another was before.
    ssrc_changes: u32,
    promise: Promise,
    parameter_sets: ParameterSets,
}

impl Ingress {
    /// The receiving side as it was negotiated.
    pub(crate) fn new(rtc: &Rtc, offer: &Offer, sdp: &str) -> Self {
        let tracks: Vec<(Mid, TrackKind)> = offer
            .sections
            .iter()
            .map(|s| (Mid::from(s.mid.as_str()), s.kind))
            .collect();
        let layers = offer
            .sections
            .iter()
            .filter(|section| section.kind == TrackKind::Video)
            .flat_map(|section| {
                let layers = layers_of(&section.rids);
                section
                    .rids
                    .iter()
                    .map(|rid| Rid::from(rid.as_str()))
                    .zip(layers)
            })
            .filter_map(|(rid, layer)| Some((rid, layer?)))
            .collect();
        let formats = tracks
            .iter()
            .flat_map(|(mid, _)| formats(rtc, *mid))
            .collect();
        Self {
            tracks,
            layers,
            formats,
            streams: HashMap::new(),
            ssrc_changes: 0,
            promise: Promise::read(offer, sdp),
            parameter_sets: ParameterSets::offered(sdp),
        }
    }

    /// What the offer promises.
    pub(crate) fn promise(&self) -> Promise {
        self.promise
    }

    /// The H.264 parameter sets of the offer.
    pub(crate) fn parameter_sets(&self) -> &ParameterSets {
        &self.parameter_sets
    }

    /// How often a track has gone on under another SSRC.
    pub(crate) fn ssrc_changes(&self) -> u32 {
        self.ssrc_changes
    }

    /// Whether anything can come in at all.
    pub(crate) fn has_format(&self) -> bool {
        !self.formats.is_empty()
    }

    /// Places a packet. `None`: of a payload type or layer that we do not forward.
    pub(crate) fn place(&mut self, rtc: &mut Rtc, packet: RtpPacket) -> Option<Incoming> {
        let ssrc = packet.header.ssrc;
        let (kind, layer) = match self.streams.get(&ssrc) {
            Some(place) => *place,
            None => {
                let mut api = rtc.direct_api();
                let stream = api.stream_rx(&ssrc)?;
                let (mid, rid) = (stream.mid(), stream.rid());
                let kind = self.tracks.iter().find(|(m, _)| *m == mid)?.1;
                let layer = match rid {
                    None => Layer::High,
                    Some(rid) => self.layers.iter().find(|(r, _)| *r == rid)?.1,
                };
                if kind == TrackKind::Video {
                    // str0m asks for lost packets only where RTX was negotiated; a peer without it
                    // sends them again as they were.
                    stream.suppress_nack(false);
                }
                let known = self.streams.values().any(|place| *place == (kind, layer));
                self.ssrc_changes += u32::from(known);
                self.streams.insert(ssrc, (kind, layer));
                (kind, layer)
            }
        };
        let format = *self.formats.get(&packet.header.payload_type)?;
        let ext = &packet.header.ext_vals;
        let extensions = PacketExtensions {
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
        };
        Some(Incoming {
            kind,
            layer,
            format,
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            extensions,
            payload: packet.payload,
            report: packet.last_sender_info.map(|info| SenderReport {
                wall: info.ntp_time,
                timestamp: (info.rtp_time.numer() & u64::from(u32::MAX)) as u32,
            }),
            received_at: packet.timestamp,
        })
    }

    /// The simulcast id of a layer, where there is one.
    pub(crate) fn rid(&self, layer: Layer) -> Option<Rid> {
        self.layers
            .iter()
            .find(|(_, l)| *l == layer)
            .map(|(rid, _)| *rid)
    }

    /// Asks the publisher for a keyframe. False when that layer has no stream yet.
    pub(crate) fn request_keyframe(&self, rtc: &mut Rtc, layer: Layer) -> bool {
        let Some((mid, _)) = self
            .tracks
            .iter()
            .find(|(_, kind)| *kind == TrackKind::Video)
        else {
            return false;
        };
        let rid = self.rid(layer);
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_rx_by_mid(*mid, rid) else {
            return false;
        };
        stream.request_keyframe(KeyframeRequestKind::Pli);
        true
    }
}

/// The formats that were negotiated for `mid`.
fn formats(rtc: &Rtc, mid: Mid) -> Vec<(Pt, Format)> {
    let agreed = rtc
        .media(mid)
        .map(|media| media.remote_pts().to_vec())
        .unwrap_or_default();
    let config = rtc.codec_config();
    let mut found = Vec::new();
    for pt in agreed {
        let Some(params) = config.find(|p| p.pt() == pt) else {
            continue;
        };
        let spec = params.spec();
        let Some(codec) = codec_of(spec.codec) else {
            continue;
        };
        let profile = match codec {
            // Profile and constraints; the level is no reason to refuse.
            Codec::H264 => spec.format.profile_level_id.unwrap_or(0x0042_e01f) >> 8,
            Codec::Vp9 => spec.format.profile_id.unwrap_or(0),
            Codec::Av1 => u32::from(spec.format.profile.unwrap_or(0)),
            Codec::Vp8 | Codec::Opus | Codec::Red => 0,
        };
        found.push((pt, Format { codec, profile }));
        if let Some(red) = params.red() {
            let codec = Codec::Red;
            found.push((red, Format { codec, profile: 0 }));
        }
    }
    found
}

/// Whether str0m's codec is one of ours.
fn codec_of(codec: RtcCodec) -> Option<Codec> {
    match codec {
        RtcCodec::H264 => Some(Codec::H264),
        RtcCodec::Vp8 => Some(Codec::Vp8),
        RtcCodec::Vp9 => Some(Codec::Vp9),
        RtcCodec::Av1 => Some(Codec::Av1),
        RtcCodec::Opus => Some(Codec::Opus),
        _ => None,
    }
}
