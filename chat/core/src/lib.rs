//! A room's chat, without IO and in virtual time.
//!
//! Every entry point takes `now`; nothing here reads a clock, opens a socket or waits.

pub mod frame;
pub mod reader;
