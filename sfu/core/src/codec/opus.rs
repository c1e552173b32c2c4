//! Opus, RFC 7587: one packet is one frame and a decoder can start at each.

use super::PayloadInfo;

/// Any payload with at least its table-of-contents byte (RFC 6716 section 3.1) is passed on.
pub(super) fn inspect(payload: &[u8]) -> Option<PayloadInfo> {
    (!payload.is_empty()).then(audio)
}

/// What holds of every audio packet.
pub(super) fn audio() -> PayloadInfo {
    PayloadInfo {
        starts_frame: true,
        keyframe: true,
        ..PayloadInfo::default()
    }
}
