//! What must hold for any bytes: one function for each parser that reads what a peer sends.
//!
//! A target takes bytes and panics when an invariant breaks. `tests/replay.rs` runs every target
//! over its corpus and over mutations of it, on stable, in CI; the binaries of `libfuzzer/` run
//! the same functions under libFuzzer.

mod binding;
mod chat;
mod codec;
mod control;
mod demux;
mod feedback;
mod forward;
mod relay;
mod rtcp;
mod signaling;
mod wire;

pub use binding::binding;
pub use chat::{chat_filter, chat_request};
pub use codec::{codec_audio, codec_av1, codec_h264, codec_vp8, codec_vp9};
pub use control::relay_control;
pub use demux::{demux, stun, tcp_deframer};
pub use feedback::feedback;
pub use forward::forward;
pub use relay::{relay_link, relay_message};
pub use rtcp::{rtcp, srtcp};
pub use signaling::{if_match, names, sdp_fragment, sdp_offer, token};
pub use wire::wire;

/// A target: panics on input that breaks an invariant, returns on all else.
pub type Target = fn(&[u8]);

/// Every target with its name: that of its corpus folder and of its libFuzzer binary.
pub const TARGETS: &[(&str, Target)] = &[
    ("binding", binding),
    ("chat_filter", chat_filter),
    ("chat_request", chat_request),
    ("codec_audio", codec_audio),
    ("codec_av1", codec_av1),
    ("codec_h264", codec_h264),
    ("codec_vp8", codec_vp8),
    ("codec_vp9", codec_vp9),
    ("demux", demux),
    ("feedback", feedback),
    ("forward", forward),
    ("if_match", if_match),
    ("names", names),
    ("relay_control", relay_control),
    ("relay_link", relay_link),
    ("relay_message", relay_message),
    ("rtcp", rtcp),
    ("sdp_fragment", sdp_fragment),
    ("sdp_offer", sdp_offer),
    ("srtcp", srtcp),
    ("stun", stun),
    ("tcp_deframer", tcp_deframer),
    ("token", token),
    ("wire", wire),
];
