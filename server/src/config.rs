//! The configuration: composed once from file, environment and flags, and checked as a whole
//! before anything is opened.

mod explain;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use lightstick_chat::ChatConfig;
use lightstick_sfu::MediaConfig;
use lightstick_signaling::{ConnectionLimits, SignalingConfig};
use lightstick_types::duration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::explain::explain;
use crate::logging;
pub use crate::logging::{LogConfig, LogFormat};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "lightstick.toml";
/// Environment variables begin so; `__` stands for the dot between a section and its key.
pub const ENV_PREFIX: &str = "LIGHTSTICK_";

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub http: HttpConfig,
    pub operations: OperationsConfig,
    pub auth: AuthConfig,
    /// Media threads and sockets.
    pub media: MediaConfig,
    /// WHIP, WHEP, the API and their limits.
    pub signaling: SignalingConfig,
    pub chat: ChatConfig,
    pub log: LogConfig,
    pub shutdown: ShutdownConfig,
    /// The file that this came from, if any: read again when keys are reloaded.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

impl Config {
    /// How many files and sockets the process may want to have open.
    pub(crate) fn descriptors(&self) -> u64 {
        // Files of the chat, listeners, pollers and the media sockets.
        const OTHERS: usize = 512;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = match self.media.shards {
            0 => cores,
            shards => usize::from(shards),
        };
        let media = if self.media.tcp {
            shards * self.media.tcp_connections_max
        } else {
            0
        };
        (self.http.connections_max + media + OTHERS) as u64
    }
}

/// The public listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where pages, WHIP, WHEP and the API are served. TLS is a reverse proxy's work.
    pub bind: SocketAddr,
    /// How the outside reaches it, for the URLs that are printed: `https://live.example.org`.
    pub public_url: Option<String>,
    /// Connections at one time. More are closed at once.
    pub connections_max: usize,
    /// Connections of one address at one time. Those of `trusted_proxies` are not counted so.
    pub connections_per_address_max: usize,
    /// Time for a request's head to arrive whole, also after the response before.
    #[serde(with = "duration")]
    pub head_timeout: Duration,
    /// Longest request head, in bytes.
    pub head_bytes_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let limits = ConnectionLimits::default();
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            connections_max: limits.connections_max,
            connections_per_address_max: limits.connections_per_address_max,
            head_timeout: limits.head_timeout,
            head_bytes_max: limits.head_bytes_max,
        }
    }
}

impl HttpConfig {
    /// The listener's limits. They are checked when the configuration is loaded.
    pub(crate) fn limits(&self, trusted_proxies: &[IpAddr]) -> ConnectionLimits {
        ConnectionLimits {
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            trusted_proxies: trusted_proxies.to_vec(),
            head_timeout: self.head_timeout,
            head_bytes_max: self.head_bytes_max,
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(url) = &self.public_url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            bail!("public_url is {url:?}: write it like https://live.example.org");
        }
        for (key, value) in [
            ("connections_max", self.connections_max),
            (
                "connections_per_address_max",
                self.connections_per_address_max,
            ),
        ] {
            ensure!(value > 0, "{key} is 0: write at least 1");
        }
        ensure!(
            (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&self.head_timeout),
            "head_timeout is {}: write 1s to 10m",
            duration::format(self.head_timeout)
        );
        ensure!(
            (8_192..=1 << 20).contains(&self.head_bytes_max),
            "head_bytes_max is {}: write 8192 to 1048576",
            self.head_bytes_max
        );
        Ok(())
    }
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperationsConfig {
    /// Where `/metrics`, `/healthz` and `/readyz` are served. It asks for no token: keep it where
    /// only your monitoring reaches it.
    pub bind: SocketAddr,
}

impl Default for OperationsConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 9464)),
        }
    }
}

/// Who may do what. Without keys the server is in development mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The keys that tokens are signed with, by their `kid`. Changes of the file are taken over
    /// while the server runs.
    pub keys: BTreeMap<String, KeyConfig>,
}

/// One key. Exactly one of its material's settings is given.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyConfig {
    /// HS256: the secret itself, at least 32 bytes.
    pub secret: Option<String>,
    /// HS256: a file with the secret.
    pub secret_file: Option<PathBuf>,
    /// EdDSA: a PEM file with the public key, to check tokens.
    pub public_key_file: Option<PathBuf>,
    /// EdDSA: a PEM file with the private key, to mint tokens as well. Beside `public_key_file`.
    pub private_key_file: Option<PathBuf>,
}

impl fmt::Debug for KeyConfig {
    /// The files only: a secret is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyConfig")
            .field("secret_file", &self.secret_file)
            .field("public_key_file", &self.public_key_file)
            .field("private_key_file", &self.private_key_file)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long sessions may go on after SIGTERM, while new ones are refused.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
        }
    }
}

/// Composes and checks the configuration. `overrides` are the flags, as dotted paths.
///
/// # Errors
/// A file that cannot be read, an unknown key, or an impossible value: which, where, and what to
/// write instead.
pub fn load(file: Option<&Path>, overrides: &[(&str, Value)]) -> anyhow::Result<Config> {
    let default_file = Path::new(DEFAULT_FILE);
    let file = match file {
        Some(file) if !file.is_file() => bail!("no such configuration file: {}", file.display()),
        Some(file) => Some(file),
        None => default_file.is_file().then_some(default_file),
    };
    let variables: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| {
            name.into_string()
                .ok()?
                .strip_prefix(ENV_PREFIX)
                .map(str::to_owned)
        })
        .collect();
    environment_is_sound(&variables)?;
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(file) = file {
        figment = figment.merge(Toml::file_exact(file));
    }
    let environment = Env::prefixed(ENV_PREFIX).filter(|name| name.as_str().contains("__"));
    figment = figment.merge(environment.split("__"));
    for (path, value) in overrides {
        figment = figment.merge(Serialized::default(path, value));
    }
    let mut config: Config = figment
        .extract()
        .map_err(|errors| anyhow::anyhow!(explain(&figment, errors)))?;
    check(&config)?;
    config.file = file.map(Path::to_owned);
    Ok(config)
}

/// Refuses a variable that means a setting and misses its second underscore. Other variables are
/// not ours to judge: an orchestrator makes some of its own for a service of this name.
fn environment_is_sound(names: &[String]) -> anyhow::Result<()> {
    const SECTIONS: [&str; 8] = [
        "HTTP",
        "OPERATIONS",
        "AUTH",
        "MEDIA",
        "SIGNALING",
        "CHAT",
        "LOG",
        "SHUTDOWN",
    ];
    for name in names.iter().filter(|name| !name.contains("__")) {
        let upper = name.to_uppercase();
        let key = |section: &&str| {
            upper
                .strip_prefix(section)?
                .strip_prefix('_')
                .map(str::to_owned)
        };
        if let Some((section, key)) = SECTIONS.iter().find_map(|s| Some((s, key(s)?))) {
            bail!(
                "the environment variable {ENV_PREFIX}{name} is not a setting: \
                 write {ENV_PREFIX}{section}__{key}"
            );
        }
    }
    Ok(())
}

fn check(config: &Config) -> anyhow::Result<()> {
    config.signaling.validate().context("in [signaling]")?;
    config.media.validate().context("in [media]")?;
    config.chat.validate().context("in [chat]")?;
    logging::filter(&config.log)?;
    ensure!(
        config.shutdown.deadline <= Duration::from_secs(3_600),
        "in [shutdown]: deadline is {}: write 0s to 1h",
        duration::format(config.shutdown.deadline)
    );
    config.http.check().context("in [http]")?;
    if config.auth.keys.is_empty() {
        let public = |ip: &IpAddr| !ip.is_loopback();
        let listeners = [
            ("[http] bind", config.http.bind.ip()),
            ("[operations] bind", config.operations.bind.ip()),
        ];
        let media = config.media.bind.iter().map(|ip| ("[media] bind", *ip));
        if let Some((key, ip)) = listeners
            .into_iter()
            .chain(media)
            .find(|(_, ip)| public(ip))
        {
            bail!(
                "{key} has the address {ip}, which others can reach, but no keys are configured.\n\
                 Without keys, anyone can watch and use the API. Set at least one, for example:\n\n\
                 [auth.keys.main]\nsecret_file = \"/etc/lightstick/main.key\"  # made by: openssl rand -hex 32"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
