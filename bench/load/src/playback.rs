//! What viewers would have seen, and what was sent again so that they did. Without IO.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use crate::tally::{HELD_BACK, SLICE, ViewerTally, Window, WireLog};

/// Players that hold back frames for the same time, one for each full viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Playback {
    /// For how long they hold back each frame for late packets, in milliseconds.
    pub held_back_ms: u64,
    /// How many of them showed anything.
    pub viewers: u64,
    /// Frames that could be shown, of all.
    pub frames: u64,
    /// Frames that were passed over for a keyframe: never complete in time.
    pub skipped: u64,
    /// Times that a picture stood still.
    pub freezes: u64,
    /// The share of their time, 0 to 1, that pictures stood still.
    pub frozen_share: f64,
    /// The same of the worst viewer.
    pub frozen_share_worst: f64,
    /// The longest freeze, in milliseconds.
    pub longest_ms: f64,
}

impl Playback {
    /// Of each of [`HELD_BACK`]; none where no full viewer could tell.
    #[must_use]
    pub fn of(viewers: &[ViewerTally], window: Window) -> Vec<Self> {
        let each = HELD_BACK.iter().enumerate();
        let all = each.map(|(at, held_back)| Self::one(at, *held_back, viewers, window));
        all.filter(|playback| playback.viewers > 0).collect()
    }

    fn one(at: usize, held_back: Duration, viewers: &[ViewerTally], window: Window) -> Self {
        let mut sum = Self {
            held_back_ms: held_back.as_millis() as u64,
            ..Self::default()
        };
        let long = (window.to_us - window.from_us).max(1) as f64;
        let mut frozen = 0.0;
        for viewer in viewers
            .iter()
            .filter(|v| !v.light && v.players[at].started())
        {
            let shown = viewer.players[at].shown(window);
            let share = shown.frozen_us as f64 / long;
            sum.viewers += 1;
            sum.frames += shown.frames;
            sum.skipped += shown.skipped;
            sum.freezes += shown.freezes;
            sum.frozen_share_worst = sum.frozen_share_worst.max(share);
            sum.longest_ms = sum.longest_ms.max(shown.longest_us as f64 / 1e3);
            frozen += share;
        }
        sum.frozen_share = frozen / sum.viewers.max(1) as f64;
        sum
    }
}

/// Packets sent again to full viewers, against media, as they arrived.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Repair {
    /// Video packets that came as they were sent first.
    pub media: u64,
    /// Packets that came on the stream of what is sent again: answers to NACK, and probes.
    pub resent: u64,
    /// Of those, packets that had not come before.
    pub repaired: u64,
    /// `resent` for each packet of media.
    pub ratio: f64,
    /// The same over time.
    pub slices: Vec<Slice>,
}

/// Five seconds of a measurement; the last may be shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Slice {
    /// Since its beginning, in seconds.
    pub from_secs: f64,
    /// As in [`Repair`].
    pub media: u64,
    /// As in [`Repair`].
    pub resent: u64,
    /// As in [`Repair`].
    pub repaired: u64,
    /// As in [`Repair`].
    pub ratio: f64,
    /// What the server used, as a number of cores; with `--server-pid`.
    pub server_cores: Option<f64>,
}

impl Repair {
    /// From what came, and the server's share of a core in each slice. None: no full viewer.
    #[must_use]
    pub fn of(log: &WireLog, server_cores: &[f64]) -> Option<Self> {
        let ratio = |resent: u64, media: u64| resent as f64 / media.max(1) as f64;
        let mut sum = Self::default();
        for (at, wire) in log.slices().iter().enumerate() {
            sum.media += wire.media;
            sum.resent += wire.resent;
            sum.repaired += wire.repaired;
            sum.slices.push(Slice {
                from_secs: SLICE.as_secs_f64() * at as f64,
                media: wire.media,
                resent: wire.resent,
                repaired: wire.repaired,
                ratio: ratio(wire.resent, wire.media),
                server_cores: server_cores.get(at).copied(),
            });
        }
        sum.ratio = ratio(sum.resent, sum.media);
        (sum.media > 0).then_some(sum)
    }
}

impl Display for Playback {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3} % of the time, worst viewer {:.3} %; {} freezes, longest {:.0} ms; {} of {} frames skipped",
            self.frozen_share * 100.0,
            self.frozen_share_worst * 100.0,
            self.freezes,
            self.longest_ms,
            self.skipped,
            self.frames + self.skipped
        )
    }
}

impl Display for Repair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            media,
            resent,
            repaired,
            ratio,
            ..
        } = self;
        let ratio = ratio * 100.0;
        writeln!(
            f,
            "  {:<30}{resent} of {media} ({ratio:.2} %), {repaired} were missing",
            "sent again"
        )?;
        if *resent == 0 || self.slices.len() < 2 {
            return Ok(());
        }
        for slice in &self.slices {
            let cores = slice.server_cores;
            let cores = cores.map_or(String::new(), |c| format!(", server {c:.3} cores"));
            writeln!(
                f,
                "  {:<30}{:.2} %{cores}",
                format!("  from second {:.0}", slice.from_secs),
                slice.ratio * 100.0
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resent_packets_are_told_against_media_over_time() {
        let window = Window {
            from_us: 0,
            to_us: 10_000_000,
        };
        let mut log = WireLog::default();
        for at_us in [0, 1, 2, 3, 5_000_000, 5_000_001] {
            log.at(at_us, window).expect("within").media += 1;
        }
        let wire = log.at(5_000_002, window).expect("within");
        (wire.resent, wire.repaired) = (3, 1);
        let repair = Repair::of(&log, &[0.5]).expect("there was media");
        assert_eq!((repair.media, repair.resent, repair.repaired), (6, 3, 1));
        assert_eq!(repair.ratio, 0.5);
        let slices: Vec<_> = (repair.slices.iter())
            .map(|s| (s.from_secs, s.ratio, s.server_cores))
            .collect();
        assert_eq!(slices, [(0.0, 0.0, Some(0.5)), (5.0, 1.5, None)]);
        assert_eq!(Repair::of(&WireLog::default(), &[]), None);
    }
}
