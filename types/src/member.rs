//! Who takes part in a room's chat.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::RoomName;

/// What somebody is in a room's chat. Later ones may do more.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ChatRole {
    /// Nobody in particular.
    #[default]
    Guest,
    /// Of the artist's fan club, say.
    Member,
    /// A program. It writes under a limit of its own and is shown as what it is.
    Bot,
    /// Deletes, times out, bans for a while, works through the queue.
    Moderator,
    /// Also changes the room's settings, bans for good and decides appeals.
    LeadModerator,
    /// The artist: may do all of it.
    Idol,
    /// The integrator's server.
    Server,
}

/// A participant as the chat sees it: who it is and what its token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMember {
    /// The room.
    pub room: RoomName,
    /// The token's `sub`, or a name that the server made for a guest: the same over reconnects.
    pub user: String,
    /// What is shown.
    pub name: String,
    /// Its role.
    pub role: ChatRole,
    /// May write at all.
    pub write: bool,
    /// May write captions.
    pub caption: bool,
    /// Where its request came from.
    pub address: IpAddr,
    /// Came without a token: nothing but the address says who it is.
    pub anonymous: bool,
    /// Its room had a show when it came.
    pub show: bool,
}
