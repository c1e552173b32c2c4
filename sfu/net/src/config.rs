//! Settings of the media plane.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lightstick_types::duration;
use serde::{Deserialize, Serialize};

/// Settings of the media plane. Every default is fit for one machine in development.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaConfig {
    /// Media threads; 0 takes one for each core that the process may use.
    pub shards: u16,
    /// Pin each media thread to a core of its own.
    pub pin: bool,
    /// Addresses to receive media on. `::` takes IPv4 too. Loopback `::1` is skipped where the
    /// machine has no IPv6.
    pub bind: Vec<IpAddr>,
    /// First UDP (and TCP) port: shard *n* uses `port + n`.
    pub port: u16,
    /// Addresses that clients should send to, where they differ from `bind` (NAT, cloud). Empty:
    /// the bound addresses. At most one for each of IPv4 and IPv6.
    pub advertise: Vec<IpAddr>,
    /// Accept ICE over TCP on the same ports, for networks that block UDP (RFC 6544).
    pub tcp: bool,
    /// TCP connections of a shard at most. Of those of peers that have not authenticated
    /// themselves, the longest idle makes room for a new one.
    pub tcp_connections_max: usize,
    /// Of them, those of one IPv4 address or IPv6 /64.
    pub tcp_connections_per_address_max: usize,
    /// Kernel receive and send buffer of each media socket, in bytes.
    pub socket_buffer_bytes: usize,
    /// Whole-frame messages that wait between two shards at most. Full: the frame is dropped,
    /// counted, and the layer waits for its next keyframe.
    pub ring_frames: usize,
    /// From the answer to a working connection; then the session is closed.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// From a publisher's connection to its first media; then the session is closed.
    #[serde(with = "duration")]
    pub first_media_timeout: Duration,
    /// Nothing authentic for this long, neither a check nor media: the peer is gone. RFC 7675
    /// section 5.1 has 30 s.
    #[serde(with = "duration")]
    pub consent_timeout: Duration,
    /// At most one keyframe request per layer goes to the publisher in this time.
    #[serde(with = "duration")]
    pub keyframe_interval: Duration,
    /// A layer that nobody has watched for this long is paused at its publisher, if the publisher
    /// listens. 0 pauses nothing.
    #[serde(with = "duration")]
    pub pause_after: Duration,
    /// A keyframe older than this is not replayed to newcomers. More than the keyframe interval of any
    /// encoder that ignores requests for keyframes.
    #[serde(with = "duration")]
    pub replay_age_max: Duration,
    /// Of one layer at most so much is kept for replays, in bytes of payload. Where a keyframe lies
    /// further back, newcomers wait for the next.
    pub replay_bytes_max: usize,
    /// The same of all rooms and layers together: where there are many, each gets its share.
    pub replay_total_bytes_max: usize,
    /// Retransmission memory of a viewer, in packets of video.
    pub rtx_packets: usize,
    /// A frame's packets wait for its last one so long at most, in rooms with many viewers: a whole
    /// frame is one system call a viewer. 0 sends each packet as it comes.
    #[serde(with = "duration")]
    pub frame_hold: Duration,
    /// Offer DTLS 1.3 to viewers too. It saves them a round trip when they join; but browsers then
    /// get AES in counter mode with HMAC-SHA1, which costs five times what AES-GCM does a packet.
    pub viewer_dtls13: bool,
    /// Smallest playout delay asked of viewers when the publisher sends none (the
    /// `playout-delay` header extension). Absent: players choose.
    #[serde(with = "duration::option")]
    pub playout_delay_min: Option<Duration>,
    /// Largest playout delay asked of viewers.
    #[serde(with = "duration::option")]
    pub playout_delay_max: Option<Duration>,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            shards: 0,
            pin: true,
            bind: vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ],
            port: 7_700,
            advertise: Vec::new(),
            tcp: true,
            tcp_connections_max: 1_024,
            tcp_connections_per_address_max: 256,
            socket_buffer_bytes: 4 << 20,
            ring_frames: 1_024,
            connect_timeout: Duration::from_secs(30),
            first_media_timeout: Duration::from_secs(60),
            consent_timeout: Duration::from_secs(30),
            keyframe_interval: Duration::from_secs(1),
            pause_after: Duration::from_secs(10),
            replay_age_max: Duration::from_secs(12),
            replay_bytes_max: 12 << 20,
            replay_total_bytes_max: 256 << 20,
            rtx_packets: 512,
            frame_hold: Duration::from_millis(10),
            viewer_dtls13: false,
            playout_delay_min: None,
            playout_delay_max: None,
        }
    }
}

/// A value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {is}: write {wanted}")]
pub struct MediaConfigError {
    pub key: &'static str,
    pub is: String,
    pub wanted: &'static str,
}

impl MediaConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first value that cannot work.
    pub fn validate(&self) -> Result<(), MediaConfigError> {
        let at_least = |key, is: usize, least: usize, wanted| {
            let error = MediaConfigError {
                key,
                is: is.to_string(),
                wanted,
            };
            if is < least { Err(error) } else { Ok(()) }
        };
        at_least("bind", self.bind.len(), 1, "at least one address")?;
        self.validate_addresses()?;
        at_least("ring_frames", self.ring_frames, 8, "at least 8")?;
        at_least(
            "replay_bytes_max",
            self.replay_bytes_max,
            1 << 18,
            "at least 262144",
        )?;
        at_least(
            "replay_total_bytes_max",
            self.replay_total_bytes_max,
            self.replay_bytes_max,
            "at least media.replay_bytes_max",
        )?;
        at_least("rtx_packets", self.rtx_packets, 16, "at least 16")?;
        at_least(
            "tcp_connections_per_address_max",
            self.tcp_connections_per_address_max,
            1,
            "at least 1",
        )?;
        at_least(
            "socket_buffer_bytes",
            self.socket_buffer_bytes,
            65_536,
            "at least 65536",
        )?;
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        for (key, is, range, wanted) in [
            (
                "connect_timeout",
                self.connect_timeout,
                s(1)..=s(300),
                "1s to 5m",
            ),
            (
                "first_media_timeout",
                self.first_media_timeout,
                s(1)..=s(3_600),
                "1s to 1h",
            ),
            ("frame_hold", self.frame_hold, ms(0)..=ms(50), "0s to 50ms"),
            (
                "replay_age_max",
                self.replay_age_max,
                s(0)..=s(60),
                "0s to 60s",
            ),
            // RFC 7675 section 5.1 lets consent live for 30 seconds.
            (
                "consent_timeout",
                self.consent_timeout,
                s(6)..=s(30),
                "6s to 30s",
            ),
            (
                "keyframe_interval",
                self.keyframe_interval,
                ms(100)..=s(60),
                "100ms to 60s",
            ),
            ("pause_after", self.pause_after, s(0)..=s(3_600), "0s to 1h"),
        ] {
            if !range.contains(&is) {
                let is = duration::format(is);
                return Err(MediaConfigError { key, is, wanted });
            }
        }
        match (self.playout_delay_min, self.playout_delay_max) {
            (None, None) => Ok(()),
            (Some(min), Some(max)) if min <= max && max <= PLAYOUT_DELAY_LIMIT => Ok(()),
            (min, max) => Err(MediaConfigError {
                key: "playout_delay_min",
                is: format!(
                    "{} beside a playout_delay_max of {}",
                    min.map_or_else(|| "nothing".into(), duration::format),
                    max.map_or_else(|| "nothing".into(), duration::format),
                ),
                wanted: "both or none, the smaller one first, up to 40950ms",
            }),
        }
    }
}

impl MediaConfig {
    /// A wildcard says nothing about where clients should send to, so it needs an address of its
    /// family beside it; `::` takes both.
    fn validate_addresses(&self) -> Result<(), MediaConfigError> {
        let v4 = self.advertise.iter().filter(|ip| ip.is_ipv4()).count();
        let v6 = self.advertise.len() - v4;
        if v4 > 1 || v6 > 1 || self.advertise.iter().any(IpAddr::is_unspecified) {
            return Err(MediaConfigError {
                key: "advertise",
                is: format!("{:?}", self.advertise),
                wanted: "at most one address of IPv4 and one of IPv6 that clients can reach",
            });
        }
        let unreachable = self.bind.iter().find(|ip| match ip {
            IpAddr::V4(ip) => ip.is_unspecified() && v4 == 0,
            IpAddr::V6(ip) => ip.is_unspecified() && v4 + v6 == 0,
        });
        unreachable.map_or(Ok(()), |wildcard| {
            Err(MediaConfigError {
                key: "bind",
                is: wildcard.to_string(),
                wanted: "the address that clients reach into media.advertise as well",
            })
        })
    }
}

/// The header extension has 12 bits of 10 ms.
const PLAYOUT_DELAY_LIMIT: Duration = Duration::from_millis(40_950);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_ranges() {
        let check = |change: fn(&mut MediaConfig, Duration), millis, wanted: Option<&str>| {
            let mut config = MediaConfig::default();
            change(&mut config, Duration::from_millis(millis));
            let refused = config.validate().err().map(|error| error.to_string());
            assert_eq!(refused.as_deref(), wanted);
        };
        let connect = |c: &mut MediaConfig, is| c.connect_timeout = is;
        check(connect, 1_000, None);
        check(connect, 0, Some("connect_timeout is 0s: write 1s to 5m"));
        check(
            connect,
            300_001,
            Some("connect_timeout is 300001ms: write 1s to 5m"),
        );
        check(|c, is| c.frame_hold = is, 0, None);
        check(
            |c, is| c.frame_hold = is,
            51,
            Some("frame_hold is 51ms: write 0s to 50ms"),
        );
        check(
            |c, is| c.playout_delay_max = Some(is),
            20,
            Some(
                "playout_delay_min is nothing beside a playout_delay_max of 20ms: write both or none, \
                 the smaller one first, up to 40950ms",
            ),
        );
    }
}
