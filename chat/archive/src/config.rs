//! Settings of the archive.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lightstick_types::duration;
use serde::{Deserialize, Serialize};

use crate::hex::parse_hex;

const DAY: Duration = Duration::from_secs(86_400);

/// Settings of the archive. Every default is fit for one machine with a local disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveConfig {
    /// Where messages end up: `postgres://user:password@host/database`, `sqlite:///path/to/file`, or empty for
    /// `chat.sqlite` in `data_dir`. PostgreSQL is spoken without TLS: use a local socket, a private network or a tunnel.
    pub url: String,
    /// Folder of the journal, the node key and the default database. One process at a time owns it.
    pub data_dir: PathBuf,
    /// The node key as 64 hexadecimal digits. Empty: `node.key` in `data_dir`, made at the first start. It wraps the
    /// users' keys, so who loses it loses every text. Nodes that share a database need the same one.
    pub node_key: String,
    /// How much the journal may take on the disk while the database is slow or gone, in bytes. The last eighth is for
    /// what must not be lost: ordinary messages go unarchived before, the rest is refused at the limit.
    pub journal_bytes_max: u64,
    /// What is forced onto the disk before it is acknowledged.
    pub fsync: Fsync,
    /// Most records in one transaction.
    pub batch_records_max: usize,
    /// How long a record waits for others to share its transaction.
    #[serde(with = "duration")]
    pub batch_wait: Duration,
    /// When a transaction that does not end is given up and tried again. Also the limit of a read.
    #[serde(with = "duration")]
    pub database_timeout: Duration,
    /// Longest wait between two tries while the database is gone.
    #[serde(with = "duration")]
    pub retry_wait_max: Duration,
    pub read_connections_max: u32,
    /// Messages and dead letters older than this are deleted. 0 keeps them for ever.
    #[serde(with = "duration")]
    pub retain: Duration,
    /// Audit records older than this are deleted, from the oldest on. 0 keeps them for ever.
    #[serde(with = "duration")]
    pub retain_audit: Duration,
}

/// What is forced onto the disk (`fdatasync`) before it is acknowledged. All else survives the process, not the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Batches with a paid message, an audit record, an erasure or a room's state.
    #[default]
    Paid,
    Always,
    Never,
}

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither SQLite nor PostgreSQL.
    #[error("url: use sqlite:///path, postgres://... or leave it empty")]
    Url,
    /// Not 64 hexadecimal digits.
    #[error("node_key: write 64 hexadecimal digits")]
    NodeKey,
    /// No folder for journal and key.
    #[error("data_dir must not be empty")]
    DataDir,
    /// A number outside of its range.
    #[error("{name} must be from {min} to {max}")]
    Range {
        name: &'static str,
        min: u64,
        max: u64,
    },
    /// A duration outside of its range.
    #[error("{name} must be {range}")]
    Duration {
        name: &'static str,
        range: &'static str,
    },
}

/// Which database a URL means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            data_dir: PathBuf::from("data/chat"),
            node_key: String::new(),
            journal_bytes_max: 1 << 30,
            fsync: Fsync::Paid,
            batch_records_max: 2_000,
            batch_wait: Duration::from_millis(200),
            database_timeout: Duration::from_secs(10),
            retry_wait_max: Duration::from_secs(5),
            read_connections_max: 4,
            retain: 90 * DAY,
            retain_audit: 365 * DAY,
        }
    }
}

// The URL may hold a password.
impl fmt::Debug for ArchiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveConfig")
            .field("data_dir", &self.data_dir)
            .field("journal_bytes_max", &self.journal_bytes_max)
            .field("fsync", &self.fsync)
            .field("retain", &self.retain)
            .finish_non_exhaustive()
    }
}

impl ArchiveConfig {
    /// Smallest journal: one segment must hold the largest record.
    pub const JOURNAL_BYTES_MIN: u64 = 1 << 20;

    /// Checks every value, before anything is opened.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.backend()?;
        self.node_key_bytes()?;
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::DataDir);
        }
        let range = |name, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(ConfigError::Range { name, min, max })
            }
        };
        range(
            "journal_bytes_max",
            self.journal_bytes_max,
            Self::JOURNAL_BYTES_MIN,
            1 << 42,
        )?;
        range(
            "batch_records_max",
            self.batch_records_max as u64,
            1,
            20_000,
        )?;
        range(
            "read_connections_max",
            u64::from(self.read_connections_max),
            1,
            100,
        )?;
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        for (name, value, allowed, range) in [
            ("batch_wait", self.batch_wait, s(0)..=s(60), "0s to 60s"),
            (
                "database_timeout",
                self.database_timeout,
                ms(100)..=s(600),
                "100ms to 10m",
            ),
            (
                "retry_wait_max",
                self.retry_wait_max,
                ms(10)..=s(600),
                "10ms to 10m",
            ),
        ] {
            if !allowed.contains(&value) {
                return Err(ConfigError::Duration { name, range });
            }
        }
        // Shorter ones would delete what is still being written.
        for (name, value) in [("retain", self.retain), ("retain_audit", self.retain_audit)] {
            if !value.is_zero() && !(DAY..=36_500 * DAY).contains(&value) {
                let range = "0s, or 1d to 36500d";
                return Err(ConfigError::Duration { name, range });
            }
        }
        Ok(())
    }

    pub(crate) fn backend(&self) -> Result<Backend, ConfigError> {
        if self.url.is_empty() {
            return Ok(Backend::Sqlite(self.data_dir.join("chat.sqlite")));
        }
        if let Some(path) = self.url.strip_prefix("sqlite://") {
            // Parameters could turn off what the archive relies on.
            return if path.is_empty() || path.contains('?') {
                Err(ConfigError::Url)
            } else {
                Ok(Backend::Sqlite(path.into()))
            };
        }
        if self.url.starts_with("postgres://") || self.url.starts_with("postgresql://") {
            return Ok(Backend::Postgres(self.url.clone()));
        }
        Err(ConfigError::Url)
    }

    /// The configured node key, if there is one.
    pub(crate) fn node_key_bytes(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        if self.node_key.is_empty() {
            return Ok(None);
        }
        parse_hex(&self.node_key)
            .map(Some)
            .ok_or(ConfigError::NodeKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn defaults_are_valid_and_errors_name_the_setting() {
        let good = ArchiveConfig::default();
        assert_eq!(good.validate(), Ok(()));
        let check = |change: fn(&mut ArchiveConfig), expected: &str| {
            let mut config = ArchiveConfig::default();
            change(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check(|c| c.url = "mysql://x".into(), "url");
        check(|c| c.url = "sqlite://".into(), "url");
        check(|c| c.url = "sqlite:///x?mode=ro".into(), "url");
        check(|c| c.node_key = "ab".into(), "node_key");
        check(|c| c.node_key = "zz".repeat(32), "node_key");
        check(|c| c.data_dir = PathBuf::new(), "data_dir");
        check(|c| c.journal_bytes_max = 10, "journal_bytes_max");
        check(|c| c.batch_records_max = 0, "batch_records_max");
        check(|c| c.read_connections_max = 0, "read_connections_max");
        check(|c| c.batch_wait = 61 * SECOND, "batch_wait must be 0s to");
        check(
            |c| c.database_timeout = Duration::ZERO,
            "database_timeout must be 100ms to",
        );
        check(|c| c.retry_wait_max = DAY, "retry_wait_max must be 10ms to");
        check(|c| c.retain = SECOND, "retain must be 0s, or 1d to");
        check(
            |c| c.retain_audit = Duration::MAX,
            "retain_audit must be 0s, or 1d to",
        );
    }

    #[test]
    fn node_key_is_read_as_hexadecimal() {
        let config = ArchiveConfig {
            node_key: "0f".repeat(31) + "Fe",
            ..ArchiveConfig::default()
        };
        let key = config.node_key_bytes().unwrap().unwrap();
        assert_eq!((key[0], key[31]), (0x0f, 0xfe));
    }

    #[test]
    fn debug_hides_secrets() {
        let config = ArchiveConfig {
            url: "postgres://u:secret@h/d".into(),
            node_key: "5e".repeat(32),
            ..ArchiveConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("5e5e"),
            "{shown}"
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<ArchiveConfig>(r#"{"jornal": 1}"#).is_err());
        let config: ArchiveConfig = serde_json::from_str(r#"{"fsync": "always"}"#).unwrap();
        assert_eq!(config.fsync, Fsync::Always);
    }
}
