//! What the viewers saw.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::joiner::Outcome;
use crate::millis::Millis;
use crate::playback::{Playback, Repair};
use crate::session::{LinkConfig, PublisherTally};
use crate::tally::{ChatTally, Times, ViewerTally};

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
