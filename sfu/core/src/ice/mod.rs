//! ICE of one session, on the lite side (RFC 8445 section 2.5): who may be sent to, and where.
//!
//! [`stun`] reads and writes the messages. [`Agent`] answers the peer's checks and, as an
//! ICE-lite agent may, sends some of its own: an address that repeats the transaction id of one
//! has proven that it hears us. `Path` keeps what an address may be sent until then, and when
//! it was last heard: the evidence by which `Paths` chooses the route and keeps its consent.
//! `Checks` sends ours to the addresses that have yet to prove themselves.
//! `Identity` knows both sides' credentials over ICE restarts.

mod agent;
mod checks;
mod credentials;
mod identity;
mod output;
mod path;
mod paths;
pub mod stun;

pub use agent::{Agent, Timing};
pub use credentials::Credentials;
pub use identity::Pair;
pub use output::Output;
pub use path::Route;

use path::Path;
