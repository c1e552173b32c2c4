//! What is counted of TCP.

use super::cell::Cell;

/// Connections over TCP: those that are held, and why others are not.
#[derive(Debug, Default)]
pub struct TcpStats {
    pub connections: Cell,
    /// Bytes that wait for slow connections now.
    pub queued_bytes: Cell,
    /// Refused: their network opens too many, or holds as many as it may.
    pub refused_network: Cell,
    /// Refused: all are held by peers that are authenticated.
    pub refused_full: Cell,
    /// Times that the process had no descriptor for the next one.
    pub refused_descriptors: Cell,
    /// Closed: they sent what is no connectivity check, or junk again and again.
    pub closed_junk: Cell,
    /// Closed: they announced a frame that is too long.
    pub closed_oversize: Cell,
    /// Closed: they had not authenticated themselves in time.
    pub closed_stranger: Cell,
    /// Closed: they were the longest idle stranger when another came.
    pub closed_evicted: Cell,
    /// Closed: their session ended, or uses others.
    pub closed_session: Cell,
    /// Closed by the peer or the network.
    pub closed_peer: Cell,
}
