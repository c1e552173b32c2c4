//! How the estimate follows what the delays say: additive or multiplicative growth, and cuts to
//! what came through. draft-ietf-rmcat-gcc-02, section 5.5.

use super::Micros;
use super::overuse::Usage;

/// No estimate goes below this: something must be sent for anything to be learnt.
pub(super) const BPS_MIN: f64 = 30_000.0;
/// No estimate goes above this; more than any publisher may send.
pub(super) const BPS_MAX: f64 = 100_000_000.0;

/// What is left of the rate that came through a full link. The draft has 0.85; its rate covers
/// half a second, of which the link may have been idle for a part. Ours covers only time in which
/// a queue stood, so that it is the link's rate itself, and needs less of a margin.
pub(super) const BETA: f64 = 0.9;
/// While a queue drains, the link's rate is known as well; the cut before has left the margin.
const DRAINING: f64 = 0.95;
/// Growth in each second, away from where the link was last found to be full.
const GROWTH: f64 = 1.08;
/// A packet, in bits, for the additive growth of one in each response time.
const PACKET_BITS: f64 = 9_600.0;
/// Response time beyond the round trip: how long an over-use takes to be seen.
const RESPONSE: f64 = 0.1;
/// The estimate does not grow beyond so many times what comes through: what is not sent is not
/// known to be carried. The draft has 1.5; here probes lead further, and layers lie further apart.
const AHEAD: f64 = 1.25;
const AHEAD_BPS: f64 = 10_000.0;
/// With less than this part of the estimate coming through, the sender leaves the link idle.
pub(super) const LIMITED: f64 = 0.9;
/// How long a full link is taken for the same link.
const CEILING_FRESH: Micros = 30_000_000;

/// What has been measured when a feedback has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) usage: Usage,
    /// The rate at which packets came while a queue stood, once it has stood long enough.
    pub(super) busy: Option<f64>,
    /// The rate at which packets came in the last half second.
    pub(super) acked: Option<f64>,
    /// The rate that was sent and came through over a second.
    pub(super) delivered: Option<f64>,
    pub(super) round_trip: Micros,
}

/// The rate control. All rates are in bits per second.
#[derive(Clone, Debug)]
pub(super) struct RateControl {
    estimate: f64,
    updated: Micros,
    /// Where the link was full lately: mean and relative variance.
    full: Option<(f64, f64)>,
    cut_at: Option<Micros>,
    /// What the link was last seen to carry when it was full, and when. Less than that being
    /// sent, there is no reason to believe in more.
    ceiling: Option<(f64, Micros)>,
}

impl RateControl {
    pub(super) fn new(start: f64) -> Self {
        Self {
            estimate: start.clamp(BPS_MIN, BPS_MAX),
            updated: 0,
            full: None,
            cut_at: None,
            ceiling: None,
        }
    }

    pub(super) fn estimate(&self) -> f64 {
        self.estimate
    }

    /// When the delays last forced the estimate down.
    pub(super) fn cut_at(&self) -> Option<Micros> {
        self.cut_at
    }

    /// A probe, or what came through, has shown that the link carries this.
    pub(super) fn raise(&mut self, bps: f64) {
        self.set(self.estimate.max(bps));
        self.ceiling = self.ceiling.filter(|(ceiling, _)| *ceiling > bps);
    }

    /// A probe has filled the link: it carries this and no more. `delivered` is carried anyway.
    pub(super) fn limit(&mut self, now: Micros, bps: f64, delivered: f64) {
        let bps = bps.max(delivered);
        self.ceiling = Some((bps, now));
        self.set(bps);
    }

    /// Nothing is heard: less is safer.
    pub(super) fn fade(&mut self, factor: f64) {
        self.set(self.estimate * factor);
    }

    pub(super) fn update(&mut self, now: Micros, measured: &Measured) {
        // Feedback that stays away and then comes does not make up for the growth it missed.
        let passed = (now - self.updated).clamp(0, 1_000_000) as f64 / 1e6;
        self.updated = now;
        match measured.usage {
            Usage::Over => self.cut(now, measured, BETA),
            Usage::Under => self.cut(now, measured, DRAINING),
            Usage::Normal if measured.busy.is_some() => {}
            Usage::Normal => self.grow(now, passed, measured),
        }
    }

    /// Over-use without a queue is noise, and no reason to give up a layer.
    fn cut(&mut self, now: Micros, measured: &Measured, factor: f64) {
        let Some(busy) = measured.busy else {
            return;
        };
        if factor * busy < self.estimate {
            self.set(factor * busy);
            self.cut_at = Some(now);
        }
        self.ceiling = Some((busy, now));
        if measured.usage == Usage::Over {
            self.found_full(busy);
        }
    }

    fn grow(&mut self, now: Micros, passed: f64, measured: &Measured) {
        let Some(acked) = measured.acked else {
            return;
        };
        if let Some((mean, variance)) = self.full {
            let spread = 3.0 * (variance * mean).sqrt();
            // Section 5.5: what lies outside of three deviations is another link.
            if acked > mean + spread {
                self.full = None;
            }
        }
        let near = self
            .full
            .is_some_and(|(mean, variance)| acked > mean - 3.0 * (variance * mean).sqrt());
        let grown = if near {
            let response = measured.round_trip as f64 / 1e6 + RESPONSE;
            self.estimate + (PACKET_BITS / response).max(4_000.0) * passed
        } else {
            self.estimate * GROWTH.powf(passed)
        };
        let mut limit = AHEAD * acked + AHEAD_BPS;
        if let Some((ceiling, at)) = self.ceiling
            && now - at < CEILING_FRESH
            && acked < LIMITED * self.estimate
        {
            limit = limit.min(ceiling);
        }
        self.set(grown.min(limit).max(self.estimate));
        if let Some(delivered) = measured.delivered {
            self.raise(delivered);
        }
    }

    fn found_full(&mut self, busy: f64) {
        const WEIGHT: f64 = 0.05;
        let (mean, variance) = self.full.map_or((busy, 0.0), |(mean, variance)| {
            let off = mean - busy;
            let mean = mean - WEIGHT * off;
            (
                mean,
                (1.0 - WEIGHT) * variance + WEIGHT * off * off / mean.max(1.0),
            )
        });
        // At 1 Mbit/s that is a deviation of 20 to 50 kbit/s.
        self.full = Some((mean, variance.clamp(400.0, 2_500.0)));
    }

    fn set(&mut self, bps: f64) {
        self.estimate = bps.clamp(BPS_MIN, BPS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Measured = Measured {
        usage: Usage::Normal,
        busy: None,
        acked: Some(1e6),
        delivered: Some(1e6),
        round_trip: 100_000,
    };

    fn run(rate: &mut RateControl, from_ms: i64, to_ms: i64, measured: &Measured) -> f64 {
        for ms in (from_ms..to_ms).step_by(50) {
            rate.update(ms * 1_000, measured);
        }
        rate.estimate()
    }

    #[test]
    fn growth_ends_a_little_above_what_comes_through() {
        let mut rate = RateControl::new(300e3);
        assert!(run(&mut rate, 0, 100, &CALM) >= 1e6, "it has come through");
        let second = run(&mut rate, 100, 1_100, &CALM);
        assert!((1.07e6..1.09e6).contains(&second), "{second}");
        let long = run(&mut rate, 1_100, 60_000, &CALM);
        assert!((1.25e6..1.27e6).contains(&long), "{long}");
    }

    #[test]
    fn over_use_cuts_to_what_a_full_link_carries() {
        let mut rate = RateControl::new(2e6);
        let noise = Measured {
            usage: Usage::Over,
            ..CALM
        };
        assert_eq!(run(&mut rate, 0, 1_000, &noise), 2e6);
        assert_eq!(rate.cut_at(), None);
        let over = Measured {
            busy: Some(1e6),
            ..noise
        };
        assert_eq!(run(&mut rate, 1_000, 2_000, &over), 0.9e6);
        assert_eq!(rate.cut_at(), Some(1_000_000));
        // Where the link was full, growth is a packet in each 200 ms: 48 kbit/s in each second.
        let after = Measured {
            acked: Some(0.95e6),
            delivered: Some(0.9e6),
            ..CALM
        };
        let near = run(&mut rate, 2_000, 3_000, &after);
        assert!((0.94e6..0.96e6).contains(&near), "{near}");
    }

    #[test]
    fn a_full_link_is_remembered_while_little_is_sent() {
        let mut rate = RateControl::new(2e6);
        let over = Measured {
            usage: Usage::Over,
            busy: Some(0.8e6),
            ..CALM
        };
        run(&mut rate, 0, 100, &over);
        let little = Measured {
            acked: Some(0.65e6),
            delivered: Some(0.65e6),
            ..CALM
        };
        let held = run(&mut rate, 100, 20_000, &little);
        assert!(held <= 0.8e6, "{held}");
        rate.raise(0.9e6);
        assert_eq!(rate.estimate(), 0.9e6);
    }

    #[test]
    fn bounds_hold() {
        let mut rate = RateControl::new(0.0);
        assert_eq!(rate.estimate(), BPS_MIN);
        rate.raise(1e12);
        assert_eq!(rate.estimate(), BPS_MAX);
        rate.fade(1e-9);
        assert_eq!(rate.estimate(), BPS_MIN);
    }
}
