//! Settings of signaling.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lightstick_signaling_core::rooms::{Limits, RoomsConfig};
use lightstick_types::{Bitrate, duration};
use serde::{Deserialize, Serialize};

/// Settings of signaling. Every default is fit for one machine in development.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalingConfig {
    /// How long a room waits for an artist whose connection was lost.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// Whether viewers may come before the artist and wait; else they get 409 and `Retry-After`.
    pub viewers_wait: bool,
    /// How long viewers may stay in a room whose show is over.
    #[serde(with = "duration")]
    pub ended_linger: Duration,
    /// Whether anybody may watch without a token. Always so in development mode.
    pub watch_open: bool,
    /// A publisher who sends far above this rate is closed; pages offer at most this.
    pub publish_bitrate_max_kbps: u64,
    /// Largest SDP offer, in bytes.
    pub offer_bytes_max: usize,
    /// Time for a request's body to arrive whole.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// `Retry-After` of refusals that know no better time.
    #[serde(with = "duration")]
    pub retry_after: Duration,
    /// When viewers should reconnect after the server announces that it stops.
    #[serde(with = "duration")]
    pub reconnect_after: Duration,
    /// Origins of pages that may use the server from elsewhere; `*` for any.
    pub cors_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed. Empty: the header is ignored.
    pub trusted_proxies: Vec<IpAddr>,
    /// Accepted difference of clocks when a token's times are judged.
    #[serde(with = "duration")]
    pub token_leeway: Duration,
    /// STUN and TURN servers that clients are told of.
    pub ice_servers: Vec<IceServer>,
    /// How long TURN credentials made from a secret hold.
    #[serde(with = "duration")]
    pub turn_ttl: Duration,
    /// Event streams that one viewer session may hold open.
    pub event_streams_per_session_max: usize,
    pub limits: Limits,
}

/// One STUN or TURN service.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// Fixed name, with `credential`.
    pub username: Option<String>,
    /// Fixed password, with `username`.
    pub credential: Option<String>,
    /// coturn's `static-auth-secret`: each session gets credentials of its own that expire.
    pub secret: Option<String>,
}

impl fmt::Debug for IceServer {
    /// The URLs only: a secret is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

impl Default for SignalingConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            viewers_wait: true,
            ended_linger: Duration::from_secs(300),
            watch_open: false,
            publish_bitrate_max_kbps: 8_000,
            offer_bytes_max: 64 * 1_024,
            body_timeout: Duration::from_secs(10),
            retry_after: Duration::from_secs(5),
            reconnect_after: Duration::from_secs(2),
            cors_origins: vec!["*".into()],
            trusted_proxies: Vec::new(),
            token_leeway: Duration::from_secs(30),
            ice_servers: Vec::new(),
            turn_ttl: Duration::from_secs(6 * 3_600),
            event_streams_per_session_max: 4,
            limits: Limits::default(),
        }
    }
}

/// What is impossible about the settings, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value out of range.
    #[error("{key} is {is}: write {wanted}")]
    Range {
        key: &'static str,
        is: String,
        wanted: &'static str,
    },
    /// An origin that no browser sends.
    #[error("cors_origins has {0:?}: write \"*\", or an origin like \"https://fans.example\"")]
    Origin(String),
    /// Not a STUN or TURN URL.
    #[error("ice_servers has the URL {0:?}: write one like \"turn:turn.example.org:3478\"")]
    IceUrl(String),
    #[error(
        "the ice server {0:?} needs both username and credential, or secret, or (for STUN) none"
    )]
    IceCredentials(String),
}

impl SignalingConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let day = Duration::from_secs(86_400);
        let range = |good: bool, key, is: String, wanted| {
            if good {
                Ok(())
            } else {
                Err(ConfigError::Range { key, is, wanted })
            }
        };
        for (key, value) in [
            ("grace", self.grace),
            ("ended_linger", self.ended_linger),
            ("retry_after", self.retry_after),
            ("reconnect_after", self.reconnect_after),
            ("turn_ttl", self.turn_ttl),
            ("token_leeway", self.token_leeway),
        ] {
            range(value <= day, key, duration::format(value), "at most 1d")?;
        }
        range(
            !self.body_timeout.is_zero() && self.body_timeout <= day,
            "body_timeout",
            duration::format(self.body_timeout),
            "more than 0s, at most 1d",
        )?;
        range(
            (1_024..=1 << 20).contains(&self.offer_bytes_max),
            "offer_bytes_max",
            self.offer_bytes_max.to_string(),
            "1024 to 1048576",
        )?;
        range(
            (16..=1_000_000).contains(&self.publish_bitrate_max_kbps),
            "publish_bitrate_max_kbps",
            self.publish_bitrate_max_kbps.to_string(),
            "16 to 1000000",
        )?;
        range(
            self.event_streams_per_session_max > 0,
            "event_streams_per_session_max",
            "0".into(),
            "at least 1",
        )?;
        for (key, value) in [
            ("limits.rooms_max", self.limits.rooms_max),
            (
                "limits.viewers_per_room_max",
                self.limits.viewers_per_room_max,
            ),
            (
                "limits.waiting_rooms_per_client_max",
                self.limits.waiting_rooms_per_client_max,
            ),
            (
                "limits.sessions_per_address_max",
                self.limits.sessions_per_address_max,
            ),
        ] {
            range(value > 0, key, "0".into(), "at least 1")?;
        }
        for origin in &self.cors_origins {
            let is_origin = origin
                .split_once("://")
                .is_some_and(|(scheme, host)| !scheme.is_empty() && is_plain(host, "/"));
            if origin != "*" && !is_origin {
                return Err(ConfigError::Origin(origin.clone()));
            }
        }
        self.ice_servers.iter().try_for_each(IceServer::validate)
    }

    pub(crate) fn rooms(&self) -> RoomsConfig {
        RoomsConfig {
            grace: self.grace,
            viewers_wait: self.viewers_wait,
            ended_linger: self.ended_linger,
            retry_after: self.retry_after,
            limits: self.limits.clone(),
            ..RoomsConfig::default()
        }
    }

    pub(crate) fn publish_bitrate_max(&self) -> Bitrate {
        Bitrate::kbps(self.publish_bitrate_max_kbps)
    }
}

impl IceServer {
    fn validate(&self) -> Result<(), ConfigError> {
        let name = self.urls.first().cloned().unwrap_or_default();
        if name.is_empty() {
            return Err(ConfigError::IceUrl(name));
        }
        for url in &self.urls {
            let rest = ["stun:", "stuns:", "turn:", "turns:"]
                .iter()
                .find_map(|scheme| url.strip_prefix(scheme));
            if !rest.is_some_and(|rest| is_plain(rest, "<>\"")) {
                return Err(ConfigError::IceUrl(url.clone()));
            }
        }
        let turn = self.urls.iter().any(|url| url.starts_with("turn"));
        let printable = |text: &Option<String>| {
            text.as_deref()
                .is_none_or(|text| text.bytes().all(|b| (0x20..0x7f).contains(&b)))
        };
        let whole = match (&self.username, &self.credential, &self.secret) {
            (Some(_), Some(_), None) | (None, None, Some(_)) => true,
            (None, None, None) => !turn,
            _ => false,
        };
        if whole && printable(&self.username) && printable(&self.credential) {
            Ok(())
        } else {
            Err(ConfigError::IceCredentials(name))
        }
    }
}

/// Printable ASCII without spaces and without the `forbidden` characters.
fn is_plain(text: &str, forbidden: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !forbidden.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<SignalingConfig, String> {
        let config: SignalingConfig = serde_json::from_str(json).map_err(|e| e.to_string())?;
        config.validate().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn defaults_are_valid_and_round_trip() {
        let default = SignalingConfig::default();
        assert_eq!(default.validate(), Ok(()));
        let json = serde_json::to_string(&default).unwrap();
        assert_eq!(parse(&json), Ok(default));
        assert_eq!(parse("{}"), Ok(SignalingConfig::default()));
    }

    #[test]
    fn impossible_values_say_what_to_write() {
        for (json, says) in [
            (r#"{"grce": 3}"#, "unknown field `grce`"),
            (r#"{"grace": -1}"#, "not a duration"),
            (r#"{"grace": 30}"#, "write \"30s\""),
            (r#"{"grace": "25h"}"#, "at most 1d"),
            (r#"{"body_timeout": "0s"}"#, "more than 0s"),
            (r#"{"offer_bytes_max": 10}"#, "1024 to 1048576"),
            (r#"{"publish_bitrate_max_kbps": 0}"#, "16 to 1000000"),
            (r#"{"limits": {"rooms_max": 0}}"#, "at least 1"),
            (r#"{"limits": {"rums_max": 0}}"#, "unknown field"),
            (
                r#"{"cors_origins": ["fans.example"]}"#,
                "https://fans.example",
            ),
            (
                r#"{"cors_origins": ["https://fans.example/"]}"#,
                "https://fans.example",
            ),
            (
                r#"{"ice_servers": [{"urls": []}]}"#,
                "turn:turn.example.org",
            ),
            (
                r#"{"ice_servers": [{"urls": ["http://x"]}]}"#,
                "turn:turn.example.org",
            ),
            (
                r#"{"ice_servers": [{"urls": ["turn:x"]}]}"#,
                "needs both username and credential",
            ),
            (
                r#"{"ice_servers": [{"urls": ["turn:x"], "username": "u"}]}"#,
                "needs both username and credential",
            ),
            (
                r#"{"ice_servers": [{"urls": ["turn:x"], "username": "u", "credential": "c", "secret": "s"}]}"#,
                "needs both username and credential",
            ),
        ] {
            let error = parse(json).expect_err(json);
            assert!(error.contains(says), "{json}: {error}");
        }
        parse(r#"{"ice_servers": [{"urls": ["stun:x:3478"]}, {"urls": ["turns:x?transport=tcp"], "secret": "s"}]}"#)
            .unwrap();
    }
}
