//! Peers built on the `webrtc` crate, a stack that shares no code with the server's, for the
//! integration tests in `tests/`.

mod media;
mod peer;
mod requests;
mod server;

pub use media::{Sent, VIDEO_BITRATE, compare, publish_for, whole};
pub use peer::{Publisher, Received, Viewer};
pub use server::{Server, Session};
