//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lightstick_types::{Bitrate, Codec};

use crate::janus::Janus;
use crate::joiner::Protocol;
use crate::signal::Signal;
use crate::source::SourceConfig;
use crate::sweep::{Growth, Limits, Plan};

/// Loads a WebRTC media server with whole WebRTC peers and measures what it does.
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
  How many viewers a server holds, step by step:
    lightstick-bench sweep http://127.0.0.1:8080 --server-pid \"$(pidof lightstick)\"
  A storm of joins into a room that is live:
    lightstick-bench publish http://127.0.0.1:8080/whip/bench --secs 60 &
    lightstick-bench churn http://127.0.0.1:8080/whep/bench --join-rate 50 --secs 30
  Other servers, whose paths or protocols differ:
    lightstick-bench run http://127.0.0.1:8889 --whip-path '/{room}/whip' --whep-path '/{room}/whep'
    lightstick-bench run http://127.0.0.1:8088/janus --protocol janus --room 1

Transit time, loss and damage are told end to end from a stamp in every packet of `publish`,
`run` and `sweep`; for media from elsewhere only RTP sequence numbers count. Stamps use the monotonic clock:
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
    /// Add viewers step by step until the server gives way, and say where
    Sweep(Sweep),
    /// Join and leave all the time, and measure what a join costs
    Churn(Churn),
    /// Draw sweeps, of one server or of several, as SVG to standard output
    Plot(Plot),
    /// Print sweeps again, one below the other
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
    /// What `sweep --json` wrote
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Headline
    #[arg(long, default_value = "Viewers of one room", value_name = "TEXT")]
    pub title: String,
}

/// `table`
#[derive(Debug, Args)]
pub struct Table {
    /// What `sweep --json` wrote
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
    #[command(flatten)]
    #[allow(missing_docs)]
    pub media: Media,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `view`
#[derive(Debug, Args)]
pub struct View {
    /// WHEP endpoint, such as http://127.0.0.1:8080/whep/room
    pub url: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub crowd: Crowd,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: Place,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub crowd: Crowd,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub media: Media,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `sweep`
#[derive(Debug, Args)]
#[command(after_help = SWEEP_HELP)]
pub struct Sweep {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: Place,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ramp: Ramp,
    /// What tables and plots call the server [default: its host and port]
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// Prometheus endpoint of the server, to count its send calls, such as
    /// http://127.0.0.1:9464/metrics
    #[arg(long, value_name = "URL")]
    pub metrics: Option<String>,
    /// Counter of send calls there
    #[arg(
        long,
        default_value = "lightstick_send_calls_total",
        value_name = "NAME"
    )]
    pub send_counter: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub media: Media,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
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
    /// Each step has so many times the viewers of the one before
    #[arg(long, default_value_t = 1.5, value_name = "FACTOR", value_parser = factor)]
    pub factor: f64,
    /// Each step has so many viewers more than the one before, in place of --factor
    #[arg(long, value_name = "N", conflicts_with = "factor", value_parser = clap::value_parser!(u64).range(1..))]
    pub step: Option<u64>,
    /// Measure each step for this many seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    /// From the last join of a step to its measurement
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub settle: Duration,
    /// Joins a second
    #[arg(long, default_value_t = 50.0, value_name = "RATE", value_parser = positive)]
    pub join_rate: f64,
    /// Viewers that open and time every packet, on a thread of their own; they join first, and
    /// all others read RTP headers only
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub full: u64,
    /// Measure a step again, up to so many times, when other processes spoiled it
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub repeat: u32,
    /// Go on past steps that only other processes spoiled; they stay marked
    #[arg(long)]
    pub keep_going: bool,
    /// Stop when more than so many percent of the packets are lost
    #[arg(long, default_value_t = 0.5, value_name = "PERCENT", value_parser = positive)]
    pub max_loss: f64,
    /// Stop when transit at p99 takes longer than so many milliseconds
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

/// A server and a room on it.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The server, such as http://127.0.0.1:8080
    pub url: String,
    /// Room
    #[arg(long, default_value = "bench")]
    pub room: String,
    /// Where the server takes publishers
    #[arg(long, default_value = "/whip/{room}", value_name = "PATH")]
    pub whip_path: String,
    /// Where the server takes viewers
    #[arg(long, default_value = "/whep/{room}", value_name = "PATH")]
    pub whep_path: String,
    /// How the server is asked. `janus`: the VideoRoom plugin behind the HTTP API of a URL such as
    /// http://127.0.0.1:8088/janus, --room being the number of a room that exists
    #[arg(long, default_value = "whip", value_name = "PROTOCOL")]
    pub protocol: Signaling,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Signaling {
    /// WHIP and WHEP.
    Whip,
    /// Janus VideoRoom.
    Janus,
}

impl Place {
    /// How publishers are let in.
    ///
    /// # Errors
    /// When the room's name does not suit the protocol.
    pub fn publishing(&self, token: Option<&str>) -> Result<Protocol> {
        self.asking(&self.whip_path, token)
    }

    /// How viewers are.
    ///
    /// # Errors
    /// When the room's name does not suit the protocol.
    pub fn watching(&self, token: Option<&str>) -> Result<Protocol> {
        self.asking(&self.whep_path, token)
    }

    fn asking(&self, path: &str, token: Option<&str>) -> Result<Protocol> {
        Ok(match self.protocol {
            Signaling::Whip => Protocol::Whip(Signal::new(&self.at(path), token)),
            Signaling::Janus => {
                let room = self.room.parse();
                let room = room.context("rooms of Janus are numbers: use --room")?;
                Protocol::Janus(Janus::new(self.url.trim_end_matches('/'), room))
            }
        })
    }

    fn at(&self, path: &str) -> String {
        let base = self.url.trim_end_matches('/');
        format!("{base}{}", path.replace("{room}", &self.room))
    }
}

/// `churn`
#[derive(Debug, Args)]
pub struct Churn {
    /// WHEP endpoint; publish beside it, or the figures are those of joins without pictures
    pub url: String,
    /// Join for this many seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub secs: u64,
    /// Joins a second
    #[arg(long, default_value_t = 20.0, value_name = "RATE", value_parser = positive)]
    pub join_rate: f64,
    /// Leave this many seconds after joining
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub stay: Duration,
    /// Of a hundred viewers, this many vanish without a word to the server
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub vanish: u8,
    /// From the last leave to the second reading of memory and descriptors
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    pub rest: Duration,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// Viewers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Viewers")]
pub struct Crowd {
    /// How many
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub viewers: u32,
    /// Of them, this many open and time every packet; the others read RTP headers [default: all]
    #[arg(long, value_name = "N")]
    pub full: Option<u32>,
    /// Measure for this many seconds
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    /// Joins a second
    #[arg(long, default_value_t = 20.0, value_name = "RATE", value_parser = positive)]
    pub join_rate: f64,
    /// From the last join to the measurement, for bursts of cached media to pass
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    pub settle: Duration,
}

/// Synthetic media.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Media")]
pub struct Media {
    /// Video codec
    #[arg(long, default_value = "h264", value_name = "h264|vp8", value_parser = codec)]
    pub codec: Codec,
    /// Video bit rate in bit/s, with k or M
    #[arg(long, default_value = "2.5M", value_name = "BITS", value_parser = bitrate)]
    pub bitrate: Bitrate,
    /// Audio bit rate in bit/s, with k or M
    #[arg(long, default_value = "64k", value_name = "BITS", value_parser = bitrate)]
    pub audio_bitrate: Bitrate,
    /// Seconds from keyframe to keyframe
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub gop: Duration,
}

impl Media {
    /// As the source wants it.
    #[must_use]
    pub fn source(&self) -> SourceConfig {
        SourceConfig {
            codec: self.codec,
            video: self.bitrate,
            audio: self.audio_bitrate,
            gop: self.gop,
        }
    }
}

/// What every command knows.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection and report")]
pub struct Common {
    /// Bearer token; of `run`, the publisher's
    #[arg(
        long,
        env = "LIGHTSTICK_BENCH_TOKEN",
        hide_env_values = true,
        value_name = "JWT"
    )]
    pub token: Option<String>,
    /// Bearer token of the viewers of `run`, where watching is not open
    #[arg(long, value_name = "JWT")]
    pub watch_token: Option<String>,
    /// Local address of the media sockets [default: the one that leads to the server]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Threads that carry viewers
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Process id of the server, to read its CPU time, memory and descriptors
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Write the figures as JSON too; for -, they go to standard output and the table to error
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn codec(text: &str) -> Result<Codec, String> {
    match text {
        "h264" => Ok(Codec::H264),
        "vp8" => Ok(Codec::Vp8),
        _ => Err(format!("{text} cannot be synthesised; write h264 or vp8")),
    }
}

fn bitrate(text: &str) -> Result<Bitrate, String> {
    let wrong = || format!("{text} is no bit rate; write 800k or 2.5M");
    let (number, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let bits = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if !(8_000.0..=1e9).contains(&bits) {
        return Err(format!("{text} is not between 8k and 1000M"));
    }
    Ok(Bitrate(bits as u64))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no number of seconds");
    let secs: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(secs).map_err(|_| wrong())
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor > 1.0 && factor <= 10.0 => Ok(factor),
        _ => Err(format!("{text} is no factor above 1, up to 10")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e5 => Ok(rate),
        _ => Err(format!("{text} is no rate between 0 and 100000")),
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
    fn bit_rates() {
        for (text, bits) in [("2.5M", 2_500_000), ("800k", 800_000), ("64000", 64_000)] {
            assert_eq!(bitrate(text), Ok(Bitrate(bits)));
        }
        for bad in ["", "M", "fast", "1", "-2M", "2G", "NaN", "infM"] {
            assert!(bitrate(bad).is_err(), "{bad}");
        }
    }
}
