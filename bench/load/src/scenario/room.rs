//! A publisher and its viewers, some of whom look closely: what `sweep` and `storm` measure.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::publish::Publisher;
use super::watch::merge;
use super::{
    CONNECT_TIMEOUT, DRAIN, Reading, Workers, bind_address, raise_descriptors, sleep_until,
    wait_until,
};
use crate::cli::{Common, Place, Publishing};
use crate::generator::{Generator, Strain};
use crate::joiner::{Joiner, Outcome};
use crate::metrics::Counter;
use crate::millis::Millis;
use crate::process::Threads;
use crate::report::{Joins, Published};
use crate::sweep::{Counted, Loss, Sends, Spent, Step};
use crate::tally::{Times, ViewerTally, Window};
use crate::worker::Measured;

/// Descriptors beside the viewers' sockets: pollers, HTTP, the terminal.
const DESCRIPTORS: u64 = 100;

/// Viewers of one depth.
pub(super) struct Crowd {
    workers: Workers,
    pub(super) joiner: Joiner,
    pub(super) outcome: Outcome,
}

/// A room with the generator's own publisher.
pub(super) struct Room<'a> {
    common: &'a Common,
    publisher: Publisher,
    full: Crowd,
    light: Crowd,
    sends: Option<Counter>,
    before: Reading,
}

/// What was seen of a room for a while.
pub(super) struct Seen {
    /// Of those who were in it. What the server spent is for guests too.
    pub(super) step: Step,
    /// Packets that came to guests.
    pub(super) guests_came: u64,
    pub(super) published: Measured,
}

impl<'a> Room<'a> {
    /// Publishes into it. It will have `viewers` at most, guests included. Send calls are read
    /// from `sends`.
    pub(super) fn open(
        place: &Place,
        publishing: &'a Publishing,
        viewers: u64,
        sends: Option<Counter>,
    ) -> Result<Self> {
        let Publishing { media, common } = publishing;
        let room_for = raise_descriptors();
        if viewers + DESCRIPTORS > room_for {
            bail!(
                "{viewers} viewers need a socket each, and this process may open {room_for} files (ulimit -n)"
            );
        }
        let bind = bind_address(common, &place.url)?;
        let whip = place.publishing(common.token.as_deref())?;
        if let Some(sends) = &sends {
            sends.read()?;
        }
        Ok(Self {
            common,
            publisher: Publisher::start(&place.url, whip, bind, media.source())?,
            full: Crowd::start(place, common, 1, usize::MAX)?,
            light: Crowd::start(place, common, common.threads, 0)?,
            sends,
            before: Reading::take(common)?,
        })
    }

    /// Measures the viewers that there are, and what the server spends on them and on `guests`.
    pub(super) fn measure(&self, window: Window, guests: Option<&Crowd>) -> Result<Seen> {
        let secs = (window.to_us - window.from_us) as f64 / 1e6;
        self.publisher.measure(window);
        for crowd in [&self.full, &self.light].into_iter().chain(guests) {
            crowd.joiner.workers.iter().for_each(|w| w.measure(window));
        }
        sleep_until(window.from_us);
        let from = self.look()?;
        sleep_until(window.to_us);
        let to = self.look()?;
        thread::sleep(DRAIN);

        let published = self.publisher.collect();
        let (full, light) = (self.full.collect(), self.light.collect());
        let guests = guests.map(Crowd::collect).unwrap_or_default();
        let all = || full.iter().chain(&light);
        let mut step = Step {
            viewers: self.full.joined() + self.light.joined(),
            viewers_full: self.full.joined(),
            secs,
            packets: all().map(|m| m.came).sum(),
            late_max_ms: published.late_max.as_secs_f64() * 1e3,
            ..Step::default()
        };
        step.packets_per_sec = step.packets as f64 / step.secs;
        let came = |measured: &[Measured]| measured.iter().map(|m| m.came).sum();
        let guests_came: u64 = came(&guests);
        let counted = Counted {
            sent: published.sent,
            full: full.iter().flat_map(|m| m.full.clone()).collect(),
            came_full: came(&full),
            light: self.light.joined(),
            came_light: came(&light),
            rtp_missing: all().map(|m| m.rtp_missing).sum(),
        };
        step.loss = Loss::from(&counted);
        let (mut transit, mut strain) = (Times::default(), Strain::default());
        all().for_each(|measured| transit.add(&measured.transit));
        for measured in all().chain(&guests) {
            strain.add(&measured.lag, measured.cpu, measured.send_blocked);
        }
        step.transit_ms = Millis::from(&transit);
        let frozen: Vec<u64> = full.iter().flat_map(|m| m.frozen_us.clone()).collect();
        let each = frozen.len().max(1) as f64;
        step.frozen = frozen.iter().sum::<u64>() as f64 / 1e6 / step.secs / each;
        let light_cpu: f64 = light.iter().map(|m| m.cpu.as_secs_f64()).sum();
        step.light_ns_per_packet =
            (counted.came_light > 0).then(|| light_cpu * 1e9 / counted.came_light as f64);
        let packets = step.packets + guests_came;
        step.server = self.spent(&from, &to, &step, packets);
        step.sends = from.sends.zip(to.sends).map(|(from, to)| Sends {
            calls_per_sec: (to - from) / step.secs,
            packets_per_call: (to > from).then(|| packets as f64 / (to - from)),
        });
        let server = from.reading.server.zip(to.reading.server);
        step.generator = Generator::new(
            (from.reading.own, to.reading.own),
            (from.reading.machine, to.reading.machine),
            &strain,
            server,
            step.secs,
        );
        Ok(Seen {
            step,
            guests_came,
            published,
        })
    }

    /// Adds viewers until there are `viewers`, of whom `full` look at every packet; those come
    /// first. Gives what went wrong.
    pub(super) fn grow(&mut self, viewers: u64, full: u64, rate: f64) -> Vec<String> {
        let full = full.min(viewers);
        let mut trouble = self.full.grow(full, rate);
        trouble.extend(self.light.grow(viewers - full, rate));
        trouble
    }

    /// In words, whether any of them lost its connection.
    pub(super) fn lost(&self) -> Option<String> {
        let lost: u64 = [&self.full, &self.light]
            .map(|crowd| crowd.workers.count().lost)
            .iter()
            .sum();
        (lost > 0).then(|| format!("{lost} viewers lost their connection"))
    }

    fn look(&self) -> Result<Look> {
        let pid = self.common.server_pid;
        Ok(Look {
            reading: Reading::take(self.common)?,
            threads: pid.map(Threads::of).transpose()?.unwrap_or_default(),
            sends: self.sends.as_ref().map(Counter::read).transpose()?,
        })
    }

    fn spent(&self, from: &Look, to: &Look, step: &Step, packets: u64) -> Option<Spent> {
        let (before, from_usage) = self.before.server.zip(from.reading.server)?;
        let to_usage = to.reading.server?;
        let cpu = to_usage.cpu.saturating_sub(from_usage.cpu).as_secs_f64();
        let busiest = to.threads.busiest_since(&from.threads).as_secs_f64();
        Some(Spent {
            cores: cpu / step.secs,
            busiest_thread: busiest / step.secs,
            ns_per_packet: (packets > 0).then(|| cpu * 1e9 / packets as f64),
            udp_dropped: to_usage.udp_dropped.saturating_sub(from_usage.udp_dropped),
            rss: to_usage.rss,
            rss_per_viewer: to_usage.rss.saturating_sub(before.rss) / step.viewers.max(1),
        })
    }

    pub(super) fn finish(self) -> Result<(Joins, Published)> {
        let (full, light) = (self.full.finish()?, self.light.finish()?);
        let published = self.publisher.finish()?;
        let viewers: Vec<_> = full.1.into_iter().chain(light.1).collect();
        Ok((
            Joins::new(&with(full.0, light.0), &viewers),
            published.into(),
        ))
    }
}

/// What is read at both ends of a step.
struct Look {
    reading: Reading,
    threads: Threads,
    sends: Option<f64>,
}

impl Crowd {
    /// Nobody yet. Of its viewers, the first `full` will look at every packet.
    pub(super) fn start(place: &Place, common: &Common, threads: u16, full: usize) -> Result<Self> {
        let workers = Workers::start(threads)?;
        let joiner = Joiner {
            signal: place.watching(common.watch_token.as_deref())?,
            bind: bind_address(common, &place.url)?,
            workers: workers.handles(),
            full,
            link: None,
            chat: None,
        };
        Ok(Self {
            workers,
            joiner,
            outcome: Outcome::default(),
        })
    }

    pub(super) fn joined(&self) -> u64 {
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
        trouble.extend(self.settle());
        trouble
    }

    /// Waits until all who joined have a keyframe. Gives how many have none, in words.
    pub(super) fn settle(&self) -> Option<String> {
        let wanted = self.joined();
        let started = Instant::now();
        let settled = wait_until(CONNECT_TIMEOUT, || {
            let counts = self.workers.count();
            counts.flowing + counts.lost >= wanted
        });
        (!settled).then(|| {
            let missing = wanted.saturating_sub(self.workers.count().flowing);
            let waited = started.elapsed().as_secs();
            format!("{missing} viewers without a keyframe after {waited} s")
        })
    }

    fn collect(&self) -> Vec<Measured> {
        self.joiner.workers.iter().map(|w| w.collect()).collect()
    }

    /// All who are still there leave. Gives how joining and leaving went, and what they saw.
    pub(super) fn finish(self) -> Result<(Outcome, Vec<ViewerTally>)> {
        let left = self.joiner.leave_all(&self.outcome.joined);
        self.end(left)
    }

    /// The same where all have left already, as `left` says.
    pub(super) fn end(self, left: Outcome) -> Result<(Outcome, Vec<ViewerTally>)> {
        drop(self.joiner);
        let workers = self.workers.finish()?;
        let viewers = workers.into_iter().flat_map(|worker| worker.viewers);
        Ok((merge(self.outcome, left), viewers.collect()))
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
