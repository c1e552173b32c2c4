//! What a peer may send, and what is kept for it.

use std::time::Duration;

use lightstick_types::rate::Limit;

/// Links of a node. Another one is refused.
pub const LINKS_MAX: usize = 512;
/// Rooms that one end of a link announces at a time. It leaves out further ones, and closes the link on
/// a peer that does not.
pub const ROOMS_MAX: usize = 1_024;
/// Nodes on the way from a room's origin to a node that is told of it, the origin included. Nobody is
/// told of what is farther away.
pub const HOPS_MAX: usize = 4;
/// Rooms unknown so far that a peer may ask for at a time. It is told that a further one is unknown, and
/// not when that begins.
pub const WANTS_MAX: usize = 256;
/// Nodes below of which a room's chat knows the way back. Messages of further ones are dropped.
pub const CHAT_NODES_MAX: usize = 1_024;

/// Bytes of a control message. The link is closed on a longer one.
pub const CONTROL_MAX: usize = 64 << 10;
/// Bytes of a payload on the control stream: a message of chat, a show's state, what hops tell each
/// other. A longer one is refused to its owner.
pub const PAYLOAD_MAX: usize = CONTROL_MAX - 64;
/// Bytes of resume points. Longer ones are refused to their owner.
pub const RESUME_MAX: usize = 512;
/// Bytes on a frame stream. A longer one is dropped, and refused to its owner.
pub const FRAME_MAX: usize = 2 << 20;
/// Bytes of a datagram: what fits into a QUIC packet on any path. Longer audio travels on a stream.
pub const DATAGRAM_MAX: usize = 1_150;

/// Control messages of a peer. The link is closed on more.
pub(crate) const CONTROL: Limit = Limit::over(40_000, Duration::from_secs(2));
/// Announcements of a peer. The link is closed on more.
pub(crate) const ANNOUNCEMENTS: Limit = Limit::over(8 * ROOMS_MAX as u32, Duration::from_secs(4));
/// What we announce on a link: half of what a peer takes. The rest comes later, and says how things are then.
pub(crate) const ANNOUNCING: Limit = Limit::over(4 * ROOMS_MAX as u32, Duration::from_secs(4));
/// Subscriptions of a peer. The link is closed on more.
pub(crate) const SUBSCRIPTIONS: Limit = Limit::over(4 * ROOMS_MAX as u32, Duration::from_secs(4));
/// Our subscriptions on a link. Others wait.
pub(crate) const SUBSCRIBING: Limit = Limit::over(2 * ROOMS_MAX as u32, Duration::from_secs(4));
/// Chat that a node sends on a link. More is refused to its owner; of others, dropped.
pub(crate) const CHAT: Limit = Limit::over(8_000, Duration::from_secs(1));
/// Frames and datagrams of a peer that cannot be read. The link is closed on more.
pub(crate) const MALFORMED: Limit = Limit::over(50, Duration::from_secs(10));

/// A link without a hello for so long is closed.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// Each end is heard at least once in this time.
pub const HEARTBEAT: Duration = Duration::from_millis(200);
/// A peer that has not been heard for so long feeds no room that another one can feed.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(600);
/// The link of a peer that has not been heard for so long is closed.
pub const CLOSE_AFTER: Duration = Duration::from_secs(3);
/// A room that is fed anew and over the old link at the same time is so for at most so long.
pub const OVERLAP_MAX: Duration = Duration::from_secs(3);
/// A link that has refused a subscription is not asked again for so long, unless it announces anew.
pub(crate) const REFUSED_FOR: Duration = Duration::from_secs(1);
/// A room is called unknown when the nodes above have not answered for so long.
pub const WANT_TIMEOUT: Duration = Duration::from_secs(2);
