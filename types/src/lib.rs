//! Ids, units and the vocabulary that every Lightstick crate shares.
//!
//! Nothing here does IO or reads a clock. Ids are `Copy` newtypes; units live in types.

#![warn(missing_docs)]
// Virtual time starts somewhere.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod bitrate;
pub mod duration;
mod hint;
mod ids;
mod media;
mod member;
mod network;
mod node;
pub mod rate;
mod role;

pub use bitrate::Bitrate;
pub use hint::{Hint, HintCode};
pub use ids::{NodeId, RoomId, RoomName, RoomNameError, SessionId, ShardId, SourceId};
pub use media::{
    Codec, Layer, LayerChoice, NoSuchTrack, StreamId, TrackId, TrackKind, VIDEO_TRACKS_MAX,
};
pub use member::{ChatMember, ChatRole};
pub use network::Network;
pub use node::{
    NodeIdentity, NodeIdentityError, NodeName, NodeNameError, NodeRole, NodeRoleError, Region,
};
pub use role::Role;
