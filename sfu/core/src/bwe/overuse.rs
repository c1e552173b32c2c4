//! Whether the trend of the delays means over-use: draft-ietf-rmcat-gcc-02, sections 5.4 and 5.6.

use super::Micros;

/// `overuse_time_th` of section 5.6.
const OVER_TIME: Micros = 10_000;
/// The adaptive threshold, section 5.4, in milliseconds: start, bounds, and the gains of its
/// growth and decay in each millisecond. It falls faster than the draft says, or else one
/// keyframe would leave it high for minutes.
const THRESHOLD: f32 = 12.5;
const THRESHOLD_MIN: f32 = 6.0;
const THRESHOLD_MAX: f32 = 600.0;
const THRESHOLD_UP: f32 = 0.008_7;
const THRESHOLD_DOWN: f32 = 0.039;
/// Excursions further than this above it do not move the threshold.
const THRESHOLD_REACH: f32 = 15.0;

/// What the delays say of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    #[default]
    Normal,
    /// Delays grow: more is sent than comes through.
    Over,
    /// Delays fall: a queue drains.
    Under,
}

/// Compares the trend with a threshold that adapts to how much the delays vary anyway.
#[derive(Clone, Debug)]
pub(super) struct OveruseDetector {
    usage: Usage,
    threshold: f32,
    threshold_at: Option<Micros>,
    /// How long the trend has been above the threshold, and in how many groups.
    over_time: Micros,
    over_groups: u32,
    last_trend: f32,
}

impl OveruseDetector {
    pub(super) fn new() -> Self {
        Self {
            usage: Usage::Normal,
            threshold: THRESHOLD,
            threshold_at: None,
            over_time: 0,
            over_groups: 0,
            last_trend: 0.0,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Forgets the trend but not the threshold.
    pub(super) fn restart(&mut self) {
        self.usage = Usage::Normal;
        self.over_time = 0;
        self.over_groups = 0;
        self.last_trend = 0.0;
    }

    /// Takes the trend after a group that was sent `apart` behind the one before (sections 5.4 and
    /// 5.6).
    pub(super) fn judge(&mut self, trend: f32, apart: Micros, now: Micros) {
        if trend > self.threshold {
            // The first group has been over for an unknown part of its time.
            self.over_time += if self.over_groups == 0 {
                apart / 2
            } else {
                apart
            };
            self.over_groups += 1;
            if self.over_time > OVER_TIME && self.over_groups > 1 && trend >= self.last_trend {
                self.over_time = 0;
                self.over_groups = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_time = 0;
            self.over_groups = 0;
            self.usage = if trend < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.last_trend = trend;
        let excess = trend.abs() - self.threshold;
        let passed = self.threshold_at.map_or(0, |at| now - at).clamp(0, 100_000);
        self.threshold_at = Some(now);
        if excess <= THRESHOLD_REACH {
            let gain = if excess < 0.0 {
                THRESHOLD_DOWN
            } else {
                THRESHOLD_UP
            };
            self.threshold = (self.threshold + gain * excess * passed as f32 / 1e3)
                .clamp(THRESHOLD_MIN, THRESHOLD_MAX);
        }
    }
}
