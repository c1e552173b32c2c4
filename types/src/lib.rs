//! Ids, units and the vocabulary that every Lightstick crate shares.
//!
//! Nothing here does IO or reads a clock. Ids are `Copy` newtypes; units live in types.

mod bitrate;
mod hint;
mod ids;
mod media;
mod member;

pub use bitrate::Bitrate;
pub use hint::{Hint, HintCode};
pub use ids::{RoomId, RoomName, RoomNameError, SessionId, ShardId};
pub use media::{Codec, Layer, LayerChoice, TrackKind};
pub use member::{ChatMember, ChatRole};
