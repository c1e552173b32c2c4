//! Why an offer is not answered, in words for whoever sent it.

use std::fmt;

use lightstick_types::{TrackKind, VIDEO_TRACKS_MAX};

use crate::sdp::{Media, SdpError};

/// Why an offer is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is no session description.
    #[error(transparent)]
    Malformed(#[from] SdpError),
    /// It is one, but not one that can be served whole.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What cannot be served, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", Named(section.as_ref()))]
pub struct Refusal {
    /// The section that is at fault. `None`: the offer as a whole.
    pub section: Option<SectionName>,
    /// What is wrong with it.
    pub reason: Reason,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            section: None,
            reason,
        }
    }
}

/// Which section of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionName {
    /// Counted from 0, as `sdpMLineIndex` is.
    pub index: usize,
    /// Its media type: `audio`, `video`, ...
    pub kind: Box<str>,
    /// Its `a=mid`, if it has one.
    pub mid: Option<Box<str>>,
}

impl SectionName {
    pub(super) fn of(index: usize, media: &Media<'_>) -> Self {
        Self {
            index,
            kind: shown(media.kind).into(),
            mid: media.mid.map(|mid| shown(mid).into()),
        }
    }
}

struct Named<'a>(Option<&'a SectionName>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(section) = self.0 else {
            return Ok(());
        };
        write!(f, "{} section {}", section.kind, section.index)?;
        match &section.mid {
            Some(mid) => write!(f, " (mid {mid}): "),
            None => f.write_str(": "),
        }
    }
}

/// What is wrong with an offer or one of its sections.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No audio and no video section.
    #[error("it has neither an audio nor a video section")]
    NoMedia,
    /// No section goes the right way.
    #[error("its direction is wrong: a publisher sends, a viewer receives")]
    Direction,
    /// Nothing but codecs that are not forwarded.
    #[error("{offered} not supported; send {}", send(*kind))]
    Codec {
        kind: TrackKind,
        /// `H265 is`, `PCMU and PCMA are`, `a section without codecs is`
        offered: Box<str>,
    },
    /// A supported codec, but in a profile that browsers do not decode.
    #[error("{codec} {profile} is not decoded by browsers; send another profile")]
    Profile {
        /// `H264`
        codec: &'static str,
        /// `High 10`
        profile: Box<str>,
    },
    /// A payload type that cannot be told from RTCP (RFC 5761 section 4).
    #[error("payload type {0} conflicts with RTCP; use one outside 64 to 95")]
    PayloadType(u8),
    /// Simulcast whose streams have no names.
    #[error("simulcast by payload types is not supported; name its streams by rid")]
    Simulcast,
    /// Not RTP over DTLS.
    #[error("the protocol {0} is not supported; use UDP/TLS/RTP/SAVPF")]
    Protocol(Box<str>),
    /// A second section of audio.
    #[error("it is a second audio track; send at most one")]
    SecondAudio,
    /// More sections of video than are served.
    #[error("there are {VIDEO_TRACKS_MAX} video tracks before it; send no more")]
    VideoTracks,
    /// RFC 9725 section 4.4.2.
    #[error("its track belongs to a second MediaStream; send one MediaStream")]
    SecondStream,
    /// RFC 5888 section 4.
    #[error("another section has the same mid")]
    SameMid,
    /// RFC 9725 section 4.4.1.
    #[error("it is not in the BUNDLE group; bundle all media on one transport")]
    NotBundled,
    /// RFC 9725 section 4.4.1.
    #[error("it has no a=rtcp-mux; RTP and RTCP share one transport")]
    RtcpMux,
    /// RFC 8839 section 5.4.
    #[error("it has no a=ice-ufrag and a=ice-pwd")]
    NoIce,
    /// RFC 8839 section 5.4.
    #[error("a=ice-ufrag has 4 to 256 characters, a=ice-pwd 22 to 256")]
    IceLength,
    /// Two lite agents would wait for each other's checks.
    #[error("a client with a=ice-lite cannot connect, as the server is ICE lite itself")]
    IceLite,
    /// RFC 8122 section 5.
    #[error("it has no a=fingerprint")]
    NoFingerprint,
    /// RFC 8122 section 5.
    #[error("its a=fingerprint is malformed, or its hash function is not supported")]
    FingerprintHash,
}

impl Reason {
    /// A name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoMedia => "no_media",
            Self::Direction => "direction",
            Self::Codec { .. } => "codec",
            Self::Profile { .. } => "profile",
            Self::PayloadType(_) => "payload_type",
            Self::Simulcast => "simulcast",
            Self::Protocol(_) => "protocol",
            Self::SecondAudio => "second_track",
            Self::VideoTracks => "video_tracks",
            Self::SecondStream => "second_stream",
            Self::SameMid => "same_mid",
            Self::NotBundled => "not_bundled",
            Self::RtcpMux => "rtcp_mux",
            Self::NoIce => "no_ice",
            Self::IceLength => "ice_length",
            Self::IceLite => "ice_lite",
            Self::NoFingerprint => "no_fingerprint",
            Self::FingerprintHash => "fingerprint_hash",
        }
    }
}

fn send(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Audio => "Opus",
        TrackKind::Video => "H264, VP8, VP9 or AV1",
    }
}

/// What a peer wrote, as far as it may be shown: it ends up in logs and on pages.
pub(super) fn shown(text: &str) -> String {
    let clean = |c: &char| c.is_ascii_graphic();
    text.chars().filter(clean).take(32).collect()
}
