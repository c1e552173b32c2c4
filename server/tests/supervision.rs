//! The real binary, when one of its threads or tasks ends that should not: it says which and why, is
//! not ready, lets shows that are untouched go on until they are drained, and ends with a failure.
//! Faults exist in debug builds only.

#![cfg(debug_assertions)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lightstick_bench::signal::Signal;
use lightstick_interop::{Publisher, Repair, Viewer, publish_for};
use lightstick_types::Codec;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;
use socket2::SockRef;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// How long the drain lets sessions stay.
const DRAIN: Duration = Duration::from_secs(6);
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const CODEC: Codec = Codec::Vp8;

struct Server {
    process: Child,
    http: String,
    operations: String,
    token: String,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts the binary with two shards on free ports of the loopback.
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = format!(
            "[http]\nbind = \"127.0.0.1:0\"\n[operations]\nbind = \"127.0.0.1:0\"\n\
             [media]\nshards = 2\npin = false\nport = 0\nbind = [\"127.0.0.1\"]\n\
             [shutdown]\ndeadline = \"{}\"\n[log]\nformat = \"json\"\n",
            lightstick_types::duration::format(DRAIN)
        );
        let file = folder.path().join("lightstick.toml");
        fs::write(&file, config)?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_lightstick"))
            .arg("--config")
            .arg(&file)
            .arg("serve")
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let stderr = process.stderr.take().context("its log")?;
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || read_log(stderr, &log)
        });
        let mut banner = BufReader::new(process.stdout.take().context("its banner")?).lines();
        let mut after = |label: &str| {
            let mut lines = banner.by_ref().map_while(Result::ok);
            let found =
                lines.find_map(|line| Some(line.trim().strip_prefix(label)?.trim().to_owned()));
            found.with_context(|| format!("no {label} in the banner"))
        };
        let http = after("WHIP:")?.replace("/whip/demo", "");
        let token = after("Token:")?;
        let operations = after("Metrics:")?.replace("/metrics", "");
        Ok(Self {
            process,
            http,
            operations,
            token,
            log,
            reader: Some(reader),
            _folder: folder,
        })
    }

    async fn get(&self, path: &str) -> Result<(u16, String)> {
        let response = reqwest::get(format!("{}{path}", self.operations)).await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    async fn cause(&self, fault: &str) -> Result<()> {
        let url = format!("{}/faults/{fault}", self.operations);
        let asked = reqwest::Client::new().post(url).send().await?;
        asked.error_for_status()?;
        Ok(())
    }

    /// Sessions of a role on each shard.
    async fn sessions(&self, role: &str) -> Result<[f64; 2]> {
        let (_, metrics) = self.get("/metrics").await?;
        let of = |shard: usize| {
            let labels = [format!("shard=\"{shard}\""), format!("role=\"{role}\"")];
            let mut lines = metrics
                .lines()
                .filter(|line| line.starts_with("lightstick_sessions{"));
            let line = lines.find(|line| labels.iter().all(|label| line.contains(label)))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        Ok([of(0).context("shard 0")?, of(1).context("shard 1")?])
    }

    async fn open(&self, path: &str, offer: String) -> Result<String> {
        let (url, token) = (format!("{}/{path}", self.http), self.token.clone());
        let opened = spawn_blocking(move || Signal::new(&url, Some(&token)).open(&offer)).await?;
        Ok(opened?.answer)
    }

    /// A session that keeps the drain going, so that there is time to look at the server.
    async fn lingering(&self) -> Result<Viewer> {
        let (viewer, offer) = Viewer::offer(CODEC, Repair::Rtx).await?;
        self.open("whep/stage", offer).await?;
        Ok(viewer)
    }

    /// Waits until `/readyz` says 503, and returns the reason.
    async fn unready(&self) -> Result<String> {
        let asked = async {
            loop {
                let (status, text) = self.get("/readyz").await?;
                if status == 503 {
                    return Ok(text);
                }
                ensure!(
                    (status, text.as_str()) == (200, "ready\n"),
                    "{status} {text}"
                );
            }
        };
        tokio::time::timeout(PATIENCE, asked).await?
    }

    /// Waits for the end. Everything is logged then.
    async fn ended(&mut self) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                let reader = self.reader.take().context("read once")?;
                reader.join().ok().context("the log can be read")?;
                return Ok(status);
            }
            ensure!(started.elapsed() < PATIENCE, "the process goes on");
            tokio::task::yield_now().await;
        }
    }

    /// The causes that errors of the log give for the end of this thread or task.
    fn causes(&self, name: &str) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = log
            .iter()
            .filter(|line| line["level"] == "ERROR" && line["name"] == name);
        errors
            .map(|line| line["cause"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// What follows an unexpected end, up to the exit code.
    async fn ends_for(mut self, name: &str, cause: &str) -> Result<()> {
        assert_eq!(self.unready().await?, format!("failed: {name} {cause}\n"));
        let status = self.ended().await?;
        assert_eq!(status.code(), Some(1), "{status}");
        assert_eq!(self.causes(name), [cause], "one line of the log");
        Ok(())
    }
}

fn read_log(stderr: impl Read, log: &Mutex<Vec<Value>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        eprintln!("{line}");
        if let Ok(line) = serde_json::from_str(&line) {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_thread_that_panics() -> Result<()> {
    let server = Server::start()?;
    let (mut publisher, offer) = Publisher::offer(CODEC, Repair::Rtx).await?;
    let answer = server.open("whip/stage", offer).await?;
    publisher.accept(&answer).await?;
    let home = usize::from(server.sessions("publisher").await?[1] > 0.0);
    // Viewers alternate between the shards: one of two is where the room is.
    let mut viewers = Vec::new();
    while server.sessions("viewer").await?[home] < 1.0 {
        ensure!(viewers.len() < 2, "no viewer comes to shard {home}");
        let (mut viewer, offer) = Viewer::offer(CODEC, Repair::Rtx).await?;
        let answer = server.open("whep/stage", offer).await?;
        viewer.accept(&answer).await?;
        viewers.push(viewer);
    }
    let mut viewer = viewers.pop().context("a viewer")?;
    let show = async move { publish_for(&publisher, CODEC, PATIENCE, |_| true).await };
    let show = tokio::spawn(show);
    viewer.next().await?;

    let dead = 1 - home;
    server.cause(&format!("media/{dead}/panic")).await?;
    let reason = server.unready().await?;
    viewer.drain();
    for _ in 0..30 {
        viewer.next().await.context("the other shard's show")?;
    }
    let (_, offer) = Viewer::offer(CODEC, Repair::Rtx).await?;
    let refused = server.open("whep/stage", offer).await.err();
    let refused = refused.context("nobody is let in")?.to_string();
    ensure!(refused.contains("503"), "{refused}");
    viewer.ended().await.context("it is drained")?;

    let (name, cause) = (format!("media-{dead}"), "panicked: a test asked for it");
    assert_eq!(reason, format!("failed: {name} {cause}\n"));
    let mut server = server;
    let status = server.ended().await?;
    assert_eq!(status.code(), Some(1), "{status}");
    assert_eq!(server.causes(&name), [cause], "one line of the log");
    show.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_thread_whose_poller_fails() -> Result<()> {
    let server = Server::start()?;
    let _viewers = [server.lingering().await?, server.lingering().await?];
    server.cause("media/0/poller").await?;
    server
        .ends_for("media-0", "failed: a test asked for it")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics() -> Result<()> {
    let server = Server::start()?;
    let _viewer = server.lingering().await?;
    server.cause("task").await?;
    server
        .ends_for("fault", "panicked: a test asked for it")
        .await
}

/// The listener's socket is shut down under it, by way of a copy of its descriptor.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_ends() -> Result<()> {
    let server = Server::start()?;
    let _viewer = server.lingering().await?;
    let address: SocketAddr = server.http.trim_start_matches("http://").parse()?;
    let listener = listener_of(&server.process, address)?;
    SockRef::from(&listener).shutdown(std::net::Shutdown::Both)?;
    let cause = "failed: Invalid argument (os error 22)";
    server.ends_for("http-listener", cause).await
}

fn listener_of(process: &Child, address: SocketAddr) -> Result<OwnedFd> {
    let pid = Pid::from_child(process);
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    for entry in fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))? {
        let number = entry?.file_name().to_string_lossy().parse()?;
        let copy = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
        let socket = SockRef::from(&copy);
        let listens = socket.is_listener().unwrap_or(false);
        if listens && socket.local_addr()?.as_socket() == Some(address) {
            return Ok(copy);
        }
    }
    anyhow::bail!("nothing listens on {address}")
}
