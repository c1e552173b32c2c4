//! A room's chat, without IO and in virtual time.
//!
//! [`room::ChatRoom`] is one room: it is told who comes and what they ask for, and says what everybody
//! is shown, what single clients are told and what is to be kept. Every entry point takes `now`;
//! nothing here reads a clock, opens a socket or waits.

// Virtual time starts somewhere.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod command;
pub mod config;
mod effects;
pub mod now;
mod poll;
pub mod record;
pub mod refusal;
mod roles;
pub mod room;
mod sample;
pub mod sanctions;
mod screen;
pub mod settings;
mod stream;

pub use screen::clean_name;
