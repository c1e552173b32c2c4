//! What is printed: a table for people, JSON for programs. Both hold the same figures.

mod server;
mod viewers;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::server::{Left, Leftovers, Server, SocketCosts};
pub use self::viewers::{Chat, Delivery, Joins, Link};
use crate::circumstances::Circumstances;
use crate::flood::Flood;
use crate::generator::Generator;
use crate::session::PublisherTally;
use crate::storm::Storm;
use crate::sweep::{Step, Sweep};

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Published {
    pub audio_packets: u64,
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

/// Everything that a command measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub command: &'static str,
    /// When, where and how it was run.
    pub circumstances: Option<Circumstances>,
    pub url: String,
    pub joins: Option<Joins>,
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
    pub generator: Option<Generator>,
    /// Step by step, of `sweep`.
    pub sweep: Option<Sweep>,
    /// Before and during, of `storm`, whose newcomers are in `joins`.
    pub storm: Option<Storm>,
    /// Before and during, of `flood`.
    pub flood: Option<Flood>,
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
        failed.extend(self.flood.iter().flat_map(Flood::failures));
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
