//! The vocabulary of media: tracks, codecs, layers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Video tracks that a room can have.
pub const VIDEO_TRACKS_MAX: usize = 4;

/// One of a publisher's tracks: its audio, or one of its video tracks, in the order in which they
/// were offered.
///
/// Its text is `audio`, `video-1`, `video-2` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrackId(u8);

impl TrackId {
    /// How many a publisher can have.
    pub const COUNT: usize = 1 + VIDEO_TRACKS_MAX;
    /// The one audio track.
    pub const AUDIO: Self = Self(0);
    /// The first video track, and the main one unless another is chosen.
    pub const FIRST_VIDEO: Self = Self(1);

    /// The video track that was offered as the `index`th, from 0 on. `None` past
    /// [`VIDEO_TRACKS_MAX`].
    #[must_use]
    pub const fn video(index: usize) -> Option<Self> {
        match index < VIDEO_TRACKS_MAX {
            true => Some(Self(index as u8 + 1)),
            false => None,
        }
    }

    /// Every video track that can be, in order.
    pub fn videos() -> impl Iterator<Item = Self> {
        (0..VIDEO_TRACKS_MAX).filter_map(Self::video)
    }

    /// Its place among the video tracks, from 0 on; `None` for audio.
    #[must_use]
    pub const fn video_index(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }

    /// A number below [`COUNT`](Self::COUNT).
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// One of its layers.
    #[must_use]
    pub const fn layer(self, layer: Layer) -> StreamId {
        StreamId { track: self, layer }
    }

    /// What it carries.
    #[must_use]
    #[inline]
    pub const fn kind(self) -> TrackKind {
        match self.0 {
            0 => TrackKind::Audio,
            _ => TrackKind::Video,
        }
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("audio"),
            n => write!(f, "video-{n}"),
        }
    }
}

/// A text that names no track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such track; tracks are called `audio`, `video-1` to `video-{VIDEO_TRACKS_MAX}`")]
pub struct NoSuchTrack;

impl FromStr for TrackId {
    type Err = NoSuchTrack;

    fn from_str(text: &str) -> Result<Self, NoSuchTrack> {
        let mut known = Self::videos().chain([Self::AUDIO]);
        known.find(|id| id.to_string() == text).ok_or(NoSuchTrack)
    }
}

impl TryFrom<String> for TrackId {
    type Error = NoSuchTrack;

    fn try_from(text: String) -> Result<Self, NoSuchTrack> {
        text.parse()
    }
}

impl From<TrackId> for String {
    fn from(id: TrackId) -> Self {
        id.to_string()
    }
}

/// One stream of a publisher: its audio, or one layer of a video track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// The track that it belongs to.
    pub track: TrackId,
    /// Its layer; [`Layer::High`] for audio.
    pub layer: Layer,
}

impl StreamId {
    /// How many there can be.
    pub const COUNT: usize = 1 + VIDEO_TRACKS_MAX * Layer::COUNT;
    /// The audio.
    pub const AUDIO: Self = Self {
        track: TrackId::AUDIO,
        layer: Layer::High,
    };

    /// Every stream that can be, in the order of [`index`](Self::index).
    pub fn all() -> impl Iterator<Item = Self> {
        let layers = |track| Layer::ALL.map(|layer| Self { track, layer });
        [Self::AUDIO]
            .into_iter()
            .chain(TrackId::videos().flat_map(layers))
    }

    /// A number below [`COUNT`](Self::COUNT): 0 for audio, whatever its layer.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        match self.track.video_index() {
            None => 0,
            Some(track) => 1 + track * Layer::COUNT + self.layer.index(),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.track.kind() {
            TrackKind::Audio => write!(f, "{}", self.track),
            TrackKind::Video => write!(f, "{} {}", self.track, self.layer),
        }
    }
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// The microphone, or the mix.
    Audio,
    /// The camera or the shared screen.
    Video,
}

/// A codec that Lightstick forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_and_streams_have_names_and_places() {
        for (text, id) in [
            ("audio", Some(TrackId::AUDIO)),
            ("video-1", Some(TrackId::FIRST_VIDEO)),
            ("video-4", TrackId::video(3)),
            ("video-0", None),
            ("video-5", None),
            ("video-01", None),
            ("Audio", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), id, "{text}");
            assert_eq!(id.map_or(text.into(), |id: TrackId| id.to_string()), text);
        }
        assert_eq!(TrackId::video(VIDEO_TRACKS_MAX), None);
        let indices = StreamId::all().map(StreamId::index);
        assert!(indices.eq(0..StreamId::COUNT));
    }
}
