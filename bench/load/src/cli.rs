//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use lightstick_types::{Bitrate, Codec};

use crate::source::SourceConfig;

/// Loads a WHIP/WHEP server with whole WebRTC peers and measures what it does.
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
  A storm of joins into a room that is live:
    lightstick-bench publish http://127.0.0.1:8080/whip/bench --secs 60 &
    lightstick-bench churn http://127.0.0.1:8080/whep/bench --join-rate 50 --secs 30
  Another server, whose paths differ:
    lightstick-bench run http://127.0.0.1:8889 --whip-path '/{room}/whip' --whep-path '/{room}/whep'

Transit time, loss and damage are told end to end from a stamp in every packet of `publish` and
`run`; for media from elsewhere only RTP sequence numbers count. Stamps use the monotonic clock:
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
    /// Join and leave all the time, and measure what a join costs
    Churn(Churn),
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
