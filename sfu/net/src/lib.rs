//! The media plane: shards, their sockets, and the WebRTC sessions on them.
//!
//! The control plane holds a [`MediaPlane`] and hears [`MediaEvent`]s. Everything between a
//! datagram in and a datagram out happens on one shard's thread; the decisions are taken in
//! `lightstick-sfu-core`.

mod api;
mod attached;
mod chat;
mod chat_outbox;
mod command;
mod config;
mod connection;
mod control;
mod demux;
mod dtls;
mod faults;
mod forward;
mod handle;
mod ingress;
mod joins;
mod link;
mod open;
mod port;
mod promote;
mod rooms;
mod session;
mod sessions;
mod shard;
mod sink;
mod stats;
mod survey;
mod tcp;
#[cfg(test)]
mod testing;
mod udp;
mod viewer;

pub use api::*;
pub use attached::{
    SourceConfig, SourceEnd, SourceHandle, SourceRefused, SourceWish, TapEnd, TapReceiver,
};
pub use chat::{CHAT_COMMANDS_MAX, CHAT_EVENTS_MAX, ChatCommand, ChatEvent, ChatRefused};
pub use config::{MediaConfig, MediaConfigError};
#[cfg(debug_assertions)]
pub use faults::Fault;
pub use handle::{MediaPlane, MediaThreads, StartError};
pub use stats::*;
