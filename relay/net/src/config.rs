//! Settings of the relay.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lightstick_types::duration;
use serde::{Deserialize, Serialize};

/// Settings of the relay between nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    /// UDP address for links in both directions. `[::]:7600` takes and reaches IPv4 too.
    pub bind: SocketAddr,
    /// Nodes to connect to, each `HOST:PORT`.
    pub upstreams: Vec<Upstream>,
    /// Certificates of the cluster's private CA, PEM.
    pub ca_file: PathBuf,
    /// This node's certificate and intermediates, PEM.
    pub cert_file: PathBuf,
    /// The private key of `cert_file`, PEM.
    pub key_file: PathBuf,
    /// The three files are looked at for changes this often.
    #[serde(with = "duration")]
    pub reload_every: Duration,
    /// Wait before the second attempt to connect to an upstream; it doubles with each attempt.
    #[serde(with = "duration")]
    pub backoff_min: Duration,
    /// Longest wait between two attempts.
    #[serde(with = "duration")]
    pub backoff_max: Duration,
    /// Links that other nodes may have to this one. Beyond them, new ones are refused.
    pub links_max: usize,
    /// Settings of each link.
    pub link: LinkConfig,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7_600)),
            upstreams: Vec::new(),
            ca_file: PathBuf::from("relay/ca.pem"),
            cert_file: PathBuf::from("relay/node.pem"),
            key_file: PathBuf::from("relay/node.key"),
            reload_every: Duration::from_secs(10),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            links_max: 256,
            link: LinkConfig::default(),
        }
    }
}

/// Settings of a link. The windows hold three round trips of 100 Mbit/s over 200 ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkConfig {
    /// Nothing heard for this long: the link is down. Heartbeats of the relay notice earlier.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// A ping after so much silence keeps the link, and NAT bindings, alive.
    #[serde(with = "duration")]
    pub keep_alive: Duration,
    /// Assumed until the first measurement.
    #[serde(with = "duration")]
    pub initial_rtt: Duration,
    /// First size of UDP payloads, 1200 to 1452: larger ones are tried by path MTU discovery. Up to 1232
    /// fits an MTU of 1280.
    pub initial_mtu: u16,
    /// Frames that the peer may have under way at once.
    pub streams_max: u32,
    /// Flow control: what the peer may have under way, in bytes.
    pub receive_window_bytes: u32,
    /// Largest frame, in bytes. A peer that sends a larger one is disconnected.
    pub frame_bytes_max: usize,
    /// Frames under way at most. Beyond them, frames of the lowest priority are dropped.
    pub frames_in_flight_max: usize,
    /// Their bytes at most; the same.
    pub frames_in_flight_bytes_max: usize,
    /// Datagrams that wait to be sent, in bytes. Full: the oldest are dropped.
    pub datagram_buffer_bytes: usize,
    /// Messages of the control stream that wait to be sent, in bytes. Full: the peer does not read, and
    /// the link is closed.
    pub control_bytes_max: usize,
    /// Congestion control.
    pub congestion: CongestionControl,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_millis(500),
            initial_rtt: Duration::from_millis(100),
            initial_mtu: 1_200,
            streams_max: 4_096,
            receive_window_bytes: 16 << 20,
            frame_bytes_max: 2 << 20,
            frames_in_flight_max: 1_024,
            frames_in_flight_bytes_max: 8 << 20,
            datagram_buffer_bytes: 64 << 10,
            control_bytes_max: 4 << 20,
            congestion: CongestionControl::default(),
        }
    }
}

/// Which algorithm decides how much is under way on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CongestionControl {
    /// Made for live media: it tolerates loss, and yields to growing queues.
    #[default]
    Live,
    /// RFC 9438, for comparison: it collapses under random loss.
    Cubic,
    /// The QUIC library's experimental BBR, for comparison.
    Bbr,
}

/// A value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {is}: write {wanted}")]
pub struct RelayConfigError {
    pub key: &'static str,
    pub is: String,
    pub wanted: &'static str,
}

impl RelayConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value that cannot work.
    pub fn validate(&self) -> Result<(), RelayConfigError> {
        const UPSTREAMS_MAX: usize = 16;
        let upstreams = self.upstreams.len();
        let backoff = self.backoff_min.as_secs_f64();
        let most = self.backoff_max.as_secs_f64();
        let every = self.reload_every.as_secs_f64();
        let link = &self.link;
        let idle = link.idle_timeout.as_secs_f64();
        let alive = link.keep_alive.as_secs_f64();
        let rtt = link.initial_rtt.as_secs_f64();
        let in_flight = link.frames_in_flight_bytes_max;
        check(
            "relay.upstreams",
            upstreams,
            upstreams <= UPSTREAMS_MAX,
            "at most 16",
        )?;
        check(
            "relay.backoff_min",
            backoff,
            (0.01..=60.0).contains(&backoff),
            "10ms to 1m",
        )?;
        check(
            "relay.backoff_max",
            most,
            (backoff..=600.0).contains(&most),
            "backoff_min to 10m",
        )?;
        check(
            "relay.reload_every",
            every,
            (0.01..=3600.0).contains(&every),
            "10ms to 1h",
        )?;
        check(
            "relay.links_max",
            self.links_max,
            self.links_max >= 1,
            "1 or more",
        )?;
        check(
            "relay.link.idle_timeout",
            idle,
            (0.2..=60.0).contains(&idle),
            "200ms to 1m",
        )?;
        check(
            "relay.link.keep_alive",
            alive,
            alive > 0.0 && alive <= idle / 2.0,
            "at most half of idle_timeout",
        )?;
        check(
            "relay.link.initial_rtt",
            rtt,
            (0.001..=1.0).contains(&rtt),
            "1ms to 1s",
        )?;
        check(
            "relay.link.initial_mtu",
            link.initial_mtu,
            (1_200..=1_452).contains(&link.initial_mtu),
            "1200 to 1452",
        )?;
        check(
            "relay.link.frame_bytes_max",
            link.frame_bytes_max,
            (1_200..=in_flight).contains(&link.frame_bytes_max),
            "1200 to frames_in_flight_bytes_max",
        )?;
        check(
            "relay.link.frames_in_flight_max",
            link.frames_in_flight_max,
            (1..link.streams_max as usize).contains(&link.frames_in_flight_max),
            "1 or more, and less than streams_max",
        )?;
        check(
            "relay.link.receive_window_bytes",
            link.receive_window_bytes,
            link.receive_window_bytes as usize >= in_flight.saturating_mul(2),
            "at least twice frames_in_flight_bytes_max",
        )?;
        check(
            "relay.link.datagram_buffer_bytes",
            link.datagram_buffer_bytes,
            (1_500..=16 << 20).contains(&link.datagram_buffer_bytes),
            "1500 to 16777216",
        )?;
        check(
            "relay.link.control_bytes_max",
            link.control_bytes_max,
            (crate::framing::MESSAGE_BYTES_MAX..=1 << 30).contains(&link.control_bytes_max),
            "262144 to 1073741824",
        )
    }
}

fn check(
    key: &'static str,
    is: impl ToString,
    holds: bool,
    wanted: &'static str,
) -> Result<(), RelayConfigError> {
    if holds {
        return Ok(());
    }
    let is = is.to_string();
    Err(RelayConfigError { key, is, wanted })
}

/// Where another node listens: a host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Upstream {
    host: Box<str>,
    port: u16,
}

/// Why a string is no upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write HOST:PORT, an IPv6 address in brackets")]
pub struct UpstreamError;

impl Upstream {
    /// The name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (host, port) = s.rsplit_once(':').ok_or(UpstreamError)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or(UpstreamError)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let valid = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                (1..=253).contains(&host.len()) && host.bytes().all(allowed)
            }
        };
        let host = bracketed.unwrap_or(host).into();
        valid.then_some(Self { host, port }).ok_or(UpstreamError)
    }
}

impl TryFrom<String> for Upstream {
    type Error = UpstreamError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Upstream> for String {
    fn from(upstream: Upstream) -> Self {
        upstream.to_string()
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string().into(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(RelayConfig::default().validate(), Ok(()));
    }

    #[test]
    fn values_that_cannot_work() {
        let invalid = |change: fn(&mut RelayConfig)| {
            let mut config = RelayConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        assert_eq!(
            invalid(|c| c.backoff_max = Duration::from_millis(1)),
            "relay.backoff_max"
        );
        assert_eq!(
            invalid(|c| c.link.keep_alive = Duration::from_secs(2)),
            "relay.link.keep_alive"
        );
        assert_eq!(
            invalid(|c| c.link.initial_mtu = 1_199),
            "relay.link.initial_mtu"
        );
        assert_eq!(
            invalid(|c| c.link.receive_window_bytes = 1 << 20),
            "relay.link.receive_window_bytes"
        );
        assert_eq!(
            invalid(|c| c.link.streams_max = 100),
            "relay.link.frames_in_flight_max"
        );
    }

    #[test]
    fn upstreams() {
        for good in [
            "hub.kr:7600",
            "10.0.0.1:1",
            "[2001:db8::1]:7600",
            "hub_1:65535",
        ] {
            assert_eq!(good.parse::<Upstream>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "hub",
            "hub:",
            "hub:0",
            "hub:65536",
            ":7600",
            "::1:7600",
            "[hub]:1",
            "a b:1",
        ] {
            assert_eq!(bad.parse::<Upstream>(), Err(UpstreamError), "{bad}");
        }
    }
}
