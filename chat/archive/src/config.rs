//! Settings of the archive.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::node_key::parse_hex;

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
    /// How long a record waits for others to share its transaction, in milliseconds.
    pub batch_wait_ms: u64,
    /// When a transaction that does not end is given up and tried again, in milliseconds. Also the limit of a read.
    pub database_timeout_ms: u64,
    /// Longest wait between two tries while the database is gone, in milliseconds.
    pub retry_wait_max_ms: u64,
    pub read_connections_max: u32,
    /// Messages and dead letters older than this many days are deleted. 0 keeps them for ever.
    pub retain_days: u32,
    /// Audit records older than this many days are deleted, from the oldest on. 0 keeps them for ever.
    pub retain_audit_days: u32,
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
            batch_wait_ms: 200,
            database_timeout_ms: 10_000,
            retry_wait_max_ms: 5_000,
            read_connections_max: 4,
            retain_days: 90,
            retain_audit_days: 365,
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
            .field("retain_days", &self.retain_days)
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
        range("batch_wait_ms", self.batch_wait_ms, 0, 60_000)?;
        range(
            "database_timeout_ms",
            self.database_timeout_ms,
            100,
            600_000,
        )?;
        range("retry_wait_max_ms", self.retry_wait_max_ms, 10, 600_000)?;
        range(
            "read_connections_max",
            u64::from(self.read_connections_max),
            1,
            100,
        )?;
        range("retain_days", u64::from(self.retain_days), 0, 36_500)?;
        range(
            "retain_audit_days",
            u64::from(self.retain_audit_days),
            0,
            36_500,
        )
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

    pub(crate) fn batch_wait(&self) -> Duration {
        Duration::from_millis(self.batch_wait_ms)
    }

    pub(crate) fn database_timeout(&self) -> Duration {
        Duration::from_millis(self.database_timeout_ms)
    }

    pub(crate) fn retry_wait_max(&self) -> Duration {
        Duration::from_millis(self.retry_wait_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
