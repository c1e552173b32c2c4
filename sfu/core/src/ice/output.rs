//! What an agent wants done.

use super::Route;

/// What came of what an agent was told; to be polled until there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A datagram to send.
    Transmit(Route, Vec<u8>),
    /// Datagrams from here are this session's from now on.
    Known(Route),
    /// They are not any more.
    Forgotten(Route),
    /// Checks for this user fragment are not this session's any more.
    Retired(String),
    /// From now on the session sends here.
    Routed(Route),
}
