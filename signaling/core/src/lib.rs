//! The rules of signaling, without IO: who may join which room, what a token grants, what an ICE
//! fragment says, which entity tag still holds.
//!
//! Nothing here reads a clock or a socket: the caller passes `now` (an `Instant`, or seconds of
//! the Unix time where tokens are judged) and the values, and carries out what comes back.
//!
//! - [`rooms`]: the registry of rooms and sessions, driven by one owner
//! - [`token`]: JSON Web Tokens, their keys and grants
//! - [`sdpfrag`]: ICE fragments in PATCH bodies (RFC 8840)
//! - [`etag`]: entity tags of ICE sessions and `If-Match` (RFC 9110, RFC 9725 section 4.3)
//! - [`turn`]: time-limited credentials for coturn

// Virtual time starts somewhere.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod etag;
pub mod rooms;
pub mod sdpfrag;
pub mod token;
pub mod turn;
