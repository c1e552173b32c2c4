//! What is wrong with an artist's stream, as far as a server that decodes nothing can tell.

use std::fmt;

use serde::Serialize;

/// What a hint is about. Codes are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HintCode {
    /// The video has pictures that refer to later ones: WebRTC players show them in the wrong order
    /// or not at all.
    BFrames,
    /// Keyframes are more than four seconds apart, and none comes for asking.
    LongKeyframeInterval,
    /// Video comes, but no keyframe: nobody sees anything.
    NoKeyframes,
    /// Keyframe requests are not answered.
    KeyframeRequestsIgnored,
    /// H.264 without SPS and PPS, neither in the stream nor in the offer: nobody sees anything.
    NoParameterSets,
    /// Video was agreed on, but none comes.
    NoVideoPackets,
    /// Audio was agreed on, but none comes.
    NoAudioPackets,
    /// Packets come that belong to nothing that was agreed on.
    UnplacedPackets,
    /// A stream goes on under another SSRC.
    ChangingSsrc,
    /// The offer labels its Opus audio as mono.
    MonoAudio,
}

impl HintCode {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every code, in the order in which hints are listed.
    pub const ALL: [Self; 10] = [
        Self::BFrames,
        Self::LongKeyframeInterval,
        Self::NoKeyframes,
        Self::KeyframeRequestsIgnored,
        Self::NoParameterSets,
        Self::NoVideoPackets,
        Self::NoAudioPackets,
        Self::UnplacedPackets,
        Self::ChangingSsrc,
        Self::MonoAudio,
    ];

    /// As it stands in JSON and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BFrames => "b_frames",
            Self::LongKeyframeInterval => "long_keyframe_interval",
            Self::NoKeyframes => "no_keyframes",
            Self::KeyframeRequestsIgnored => "keyframe_requests_ignored",
            Self::NoParameterSets => "no_parameter_sets",
            Self::NoVideoPackets => "no_video_packets",
            Self::NoAudioPackets => "no_audio_packets",
            Self::UnplacedPackets => "unplaced_packets",
            Self::ChangingSsrc => "changing_ssrc",
            Self::MonoAudio => "mono_audio",
        }
    }

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One thing that an artist should change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// What it is about.
    pub code: HintCode,
    /// Of [`HintCode::LongKeyframeInterval`] the time between keyframes, where there were two.
    pub seconds: Option<u32>,
}

impl From<HintCode> for Hint {
    fn from(code: HintCode) -> Self {
        Self {
            code,
            seconds: None,
        }
    }
}

impl fmt::Display for Hint {
    /// One sentence that says what is wrong and what to set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.code, self.seconds) {
            (HintCode::BFrames, _) => "Your encoder sends B-frames: set them to 0.",
            (HintCode::LongKeyframeInterval, Some(seconds)) => {
                return write!(
                    f,
                    "Your encoder sends a keyframe every {seconds} s: set its keyframe interval to \
                     1 or 2 s."
                );
            }
            (HintCode::LongKeyframeInterval, None) => {
                "Your encoder has sent no keyframe for a long time: set its keyframe interval to 1 \
                 or 2 s."
            }
            (HintCode::NoKeyframes, _) => {
                "Your encoder has sent no keyframe: turn intra refresh off and set its keyframe \
                 interval to 1 or 2 s."
            }
            (HintCode::KeyframeRequestsIgnored, _) => {
                "Your encoder ignores keyframe requests: set its keyframe interval to 1 or 2 s."
            }
            (HintCode::NoParameterSets, _) => {
                "Your encoder sends no H.264 parameter sets: let it repeat SPS and PPS before each \
                 keyframe."
            }
            (HintCode::NoVideoPackets, _) => {
                "No video comes from your encoder, though it offered some: check its video source."
            }
            (HintCode::NoAudioPackets, _) => {
                "No audio comes from your encoder, though it offered some: check its audio source."
            }
            (HintCode::UnplacedPackets, _) => {
                "Your encoder sends packets that fit none of its tracks: send only the payload \
                 types and streams of the offer and its answer."
            }
            (HintCode::ChangingSsrc, _) => {
                "Your encoder changes the SSRC of a track during the show: keep one for each track."
            }
            (HintCode::MonoAudio, _) => {
                "Your encoder labels its audio as mono: offer it as opus/48000/2 (RFC 7587)."
            }
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_in_order_and_are_written_alike_everywhere() {
        for (index, code) in HintCode::ALL.into_iter().enumerate() {
            assert_eq!(code.index(), index);
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.as_str()));
        }
    }

    #[test]
    fn messages_are_one_sentence_with_the_value() {
        for code in HintCode::ALL {
            let message = Hint::from(code).to_string();
            assert!(
                message.ends_with('.') && !message.contains("  "),
                "{message}"
            );
        }
        let hint = Hint {
            code: HintCode::LongKeyframeInterval,
            seconds: Some(10),
        };
        assert_eq!(
            hint.to_string(),
            "Your encoder sends a keyframe every 10 s: set its keyframe interval to 1 or 2 s."
        );
    }
}
