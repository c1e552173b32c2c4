//! The database: SQLite or PostgreSQL, with the same tables and the same statements.

mod read;
mod retain;
mod verify;
mod write;

use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Postgres, Sqlite, SqliteConnection,
    Transaction,
};

use crate::config::{ArchiveConfig, Backend};
use crate::error::{ArchiveError, OpenError};
use crate::journal::segment::JournalId;
use crate::node_key::NodeKey;

pub(crate) use read::EXPORT_PAGE;
pub(crate) use retain::Retention;
pub(crate) use verify::ChainCheck;
pub(crate) use write::{Outcome, WriteConnection};

/// What made each version of the tables, in both dialects. Only ever added to.
const MIGRATIONS: [(&str, &str); 2] = [
    (
        include_str!("sql/sqlite-0001.sql"),
        include_str!("sql/postgres-0001.sql"),
    ),
    (
        include_str!("sql/paid-0002.sql"),
        include_str!("sql/paid-0002.sql"),
    ),
];

/// How long a connection to SQLite waits for the one that writes.
const SQLITE_BUSY: Duration = Duration::from_secs(5);

// The same statement for both: only the types behind `$on` differ.
macro_rules! both {
    ($kind:ident, $value:expr, $on:ident => $body:expr) => {
        match $value {
            $kind::Sqlite($on) => $body,
            $kind::Postgres($on) => $body,
        }
    };
}
pub(crate) use both;

enum Options {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

enum Tx<'c> {
    Sqlite(Transaction<'c, Sqlite>),
    Postgres(Transaction<'c, Postgres>),
}

/// How the database is reached, and what everybody reads from it. What changes it has parts of its own:
/// [`WriteConnection`] for the journal's batches, [`Retention`] for what is too old.
pub(crate) struct Store {
    options: Options,
    pool: Pool,
    node: Arc<NodeKey>,
    timeout: Duration,
}

impl Store {
    pub(crate) fn derived_key(&self, purpose: &str) -> [u8; 32] {
        self.node.derived(purpose)
    }

    /// Connects to nothing yet.
    pub(crate) fn new(config: &ArchiveConfig, node: Arc<NodeKey>) -> Result<Self, OpenError> {
        let timeout = config.database_timeout;
        let (options, pool) = match config.backend()? {
            Backend::Sqlite(path) => {
                let options = sqlite_options(path);
                let pool = SqlitePoolOptions::new()
                    .max_connections(config.read_connections_max)
                    .acquire_timeout(timeout)
                    .connect_lazy_with(options.clone());
                (Options::Sqlite(options), Pool::Sqlite(pool))
            }
            Backend::Postgres(url) => {
                let options = PgConnectOptions::from_str(&url)?
                    .application_name("lightstick chat")
                    .disable_statement_logging();
                let pool = PgPoolOptions::new()
                    .max_connections(config.read_connections_max)
                    .acquire_timeout(timeout)
                    .connect_lazy_with(options.clone());
                (Options::Postgres(options), Pool::Postgres(pool))
            }
        };
        Ok(Self {
            options,
            pool,
            node,
            timeout,
        })
    }

    /// Opens the writer's connection, brings the tables up to date and finds how far this journal has come.
    pub(crate) async fn connect(
        &self,
        journal: &JournalId,
    ) -> Result<(WriteConnection, u64), OpenError> {
        let work = async {
            let mut connection = match &self.options {
                Options::Sqlite(options) => Connection::Sqlite(options.connect().await?),
                Options::Postgres(options) => Connection::Postgres(options.connect().await?),
            };
            let mut tx = begin(&mut connection).await?;
            migrate(&mut tx).await?;
            check_key(&self.node, &mut tx).await?;
            let (position,): (i64,) = both!(Tx, &mut tx, t => {
                sqlx::query("INSERT INTO writer_positions (journal, position) VALUES ($1, 0) ON CONFLICT DO NOTHING")
                    .bind(&journal[..]).execute(&mut **t).await?;
                sqlx::query_as("SELECT position FROM writer_positions WHERE journal = $1")
                    .bind(&journal[..]).fetch_one(&mut **t).await?
            });
            commit(tx).await?;
            let connection = WriteConnection::new(connection, *journal, self.node.clone());
            Ok((connection, position.cast_unsigned()))
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(OpenError::Database(sqlx::Error::PoolTimedOut)),
        }
    }

    /// Whether a start need not wait for a database that answers so: it is not there, or not yet.
    pub(crate) fn may_come_later(&self, error: &OpenError) -> bool {
        // Starting up, shutting down, crashed, too many connections.
        const NOT_NOW: [&str; 4] = ["57P03", "57P01", "57P02", "53300"];
        let OpenError::Database(error) = error else {
            return false;
        };
        matches!(self.options, Options::Postgres(_))
            && match error {
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
                sqlx::Error::Database(error) => {
                    error.code().is_some_and(|code| NOT_NOW.contains(&&*code))
                }
                _ => false,
            }
    }

    /// Lets go of every connection.
    pub(crate) async fn close(&self) {
        both!(Pool, &self.pool, p => p.close().await);
    }

    /// A read, within the time that reads have.
    async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, ArchiveError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(ArchiveError::Timeout),
            Ok(Err(sqlx::Error::PoolClosed)) => Err(ArchiveError::Closed),
            Ok(Err(error)) => Err(error.into()),
        }
    }
}

fn sqlite_options(path: PathBuf) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Segments of the journal go when their rows are committed, so a commit is on the disk.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY)
        // An erased key is overwritten, not only unlinked.
        .pragma("secure_delete", "ON")
        // The index by author is written all over; pages that were put out of memory would be read again.
        .pragma("cache_size", "-64000")
        // In pages. Each is copied into the file once for many batches that changed it.
        .pragma("wal_autocheckpoint", "8000")
        .disable_statement_logging()
}

async fn begin(connection: &mut Connection) -> Result<Tx<'_>, sqlx::Error> {
    Ok(match connection {
        // A transaction that begins by reading could not become one that writes while another writes.
        Connection::Sqlite(c) => Tx::Sqlite(c.begin_with("BEGIN IMMEDIATE").await?),
        Connection::Postgres(c) => Tx::Postgres(c.begin().await?),
    })
}

async fn commit(tx: Tx<'_>) -> Result<(), sqlx::Error> {
    both!(Tx, tx, t => t.commit().await)
}

async fn migrate(tx: &mut Tx<'_>) -> Result<(), OpenError> {
    if let Tx::Postgres(t) = tx {
        // Nodes that start together wait for the first one. The number is of our choice.
        sqlx::query("SELECT pg_advisory_xact_lock(7700464)")
            .execute(&mut **t)
            .await?;
    }
    let (version,): (Option<i64>,) = both!(Tx, tx, t => {
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)")
            .execute(&mut **t).await?;
        sqlx::query_as("SELECT MAX(version) FROM schema_version").fetch_one(&mut **t).await?
    });
    let done = usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(OpenError::Newer("the database"));
    }
    for (at, (sqlite, postgres)) in MIGRATIONS.iter().enumerate().skip(done) {
        match tx {
            Tx::Sqlite(t) => sqlx::raw_sql(*sqlite).execute(&mut **t).await.map(drop)?,
            Tx::Postgres(t) => sqlx::raw_sql(*postgres).execute(&mut **t).await.map(drop)?,
        }
        both!(Tx, &mut *tx, t => sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(at as i64 + 1).execute(&mut **t).await.map(drop)?);
    }
    Ok(())
}

// A key that is not the one the rows were made with would make new rows that nobody finds.
async fn check_key(node: &NodeKey, tx: &mut Tx<'_>) -> Result<(), OpenError> {
    let check = &node.check()[..];
    let (kept,): (Vec<u8>,) = both!(Tx, tx, t => {
        sqlx::query("INSERT INTO meta (name, value) VALUES ('key', $1) ON CONFLICT DO NOTHING")
            .bind(check).execute(&mut **t).await?;
        sqlx::query_as("SELECT value FROM meta WHERE name = 'key'").fetch_one(&mut **t).await?
    });
    if kept == check {
        Ok(())
    } else {
        Err(OpenError::OtherNodeKey)
    }
}

/// Ids, times and versions are held against their limit before they come here, and are never negative in a row.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
