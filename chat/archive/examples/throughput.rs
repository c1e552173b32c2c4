//! How many messages a second the archive takes, for as long as one likes, and what one costs.
//!
//! `cargo run --release -p lightstick-chat-archive --example throughput -- sqlite|postgres [URL] [SECONDS] [RATE]`
//!
//! Appends messages of 10,000 users to one room, as fast as they are acknowledged or at RATE a second, while the writer
//! moves them into the database; then waits for it. `sqlite` without a URL uses a new folder under the working
//! folder. Half of the batches hold a paid message, so that the disk is waited for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lightstick_chat_archive::{
    AppendError, Archive, ArchiveConfig, MessageRecord, PaidRecord, Record,
};

/// Messages of one batch: a tick of a room.
const BATCH: u64 = 200;
/// Batches that wait for their acknowledgement.
const IN_FLIGHT: usize = 8;
/// What the journal may be ahead; beyond it the database is the one that counts.
const AHEAD_MAX: u64 = 32 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).map_or("", String::as_str);
    let folder = std::env::current_dir()?.join(format!("throughput-{}", std::process::id()));
    match (argument(0), argument(1)) {
        ("sqlite", _) | ("postgres", "postgres" | "postgresql") => {}
        ("postgres", url) if url.starts_with("postgres") => {}
        _ => bail!("usage: throughput sqlite|postgres [URL] [SECONDS] [RATE]"),
    }
    let seconds = argument(2).parse().unwrap_or(20);
    let rate: f64 = argument(3).parse().unwrap_or(f64::INFINITY);
    let config = ArchiveConfig {
        url: argument(1).to_owned(),
        data_dir: folder.clone(),
        node_key: "07".repeat(32),
        retain: Duration::ZERO,
        retain_audit: Duration::ZERO,
        ..ArchiveConfig::default()
    };
    let (archive, tasks) = Archive::open(config).await.context("open")?;
    let room: lightstick_types::RoomName = "stage".parse()?;
    let first = archive.room_state(&room).await?.last_id;
    let (began, cpu_began) = (Instant::now(), cpu()?);
    let mut id = first;
    let mut waiting = std::collections::VecDeque::new();
    let mut latencies = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        let ahead = archive.stats().snapshot();
        let due = (id - first) as f64 / rate;
        if due > began.elapsed().as_secs_f64() || ahead.lag_bytes > AHEAD_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let batch = (0..BATCH).map(|_| {
            id += 1;
            Record::Message(message(&room, id))
        });
        let batch: Vec<_> = batch.collect();
        let archive = archive.clone();
        waiting.push_back(tokio::spawn(async move {
            let began = Instant::now();
            (archive.append(batch).await, began.elapsed())
        }));
        if waiting.len() >= IN_FLIGHT {
            acknowledged(waiting.pop_front(), &mut latencies).await?;
        }
    }
    while !waiting.is_empty() {
        acknowledged(waiting.pop_front(), &mut latencies).await?;
    }
    let appended = began.elapsed();
    while archive.flushed().await.is_err() {}
    let (took, cpu_took) = (began.elapsed(), cpu()? - cpu_began);
    let stats = archive.stats().snapshot();
    let messages = (id - first) as f64;
    latencies.sort_unstable();
    let percentile = |p: usize| latencies[(latencies.len() - 1) * p / 100].as_secs_f64() * 1e3;
    println!(
        "{messages} messages, appended in {:.2} s, in the database after {:.2} s",
        appended.as_secs_f64(),
        took.as_secs_f64()
    );
    println!("sustained: {:.0} messages/s", messages / took.as_secs_f64());
    println!(
        "CPU of this process: {:.1} us a message",
        cpu_took.as_secs_f64() * 1e6 / messages
    );
    println!(
        "acknowledged after: p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
        percentile(50),
        percentile(99),
        percentile(100)
    );
    println!("{stats:?}");
    anyhow::ensure!(
        stats.archived == stats.journalled && stats.unarchived == 0 && stats.duplicates == 0,
        "not all are there"
    );
    drop(archive);
    tasks.shutdown(Duration::from_secs(60)).await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

async fn acknowledged(
    task: Option<
        tokio::task::JoinHandle<(
            Result<lightstick_chat_archive::Receipt, AppendError>,
            Duration,
        )>,
    >,
    latencies: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    let Some(task) = task else { return Ok(()) };
    let (receipt, latency) = task.await?;
    receipt?;
    latencies.push(latency);
    Ok(())
}

fn message(room: &lightstick_types::RoomName, id: u64) -> MessageRecord {
    // Not in order: a room's fans take turns as they like.
    let user = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000;
    let paid = id.is_multiple_of(2 * BATCH).then(|| PaidRecord {
        amount: 10_000,
        currency: "KRW".into(),
        tier: 2,
        reference: format!("order-{id}"),
    });
    MessageRecord {
        room: room.clone(),
        id,
        epoch: 1,
        at_ms: 1_700_000_000_000 + id,
        user: format!("user-{user}"),
        name: format!("Fan number {user}"),
        role: 1,
        text: "오늘 무대 정말 최고였어요! I could watch this all night long".into(),
        reply_to: id.checked_sub(17),
        paid,
        shown: id.is_multiple_of(50),
    }
}

/// What this process has had of processors.
fn cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat
        .rsplit(") ")
        .next()
        .context("stat")?
        .split(' ')
        .collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // 100 a second on every Linux that people use.
    Ok(Duration::from_millis(ticks * 10))
}
