//! Links between the nodes of a cluster, without IO: who is linked with whom, which rooms a node can
//! have from which other one, and over which link each room comes.
//!
//! A child dials its parents. Each node has one [`Relay`], which is told what comes over its links and
//! what the owners of its rooms want, and says what to send ([`Output`]). Media, chat and a show's state
//! are opaque to it; it chooses the [`Channel`], the [`Priority`] and the deadline of each.
//!
//! Rooms are announced with the nodes on their way; a node subscribes once to a room over its best link,
//! however many want it, and moves to another link when that one fails, leaves or has no way any more.
//!
//! ```
//! use std::time::Instant;
//!
//! use lightstick_relay_core::*;
//! use lightstick_types::{NodeId, NodeIdentity, RoomId};
//!
//! let now = Instant::now();
//! let origin: NodeIdentity = "lightstick://studio?role=origin&region=kr".parse()?;
//! let edge: NodeIdentity = "lightstick://edge-1?role=edge&region=kr".parse()?;
//! let mut relays = [
//!     Relay::new(RelayConfig::new(origin.clone(), NodeId(7))),
//!     Relay::new(RelayConfig::new(edge.clone(), NodeId(8))),
//! ];
//!
//! // The edge has dialled the origin. Ids of links are those of the carrier at each end.
//! let link = LinkId(0);
//! relays[0].handle_connected(link, Direction::ToChild, edge, now);
//! relays[1].handle_connected(link, Direction::ToParent, origin, now);
//!
//! // Here is the publisher, there is a viewer.
//! let room = RoomId(1);
//! for relay in &mut relays {
//!     let name = "show".parse()?;
//!     relay.handle_local(room, Local::Open { name }, now)?;
//! }
//! relays[0].handle_local(room, Local::Publish { epoch: 1 }, now)?;
//! relays[1].handle_local(room, Local::Watch, now)?;
//!
//! // The carrier: what one end sends, the other one gets.
//! let mut told = Vec::new();
//! let mut is_quiet = false;
//! while !is_quiet {
//!     is_quiet = true;
//!     for at in [0, 1] {
//!         while let Some(output) = relays[at].poll() {
//!             is_quiet = false;
//!             match output {
//!                 Output::Send(send) => {
//!                     relays[1 - at].handle_message(link, send.channel, send.to_bytes(), now);
//!                 }
//!                 Output::ToRoom { message, .. } => told.push((at, message)),
//!                 Output::Close { .. } | Output::Event(_) => {}
//!             }
//!         }
//!     }
//! }
//! assert!(told.contains(&(1, ToRoom::FeedStarted { link })));
//! let resume = Default::default();
//! assert!(told.contains(&(0, ToRoom::Subscribed { link, resume })));
//!
//! // And then, at the times that it says:
//! let at = relays[0].poll_timeout().expect("heartbeats");
//! relays[0].handle_timeout(at);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Virtual time starts somewhere.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod close;
mod config;
mod envelope;
mod fields;
mod fullness;
mod hello;
pub mod limits;
mod link;
mod liveness;
pub mod message;
mod output;
mod relay;
mod room;
mod rooms;
mod route;
mod tally;

pub use close::CloseReason;
pub use config::RelayConfig;
pub use envelope::{Channel, Class, Flow, Priority};
pub use fields::WireError;
pub use hello::{Hello, VERSIONS, Versions};
pub use message::Withdrawal;
pub use output::{Direction, Event, LinkId, Local, LocalError, Output, Send, ToRoom};
pub use relay::{LinkStatus, Relay, RoomStatus};
pub use route::{Path, RoomSource, Route};
pub use tally::{Count, Tally};
