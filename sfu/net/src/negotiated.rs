//! What str0m has negotiated, in the terms of the core.

use lightstick_sfu_core::egress::{Accepted, ExtensionIds, StreamConfig};
use lightstick_sfu_core::offer::Section;
use lightstick_sfu_core::packet::Format;
use lightstick_types::{Codec, TrackKind};
use str0m::Rtc;
use str0m::format::Codec as RtcCodec;
use str0m::media::{Mid, Pt};
use str0m::rtp::Extension;

/// RTP clock of every video format (RFC 7741, RFC 6184, RFC 9628, AV1's payload format).
const VIDEO_CLOCK_RATE: u32 = 90_000;
/// RTP clock of Opus (RFC 7587 section 4.1).
const AUDIO_CLOCK_RATE: u32 = 48_000;

/// A format that was agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiated {
    pub(crate) format: Format,
    pub(crate) pt: Pt,
    /// Of retransmissions.
    pub(crate) resend: Option<Pt>,
}

/// The formats negotiated for `mid`, the preferred first.
pub(crate) fn formats(rtc: &Rtc, mid: Mid) -> Vec<Negotiated> {
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
        let negotiated = Negotiated {
            format: Format { codec, profile },
            pt,
            resend: params.resend(),
        };
        // Packetization mode 1 carries mode 0's packets too; prefer it where both are offered.
        if codec == Codec::H264 && spec.format.packetization_mode == Some(0) {
            found.push(negotiated);
        } else {
            found.insert(0, negotiated);
        }
        if let Some(red) = params.red() {
            found.push(Negotiated {
                format: Format {
                    codec: Codec::Red,
                    profile: 0,
                },
                pt: red,
                resend: None,
            });
        }
    }
    found
}

/// Takes out of str0m what was negotiated to send in a section. `None`: nothing.
///
/// What is sent does not pass through str0m: its side of the stream would only cost memory and
/// sender reports that are thrown away.
pub(crate) fn take_stream(rtc: &mut Rtc, section: &Section) -> Option<StreamConfig> {
    let mid = Mid::from(section.mid.as_str());
    let accepted: Vec<Accepted> = formats(rtc, mid)
        .into_iter()
        .map(|negotiated| Accepted {
            format: negotiated.format,
            payload_type: *negotiated.pt,
            resend_payload_type: negotiated.resend.map(|pt| *pt),
        })
        .collect();
    if accepted.is_empty() {
        return None;
    }
    let map = rtc.media(mid)?.remote_extmap();
    let extensions = ExtensionIds {
        mid: map.id_of(Extension::RtpMid),
        transport_sequence: map.id_of(Extension::TransportSequenceNumber),
        capture_time: map.id_of(Extension::AbsoluteCaptureTime),
        playout_delay: map.id_of(Extension::PlayoutDelay),
        audio_level: map.id_of(Extension::AudioLevel),
        orientation: map.id_of(Extension::VideoOrientation),
    };
    let cname = rtc.media(mid)?.cname().to_owned();
    let mut api = rtc.direct_api();
    let stream = api.stream_tx_by_mid(mid, None)?;
    let (ssrc, resend_ssrc) = (stream.ssrc(), stream.rtx());
    api.remove_stream_tx(ssrc);
    Some(StreamConfig {
        kind: section.kind,
        mid: section.mid.clone(),
        cname,
        ssrc: *ssrc,
        resend_ssrc: resend_ssrc.map(|ssrc| *ssrc),
        clock_rate: match section.kind {
            TrackKind::Audio => AUDIO_CLOCK_RATE,
            TrackKind::Video => VIDEO_CLOCK_RATE,
        },
        accepted,
        extensions,
    })
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
