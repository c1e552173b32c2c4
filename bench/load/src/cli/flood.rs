//! `flood`

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::options::{Place, Publishing, positive, seconds};
use crate::sweep::Limits;

/// `flood`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct Flood {
    #[command(flatten)]
    pub place: Place,
    /// How
    pub kind: FloodKind,
    /// Full viewers, which decrypt and time every packet
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub viewers: u64,
    /// Joins per second of these viewers
    #[arg(long, default_value_t = 20.0, value_name = "RATE", value_parser = positive)]
    pub join_rate: f64,
    /// Wait this long before the baseline, and between the start of the attack and its measurement
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    pub settle: Duration,
    /// Measure for this many seconds before the attack, and again during it
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    /// Connections for `frames` and `places`
    #[arg(long, default_value_t = 1_000, value_name = "N", help_heading = "Attack", value_parser = clap::value_parser!(u64).range(1..))]
    pub connections: u64,
    /// Total rate of `frames`, in Mbit/s
    #[arg(long, default_value_t = 200.0, value_name = "MBITS", help_heading = "Attack", value_parser = positive)]
    pub mbits: f64,
    /// Datagrams per second of `reports`
    #[arg(long, default_value_t = 19_000.0, value_name = "RATE", help_heading = "Attack", value_parser = positive)]
    pub rate: f64,
    /// Fail when the viewers' video is frozen for more than this percentage of the time
    #[arg(long, default_value_t = 0.5, value_name = "PERCENT", help_heading = "Limits", value_parser = positive)]
    pub max_frozen: f64,
    /// Fail when they lose more than this percentage of packets
    #[arg(long, default_value_t = 0.5, value_name = "PERCENT", help_heading = "Limits", value_parser = positive)]
    pub max_loss: f64,
    /// Fail when their transit at p99 exceeds this many milliseconds
    #[arg(long, default_value_t = 50.0, value_name = "MS", help_heading = "Limits", value_parser = positive)]
    pub max_transit: f64,
    #[command(flatten)]
    pub publishing: Publishing,
}

/// What is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloodKind {
    /// Media over TCP: connections full of frames of one byte.
    Frames,
    /// The places for TCP: connections that say next to nothing, and stay.
    Places,
    /// RTCP: one viewer that asks for everything again, and for keyframes.
    Reports,
}

impl FloodKind {
    /// In words.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Frames => "frames of one byte over TCP",
            Self::Places => "idle TCP connections",
            Self::Reports => "NACKs and keyframe requests of one viewer",
        }
    }
}

const HELP: &str = "\
One room: a publisher, and viewers who are measured in the calm and again during the attack.
`frozen` is the share of their time that a player which holds back 150 ms would have stood still.
With --server-pid, the busiest thread of the server is told: with one shard, its media thread.

`places` lets a viewer join over TCP from 127.0.0.2 twice a second meanwhile: the server has to
listen on an address that is reached from there.

Examples:
  lightstick-bench flood http://127.0.0.1:8080 frames --connections 1000 --mbits 200
  lightstick-bench flood http://127.0.0.1:8080 places --connections 1100
  lightstick-bench flood http://127.0.0.1:8080 reports --rate 19000

The exit code is 1 when the viewers were disturbed beyond the limits.";

impl Flood {
    /// What must hold for the viewers.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            loss: self.max_loss / 100.0,
            transit_ms: self.max_transit,
        }
    }
}
