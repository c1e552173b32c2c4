//! Peers built on the `webrtc` crate, a stack that shares no code with the server's, for the
//! integration tests in `tests/`.

mod media;
mod peer;
mod relay;
mod requests;
mod server;

pub use media::{Sent, VIDEO_BITRATE, compare, in_order, publish_for, publish_on_request, whole};
pub use peer::{Publisher, Received, Repair, Viewer, payload_type};
pub use relay::{Loss, Relay, Way};
pub use server::{Server, Session, signal};
