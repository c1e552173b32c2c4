//! The archive's process killed at any moment: what it acknowledged is in the database exactly once.
//!
//! `LIGHTSTICK_KILLS=100` kills it a hundred times on each database instead of ten.

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lightstick_chat_archive::{Archive, Record, Verified};
use support::postgres::Server;
use support::{all_messages, audit, close, config, message, paid, room};
use tempfile::TempDir;

const FOLDER: &str = "LIGHTSTICK_TEST_FOLDER";
const URL: &str = "LIGHTSTICK_TEST_URL";
const FIRST: &str = "LIGHTSTICK_TEST_FIRST";

/// Appends batches of 1 to 16 records and prints the last id of each when it is acknowledged, until it is killed.
#[test]
#[ignore = "this is the process that the other tests kill"]
fn appender() {
    let of = |name: &str| std::env::var(name).unwrap();
    let mut config = config(Path::new(&of(FOLDER)), &of(URL));
    // Often in a transaction, often at the start of a segment.
    config.batch_wait = Duration::from_millis(1);
    config.batch_records_max = 20;
    config.journal_bytes_max = 1 << 20;
    let mut id: u64 = of(FIRST).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (archive, _tasks) = Archive::open(config).await.unwrap();
        println!("open");
        loop {
            let batch: Vec<_> = (0..1 + id % 16).map(|at| record(id + at)).collect();
            let (count, next) = (batch.len(), id + batch.len() as u64);
            // Ordinary messages may go unarchived when the disk is slower than this loop; then nothing is promised.
            match archive.append(batch).await {
                Ok(receipt) if receipt.kept == count => println!("ack {id} {}", next - 1),
                Ok(_) | Err(_) => archive.flushed().await.unwrap(),
            }
            id = next;
        }
    });
}

fn record(id: u64) -> Record {
    match id % 10 {
        0 => audit("stage", id, "mod", Some("fan")),
        1..4 => Record::Message(paid("stage", id, &format!("user {}", id % 50))),
        _ => Record::Message(message("stage", id, &format!("user {}", id % 50), "hi")),
    }
}

async fn killed_again_and_again(url: &str, seed: u64) {
    let kills: u32 = std::env::var("LIGHTSTICK_KILLS").map_or(10, |n| n.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = TempDir::new().unwrap();
    let mut first = 1;
    // Which ids were acknowledged.
    let mut acknowledged = Vec::new();
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "appender", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(URL, url)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // By number of acknowledgements or, to meet the start as well, by time.
        let acks = if random.bool() {
            Some(random.usize(0..60))
        } else {
            None
        };
        let mut seen = Vec::new();
        match acks {
            Some(acks) => {
                let mut open = false;
                while !open || seen.len() < acks {
                    let line = lines
                        .next()
                        .expect("it goes on until it is killed")
                        .unwrap();
                    open |= line.contains("open");
                    seen.extend(range(&line));
                }
            }
            // Not a wait for something: this is the moment of the kill.
            None => std::thread::sleep(Duration::from_micros(random.u64(0..80_000))),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was acknowledged before it died is still in the pipe; the last line may be torn.
        seen.extend(lines.map_while(Result::ok).filter_map(|line| range(&line)));
        for (from, to) in seen {
            acknowledged.extend(from..=to);
            first = first.max(to + 1);
        }
        // What was written and not acknowledged may be there as well: other ids from now on.
        first += 1_000;

        let (archive, tasks) = Archive::open(config(folder.path(), url)).await.unwrap();
        archive.flushed().await.unwrap();
        assert_eq!(
            archive.stats().snapshot().duplicates,
            0,
            "kill {kill}: written twice"
        );
        check(&archive, &acknowledged, kill).await;
        close(archive, tasks).await;
    }
    println!(
        "{kills} kills, {} records acknowledged, all there once",
        acknowledged.len()
    );
    assert!(acknowledged.len() > kills as usize, "it hardly ran");
}

fn range(line: &str) -> Option<(u64, u64)> {
    let (from, to) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

async fn check(archive: &Archive, acknowledged: &[u64], kill: u32) {
    let mut count: HashMap<u64, u32> = HashMap::new();
    for message in all_messages(archive, "stage").await {
        assert!(
            message.body.is_some(),
            "kill {kill}: {} has no key",
            message.id
        );
        *count.entry(message.id).or_default() += 1;
    }
    let mut after = 0;
    loop {
        let page = archive.audit(&room("stage"), after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in page {
            assert_eq!(entry.target.as_deref(), Some("fan"));
            *count.entry(entry.at_ms).or_default() += 1;
        }
    }
    assert_eq!(
        archive.verify(&room("stage")).await.unwrap(),
        Verified::Whole { rows: after }
    );
    assert!(
        count.values().all(|n| *n == 1),
        "kill {kill}: something is there twice"
    );
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|id| !count.contains_key(id))
        .collect();
    assert!(
        lost.is_empty(),
        "kill {kill}: acknowledged and lost: {lost:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_has_everything_once() {
    killed_again_and_again("", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_has_everything_once() {
    let server = Server::start();
    killed_again_and_again(&server.url(), 2).await;
}
