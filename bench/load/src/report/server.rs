//! What the server spent.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::process::Usage;

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Server {
    /// CPU seconds in the measured span.
    pub cpu_secs: f64,
    /// The same as a number of cores.
    pub cores: f64,
    /// CPU time a packet delivered to a viewer, in nanoseconds: receiving from the publisher,
    /// reports and everything else included.
    pub ns_per_packet: Option<f64>,
    /// CPU time a join, in milliseconds, its leaving and its media included.
    pub ms_per_join: Option<f64>,
    /// Resident memory before the first viewer joined.
    pub rss_before: u64,
    /// At the end of the measured span.
    pub rss_after: u64,
    /// What it grew by, for each viewer, in bytes. Telling only for a server that was just
    /// started: later runs reuse what earlier ones left.
    pub rss_per_viewer: Option<u64>,
    /// File descriptors before the first viewer joined.
    pub fds_before: u64,
    /// At the end of the measured span.
    pub fds_after: u64,
}

impl Server {
    /// From readings before the first viewer joined, and around the measured span of `secs` seconds.
    #[must_use]
    pub fn new(before: Usage, from: Usage, to: Usage, secs: f64) -> Self {
        let cpu = to.cpu.saturating_sub(from.cpu).as_secs_f64();
        Self {
            cpu_secs: cpu,
            cores: cpu / secs.max(1e-3),
            ns_per_packet: None,
            ms_per_join: None,
            rss_before: before.rss,
            rss_after: to.rss,
            rss_per_viewer: None,
            fds_before: before.fds,
            fds_after: to.fds,
        }
    }

    /// What resident memory grew by, as a share of what it was before.
    #[must_use]
    pub fn rss_growth(&self) -> f64 {
        let (before, after) = (self.rss_before as f64, self.rss_after as f64);
        after / before.max(1.0) - 1.0
    }
}

/// What WebSockets cost the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SocketCosts {
    /// CPU time in the measured span by each frame that arrived in it, in microseconds.
    pub cpu_us_per_frame: f64,
    /// Growth of resident memory by each connection, in bytes.
    pub rss_per_connection: f64,
}

/// What joins leave behind at the server when everybody has left. Its memory and descriptors at
/// both ends are in [`Server`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Leftovers {
    /// Joins before the first reading.
    pub warm_up: u64,
    pub joins: u64,
    /// By how much resident memory has grown, as a share of what it was; negative: it shrank.
    pub rss_growth: f64,
    /// Descriptors that are open and were not.
    pub fds: i64,
    /// Of each gauge that was asked for, with `--metrics`.
    pub gauges: BTreeMap<String, Left>,
}

/// A gauge at both readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Left {
    /// After the warm-up.
    pub before: f64,
    pub after: f64,
}
