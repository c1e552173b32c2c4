//! What is printed: a table for people, JSON for programs. Both hold the same figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::circumstances::Circumstances;
use crate::joiner::Outcome;
use crate::playback::{Playback, Repair};
use crate::process::{Machine, Usage};
use crate::session::{LinkConfig, PublisherTally};
use crate::storm::Storm;
use crate::sweep::{Step, Sweep};
use crate::tally::{ChatTally, Times, ViewerTally};
use crate::worker::WorkerReport;

/// A worker that is busier than this share of the time measures itself as much as the server.
const BUSY_MAX: f64 = 0.8;
/// A machine with less idle time than this share has no CPU time left to give.
const IDLE_MIN: f64 = 0.05;
/// More than this, in cores, and other work disturbs the measurement. Kernel threads take a little.
const OTHERS_MAX: f64 = 0.15;
/// Arrivals that wait longer than this for the generator, in milliseconds at p99, are late.
const LAG_MAX_MS: f64 = 20.0;

/// Durations in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Millis {
    /// How many there were. The rest is 0 where there was none.
    pub count: u64,
    /// Half took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1,000 took no longer.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
}

impl From<&Times> for Millis {
    fn from(times: &Times) -> Self {
        Self {
            count: times.len(),
            p50: times.quantile_ms(0.5),
            p95: times.quantile_ms(0.95),
            p99: times.quantile_ms(0.99),
            p999: times.quantile_ms(0.999),
            max: times.max_ms(),
        }
    }
}

/// How joining went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Joins {
    /// Offers that were answered with a session.
    pub joined: u64,
    /// Offers that were not.
    pub failed: u64,
    /// Of them, how many for which reason.
    pub failures: BTreeMap<String, u64>,
    /// Sessions with ICE and DTLS done.
    pub connected: u64,
    /// Sessions that got a whole keyframe.
    pub painted: u64,
    /// Sessions that ended before they left.
    pub lost: u64,
    /// Joins a second that were answered.
    pub per_second: f64,
    /// Joins that began more than 100 ms late.
    pub behind: u64,
    /// From sending an offer to having the answer.
    pub request_ms: Millis,
    /// From before the offer to ICE and DTLS done.
    pub connected_ms: Millis,
    /// To the first RTP packet.
    pub first_packet_ms: Millis,
    /// To the last packet of the first whole keyframe.
    pub first_keyframe_ms: Millis,
}

impl Joins {
    /// From the joins' outcome and what became of the viewers.
    #[must_use]
    pub fn new(outcome: &Outcome, viewers: &[ViewerTally]) -> Self {
        let times = |of: fn(&ViewerTally) -> Option<Duration>| {
            let mut times = Times::default();
            for time in viewers.iter().filter_map(of) {
                times.record_us(time.as_micros() as u64);
            }
            Millis::from(&times)
        };
        let connected_ms = times(|v| v.connected);
        let first_keyframe_ms = times(|v| v.first_keyframe);
        Self {
            joined: outcome.joined.len() as u64,
            failed: outcome.failed(),
            failures: outcome.failures.clone(),
            connected: connected_ms.count,
            painted: first_keyframe_ms.count,
            lost: viewers.iter().filter(|v| v.lost).count() as u64,
            per_second: outcome.joined.len() as f64 / outcome.took.as_secs_f64().max(1e-3),
            behind: outcome.behind,
            request_ms: Millis::from(&outcome.requests),
            connected_ms,
            first_packet_ms: times(|v| v.first_packet),
            first_keyframe_ms,
        }
    }
}

/// A link that loses and delays datagrams, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Share of them that it loses, 0 to 1.
    pub loss: f64,
    /// There and back, in milliseconds.
    pub rtt_ms: f64,
}

impl From<LinkConfig> for Link {
    fn from(config: LinkConfig) -> Self {
        Self {
            loss: config.loss,
            rtt_ms: config.delay.as_secs_f64() * 2e3,
        }
    }
}

/// What viewers saw of the chat within the window.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Chat {
    /// Viewers that were welcomed.
    pub welcomed: u64,
    /// Frames that came to all of them.
    pub frames: u64,
    /// Frames that came to each in a second.
    pub frames_per_sec: f64,
    /// Mean bit rate of each, in bit/s: of frames, without what carries them.
    pub bitrate_mean: f64,
    /// Messages that came to all of them.
    pub messages: u64,
    /// From the server's stamp on a message to its arrival, in steps of a millisecond.
    pub delay_ms: Millis,
    /// Messages that nobody was shown, as told to all of them.
    pub skipped: u64,
    /// Messages that some were not sent because their links were too slow.
    pub missed: u64,
    /// Frames that are none.
    pub unreadable: u64,
    /// Messages that they wrote.
    pub written: u64,
    /// Messages that a channel did not take.
    pub blocked: u64,
    /// Messages that the server accepted.
    pub acknowledged: u64,
    /// Messages that it refused, by code.
    pub refused: BTreeMap<String, u64>,
}

impl Chat {
    /// From what the viewers counted in `secs` seconds.
    #[must_use]
    pub fn new(tally: &ChatTally, secs: f64) -> Self {
        let each = |sum: u64| sum as f64 / (secs * tally.welcomed.max(1) as f64);
        Self {
            welcomed: tally.welcomed,
            frames: tally.frames,
            frames_per_sec: each(tally.frames),
            bitrate_mean: each(tally.bytes * 8),
            messages: tally.messages,
            delay_ms: Millis::from(&tally.delay),
            skipped: tally.skipped,
            missed: tally.missed,
            unreadable: tally.unreadable,
            written: tally.written,
            blocked: tally.blocked,
            acknowledged: tally.acknowledged,
            refused: tally.refused.clone(),
        }
    }
}

/// What the viewers received.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Delivery {
    /// Length of the measured window in seconds.
    pub secs: f64,
    /// Viewers that looked into every packet.
    pub viewers_full: u64,
    /// Viewers that read headers only: of them, RTP sequence numbers alone tell losses.
    pub viewers_light: u64,
    /// What stood between viewers and server. What is lost then is no failure.
    pub link: Option<Link>,
    /// Packets that came to all viewers while it lasted.
    pub packets: u64,
    /// Mean bit rate of a viewer over its whole life in the room, in bit/s: of RTP payloads, but
    /// of whole datagrams where a light viewer reads headers only.
    pub bitrate_mean: f64,
    /// Packets that the publisher stamped within the window, times the full viewers. Absent where
    /// the publisher is not part of the run.
    pub expected: Option<u64>,
    /// Of those, how many never came.
    pub missing: Option<u64>,
    /// Of the missing, those of video; audio is not sent again.
    pub missing_video: Option<u64>,
    /// All missing as a share, 0 to 1.
    pub loss: Option<f64>,
    /// The most that one viewer missed.
    pub missing_worst_viewer: Option<u64>,
    /// RTP sequence numbers that never came, over the viewers' whole lives.
    pub rtp_missing: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Packets whose payload was not as sent.
    pub corrupt: u64,
    /// Packets that carry no stamp.
    pub unstamped: u64,
    /// From the publisher's sending to the kernel's receiving, of packets sent in the window.
    pub transit_ms: Millis,
    /// What full viewers would have seen with players that hold back frames for some time.
    pub playback: Vec<Playback>,
    /// What was sent again to full viewers.
    pub repair: Option<Repair>,
    /// The chat, where they take part in it.
    pub chat: Option<Chat>,
}

impl Delivery {
    /// From the viewers' counters; `sent` is what the publisher sent in the window.
    #[must_use]
    pub fn new(
        viewers: &[ViewerTally],
        transit: &Times,
        secs: f64,
        sent: Option<PublisherTally>,
    ) -> Self {
        let tracks = || viewers.iter().flat_map(|v| [&v.audio, &v.video]);
        let each = sent.map(|sent| sent.audio_in_window + sent.video_in_window);
        let full = || viewers.iter().filter(|v| !v.light);
        let expected = each.map(|each| each * full().count() as u64);
        let missed =
            |each: u64, v: &ViewerTally| each.saturating_sub(v.audio.in_window + v.video.in_window);
        let missing = each.map(|each| full().map(|v| missed(each, v)).sum());
        let missing_video = sent.map(|sent| {
            let came = full().map(|v| v.video.in_window);
            came.map(|came| sent.video_in_window.saturating_sub(came))
                .sum()
        });
        let rates = viewers.iter().filter_map(|v| {
            let life = v.last_packet? - (v.started + v.first_packet?);
            let bits = (v.audio.bytes + v.video.bytes) as f64 * 8.0;
            Some(bits / life.as_secs_f64().max(1e-3))
        });
        Self {
            secs,
            link: None,
            viewers_full: full().count() as u64,
            viewers_light: viewers.iter().filter(|v| v.light).count() as u64,
            packets: tracks().map(|t| t.came_in_window).sum(),
            bitrate_mean: rates.sum::<f64>() / viewers.len().max(1) as f64,
            expected,
            missing,
            missing_video,
            loss: missing
                .zip(expected)
                .map(|(m, e): (u64, u64)| m as f64 / e.max(1) as f64),
            missing_worst_viewer: each.and_then(|each| full().map(|v| missed(each, v)).max()),
            rtp_missing: tracks().map(|t| t.rtp_missing()).sum(),
            duplicates: tracks().map(|t| t.duplicates()).sum(),
            corrupt: tracks().map(|t| t.corrupt).sum(),
            unstamped: tracks().map(|t| t.unstamped).sum(),
            transit_ms: Millis::from(transit),
            playback: Vec::new(),
            repair: None,
            chat: None,
        }
    }
}

/// What the publisher did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Published {
    /// Audio packets.
    pub audio_packets: u64,
    /// Video packets.
    pub video_packets: u64,
    /// Keyframes, those asked for included.
    pub keyframes: u64,
    /// PLI and FIR that came.
    pub keyframe_requests: u64,
    /// The most that a packet left behind its time, in milliseconds; within the measured window
    /// where there is one.
    pub late_max_ms: f64,
    /// The connection ended before its time.
    pub lost: bool,
}

impl From<PublisherTally> for Published {
    fn from(tally: PublisherTally) -> Self {
        Self {
            audio_packets: tally.audio,
            video_packets: tally.video,
            keyframes: tally.keyframes,
            keyframe_requests: tally.keyframe_requests,
            late_max_ms: if tally.video_in_window > 0 {
                tally.late_max_in_window
            } else {
                tally.late_max
            }
            .as_secs_f64()
                * 1e3,
            lost: tally.lost,
        }
    }
}

/// What the server spent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Server {
    /// CPU seconds in the measured span.
    pub cpu_secs: f64,
    /// The same as a number of cores.
    pub cores: f64,
    /// CPU time a packet delivered to a viewer, in nanoseconds: receiving from the publisher,
    /// reports and everything else included.
    pub ns_per_packet: Option<f64>,
    /// CPU time a join, in milliseconds, its leaving and its media included.
    pub ms_per_join: Option<f64>,
    /// Resident memory before the first viewer joined.
    pub rss_before: u64,
    /// At the end of the measured span.
    pub rss_after: u64,
    /// What it grew by, for each viewer, in bytes. Telling only for a server that was just
    /// started: later runs reuse what earlier ones left.
    pub rss_per_viewer: Option<u64>,
    /// File descriptors before the first viewer joined.
    pub fds_before: u64,
    /// At the end of the measured span.
    pub fds_after: u64,
}

impl Server {
    /// From readings before the first viewer joined, and around the measured span of `secs` seconds.
    #[must_use]
    pub fn new(before: Usage, from: Usage, to: Usage, secs: f64) -> Self {
        let cpu = to.cpu.saturating_sub(from.cpu).as_secs_f64();
        Self {
            cpu_secs: cpu,
            cores: cpu / secs.max(1e-3),
            ns_per_packet: None,
            ms_per_join: None,
            rss_before: before.rss,
            rss_after: to.rss,
            rss_per_viewer: None,
            fds_before: before.fds,
            fds_after: to.fds,
        }
    }

    /// What resident memory grew by, as a share of what it was before.
    #[must_use]
    pub fn rss_growth(&self) -> f64 {
        let (before, after) = (self.rss_before as f64, self.rss_after as f64);
        after / before.max(1.0) - 1.0
    }
}

/// What WebSockets cost the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SocketCosts {
    /// CPU time in the measured span by each frame that arrived in it, in microseconds.
    pub cpu_us_per_frame: f64,
    /// Growth of resident memory by each connection, in bytes.
    pub rss_per_connection: f64,
}

/// What joins leave behind at the server when everybody has left. Its memory and descriptors at
/// both ends are in [`Server`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Leftovers {
    /// Joins before the first reading.
    pub warm_up: u64,
    /// Joins between both.
    pub joins: u64,
    /// By how much resident memory has grown, as a share of what it was; negative: it shrank.
    pub rss_growth: f64,
    /// Descriptors that are open and were not.
    pub fds: i64,
    /// Of each gauge that was asked for, with `--metrics`.
    pub gauges: BTreeMap<String, Left>,
}

/// A gauge at both readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Left {
    /// After the warm-up.
    pub before: f64,
    /// At the end.
    pub after: f64,
}

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
    /// The machine's idle share.
    pub machine_idle: f64,
    /// What other processes than server and generator used, as a number of cores. Absent where
    /// the server's process is not known.
    pub others_cores: Option<f64>,
    /// How long arrivals waited in the kernel for this process.
    pub lag_ms: Millis,
    /// Datagrams that the kernel threw away for full receive buffers, of anybody but the server
    /// where its process is known.
    pub udp_dropped: u64,
    /// Datagrams of ours that the kernel did not take.
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

/// Everything that a command measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The command.
    pub command: &'static str,
    /// When, where and how it was run.
    pub circumstances: Option<Circumstances>,
    /// The endpoint.
    pub url: String,
    /// Joins, of viewers.
    pub joins: Option<Joins>,
    /// Media, of viewers.
    pub delivery: Option<Delivery>,
    /// Media, of the publisher.
    pub published: Option<Published>,
    /// With `--server-pid`.
    pub server: Option<Server>,
    /// What counters of the server's metrics grew by in the measured span.
    pub counters: BTreeMap<String, f64>,
    /// With `--server-pid`, of `churn`.
    pub leftovers: Option<Leftovers>,
    /// With `--server-pid`, of `sockets`.
    pub sockets: Option<SocketCosts>,
    /// Of `attack`: what became of the WebSockets, by its name.
    pub sockets_attack: Option<BTreeMap<String, u64>>,
    /// Its own state.
    pub generator: Option<Generator>,
    /// Step by step, of `sweep`.
    pub sweep: Option<Sweep>,
    /// Before and during, of `storm`, whose newcomers are in `joins`.
    pub storm: Option<Storm>,
    /// Why the run counts as failed; empty is good.
    pub failed: Vec<String>,
}

impl Report {
    /// Looks through the figures for what must not be.
    pub fn judge(&mut self) {
        let mut failed = std::mem::take(&mut self.failed);
        let mut note = |count: u64, what: &str| {
            if count > 0 {
                failed.push(format!("{count} {what}"));
            }
        };
        // A sweep goes on until something fails: that is its result.
        let joins = self.joins.as_ref().filter(|_| self.sweep.is_none());
        if let Some(joins) = joins {
            note(joins.failed, "joins failed");
            note(joins.lost, "viewers lost their connection");
            note(joins.joined - joins.connected, "viewers never connected");
        }
        if let (Some(joins), Some(delivery)) = (joins, &self.delivery) {
            note(joins.connected - joins.painted, "viewers got no keyframe");
            if delivery.link.is_none() {
                note(delivery.missing.unwrap_or(0), "packets were lost");
                note(delivery.rtp_missing, "RTP sequence numbers are missing");
            }
            note(delivery.corrupt, "packets were damaged");
            if let Some(chat) = &delivery.chat {
                note(chat.unreadable, "chat frames cannot be read");
                let unwelcome = delivery.viewers_full.saturating_sub(chat.welcomed);
                note(unwelcome, "viewers are not in the chat");
            }
            if delivery.expected.is_some() {
                note(delivery.unstamped, "packets carry no stamp");
            }
            note(
                u64::from(delivery.packets == 0 && !["sockets", "attack"].contains(&self.command)),
                "measurement without media",
            );
        }
        if let Some(published) = &self.published {
            note(u64::from(published.lost), "publisher lost its connection");
            note(
                u64::from(published.video_packets == 0),
                "publisher sent nothing",
            );
        }
        let nothing_held = |sweep: &Sweep| !sweep.steps.iter().any(Step::held);
        if self.sweep.as_ref().is_some_and(nothing_held) {
            failed.push("no step of the sweep held".to_owned());
        }
        failed.extend(self.storm.iter().flat_map(Storm::failures));
        self.failed = failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_and_shrinks_as_a_share() {
        let check = |rss_before, rss_after, growth: f64| {
            let server = Server {
                rss_before,
                rss_after,
                ..Server::default()
            };
            assert!((server.rss_growth() - growth).abs() < 1e-9, "{server:?}");
        };
        check(100 << 20, 101 << 20, 0.01);
        check(100 << 20, 75 << 20, -0.25);
        check(100 << 20, 100 << 20, 0.0);
    }
}
