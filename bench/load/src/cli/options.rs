//! Options that several commands share, and how their values are written.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lightstick_types::{Bitrate, Codec};

use crate::clip::Clip;
use crate::janus::Janus;
use crate::joiner::{ChatCrowd, Protocol};
use crate::session::LinkConfig;
use crate::signal::Signal;
use crate::source::{FRAMES_PER_SECOND, SourceConfig};

/// A server and a room on it.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The server, such as http://127.0.0.1:8080
    pub url: String,
    /// Room
    #[arg(long, default_value = "bench")]
    pub room: String,
    /// Path of the WHIP endpoint
    #[arg(long, default_value = "/whip/{room}", value_name = "PATH")]
    pub whip_path: String,
    /// Path of the WHEP endpoint
    #[arg(long, default_value = "/whep/{room}", value_name = "PATH")]
    pub whep_path: String,
    /// Signaling protocol. `janus`: the VideoRoom plugin behind the HTTP API at a URL such as
    /// http://127.0.0.1:8088/janus, with the number of an existing room as --room
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

    /// Where viewers are let in.
    #[must_use]
    pub fn watching_url(&self) -> String {
        self.at(&self.whep_path)
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

/// Viewers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Viewers")]
pub struct Crowd {
    /// How many
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub viewers: u32,
    /// Full viewers among them, which decrypt and time every packet; the others read RTP headers
    /// only [default: all]
    #[arg(long, value_name = "N")]
    pub full: Option<u32>,
    /// Measure for this many seconds
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub secs: u64,
    /// Joins a second
    #[arg(long, default_value_t = 20.0, value_name = "RATE", value_parser = positive)]
    pub join_rate: f64,
    /// Wait this long between the last join and the measurement, for bursts of cached media to pass
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    pub settle: Duration,
    /// Percentage of datagrams lost between each viewer and the server, each way. Needs full
    /// viewers: the others do not request retransmissions
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT", conflicts_with = "full", value_parser = percent)]
    pub link_loss: f64,
    /// Round-trip time added between each viewer and the server
    #[arg(long, default_value_t = 0.0, value_name = "MS", conflicts_with = "full", value_parser = milliseconds)]
    pub link_rtt: f64,
    /// Full viewers open the chat's data channels and read
    #[arg(long)]
    pub chat: bool,
    /// Viewers among them that write
    #[arg(long, default_value_t = 0, value_name = "N", requires = "chat")]
    pub chat_writers: u32,
    /// Messages per second of each writer
    #[arg(long, default_value_t = 1.0, value_name = "RATE", requires = "chat", value_parser = positive)]
    pub chat_rate: f64,
    /// Prometheus endpoint of the server, such as http://127.0.0.1:9464/metrics
    #[arg(long, value_name = "URL")]
    pub metrics: Option<String>,
    /// Counters whose growth is reported, summed over all labels
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "lightstick_rtp_forwarded_total,lightstick_retransmissions_sent_total,lightstick_nacks_received_total",
        value_name = "NAME"
    )]
    pub counters: Vec<String>,
}

impl Crowd {
    /// Who chats, if anybody does.
    #[must_use]
    pub fn chat(&self) -> Option<ChatCrowd> {
        self.chat.then_some(ChatCrowd::Fans {
            writers: self.chat_writers as usize,
            rate: self.chat_rate,
        })
    }

    /// What stands between the viewers and the server, if anything does.
    #[must_use]
    pub fn link(&self) -> Option<LinkConfig> {
        let link = LinkConfig {
            loss: self.link_loss / 100.0,
            delay: Duration::from_secs_f64(self.link_rtt / 2e3),
        };
        (link != LinkConfig::default()).then_some(link)
    }
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
    /// Keyframe interval in seconds
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
            clip: None,
        }
    }

    /// The same with a clip in place of synthetic video.
    ///
    /// # Errors
    /// When the clip is none.
    pub fn source_of(&self, clip: Option<&Path>) -> Result<SourceConfig> {
        let Some(path) = clip else {
            return Ok(self.source());
        };
        let clip = Clip::load(path)?;
        Ok(SourceConfig {
            codec: clip.codec,
            video: clip.bitrate(FRAMES_PER_SECOND),
            clip: Some(clip),
            ..self.source()
        })
    }
}

/// What every command that publishes knows.
#[derive(Clone, Debug, Args)]
pub struct Publishing {
    #[command(flatten)]
    pub media: Media,
    #[command(flatten)]
    pub common: Common,
}

/// What every command knows.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection and report")]
pub struct Common {
    /// Bearer token; for `run`, the publisher's
    #[arg(
        long,
        env = "LIGHTSTICK_BENCH_TOKEN",
        hide_env_values = true,
        value_name = "JWT"
    )]
    pub token: Option<String>,
    /// Bearer token of the viewers for `run`, unless watching is open
    #[arg(long, value_name = "JWT")]
    pub watch_token: Option<String>,
    /// Local address of the media sockets [default: the one that routes to the server]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Threads for viewers
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Process id of the server, to read its CPU time, memory and descriptors
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Also write the figures as JSON; with -, to standard output, and the table to standard error
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

pub(super) fn codec(text: &str) -> Result<Codec, String> {
    match text {
        "h264" => Ok(Codec::H264),
        "vp8" => Ok(Codec::Vp8),
        _ => Err(format!("{text} cannot be synthesised; write h264 or vp8")),
    }
}

pub(super) fn bitrate(text: &str) -> Result<Bitrate, String> {
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

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no number of seconds");
    let secs: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(secs).map_err(|_| wrong())
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err(format!("{text} is not between 0 and 100")),
    }
}

pub(super) fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ms) if (0.0..=10_000.0).contains(&ms) => Ok(ms),
        _ => Err(format!("{text} is no time between 0 and 10000 ms")),
    }
}

/// Like [`seconds`], and not none.
pub(super) fn more_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err(format!("{text} is no time at all")),
        some => Ok(some),
    }
}

pub(super) fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor > 1.0 && factor <= 10.0 => Ok(factor),
        _ => Err(format!("{text} is no factor above 1, up to 10")),
    }
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e5 => Ok(rate),
        _ => Err(format!("{text} is no rate between 0 and 100000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
