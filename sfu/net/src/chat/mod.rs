//! Fan chat on data channels: what crosses between the shards and the chat.
//!
//! The shards own the channels of their sessions, the chat owns what is said in a room. A shard
//! tells the chat who is there and what they write; the chat tells every shard what a room shows,
//! and a shard what one session is told. See `docs/decisions/0016-chat-on-data-channels.md`.

mod channels;
mod rooms;

use std::sync::Arc;

use bytes::Bytes;
use lightstick_chat_wire::{Frame, Tick};
use lightstick_types::{ChatMember, RoomName, SessionId, ShardId};

pub(crate) use channels::{ChannelEvent, Chat, Dropped, Opened, Place, UNSENT_BYTES_MAX, prepare};
pub(crate) use rooms::{ChatRooms, Due};

/// Capacity of the channel that carries [`ChatEvent`]s. When it is full, frames are dropped and
/// counted, and their writers hear nothing; all other events wait for room in their shard, at most
/// one of each kind a session and opening.
pub const CHAT_EVENTS_MAX: usize = 32_768;

/// Capacity of a shard's queue of [`ChatCommand`]s. Full: the caller gets its command back.
pub const CHAT_COMMANDS_MAX: usize = 8_192;

/// Why a client's message is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatRefused {
    /// Too many at once.
    TooFast,
    /// Too long, or text where protobuf was to come.
    Unreadable,
}

/// What happens on the data channels of sessions with a [`ChatMember`], in order per session.
#[derive(Clone, Debug)]
pub enum ChatEvent {
    /// The session's `ctl` channel is open: it may write, and gets what its room shows from now on.
    Opened {
        /// The shard that owns it: needed for every command to it.
        shard: ShardId,
        session: SessionId,
        member: Arc<ChatMember>,
    },
    /// The session has written a binary message of at most [`REQUEST_BYTES_MAX`](lightstick_chat_wire::REQUEST_BYTES_MAX) bytes. What
    /// it says is not looked at.
    Frame {
        /// The shard that owns it.
        shard: ShardId,
        session: SessionId,
        /// What it wrote: a `ClientFrame`, if it keeps to the protocol.
        bytes: Bytes,
    },
    /// The session has written on `ctl` what is not passed on. Of many such messages a few are
    /// told, so that an answer costs no more than a request.
    Refused {
        /// The shard that owns it.
        shard: ShardId,
        session: SessionId,
        /// Its beginning, at most [`REQUEST_BYTES_MAX`](lightstick_chat_wire::REQUEST_BYTES_MAX) bytes.
        head: Bytes,
        why: ChatRefused,
    },
    /// What must not be left out was, because the session's link was too slow. It drains again: the
    /// session is to be told what it has missed.
    Resync {
        /// The shard that owns it.
        shard: ShardId,
        session: SessionId,
    },
    /// The session's `ctl` channel or the session itself is gone. Another `Opened` of the same
    /// session may follow.
    Closed {
        /// The shard that owned it.
        shard: ShardId,
        session: SessionId,
    },
}

/// What the chat asks of a shard. Each session gets what concerns it in the order of the commands.
#[derive(Clone, Debug)]
pub enum ChatCommand {
    /// Shows the room's members on this shard a tick. Each of its frames has at most
    /// [`FRAME_BYTES_MAX`](lightstick_chat_wire::FRAME_BYTES_MAX) bytes.
    Show { room: RoomName, tick: Arc<Tick> },
    /// Tells one session something on `ctl`. A session whose chat is closed hears nothing.
    Tell {
        session: SessionId,
        /// What, at most
        /// [`FRAME_BYTES_MAX`](lightstick_chat_wire::FRAME_BYTES_MAX) bytes.
        frame: Frame,
    },
    /// Closes a session's chat channels, after what it was told before. Its media goes on.
    /// [`ChatEvent::Closed`] follows, if they were open.
    Close { session: SessionId },
}
