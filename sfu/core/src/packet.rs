//! One media packet on its way from the publisher to every viewer.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use lightstick_types::{Codec, SourceId, StreamId, TrackKind};

use crate::codec::PayloadInfo;
use crate::codec::red::Primary;

/// Bytes of a packet on a viewer's link that are not its payload: RTP and its extensions, the tag,
/// UDP and IP. Of all streams they are about alike.
pub const HEADERS: usize = 72;

/// A codec together with what must match between two peers: `profile-level-id` for H.264,
/// `profile-id` for VP9, `profile` for AV1, 0 elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    pub codec: Codec,
    /// The profile as it stands in SDP.
    pub profile: u32,
}

/// Header extensions that travel with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PacketExtensions {
    /// When the frame was captured, in the clock of the capturing system
    /// (`abs-capture-time`).
    pub captured_at: Option<SystemTime>,
    /// Capturing system's clock less the sender's clock, in seconds.
    pub capture_clock_offset: Option<f64>,
    /// `playout-delay`: smallest and largest, in units of 10 ms.
    pub playout_delay: Option<(u16, u16)>,
    /// `ssrc-audio-level` in -dBov, and whether it is a voice.
    pub audio_level: Option<(i8, bool)>,
    /// `video-orientation` as its CVO byte.
    pub orientation: Option<u8>,
}

/// An RTP packet of a publisher, opened and read once, shared by all who forward it.
#[derive(Clone, Debug)]
pub struct MediaPacket {
    /// A change means that nothing follows on.
    pub source: SourceId,
    /// Its track, and the encoding of it.
    pub stream: StreamId,
    /// What the payload is encoded in.
    pub format: Format,
    /// RTP sequence number, roll-overs counted.
    pub sequence: u64,
    pub timestamp: u32,
    /// RTP marker: for video, the last packet of a picture.
    pub marker: bool,
    /// What the payload says about its frame.
    pub info: PayloadInfo,
    /// Header extensions to pass on.
    pub extensions: PacketExtensions,
    /// A part of what came off the network.
    pub payload: Bytes,
    /// For RED: the Opus payload inside, for viewers without RED.
    pub primary: Option<Primary>,
    /// When it came off the socket.
    pub received_at: Instant,
    /// When it was sampled, on our clock: comparable over the tracks and layers of one source.
    pub sampled_at: Instant,
}

impl MediaPacket {
    /// Whether it carries sound or a picture.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> TrackKind {
        self.stream.track.kind()
    }

    /// Whether a picture begins with it that decoders can start from.
    #[must_use]
    pub fn starts_keyframe(&self) -> bool {
        self.kind() == TrackKind::Video && self.info.keyframe && self.info.starts_frame
    }
}
