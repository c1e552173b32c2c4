//! The seam: a viewer's media leaves through here and nowhere else.
//!
//! Above it, `lightstick-sfu-core` decides which packet a viewer gets and under which numbers.
//! Below it, the packet becomes SRTP, answers to NACK and sender reports. At present str0m does
//! all of that; an egress of our own replaces this file without touching either side.

use std::sync::Arc;

use lightstick_sfu_core::packet::{Format, MediaPacket};
use lightstick_sfu_core::rewrite::Rewritten;
use lightstick_types::{Codec, TrackKind};
use str0m::Rtc;
use str0m::format::Codec as RtcCodec;
use str0m::media::{Mid, Pt};
use str0m::rtp::{AbsCaptureTime, ExtensionValues, RtpWrite, Vp8Descriptor};

use crate::ingress::hundredths;

/// One format that the viewer takes, and the payload type it gave it.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    format: Format,
    pt: Pt,
}

/// A viewer's sending side for one kind of media.
#[derive(Debug)]
pub(crate) struct Egress {
    mid: Mid,
    kind: TrackKind,
    accepted: Vec<Accepted>,
    sent: u64,
}

/// Why a viewer does not get a packet that was meant for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The viewer's offer has no such codec or profile.
    Format,
    /// Nothing was negotiated to send it on.
    Stream,
}

impl Egress {
    /// The sending side of `mid` as it was negotiated.
    pub(crate) fn new(rtc: &Rtc, mid: Mid, kind: TrackKind) -> Self {
        let accepted = crate::ingress::formats(rtc, mid)
            .map(|(pt, format)| Accepted { format, pt })
            .collect();
        Self {
            mid,
            kind,
            accepted,
            sent: 0,
        }
    }

    pub(crate) fn mid(&self) -> Mid {
        self.mid
    }

    pub(crate) fn kind(&self) -> TrackKind {
        self.kind
    }

    /// How many packets were queued so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether anything can be sent on it at all.
    pub(crate) fn has_format(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// Queues a packet; it leaves when the session is next polled.
    pub(crate) fn send(
        &mut self,
        rtc: &mut Rtc,
        packet: &MediaPacket,
        rewritten: Rewritten,
    ) -> Result<(), NotSent> {
        let (pt, payload) = self.place(packet).ok_or(NotSent::Format)?;
        let mut api = rtc.direct_api();
        let stream = api
            .stream_tx_by_mid(self.mid, None)
            .ok_or(NotSent::Stream)?;
        let mut write = RtpWrite::new(
            pt,
            rewritten.sequence.into(),
            rewritten.timestamp,
            packet.sampled_at,
            payload,
        )
        .marker(packet.marker)
        .ext_vals(extensions(packet))
        .nackable(self.kind == TrackKind::Video);
        if let Some(vp8) = rewritten.vp8
            && let Ok(descriptor) = Vp8Descriptor::parse(&packet.payload)
        {
            let mut patch = descriptor.patch();
            if let Some(id) = vp8.picture_id {
                patch = patch.picture_id(id);
            }
            if let Some(index) = vp8.tl0_pic_idx {
                patch = patch.tl0_pic_idx(index);
            }
            if let Ok(patch) = patch.build() {
                write = write.vp8_patch(patch);
            }
        }
        stream.write_rtp(write);
        self.sent += 1;
        Ok(())
    }

    /// The payload type and payload for this viewer. RED goes out whole only to a viewer that
    /// numbers Opus as the publisher does, because its blocks carry that number inside.
    fn place(&self, packet: &MediaPacket) -> Option<(Pt, Arc<[u8]>)> {
        if packet.format.codec == Codec::Red {
            let opus = self.pt(Format {
                codec: Codec::Opus,
                profile: 0,
            })?;
            let red = self.pt(packet.format);
            return match (red, packet.block_type, &packet.primary) {
                (Some(red), Some(block), _) if block == *opus => {
                    Some((red, Arc::clone(&packet.payload)))
                }
                (_, _, Some(primary)) => Some((opus, Arc::clone(primary))),
                _ => None,
            };
        }
        self.pt(packet.format)
            .map(|pt| (pt, Arc::clone(&packet.payload)))
    }

    /// The payload type of a format: of the same profile, or else of the same codec where a
    /// decoder for one profile commonly decodes the other.
    fn pt(&self, format: Format) -> Option<Pt> {
        let same_codec = || {
            self.accepted
                .iter()
                .filter(|a| a.format.codec == format.codec)
        };
        same_codec()
            .find(|a| a.format.profile == format.profile)
            .or_else(|| {
                let lenient = format.codec == Codec::H264;
                same_codec()
                    .max_by_key(|a| a.format.profile)
                    .filter(|_| lenient)
            })
            .map(|a| a.pt)
    }
}

/// Whether str0m's codec is one of ours.
pub(crate) fn codec_of(codec: RtcCodec) -> Option<Codec> {
    match codec {
        RtcCodec::H264 => Some(Codec::H264),
        RtcCodec::Vp8 => Some(Codec::Vp8),
        RtcCodec::Vp9 => Some(Codec::Vp9),
        RtcCodec::Av1 => Some(Codec::Av1),
        RtcCodec::Opus => Some(Codec::Opus),
        _ => None,
    }
}

fn extensions(packet: &MediaPacket) -> ExtensionValues {
    let from = &packet.extensions;
    let mut values = ExtensionValues::default();
    if let Some(capture_time) = from.captured_at {
        let mut capture = AbsCaptureTime {
            capture_time,
            clock_offset: None,
        };
        if let Some(offset) = from.capture_clock_offset {
            capture.set_clock_offset(offset);
        }
        values.abs_capture_time = Some(capture);
    }
    if let Some((min, max)) = from.playout_delay {
        values.play_delay_min = Some(hundredths(min));
        values.play_delay_max = Some(hundredths(max));
    }
    if let Some((level, voice)) = from.audio_level {
        values.audio_level = Some(level);
        values.voice_activity = Some(voice);
    }
    values.video_orientation = from.orientation.map(Into::into);
    values
}
