//! What a shard counts of the chat.

use lightstick_chat_wire::Channel;

use super::cell::Cell;

/// The chat's part of what one shard counts.
#[derive(Debug, Default)]
pub struct ChatStats {
    /// Sessions whose `ctl` channel is open now.
    pub members: Cell,
    /// Channels open now, by [`Channel`].
    pub channels: [Cell; Channel::ALL.len()],
    /// Members of now for whose links frames wait.
    pub behind: Cell,
    /// Members of now that get counts only.
    pub counts_only: Cell,
    /// Frames written to members, by the [`Channel`] that they are meant for.
    pub frames_out: [Cell; Channel::ALL.len()],
    pub bytes_out: Cell,
    /// Frames taken from members.
    pub frames_in: Cell,
    pub bytes_in: Cell,
    /// Messages that members were not sent because their links were too slow.
    pub missed: Cell,
    /// Times that what must not be left out was, so that a member had to be brought up to date.
    pub resyncs: Cell,
    /// Ticks that were shown together with others, because the shard had not shown everybody the
    /// one before them yet.
    pub late: Cell,
    /// Ticks that some member was not shown at all, because too many had gathered.
    pub overrun: Cell,
    /// Frames of members above their rate.
    pub drop_flood: Cell,
    /// Frames of members that were too long.
    pub drop_oversize: Cell,
    /// Text messages, where only binary ones are taken.
    pub drop_text: Cell,
    /// Frames on channels that clients do not write on.
    pub drop_stray: Cell,
    /// Frames that the chat had no room for.
    pub drop_queue: Cell,
    /// Frames for members whose channel did not take them.
    pub drop_unsent: Cell,
    /// SCTP packets that no known client sends.
    pub drop_packet: Cell,
    /// Channels closed for their label, or because there were too many.
    pub channels_refused: Cell,
    /// Channels closed because their session has no member.
    pub channels_ignored: Cell,
}
