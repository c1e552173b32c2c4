//! How a room's chat travels to one client, without IO and in virtual time.
//!
//! A [`Tick`] is what a room shows everybody at once, a [`Frame`] for each [`Channel`], encoded
//! once. A [`Reader`] is one client's back pressure. The media plane carries chat by these alone:
//! it compiles neither a room nor the filter.

// Virtual time starts somewhere.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod frame;
mod reader;
mod refusal;

pub use frame::{Channel, FRAME_BYTES_MAX, Frame, Tick};
pub use reader::{BUSY_BYTES, COUNTS_ONLY_AFTER, LAG_MAX, Link, OWED_BYTES_MAX, Reader, Written};
pub use refusal::RefusalCode;

/// Longest frame that is taken from a client, in bytes.
pub const REQUEST_BYTES_MAX: usize = 8_192;
