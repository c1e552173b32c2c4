//! The commands.

mod attack;
mod churn;
mod flood;
mod publish;
mod reread;
mod room;
mod sockets;
mod storm;
mod sweep;
mod visits;
mod watch;

use std::fs;
use std::net::IpAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::circumstances::Circumstances;
use crate::cli::{Cli, Command, Common};
use crate::process::{Machine, Usage};
use crate::report::Report;
use crate::signal::local_address;
use crate::stamp;
use crate::tally::Window;
use crate::worker::{Counts, Worker, WorkerHandle, WorkerReport};

/// How long ICE and DTLS may take before a session counts as one that never connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two looks at what all workers have reached.
const LOOK: Duration = Duration::from_millis(20);
/// From the command to measure to the measurement: every thread has heard of it by then.
const LEAD: Duration = Duration::from_millis(50);
/// For packets on their way when the window closes.
const DRAIN: Duration = Duration::from_millis(500);

/// Runs a command, prints its report and gives the exit code.
///
/// # Errors
/// When it could not run at all. A run with losses or failed joins is a report, not an error.
pub fn run(cli: Cli) -> Result<ExitCode> {
    raise_descriptors();
    let (common, mut report) = match cli.command {
        Command::Publish(args) => (args.publishing.common.clone(), publish::run(&args)?),
        Command::View(args) => (args.common.clone(), watch::view(&args)?),
        Command::Run(args) => (args.publishing.common.clone(), watch::run(&args)?),
        Command::Sweep(args) => (args.publishing.common.clone(), sweep::run(&args)?),
        Command::Storm(args) => (args.publishing.common.clone(), storm::run(&args)?),
        Command::Flood(args) => (args.publishing.common.clone(), flood::run(&args)?),
        Command::Churn(args) => (args.common.clone(), churn::run(&args)?),
        Command::Sockets(args) => (args.common.clone(), sockets::run(&args)?),
        Command::Attack(args) => (args.common.clone(), attack::run(&args)?),
        Command::Plot(args) => return reread::plot(&args).map(|()| ExitCode::SUCCESS),
        Command::Table(args) => return reread::table(&args).map(|()| ExitCode::SUCCESS),
    };
    report.circumstances = Some(Circumstances::now()?);
    report.judge();
    print(&report, &common)?;
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report, common: &Common) -> Result<()> {
    let Some(path) = &common.json else {
        print!("{report}");
        return Ok(());
    };
    let json = serde_json::to_string_pretty(report)?;
    if path.as_os_str() == "-" {
        eprint!("{report}");
        println!("{json}");
        return Ok(());
    }
    print!("{report}");
    fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}

struct Workers(Vec<Worker>);

impl Workers {
    fn start(count: u16) -> Result<Self> {
        let workers = (0..count).map(|n| Worker::start(&format!("viewers-{n}")));
        let workers = workers.collect::<Result<_, _>>();
        Ok(Self(workers.context("cannot start a thread")?))
    }

    fn handles(&self) -> Vec<WorkerHandle> {
        self.0.iter().map(|w| w.handle().clone()).collect()
    }

    fn count(&self) -> Counts {
        self.0.iter().map(|w| w.handle().count()).fold(
            Counts::default(),
            |sum: Counts, c: Counts| Counts {
                alive: sum.alive + c.alive,
                connected: sum.connected + c.connected,
                flowing: sum.flowing + c.flowing,
                lost: sum.lost + c.lost,
            },
        )
    }

    /// Every handle must be gone before.
    fn finish(self) -> Result<Vec<WorkerReport>> {
        let reports = self.0.into_iter().map(Worker::finish);
        reports.collect::<Result<_, _>>().context("a thread failed")
    }
}

/// Looks at `done` until it is true; false when it is not within `timeout`.
fn wait_until(timeout: Duration, mut done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > timeout {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

fn next_window(long: Duration) -> Window {
    let from_us = stamp::now_us() + LEAD.as_micros() as u64;
    Window {
        from_us,
        to_us: from_us + long.as_micros() as u64,
    }
}

fn sleep_until(us: u64) {
    thread::sleep(Duration::from_micros(us.saturating_sub(stamp::now_us())));
}

/// Lets this process open as many files as it ever may, and says how many those are.
fn raise_descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if limit.current != limit.maximum {
        let soft = std::mem::replace(&mut limit.current, limit.maximum);
        if setrlimit(Resource::Nofile, limit).is_err() {
            return soft.unwrap_or(u64::MAX);
        }
    }
    hard
}

/// Server, generator and machine at one moment.
#[derive(Clone, Copy)]
struct Reading {
    server: Option<Usage>,
    own: Usage,
    machine: Machine,
}

impl Reading {
    fn take(common: &Common) -> Result<Self> {
        let server = common.server_pid.map(|pid| {
            Usage::of(pid).with_context(|| format!("cannot read process {pid} (--server-pid)"))
        });
        Ok(Self {
            server: server.transpose()?,
            own: Usage::of(std::process::id())?,
            machine: Machine::now()?,
        })
    }
}

fn bind_address(common: &Common, url: &str) -> Result<IpAddr> {
    if !url.starts_with("http://") {
        bail!("{url} is no http:// URL (the generator speaks no TLS)");
    }
    match common.bind {
        Some(bind) => Ok(bind),
        None => local_address(url).with_context(|| format!("there is no way to {url}")),
    }
}
