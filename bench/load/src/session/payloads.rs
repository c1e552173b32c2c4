//! What each payload type stands for, as offer and answer settled it.

use lightstick_types::{Codec, TrackKind};
use str0m::Rtc;
use str0m::format::Codec as Str0mCodec;

#[derive(Debug)]
pub(super) struct PayloadTypes {
    codecs: [Option<Codec>; 128],
    /// Those of what is sent again.
    resends: [bool; 128],
}

impl Default for PayloadTypes {
    fn default() -> Self {
        Self {
            codecs: [None; 128],
            resends: [false; 128],
        }
    }
}

impl PayloadTypes {
    pub(super) fn of(rtc: &Rtc) -> Self {
        let mut types = Self::default();
        for params in rtc.codec_config().params() {
            if let Some(resend) = params.resend() {
                types.resends[usize::from(*resend)] = true;
            }
            types.codecs[usize::from(*params.pt())] = match params.spec().codec {
                Str0mCodec::Opus => Some(Codec::Opus),
                Str0mCodec::H264 => Some(Codec::H264),
                Str0mCodec::Vp8 => Some(Codec::Vp8),
                Str0mCodec::Vp9 => Some(Codec::Vp9),
                Str0mCodec::Av1 => Some(Codec::Av1),
                _ => None,
            };
        }
        types
    }

    /// Of a payload type below 128.
    pub(super) fn codec(&self, payload_type: u8) -> Option<Codec> {
        self.codecs[usize::from(payload_type)]
    }

    pub(super) fn is_video(&self, payload_type: u8) -> bool {
        let codec = self.codec(payload_type);
        codec.is_some_and(|codec| codec.kind() == TrackKind::Video)
    }

    pub(super) fn is_resend(&self, payload_type: u8) -> bool {
        self.resends[usize::from(payload_type)]
    }
}
