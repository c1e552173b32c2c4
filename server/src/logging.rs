//! Logging to standard error.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Logging, to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `pretty` or `json`.
    pub format: LogFormat,
    /// A filter: `info`, or `info,lightstick_sfu=debug`. Personal data only from `debug` on.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Pretty,
            level: "info".to_owned(),
        }
    }
}

/// Libraries whose warnings are about what peers send: any peer could fill the log with them.
const ABOUT_PEERS: &[&str] = &["str0m", "sctp_proto", "dimpl"];

pub(crate) fn filter(config: &LogConfig) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(directives(&config.level))
        .with_context(|| format!("in [log]: level is {:?}: write info or debug", config.level))
}

/// The level with less of [`ABOUT_PEERS`], unless it asks for more, by its name or for all.
fn directives(level: &str) -> String {
    let mut all = level.to_owned();
    let of_all = level.split(',').find(|part| !part.contains('='));
    if of_all.is_some_and(|level| ["warn", "info"].contains(&level.trim())) {
        let unnamed = ABOUT_PEERS.iter().filter(|name| !level.contains(**name));
        all.extend(unnamed.map(|name| format!(",{name}=error")));
    }
    all
}

/// Starts logging for the process.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter = filter(config)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match config.format {
        LogFormat::Pretty => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .context("logging was started twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_do_not_fill_the_log() {
        assert_eq!(
            directives("info"),
            "info,str0m=error,sctp_proto=error,dimpl=error"
        );
        assert_eq!(
            directives("str0m=debug,info"),
            "str0m=debug,info,sctp_proto=error,dimpl=error"
        );
        for as_written in ["debug", "error", "lightstick_sfu=info", "off"] {
            assert_eq!(directives(as_written), as_written);
        }
        let level = |level: &str| LogConfig {
            level: level.to_owned(),
            ..LogConfig::default()
        };
        assert!(filter(&level("info")).is_ok());
        assert!(filter(&level("info,=")).is_err());
    }
}
