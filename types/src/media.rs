//! The vocabulary of media: tracks, codecs, layers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a track carries. A room has at most one track of each kind.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// The microphone, or the mix.
    Audio,
    /// The camera or the shared screen.
    Video,
}

/// A codec that Lightstick forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// RFC 6184.
    H264,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// The AV1 RTP payload specification of AOMedia.
    Av1,
    /// RFC 7587, mono or stereo, with or without DTX.
    Opus,
    /// Opus inside redundant blocks, RFC 2198. Passed through unopened.
    Red,
}

impl Codec {
    /// Whether the codec carries sound.
    #[must_use]
    pub fn kind(self) -> TrackKind {
        match self {
            Self::Opus | Self::Red => TrackKind::Audio,
            Self::H264 | Self::Vp8 | Self::Vp9 | Self::Av1 => TrackKind::Video,
        }
    }

    /// RTP clock, in hertz.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self.kind() {
            TrackKind::Audio => 48_000,
            TrackKind::Video => 90_000,
        }
    }
}

/// A spatial layer that a viewer can be given: one encoding of a simulcast, best first in order.
///
/// A track without simulcast has only [`Layer::High`].
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The smallest picture.
    Low,
    /// In between.
    Medium,
    /// The full picture.
    High,
}

impl Layer {
    /// How many layers a track can have.
    pub const COUNT: usize = 3;
    /// Every layer, lowest first.
    pub const ALL: [Self; Self::COUNT] = [Self::Low, Self::Medium, Self::High];

    /// 0 for the lowest layer.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// What a viewer asks for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LayerChoice {
    /// The best layer that the viewer's network carries.
    #[default]
    Auto,
    /// At most the lowest layer.
    Low,
    /// At most the middle layer.
    Medium,
    /// The best layer there is, whatever the network says.
    High,
}
