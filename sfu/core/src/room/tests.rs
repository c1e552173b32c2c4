//! What the tests of this module share.

use std::time::Instant;

use lightstick_types::{Codec, Layer, NodeId, SourceId, StreamId, TrackId};

use crate::codec::PayloadInfo;
use crate::packet::{Format, MediaPacket, PacketExtensions};

/// A picture of one packet.
pub(crate) fn packet(layer: Layer, sequence: u64, keyframe: bool) -> MediaPacket {
    let now = Instant::now();
    MediaPacket {
        source: SourceId::new(NodeId(0), 1),
        stream: StreamId {
            track: TrackId::FIRST_VIDEO,
            layer,
        },
        format: Format {
            codec: Codec::Vp8,
            profile: 0,
        },
        sequence,
        timestamp: sequence as u32 * 3_000,
        marker: true,
        info: PayloadInfo {
            keyframe,
            starts_frame: true,
            ..PayloadInfo::default()
        },
        extensions: PacketExtensions::default(),
        payload: vec![0; 1_000].into(),
        primary: None,
        received_at: now,
        sampled_at: now,
    }
}
