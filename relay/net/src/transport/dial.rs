//! The link to an upstream: made again whenever it is down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use quinn::{ConnectError, Connection};
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::{HANDSHAKE_MAX, Shared, settings};
use crate::config::Upstream;
use crate::event::{Direction, DownReason};
use crate::refused::down_reason;

/// The name of a server that TLS asks for. Certificates name nodes, not hosts.
const SERVER_NAME: &str = "node.lightstick";

/// A name has to be resolved within this time.
const RESOLVE_MAX: Duration = Duration::from_secs(5);

/// A link that was up for less is no success: its successor waits longer.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// Why an upstream cannot be connected to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum DialError {
    #[error("its name cannot be resolved: {0}")]
    Resolve(String),
    #[error(
        "it has IPv6 addresses only, and the relay is bound to IPv4: set relay.bind to [::]:7600"
    )]
    Family,
    #[error("{0}")]
    Connect(String),
    #[error("{0}")]
    Down(DownReason),
}

/// Connects for as long as the transport lives.
pub(super) async fn run(shared: Arc<Shared>, upstream: Upstream) {
    let mut backoff = Backoff::new(shared.config.backoff_min, shared.config.backoff_max);
    let mut told = Told::default();
    loop {
        let begun = Instant::now();
        match attempt(&shared, &upstream).await {
            Ok(reason) => {
                told = Told::default();
                if begun.elapsed() >= STABLE_AFTER {
                    backoff.reset();
                }
                tracing::debug!(%upstream, %reason, "connecting again");
            }
            Err(error) => {
                shared.counters.dials_failed.add(1);
                if let DialError::Down(reason) = &error {
                    shared.counters.count(reason);
                }
                if told.is_new(&error) {
                    tracing::warn!(%upstream, %error, "cannot connect to the upstream; trying on");
                }
            }
        }
        sleep(backoff.next(fastrand::f64())).await;
    }
}

/// # Errors
/// Why there was no link. With one, it has been down for the reason.
async fn attempt(shared: &Shared, upstream: &Upstream) -> Result<DownReason, DialError> {
    let mut failed = DialError::Family;
    for address in resolve(shared, upstream).await? {
        match connect(shared, address).await {
            Ok(connection) => {
                let link = shared.run_link(connection, Direction::Outgoing).await;
                return link.map_err(DialError::Down);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Addresses that the socket can reach.
async fn resolve(shared: &Shared, upstream: &Upstream) -> Result<Vec<SocketAddr>, DialError> {
    let text = |error: io::Error| DialError::Resolve(error.to_string());
    let found = timeout(RESOLVE_MAX, lookup_host((upstream.host(), upstream.port())));
    let found = found
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(text)?;
    let reaches_ipv6 = shared.config.bind.is_ipv6();
    Ok(found
        .filter(|address| reaches_ipv6 || address.is_ipv4())
        .collect())
}

async fn connect(shared: &Shared, address: SocketAddr) -> Result<Connection, DialError> {
    let config = settings::client(&shared.credentials.borrow(), &shared.config.link);
    let connecting = shared.endpoint.connect_with(config, address, SERVER_NAME);
    let connecting =
        connecting.map_err(|error: ConnectError| DialError::Connect(error.to_string()))?;
    let connection = timeout(HANDSHAKE_MAX, connecting).await;
    let connection = connection.map_err(|_| DialError::Down(DownReason::TimedOut))?;
    connection.map_err(|error| DialError::Down(down_reason(&error)))
}

/// What was logged last, so that the same is not logged again.
#[derive(Default)]
struct Told(Option<String>);

impl Told {
    fn is_new(&mut self, error: &impl fmt::Display) -> bool {
        let text = error.to_string();
        if self.0.as_ref() == Some(&text) {
            return false;
        }
        self.0 = Some(text);
        true
    }
}

/// Waits that double, each shortened by up to a half at random.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    /// `random`: 0 to 1.
    fn next(&mut self, random: f64) -> Duration {
        let wait = self.next.mul_f64(1.0 - random / 2.0);
        self.next = self.next.saturating_mul(2).min(self.max);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let waits: Vec<_> = (0..7).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_millis(100));
    }

    #[test]
    fn the_same_is_told_once() {
        let mut told = Told::default();
        assert!(told.is_new(&"refused"));
        assert!(!told.is_new(&"refused"));
        assert!(told.is_new(&"timed out"));
        assert!(told.is_new(&"refused"));
    }
}
