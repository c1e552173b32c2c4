//! Whether the generator and its machine can be believed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::millis::Millis;
use crate::process::{Machine, Usage};
use crate::tally::Times;
use crate::worker::WorkerReport;

/// A worker that is busier than this share of the time measures itself as much as the server.
const BUSY_MAX: f64 = 0.8;
/// A machine with less idle time than this share has no CPU time left to give.
const IDLE_MIN: f64 = 0.05;
/// More than this, in cores, and other work disturbs the measurement. Kernel threads take a little.
const OTHERS_MAX: f64 = 0.15;
/// Arrivals that wait longer than this for the generator, in milliseconds at p99, are late.
const LAG_MAX_MS: f64 = 20.0;

/// How busy the generator's threads were.
#[derive(Clone, Debug, Default)]
pub struct Strain {
    /// How long arrivals waited.
    pub lag: Times,
    /// CPU time of the busiest thread in the measured span.
    pub busiest: Duration,
    /// Datagrams that the kernel did not take.
    pub send_blocked: u64,
}

impl Strain {
    /// Takes in another thread.
    pub fn add(&mut self, lag: &Times, cpu: Duration, send_blocked: u64) {
        self.lag.add(lag);
        self.busiest = self.busiest.max(cpu);
        self.send_blocked += send_blocked;
    }

    /// That of workers that ended.
    #[must_use]
    pub fn of(workers: &[WorkerReport]) -> Self {
        let mut strain = Self::default();
        for worker in workers {
            strain.add(&worker.gauges.lag, worker.cpu, worker.gauges.send_blocked);
        }
        strain
    }
}

/// What the generator and its machine had left: whether the rest can be believed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Generator {
    /// CPU seconds of this process in the measured span, as a number of cores.
    pub cores: f64,
    /// The busiest thread's share of the time.
    pub busiest_thread: f64,
    /// Its resident memory at the end, in bytes.
    pub rss: u64,
    pub machine_idle: f64,
    /// What other processes than server and generator used, as a number of cores. Absent where
    /// the server's process is not known.
    pub others_cores: Option<f64>,
    /// How long arrivals waited in the kernel for this process.
    pub lag_ms: Millis,
    /// Datagrams that the kernel threw away for full receive buffers, of anybody but the server
    /// where its process is known.
    pub udp_dropped: u64,
    /// Datagrams that the kernel did not accept.
    pub send_blocked: u64,
    /// Why the figures are rather the generator's or the machine's than the server's; empty is
    /// good.
    pub saturated: Vec<String>,
    /// What else disturbed the measurement; empty is good.
    pub disturbed: Vec<String>,
}

impl Generator {
    /// From readings around the measured span of `secs` seconds, of the server where it is known.
    #[must_use]
    pub fn new(
        own: (Usage, Usage),
        machine: (Machine, Machine),
        strain: &Strain,
        server: Option<(Usage, Usage)>,
        secs: f64,
    ) -> Self {
        let rss = own.1.rss;
        let own = own.1.cpu - own.0.cpu;
        let busy = machine.1.busy_since(&machine.0);
        let others = server.map(|(from, to)| {
            let server = to.cpu.saturating_sub(from.cpu);
            busy.saturating_sub(own + server)
        });
        let by_server = server.map_or(0, |(from, to)| {
            to.udp_dropped.saturating_sub(from.udp_dropped)
        });
        let dropped = machine.1.udp_dropped.saturating_sub(machine.0.udp_dropped);
        let mut generator = Self {
            cores: own.as_secs_f64() / secs.max(1e-3),
            busiest_thread: strain.busiest.as_secs_f64() / secs.max(1e-3),
            rss,
            machine_idle: machine.1.idle_since(&machine.0),
            others_cores: others.map(|others| others.as_secs_f64() / secs.max(1e-3)),
            lag_ms: Millis::from(&strain.lag),
            udp_dropped: dropped.saturating_sub(by_server),
            send_blocked: strain.send_blocked,
            saturated: Vec::new(),
            disturbed: Vec::new(),
        };
        let mut note = |bad: bool, why: &str| {
            if bad {
                generator.saturated.push(why.to_owned());
            }
        };
        note(
            generator.busiest_thread > BUSY_MAX,
            "a generator thread is busy nearly all the time: use --threads or fewer viewers",
        );
        note(
            generator.machine_idle < IDLE_MIN,
            "the machine has no idle CPU time left",
        );
        note(
            generator.lag_ms.p99 > LAG_MAX_MS,
            "arrivals wait for the generator",
        );
        note(
            generator.udp_dropped > 0,
            "the kernel dropped datagrams for full receive buffers (see net.core.rmem_max)",
        );
        if let Some(cores) = generator.others_cores.filter(|c| *c > OTHERS_MAX) {
            let why = format!("other processes use {cores:.2} cores of this machine");
            generator.disturbed.push(why);
        }
        generator
    }
}
