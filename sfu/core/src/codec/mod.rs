//! What one RTP payload says about its frame, without decoding it.
//!
//! Each codec's payload format is read only as far as forwarding needs: where a picture starts,
//! whether a decoder can start there, and what may be left out. Nothing allocates, and bytes of
//! any kind are answered with a value, never with a panic.

use lightstick_types::Codec;

mod av1;
pub mod h264;
mod opus;
pub mod red;
pub mod vp8;
mod vp9;

#[cfg(test)]
mod tests;

pub use vp8::{PictureId, Vp8Descriptor};

/// Temporal layers that are told apart: more are never sent in practice, and VP8 has no more.
pub const TEMPORAL_LAYERS: usize = 4;

/// What a picture says about temporal layers above those that a viewer has got so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwitchUp {
    /// Nothing: it, or what follows, may depend on pictures that were left out.
    #[default]
    No,
    /// The picture depends on the base layer only: its own layer may be entered with it.
    Itself,
    /// Higher layers may be entered after it: none of their pictures depends on one of them before
    /// it.
    Above,
}

/// What one RTP payload says about its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadInfo {
    /// The packet can be the first of its picture. H.264 may say so of several packets of one
    /// picture: of each parameter set, and again of the first slice. Always true for audio.
    pub starts_frame: bool,
    /// The packet is known to belong to a picture at which a decoder can start. Only together with
    /// `starts_frame` is it a place to start from: later packets of such a picture say so in H.264
    /// and VP9, but cannot in VP8 and AV1. Always true for audio.
    pub keyframe: bool,
    /// Temporal layer, below [`TEMPORAL_LAYERS`]; 0 where the payload does not tell, and 1 where all
    /// it tells is that nothing depends on the packet.
    pub temporal_id: u8,
    /// Where a viewer of fewer temporal layers may get more.
    pub switch_up: SwitchUp,
    /// No later picture depends on this packet, as far as the payload tells.
    pub discardable: bool,
    /// For VP8: what has to be renumbered when streams are joined.
    pub vp8: Option<Vp8Descriptor>,
    /// For H.264: NAL units of interest that begin in the packet.
    pub nals: h264::Nals,
    /// Bytes at the end of the payload that belong to nothing: players drop the packet for them.
    pub padding: usize,
}

/// Reads one RTP payload (header, extensions and padding taken off).
///
/// `None`: this is no payload of `codec`; an empty one never is.
#[must_use]
pub fn inspect(codec: Codec, payload: &[u8]) -> Option<PayloadInfo> {
    match codec {
        Codec::H264 => h264::inspect(payload),
        Codec::Vp8 => vp8::inspect(payload),
        Codec::Vp9 => vp9::inspect(payload),
        Codec::Av1 => av1::inspect(payload),
        Codec::Opus => opus::inspect(payload),
        Codec::Red => red::inspect(payload),
    }
}
