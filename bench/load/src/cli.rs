//! The command line.

mod flood;
mod options;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use self::flood::{Flood, FloodKind};
pub use self::options::{Common, Crowd, Media, Place, Publishing, Signaling};
use self::options::{factor, more_seconds, positive, seconds};
use crate::sweep::{Growth, Limits, Plan};

/// Loads a WebRTC media server with complete WebRTC peers and measures it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  One room on this machine, 100 viewers, with what the server spends on it:
    export LIGHTSTICK_BENCH_TOKEN=...   # the one that the server printed at its start
    lightstick-bench run http://127.0.0.1:8080 --viewers 100 --server-pid \"$(pidof lightstick)\"
  More viewers than the machine can open packets for:
    lightstick-bench run http://127.0.0.1:8080 --viewers 1000 --full 50 --threads 2
  Viewers behind 5 % loss and 100 ms of round-trip time:
    lightstick-bench run http://127.0.0.1:8080 --viewers 20 --secs 60 --link-loss 5 --link-rtt 100
  200 viewers who chat, ten of them writing two messages a second:
    lightstick-bench run http://127.0.0.1:8080 --viewers 200 --chat --chat-writers 10 --chat-rate 2
  How many viewers a server holds, step by step:
    lightstick-bench sweep http://127.0.0.1:8080 --server-pid \"$(pidof lightstick)\"
  A thousand who join a room of 400 within ten seconds, and what the 400 feel of it:
    lightstick-bench storm http://127.0.0.1:8080 --viewers 400 --joins 1000 --over 10
  A thousand connections full of tiny frames beside 60 viewers:
    lightstick-bench flood http://127.0.0.1:8080 frames --server-pid \"$(pidof lightstick)\"
  Joins and leaves beside a publisher:
    lightstick-bench publish http://127.0.0.1:8080/whip/bench --secs 60 &
    lightstick-bench churn http://127.0.0.1:8080/whep/bench --join-rate 50 --secs 30
  Other servers, whose paths or protocols differ:
    lightstick-bench run http://127.0.0.1:8889 --whip-path '/{room}/whip' --whep-path '/{room}/whep'
    lightstick-bench run http://127.0.0.1:8088/janus --protocol janus --room 1

Transit time, loss and damage are told end to end from a stamp in every packet of `publish`,
`run`, `storm` and `sweep`; for media from elsewhere only RTP sequence numbers count. Stamps use the monotonic clock:
publisher and viewers have to run on one machine.
The exit code is 1 when a session failed or a packet was lost, 2 when the command line is wrong.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish synthetic 720p30-like video and Opus
    Publish(Publish),
    /// Watch with many viewers and count
    View(View),
    /// Publish and watch, and measure the server beside it
    Run(Run),
    /// Add viewers step by step until the server is overloaded, and report the limit
    Sweep(Sweep),
    /// Let many viewers join at once, and measure the effect on existing viewers
    Storm(Storm),
    /// Join and leave continuously, and measure the cost of a join
    Churn(Churn),
    /// Chat over many WebSockets, and measure their cost
    Sockets(Sockets),
    /// Attack the chat of a room over data channels and WebSockets
    Attack(Attack),
    /// Attack the media ports, and measure the effect on existing viewers
    Flood(Flood),
    /// Plot sweeps of one or several servers as SVG on standard output
    Plot(Plot),
    /// Print saved sweeps as tables
    Table(Table),
}

/// `plot`
#[derive(Debug, Args)]
#[command(after_help = "\
Three pictures over one axis of viewers: the server's CPU, transit at p99, loss. Hollow points are
steps that the generator or the machine spoiled; at pale ones other processes used the machine too.

Example:
  lightstick-bench plot --title 'One room, 2.5 Mbit/s' a.json b.json > comparison.svg")]
pub struct Plot {
    /// Files written by `sweep --json`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Headline
    #[arg(long, default_value = "Viewers of one room", value_name = "TEXT")]
    pub title: String,
}

/// `table`
#[derive(Debug, Args)]
pub struct Table {
    /// Files written by `sweep --json`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `publish`
#[derive(Debug, Args)]
pub struct Publish {
    /// WHIP endpoint, such as http://127.0.0.1:8080/whip/room
    pub url: String,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub secs: u64,
    /// Send this video in a loop, 30 frames a second, in place of a synthetic one: an IVF file of
    /// VP8, or of H.264 in Annex B form. Keyframe requests have no effect on it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["codec", "bitrate", "gop"])]
    pub clip: Option<PathBuf>,
    #[command(flatten)]
    pub publishing: Publishing,
}

/// `view`
#[derive(Debug, Args)]
pub struct View {
    /// WHEP endpoint, such as http://127.0.0.1:8080/whep/room
    pub url: String,
    #[command(flatten)]
    pub crowd: Crowd,
    #[command(flatten)]
    pub common: Common,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub crowd: Crowd,
    #[command(flatten)]
    pub publishing: Publishing,
}

/// `sweep`
#[derive(Debug, Args)]
#[command(after_help = SWEEP_HELP)]
pub struct Sweep {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub ramp: Ramp,
    /// Name of the server in tables and plots [default: its host and port]
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// Prometheus endpoint of the server, to count its send calls, such as
    /// http://127.0.0.1:9464/metrics
    #[arg(long, value_name = "URL")]
    pub metrics: Option<String>,
    /// Name of the counter of send calls
    #[arg(
        long,
        default_value = "lightstick_send_calls_total",
        value_name = "NAME"
    )]
    pub send_counter: String,
    #[command(flatten)]
    pub publishing: Publishing,
}

const SWEEP_HELP: &str = "\
One room: a publisher sends all the time, viewers are added step by step and stay. Each step is
measured after its newcomers have settled. The sweep stops at the first step that breaks a limit,
fails to take a viewer, or finds the generator or the machine itself saturated, and says:

  KNEE          the server broke a limit while the generator had room: the knee lies between the
                last two steps
  OPEN          the generator, the machine or --to came first: the server holds at least so many
  EXTRAPOLATED  what the CPU time a packet of the last sound step would allow for each core; a
                guess, never a measurement
  *             a step whose figures the generator or the machine spoiled
  DISTURBED, ~  other processes used the machine during the step; where it held all the same,
                that counts, where it broke a limit, nobody knows by whom

Where generator and server share a machine, keep a core free for the generator: start the server
with fewer threads than there are cores (`lightstick serve --shards`), or pin both with taskset.
Give each step 10 seconds or more, and --server-pid, or there is no CPU time to speak of.

Examples:
  The knee, as a table, JSON and picture:
    lightstick-bench sweep http://127.0.0.1:8080 --server-pid \"$(pidof lightstick)\" \\
        --metrics http://127.0.0.1:9464/metrics --from 50 --factor 1.5 --to 2000 --json a.json
    lightstick-bench plot a.json > a.svg
  Closer around it:
    lightstick-bench sweep http://127.0.0.1:8080 --from 400 --step 25 --to 600 ...

The exit code is 0 when the sweep ended as described, 1 when not even the first step held.";

/// How a sweep goes on, and until when.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Steps")]
pub struct Ramp {
    /// Viewers of the first step
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: u64,
    /// Viewers of the last step, at most
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: u64,
    /// Multiply the viewers by this factor at each step
    #[arg(long, default_value_t = 1.5, value_name = "FACTOR", value_parser = factor)]
    pub factor: f64,
    /// Add this many viewers at each step, instead of --factor
    #[arg(long, value_name = "N", conflicts_with = "factor", value_parser = clap::value_parser!(u64).range(1..))]
    pub step: Option<u64>,
    /// Measure each step for this many seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    /// Wait this long between the last join of a step and its measurement
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub settle: Duration,
    /// Joins a second
    #[arg(long, default_value_t = 50.0, value_name = "RATE", value_parser = positive)]
    pub join_rate: f64,
    /// Full viewers, which decrypt and time every packet, on a thread of their own; they join
    /// first, and all others read RTP headers only
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub full: u64,
    /// Repeat a step up to this many times if other processes disturbed it
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub repeat: u32,
    /// Continue past steps that only other processes disturbed; they stay marked
    #[arg(long)]
    pub keep_going: bool,
    /// Stop when more than this percentage of packets is lost
    #[arg(long, default_value_t = 0.5, value_name = "PERCENT", value_parser = positive)]
    pub max_loss: f64,
    /// Stop when transit at p99 exceeds this many milliseconds
    #[arg(long, default_value_t = 200.0, value_name = "MS", value_parser = positive)]
    pub max_transit: f64,
}

impl Ramp {
    /// The steps.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            from: self.from,
            growth: self.step.map_or(Growth::Factor(self.factor), Growth::Step),
            to: self.to,
        }
    }

    /// What must hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            loss: self.max_loss / 100.0,
            transit_ms: self.max_transit,
        }
    }
}

/// `storm`
#[derive(Debug, Args)]
#[command(after_help = STORM_HELP)]
pub struct Storm {
    #[command(flatten)]
    pub place: Place,
    /// Viewers present before the storm
    #[arg(long, default_value_t = 400, value_name = "N", help_heading = "Those already there", value_parser = clap::value_parser!(u64).range(1..))]
    pub viewers: u64,
    /// Full viewers among them, which decrypt and time every packet, on a thread of their own
    #[arg(long, default_value_t = 10, value_name = "N", help_heading = "Those already there", value_parser = clap::value_parser!(u64).range(1..))]
    pub full: u64,
    /// Joins per second of these viewers
    #[arg(long, default_value_t = 50.0, value_name = "RATE", help_heading = "Those already there", value_parser = positive)]
    pub join_rate: f64,
    /// Wait this long after their last join before the baseline
    #[arg(long, default_value = "3", value_name = "SECONDS", help_heading = "Those already there", value_parser = seconds)]
    pub settle: Duration,
    /// Measure the baseline for this many seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", help_heading = "Those already there", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    /// Viewers that join in the storm
    #[arg(long, default_value_t = 1_000, value_name = "N", help_heading = "Newcomers", value_parser = clap::value_parser!(u64).range(1..))]
    pub joins: u64,
    /// Spread their joins evenly over this time
    #[arg(long, default_value = "10", value_name = "SECONDS", help_heading = "Newcomers", value_parser = more_seconds)]
    pub over: Duration,
    /// Leave this many seconds after joining [default: stay until the end]
    #[arg(long, value_name = "SECONDS", help_heading = "Newcomers", value_parser = seconds)]
    pub stay: Option<Duration>,
    /// Threads for the viewers that join in the storm
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Newcomers", value_parser = clap::value_parser!(u16).range(1..))]
    pub newcomer_threads: u16,
    /// Fail when existing viewers lose more than this percentage of packets
    #[arg(long, default_value_t = 0.5, value_name = "PERCENT", help_heading = "Limits", value_parser = positive)]
    pub max_loss: f64,
    /// Fail when their transit at p99 exceeds this many milliseconds
    #[arg(long, default_value_t = 20.0, value_name = "MS", help_heading = "Limits", value_parser = positive)]
    pub max_transit: f64,
    #[command(flatten)]
    pub publishing: Publishing,
}

const STORM_HELP: &str = "\
One room: a publisher, and viewers who are in it and measured for a while. Then the newcomers join,
and the same viewers are measured again, from the first join to one second behind the last.

Transit and loss are those of the viewers who were there before; `joins` are the newcomers'. They
read RTP headers once they have their first keyframe, on threads of their own. CPU a join is what
the server spends beyond the calm, with and without the newcomers' media; keyframe requests are
those that reached the publisher.

Examples:
  A thousand within ten seconds, who stay:
    lightstick-bench storm http://127.0.0.1:8080 --server-pid \"$(pidof lightstick)\"
  The same with less media for the generator to carry:
    lightstick-bench storm http://127.0.0.1:8080 --stay 1 --bitrate 600k ...

The exit code is 1 when those already there were disturbed beyond the limits, or a join failed.";

impl Storm {
    /// What must hold for those already there.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            loss: self.max_loss / 100.0,
            transit_ms: self.max_transit,
        }
    }
}

/// `churn`
#[derive(Debug, Args)]
#[command(after_help = CHURN_HELP)]
pub struct Churn {
    /// WHEP endpoint; without a publisher the figures are those of joins without video
    pub url: String,
    /// Join for this many seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub secs: u64,
    /// Number of joins, instead of --secs
    #[arg(long, value_name = "N", conflicts_with = "secs", value_parser = clap::value_parser!(u64).range(1..))]
    pub joins: Option<u64>,
    /// Joins before the measurement, so that one-time allocations of the server do not count as
    /// growth
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub warm_up: u64,
    /// Joins a second
    #[arg(long, default_value_t = 20.0, value_name = "RATE", value_parser = positive)]
    pub join_rate: f64,
    /// Leave this many seconds after joining
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub stay: Duration,
    /// Percentage of viewers that vanish without telling the server
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub vanish: u8,
    /// Wait this long after the last leave before memory, descriptors and gauges are read; with
    /// --vanish, longer than the server waits for silent viewers
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    pub rest: Duration,
    /// Prometheus endpoint of the server, to read the gauges
    #[arg(long, value_name = "URL")]
    pub metrics: Option<String>,
    /// Gauges that should return to their old value when everyone has left, summed over all labels
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "lightstick_sessions",
        value_name = "NAME"
    )]
    pub gauges: Vec<String>,
    #[command(flatten)]
    pub common: Common,
}

const CHURN_HELP: &str = "\
Viewers join at a steady rate and leave after their stay. Two readings of the server, when all have
left, tell what stays behind: one after --warm-up, one at the end.

Examples:
  What a join costs, with its leaving:
    lightstick-bench churn http://127.0.0.1:8080/whep/bench --server-pid \"$(pidof lightstick)\"
  What 20,000 joins leave behind:
    lightstick-bench churn http://127.0.0.1:8080/whep/bench --warm-up 2000 --joins 20000 \\
        --join-rate 100 --stay 1 --server-pid \"$(pidof lightstick)\" \\
        --metrics http://127.0.0.1:9464/metrics";

/// `sockets`
#[derive(Debug, Args)]
#[command(after_help = SOCKETS_HELP)]
pub struct Sockets {
    /// The server, such as http://127.0.0.1:8080
    pub url: String,
    /// Room
    #[arg(long, default_value = "bench")]
    pub room: String,
    /// Connections, all in one room
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub connections: u64,
    /// Connections that write
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub writers: u64,
    /// Messages per second of each writer
    #[arg(long, default_value_t = 0.5, value_name = "RATE", value_parser = positive)]
    pub rate: f64,
    /// Wait this long between the last connection and the measurement
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    pub settle: Duration,
    /// Measure for this many seconds
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    #[command(flatten)]
    pub common: Common,
}

const SOCKETS_HELP: &str = "\
Each connection says hello, reads all that its room shows, and answers pings. Memory a connection
is what the server's resident memory grew by. Both ends need a descriptor for each connection; the
server takes at most sockets_per_address_max from one address.

Example:
  10,000 connections, 40 of which write a message every two seconds:
    LIGHTSTICK_CHAT__SOCKETS_PER_ADDRESS_MAX=20000 lightstick serve &
    lightstick-bench sockets http://127.0.0.1:8080 --connections 10000 --writers 40 \\
        --server-pid \"$(pidof lightstick)\"

The exit code is 1 when a connection was not welcomed.";

/// `attack`
#[derive(Debug, Args)]
#[command(after_help = ATTACK_HELP)]
pub struct Attack {
    #[command(flatten)]
    pub place: Place,
    /// Viewers that attack over data channels
    #[arg(long, default_value_t = 14, value_name = "N")]
    pub channels: u32,
    /// WebSockets that attack
    #[arg(long, default_value_t = 18, value_name = "N")]
    pub sockets: u64,
    /// WebSockets that all join at once, stay for a while, and leave at once
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub joins: u64,
    /// Attack for this many seconds
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    #[command(flatten)]
    pub common: Common,
}

const ATTACK_HELP: &str = "\
Attackers take turns. By data channels: a thousand messages a second, hellos, the same message again
and again, random bytes and texts of up to 15,000 bytes, texts that turn round or pile up, channels
nobody knows, and no acknowledgement ever. By WebSockets: the same, frames of 64 KiB, no hello, and
nothing ever read. Those who are thrown out come again at once.

What the others in the room feel of it is for `run` to tell, at the same time:
    lightstick-bench run http://127.0.0.1:8080 --viewers 500 --secs 30 --chat &
    lightstick-bench attack http://127.0.0.1:8080 --secs 40";

impl Churn {
    /// Joins that are measured.
    #[must_use]
    pub fn count(&self) -> usize {
        let by_time = || (self.secs as f64 * self.join_rate).ceil() as u64;
        self.joins.unwrap_or_else(by_time) as usize
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn joins_are_counted_or_follow_from_the_time() {
        let check = |flags: &str, count| {
            let line = format!("lightstick-bench churn http://a/whep/b {flags}");
            let parsed =
                Cli::try_parse_from(line.split_whitespace()).map(|cli| match cli.command {
                    Command::Churn(churn) => churn.count(),
                    other => panic!("{other:?}"),
                });
            assert_eq!(parsed.ok(), count, "{flags}");
        };
        check("--joins 5", Some(5));
        check("--secs 3 --join-rate 2.5", Some(8));
        check("--secs 3 --joins 5", None);
        check("--joins 0", None);
    }

    #[test]
    fn links_are_of_full_viewers() {
        let check = |flags: &str, loss_and_ms: Option<Option<(f64, u128)>>| {
            let line = format!("lightstick-bench run http://a {flags}");
            let parsed =
                Cli::try_parse_from(line.split_whitespace()).map(|cli| match cli.command {
                    Command::Run(run) => {
                        let link = run.crowd.link();
                        link.map(|link| (link.loss, link.delay.as_millis()))
                    }
                    other => panic!("{other:?}"),
                });
            assert_eq!(parsed.ok(), loss_and_ms, "{flags}");
        };
        check("", Some(None));
        check("--link-loss 5 --link-rtt 100", Some(Some((0.05, 50))));
        check("--link-loss 10", Some(Some((0.1, 0))));
        check("--link-loss 101", None);
        check("--link-rtt -1", None);
        check("--link-loss 5 --full 3", None);
    }

    #[test]
    fn a_storm_takes_time() {
        let check = |over: &str, taken| {
            let line = ["lightstick-bench", "storm", "http://a", "--over", over];
            assert_eq!(Cli::try_parse_from(line).is_ok(), taken, "{over}");
        };
        for (over, taken) in [("10", true), ("0.5", true), ("0", false), ("-1", false)] {
            check(over, taken);
        }
    }
}
