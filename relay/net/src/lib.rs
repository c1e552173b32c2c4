//! Links between the nodes of a cluster: QUIC with mutual TLS.
//!
//! [`Transport`] owns the socket. It connects to upstreams, accepts children, and turns what happens into
//! [`RelayEvent`]s; [`RelayCommand`]s go the other way. A link has one ordered control stream in each
//! direction, a stream for each frame, and datagrams. Nothing of the QUIC library shows. [`RelayThread`]
//! joins it with the core of the relay on a thread of its own.

mod config;
mod congestion;
mod driver;
mod event;
pub mod framing;
mod link;
mod refused;
mod runtime;
mod stats;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

pub use config::{
    CongestionControl, LinkConfig, RelayConfig, RelayConfigError, Upstream, UpstreamError,
};
pub use driver::{RelayHandle, RelayLocal, RelayThread, Sink, TellError};
pub use event::{
    Channel, CloseReason, Direction, DownReason, Frame, LinkId, Outgoing, Payload, Peer, Priority,
    RelayCommand, RelayEvent,
};
pub use framing::MESSAGE_BYTES_MAX;
pub use stats::{FrameCounts, LinkStats, MessageCounts, PathStats, RelayStats, StatsReader};
pub use tls::{
    CertificateFiles, Credentials, CredentialsError, IssueError, Issued, NOT_BEFORE_MARGIN,
    Refusal, issue_ca, issue_node,
};
pub use transport::{StartError, Transport};
