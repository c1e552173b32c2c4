//! A database that goes and comes back, and disks that are full.

mod support;

use std::time::Duration;

use lightstick_chat_archive::{
    AppendError, Archive, ArchiveError, Erasure, Flushed, OpenError, Record, Verified,
};
use support::postgres::Server;
use support::{PATIENCE, all_messages, audit, close, config, message, paid, room, sqlite_file};
use tempfile::TempDir;

/// Tests wait for this while a database is away; while it is there a busy machine must do with it.
const SHORT: Duration = Duration::from_secs(3);

fn batch(first: u64, count: u64) -> Vec<Record> {
    (first..first + count)
        .map(|id| match id % 10 {
            0 => audit("stage", id, "mod", Some("fan")),
            1 => Record::Message(paid("stage", id, "fan")),
            _ => Record::Message(message("stage", id, "fan", "hi")),
        })
        .collect()
}

/// Waits until the database has caught up, however often it takes too long.
async fn caught_up(archive: &Archive) {
    let wait = async {
        while let Err(error) = archive.flushed().await {
            assert!(matches!(error, ArchiveError::Timeout), "{error}");
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("the database is back");
}

/// All of ids 1 to `last` are there, once.
async fn has_all(archive: &Archive, last: u64) {
    let audit_rows = last / 10;
    let ids: Vec<_> = all_messages(archive, "stage")
        .await
        .iter()
        .map(|m| m.id)
        .collect();
    assert_eq!(
        ids,
        (1..=last).filter(|id| id % 10 != 0).collect::<Vec<_>>()
    );
    assert_eq!(
        archive.verify(&room("stage")).await.unwrap(),
        Verified::Whole { rows: audit_rows }
    );
    assert_eq!(archive.stats().snapshot().duplicates, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_stops_and_starts() {
    let mut server = Server::start();
    let folder = TempDir::new().unwrap();
    let mut config = config(folder.path(), &server.url());
    config.database_timeout = SHORT;
    let (archive, tasks) = Archive::open(config).await.unwrap();
    for round in 0..2 {
        let first = round * 2_000 + 1;
        // In the middle of a transaction, most likely.
        archive.append(batch(first, 1_000)).await.unwrap();
        server.stop();
        // Acknowledged all the same.
        archive.append(batch(first + 1_000, 1_000)).await.unwrap();
        assert!(matches!(
            archive.flushed().await,
            Err(ArchiveError::Timeout)
        ));
        let stats = archive.stats().snapshot();
        assert!(
            stats.database_errors > 0 && stats.lag > Duration::ZERO && stats.lag_bytes > 0,
            "{stats:?}"
        );
        assert!(archive.message(&room("stage"), 1).await.is_err());
        server.resume();
        caught_up(&archive).await;
        has_all(&archive, first + 1_999).await;
    }
    let stats = archive.stats().snapshot();
    assert_eq!((stats.lag, stats.lag_bytes), (Duration::ZERO, 0));
    close(archive, tasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_wait_for_postgres() {
    let mut server = Server::start();
    let folder = TempDir::new().unwrap();
    let mut config = config(folder.path(), &server.url());
    config.database_timeout = SHORT;
    server.stop();
    // Into a database that has no tables yet, and then into one that is behind the journal.
    for round in 0..2 {
        let first = round * 1_000 + 1;
        let (archive, tasks) = Archive::open(config.clone()).await.unwrap();
        archive.append(batch(first, 500)).await.unwrap();
        assert!(archive.room_state(&room("stage")).await.is_err());
        assert!(archive.stats().snapshot().database_errors > 0);
        server.resume();
        caught_up(&archive).await;
        has_all(&archive, first + 499).await;
        archive.append(batch(first + 500, 500)).await.unwrap();
        caught_up(&archive).await;
        has_all(&archive, first + 999).await;
        server.stop();
        close(archive, tasks).await;
    }
    // A server that refuses us is a fault of the settings.
    server.resume();
    config.url = config.url.replacen("chat@", "nobody@", 1);
    let refused = Archive::open(config).await;
    assert!(matches!(refused, Err(OpenError::Database(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_hangs_and_wakes() {
    let server = Server::start();
    let folder = TempDir::new().unwrap();
    let mut config = config(folder.path(), &server.url());
    config.database_timeout = SHORT;
    let (archive, tasks) = Archive::open(config.clone()).await.unwrap();
    archive.append(batch(1, 500)).await.unwrap();
    server.freeze();
    archive.append(batch(501, 500)).await.unwrap();
    assert!(matches!(
        archive.flushed().await,
        Err(ArchiveError::Timeout)
    ));
    assert!(matches!(
        archive
            .history(&room("stage"), &Default::default(), 10)
            .await,
        Err(ArchiveError::Timeout)
    ));
    assert_eq!(
        archive.erase_user("nobody").await.unwrap(),
        Erasure::Accepted
    );
    server.thaw();
    // An attempt that was given up may be committed now; it must not be done again.
    caught_up(&archive).await;
    has_all(&archive, 1_000).await;

    // A shutdown waits as long as it may, and nothing is lost by it.
    server.freeze();
    archive.append(batch(1_001, 500)).await.unwrap();
    drop(archive);
    let left = tasks.shutdown(Duration::from_millis(100)).await.unwrap();
    assert!(
        matches!(left, Flushed::LeftInJournal(bytes) if bytes > 0),
        "{left:?}"
    );
    // A start does not wait for it.
    let (archive, tasks) = Archive::open(config.clone()).await.unwrap();
    drop(archive);
    let left = tasks.shutdown(Duration::from_millis(100)).await.unwrap();
    assert!(matches!(left, Flushed::LeftInJournal(_)), "{left:?}");
    server.thaw();
    config.database_timeout = Duration::from_secs(10);
    let (archive, tasks) = Archive::open(config).await.unwrap();
    caught_up(&archive).await;
    has_all(&archive, 1_500).await;
    close(archive, tasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_sqlite_fills_the_journal_and_it_is_bounded() {
    let folder = TempDir::new().unwrap();
    let mut config = config(folder.path(), "");
    config.journal_bytes_max = 1 << 20;
    config.database_timeout = SHORT;
    let (archive, tasks) = Archive::open(config.clone()).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(sqlite_file(&config));
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();

    let (mut id, mut kept, mut unarchived) = (0, 0, 0);
    while unarchived < 100 {
        let batch: Vec<_> = (0..50)
            .map(|_| {
                id += 1;
                Record::Message(message("stage", id, "fan", &"long ".repeat(100)))
            })
            .collect();
        let receipt = archive.append(batch).await.unwrap();
        kept += receipt.kept as u64;
        unarchived += receipt.unarchived;
    }
    // What must not be lost still has room, until that is gone as well.
    let mut paid_kept = 0;
    let refused = loop {
        id += 1;
        match archive
            .append(vec![Record::Message(paid("stage", id, "fan"))])
            .await
        {
            Ok(receipt) => paid_kept += receipt.kept as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full);
    assert!(paid_kept > 10, "{paid_kept}");
    let stats = archive.stats().snapshot();
    assert!(stats.journal_bytes <= 1 << 20, "{stats:?}");
    assert_eq!((stats.unarchived, stats.refused), (unarchived as u64, 1));
    // Reads go on: SQLite shows what was there before.
    assert_eq!(archive.message(&room("stage"), 1).await.unwrap(), None);

    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    caught_up(&archive).await;
    let messages = all_messages(&archive, "stage").await;
    assert_eq!(messages.len() as u64, kept + paid_kept);
    assert_eq!(
        messages.iter().filter(|m| m.paid.is_some()).count() as u64,
        paid_kept
    );
    id += 1;
    assert_eq!(
        archive
            .append(vec![Record::Message(paid("stage", id, "fan"))])
            .await
            .unwrap()
            .kept,
        1
    );
    close(archive, tasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_cannot_share_a_folder() {
    let folder = TempDir::new().unwrap();
    let (archive, tasks) = Archive::open(config(folder.path(), "")).await.unwrap();
    assert!(matches!(
        Archive::open(config(folder.path(), "")).await,
        Err(OpenError::Locked)
    ));
    close(archive.clone(), tasks).await;
    assert_eq!(archive.append(batch(1, 1)).await, Err(AppendError::Closed));
    assert!(archive.message(&room("stage"), 1).await.is_err());
    let (again, tasks) = Archive::open(config(folder.path(), "")).await.unwrap();
    close(again, tasks).await;
}

const SMALL_DISK: &str = "LIGHTSTICK_TEST_SMALL_DISK";

/// A disk of its own for the journal: a file system in memory, in a mount namespace that ends with the process.
#[test]
fn a_full_disk_is_refused_and_forgotten_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let inside =
        r#"mount -t tmpfs -o size=3m tmpfs "$LIGHTSTICK_TEST_SMALL_DISK" && exec "$0" "$@""#;
    let us = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let mut command = std::process::Command::new("unshare");
    command
        .arg("--mount")
        .args((us != 0).then_some("--map-root-user"));
    let output = command
        .args(["sh", "-c", inside])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "on_a_small_disk", "--ignored", "--nocapture"])
        .env(SMALL_DISK, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs inside of the test above, where the disk is small"]
async fn on_a_small_disk() {
    let small = std::path::PathBuf::from(std::env::var(SMALL_DISK).unwrap());
    let elsewhere = TempDir::new().unwrap();
    let database = elsewhere.path().join("chat.sqlite");
    let mut config = config(&small, &format!("sqlite://{}", database.display()));
    config.database_timeout = SHORT;
    let (archive, tasks) = Archive::open(config).await.unwrap();
    // The database takes nothing meanwhile, so the journal keeps everything.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    std::fs::write(small.join("filler"), vec![0; 1 << 20]).unwrap();

    let (mut id, mut kept) = (0, Vec::new());
    let refused = loop {
        id += 1;
        match archive
            .append(vec![Record::Message(paid("stage", id, "fan"))])
            .await
        {
            Ok(_) => kept.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::DiskFull);
    assert!(kept.len() > 1_000, "{}", kept.len());
    let stats = archive.stats().snapshot();
    assert_eq!((stats.refused, stats.journalled), (1, kept.len() as u64));
    assert!(stats.disk_errors > 0);

    std::fs::remove_file(small.join("filler")).unwrap();
    id += 1;
    archive
        .append(vec![Record::Message(paid("stage", id, "fan"))])
        .await
        .unwrap();
    kept.push(id);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    caught_up(&archive).await;
    let messages = all_messages(&archive, "stage").await;
    assert_eq!(messages.iter().map(|m| m.id).collect::<Vec<_>>(), kept);
    // Keys of the batch that failed were forgotten with it.
    assert!(messages.iter().all(|m| m.body.is_some()));
    assert_eq!(archive.stats().snapshot().corrupt, 0);
    close(archive, tasks).await;
}
