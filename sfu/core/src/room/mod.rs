//! A room, without IO: where its media comes from, who gets it, and what is asked for in return.
//!
//! A [`Hop`] is one place's part of a room: a shard's, or a node's. Hops form a tree: the publisher
//! is at the root, each hop gets the room from the one above it ([`Up`], [`Down`]), and each has
//! viewers of its own. It is driven by `handle_*` and `push`, says what is to be done by
//! [`poll`](Hop::poll), and when it wants to be looked at by [`poll_timeout`](Hop::poll_timeout).
//! Only datagrams for viewers do not go that way: they are written where they leave, an [`Outlet`].

mod buffer;
mod downstream;
mod gate;
mod hop;
mod message;
mod output;
mod peers;
mod rates;
mod tally;
mod tap;
#[cfg(test)]
pub(crate) mod tests;
mod upstream;
mod viewer;
pub mod wire;

use std::collections::VecDeque;
use std::time::Instant;

use crate::ice::Route;

pub use downstream::{ViewerKey, Viewers};
pub use gate::LinkGate;
pub use hop::{Hop, HopConfig, SourceEvent, ViewerEvent};
pub use message::{Batch, Down, PeerId, Up};
pub use output::{FeederId, Output, TapBatch, TapId};
pub use tally::Tally;
pub use tap::{Policy, TapConfig, TapEvent};
pub use upstream::SourceSetup;
pub use viewer::{Viewer, ViewerMedia};

/// What a hop wants done, in order. Polled empty after each call: it holds what one call made.
type Outputs = VecDeque<Output>;

/// Where datagrams for viewers leave.
pub trait Outlet {
    /// Lets `write` append a datagram to a buffer. It is told how long the datagrams before it in
    /// the same run are, 0 for the first. Returns the datagram's length.
    ///
    /// # Errors
    /// Those of `write`: nothing is sent.
    fn datagram<E>(
        &mut self,
        to: Route,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<usize, E>;
}

/// What a hop is lent to work with.
#[derive(Debug)]
pub struct Turn<'a, O> {
    /// The time.
    pub now: Instant,
    /// The way out.
    pub outlet: &'a mut O,
    /// Where it counts.
    pub tally: &'a mut Tally,
}
