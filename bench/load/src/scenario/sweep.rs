//! `sweep`

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::publish::Publisher;
use super::watch::merge;
use super::{
    CONNECT_TIMEOUT, DRAIN, Reading, Workers, bind_address, next_window, raise_descriptors,
    sleep_until, wait_until,
};
use crate::cli;
use crate::joiner::{Joiner, Outcome};
use crate::metrics::Counter;
use crate::process::Threads;
use crate::report::{Generator, Joins, Millis, Published, Report, Strain};
use crate::sweep::{Counted, Ending, Loss, Sends, Spent, Step, Sweep};
use crate::worker::Measured;

/// Descriptors beside the viewers' sockets: pollers, HTTP, the terminal.
const DESCRIPTORS: u64 = 100;

/// Viewers of one depth.
struct Crowd {
    workers: Workers,
    joiner: Joiner,
    outcome: Outcome,
}

/// Everything that a step needs, from the first to the last.
struct Bench<'a> {
    args: &'a cli::Sweep,
    publisher: Publisher,
    full: Crowd,
    light: Crowd,
    sends: Option<Counter>,
    before: Reading,
}

pub(super) fn run(args: &cli::Sweep) -> Result<Report> {
    let (place, common) = (&args.place, &args.common);
    let room_for = raise_descriptors();
    if args.ramp.to + DESCRIPTORS > room_for {
        bail!(
            "{} viewers need a socket each, and this process may open {room_for} files (ulimit -n)",
            args.ramp.to
        );
    }
    let bind = bind_address(common, &place.url)?;
    let publishing = place.publishing(common.token.as_deref())?;
    let watching = place.watching(common.watch_token.as_deref())?;
    let sends = (args.metrics.as_ref()).map(|url| Counter::new(url, &args.send_counter));
    if let Some(sends) = &sends {
        sends.read()?;
    }
    let crowd = |threads, full| -> Result<Crowd> {
        let workers = Workers::start(threads)?;
        let joiner = Joiner {
            signal: watching.clone(),
            bind,
            workers: workers.handles(),
            full,
        };
        Ok(Crowd {
            workers,
            joiner,
            outcome: Outcome::default(),
        })
    };
    let mut bench = Bench {
        args,
        publisher: Publisher::start(&place.url, publishing, bind, args.media.source())?,
        full: crowd(1, usize::MAX)?,
        light: crowd(common.threads, 0)?,
        sends,
        before: Reading::take(common)?,
    };
    let mut steps = Vec::new();
    for viewers in args.ramp.plan().steps() {
        let trouble = bench.grow(viewers);
        let mut step = bench.measure(&trouble)?;
        eprintln!("{}", progress(&step));
        while step.spoiled_by_others() && step.repeated < args.ramp.repeat {
            let repeated = step.repeated + 1;
            step = bench.measure(&trouble)?;
            step.repeated = repeated;
            eprintln!(
                "again, for other processes were in the way: {}",
                progress(&step)
            );
        }
        let noise = step.broke.is_empty() && step.spoiled_by_others();
        let on = step.held() || args.ramp.keep_going && noise;
        steps.push(step);
        if !on {
            break;
        }
    }
    let (joins, published) = bench.finish()?;
    Ok(Report {
        command: "sweep",
        url: place.url.clone(),
        joins: Some(joins),
        published: Some(published),
        sweep: Some(Sweep {
            label: args.label.clone().unwrap_or_else(|| host(&place.url)),
            limits: args.ramp.limits(),
            ending: Ending::of(&steps),
            steps,
        }),
        ..Report::default()
    })
}

impl Bench<'_> {
    /// Measures the viewers that there are; `trouble` is what went wrong as they joined.
    fn measure(&self, trouble: &[String]) -> Result<Step> {
        let args = self.args;
        let mut trouble = trouble.to_vec();
        thread::sleep(args.ramp.settle);
        let window = next_window(args.ramp.secs);
        self.publisher.measure(window);
        for crowd in [&self.full, &self.light] {
            crowd.joiner.workers.iter().for_each(|w| w.measure(window));
        }
        sleep_until(window.from_us);
        let from = self.look()?;
        sleep_until(window.to_us);
        let to = self.look()?;
        thread::sleep(DRAIN);

        let published = self.publisher.collect();
        let (full, light) = (self.full.collect(), self.light.collect());
        trouble.extend(self.lost());
        let all = || full.iter().chain(&light);
        let mut step = Step {
            viewers: self.full.joined() + self.light.joined(),
            viewers_full: self.full.joined(),
            secs: args.ramp.secs as f64,
            packets: all().map(|m| m.came).sum(),
            late_max_ms: published.late_max.as_secs_f64() * 1e3,
            ..Step::default()
        };
        step.packets_per_sec = step.packets as f64 / step.secs;
        let came = |measured: &[Measured]| measured.iter().map(|m| m.came).sum();
        let counted = Counted {
            sent: published.sent,
            full: full.iter().flat_map(|m| m.full.clone()).collect(),
            came_full: came(&full),
            light: self.light.joined(),
            came_light: came(&light),
            rtp_missing: all().map(|m| m.rtp_missing).sum(),
        };
        step.loss = Loss::from(&counted);
        let (mut transit, mut strain) = (Measured::default().transit, Strain::default());
        for measured in all() {
            transit.add(&measured.transit);
            strain.add(&measured.lag, measured.cpu, measured.send_blocked);
        }
        step.transit_ms = Millis::from(&transit);
        let light_cpu: f64 = light.iter().map(|m| m.cpu.as_secs_f64()).sum();
        step.light_ns_per_packet =
            (counted.came_light > 0).then(|| light_cpu * 1e9 / counted.came_light as f64);
        step.server = self.spent(&from, &to, &step);
        step.sends = from.sends.zip(to.sends).map(|(from, to)| Sends {
            calls_per_sec: (to - from) / step.secs,
            packets_per_call: (to > from).then(|| step.packets as f64 / (to - from)),
        });
        let server = from.reading.server.zip(to.reading.server);
        step.generator = Generator::new(
            (from.reading.own, to.reading.own),
            (from.reading.machine, to.reading.machine),
            &strain,
            server,
            step.secs,
        );
        step.judge(args.ramp.limits(), trouble);
        Ok(step)
    }

    /// Adds viewers until there are `viewers`, full ones first. Gives what went wrong.
    fn grow(&mut self, viewers: u64) -> Vec<String> {
        let rate = self.args.ramp.join_rate;
        let full = self.args.ramp.full.min(viewers);
        let mut trouble = self.full.grow(full, rate);
        trouble.extend(self.light.grow(viewers - full, rate));
        trouble
    }

    fn lost(&self) -> Option<String> {
        let lost: u64 = [&self.full, &self.light]
            .map(|crowd| crowd.workers.count().lost)
            .iter()
            .sum();
        (lost > 0).then(|| format!("{lost} viewers lost their connection"))
    }

    fn look(&self) -> Result<Look> {
        let pid = self.args.common.server_pid;
        Ok(Look {
            reading: Reading::take(&self.args.common)?,
            threads: pid.map(Threads::of).transpose()?.unwrap_or_default(),
            sends: self.sends.as_ref().map(Counter::read).transpose()?,
        })
    }

    fn spent(&self, from: &Look, to: &Look, step: &Step) -> Option<Spent> {
        let (before, from_usage) = self.before.server.zip(from.reading.server)?;
        let to_usage = to.reading.server?;
        let cpu = to_usage.cpu.saturating_sub(from_usage.cpu).as_secs_f64();
        let busiest = to.threads.busiest_since(&from.threads).as_secs_f64();
        Some(Spent {
            cores: cpu / step.secs,
            busiest_thread: busiest / step.secs,
            ns_per_packet: (step.packets > 0).then(|| cpu * 1e9 / step.packets as f64),
            udp_dropped: to_usage.udp_dropped.saturating_sub(from_usage.udp_dropped),
            rss: to_usage.rss,
            rss_per_viewer: to_usage.rss.saturating_sub(before.rss) / step.viewers.max(1),
        })
    }

    fn finish(self) -> Result<(Joins, Published)> {
        let (mut viewers, mut outcome) = (Vec::new(), Outcome::default());
        for crowd in [self.full, self.light] {
            let left = crowd.joiner.leave_all(&crowd.outcome.joined);
            drop(crowd.joiner);
            for worker in crowd.workers.finish()? {
                viewers.extend(worker.viewers);
            }
            outcome = with(outcome, merge(crowd.outcome, left));
        }
        let published = self.publisher.finish()?;
        Ok((Joins::new(&outcome, &viewers), published.into()))
    }
}

/// What is read at both ends of a step.
struct Look {
    reading: Reading,
    threads: Threads,
    sends: Option<f64>,
}

impl Crowd {
    fn joined(&self) -> u64 {
        self.outcome.joined.len() as u64
    }

    /// Joins until there are `viewers`, and waits for their first keyframes.
    fn grow(&mut self, viewers: u64, rate: f64) -> Vec<String> {
        let (joined, stop) = (self.outcome.joined.len(), AtomicBool::new(false));
        let count = viewers.saturating_sub(joined as u64) as usize;
        if count == 0 {
            return Vec::new();
        }
        let joins = self.joiner.join_all(joined, count, rate, &stop, |_| ());
        let failures = joins.failures.iter();
        let mut trouble: Vec<_> = failures.map(|(why, n)| format!("{n} x {why}")).collect();
        self.outcome = with(std::mem::take(&mut self.outcome), joins);
        let wanted = self.joined();
        let started = Instant::now();
        if !wait_until(CONNECT_TIMEOUT, || {
            let counts = self.workers.count();
            counts.flowing + counts.lost >= wanted
        }) {
            let missing = wanted.saturating_sub(self.workers.count().flowing);
            let waited = started.elapsed().as_secs();
            trouble.push(format!(
                "{missing} viewers without a keyframe after {waited} s"
            ));
        }
        trouble
    }

    fn collect(&self) -> Vec<Measured> {
        self.joiner.workers.iter().map(|w| w.collect()).collect()
    }
}

/// Both, one after the other.
fn with(mut first: Outcome, second: Outcome) -> Outcome {
    first.joined.extend(second.joined);
    first.requests.add(&second.requests);
    first.took += second.took;
    first.behind += second.behind;
    for (why, count) in second.failures {
        *first.failures.entry(why).or_default() += count;
    }
    first
}

fn progress(step: &Step) -> String {
    let cores = step.server.map_or(String::new(), |server| {
        format!("server {:.2} cores, ", server.cores)
    });
    format!(
        "{} viewers: {cores}transit p99 {:.1} ms, loss {:.3} %{}",
        step.viewers,
        step.transit_ms.p99,
        step.loss.worst() * 100.0,
        if step.spoiled() { " (SATURATED)" } else { "" }
    )
}

fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_owned()
}
