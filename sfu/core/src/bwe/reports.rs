//! The estimate of a viewer whose client sends no transport-wide feedback: receiver reports say
//! what is lost, and a REMB message, where there is one, what the receiver believes.

use super::Micros;
use super::loss::{Inherent, Verdict};
use super::rate::{BPS_MAX, BPS_MIN};

/// Growth in each second without loss.
const GROWTH: f64 = 1.08;
/// After a cut, growth waits for this time; for twice as long where the cut followed on growth,
/// that is, where the growth had been wrong.
const PATIENCE: Micros = 4_000_000;
const PATIENCE_MAX: Micros = 60_000_000;
/// A cut within this time of growth follows on it.
const REGRET: Micros = 10_000_000;
/// Reports further apart than this do not make up for the growth they missed.
const APART_MAX: Micros = 5_000_000;

/// The estimate from reports.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    estimate: f64,
    inherent: Inherent,
    loss: Option<f32>,
    heard_at: Option<Micros>,
    waits_until: Micros,
    patience: Micros,
    grown_at: Option<Micros>,
    remb: Option<f64>,
}

impl Reports {
    pub(super) fn new(start: f64) -> Self {
        Self {
            estimate: start.clamp(BPS_MIN, BPS_MAX),
            inherent: Inherent::default(),
            loss: None,
            heard_at: None,
            waits_until: 0,
            patience: PATIENCE,
            grown_at: None,
            remb: None,
        }
    }

    /// The last report's loss, 0 to 1.
    pub(super) fn loss(&self) -> Option<f32> {
        self.loss
    }

    /// What the reports allow. A receiver that sends REMB has measured, and while nothing much is
    /// lost its word is better than our guess.
    pub(super) fn estimate(&self) -> Option<f64> {
        let was_cut = self.waits_until > 0;
        match self.remb {
            Some(remb) if was_cut => Some(remb.min(self.estimate)),
            Some(remb) => Some(remb),
            None => self.heard_at.map(|_| self.estimate),
        }
    }

    pub(super) fn on_remb(&mut self, bps: f64) {
        self.remb = Some(bps.clamp(BPS_MIN, BPS_MAX));
    }

    /// Hears a report; `sent` is the rate that leaves.
    pub(super) fn on_report(&mut self, now: Micros, fraction_lost: u8, sent: Option<f64>) {
        let loss = f32::from(fraction_lost) / 256.0;
        let apart = self.heard_at.map_or(0, |at| (now - at).clamp(0, APART_MAX));
        self.heard_at = Some(now);
        self.loss = Some(loss);
        match Verdict::of(self.inherent.excess(loss)) {
            Verdict::Cut(factor) => {
                // What is not sent is not what was lost.
                let before = sent.map_or(self.estimate, |sent| self.estimate.min(sent));
                self.estimate = (before * factor).max(BPS_MIN);
                let regretted = self.grown_at.is_some_and(|at| now - at < REGRET);
                self.patience = if regretted {
                    (self.patience * 2).min(PATIENCE_MAX)
                } else {
                    PATIENCE
                };
                self.grown_at = None;
                self.waits_until = now + self.patience;
            }
            Verdict::Clean if now >= self.waits_until => {
                let growth = GROWTH.powf(apart as f64 / 1e6);
                self.estimate = (self.estimate * growth).min(BPS_MAX);
                self.grown_at = Some(now);
            }
            Verdict::Clean | Verdict::Hold => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    #[test]
    fn growth_that_was_wrong_waits_longer_each_time() {
        // The link carries 1 Mbit/s, and all that is allowed is sent.
        let mut reports = Reports::new(900e3);
        let mut cuts = Vec::new();
        for second in 0..400 {
            let sent = reports.estimate;
            let lost = if sent > 1.3e6 { 80 } else { 0 };
            reports.on_report(second * SECOND, lost, Some(sent));
            if lost > 0 {
                cuts.push(second);
            }
        }
        let pauses: Vec<i64> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.len() >= 4, "{cuts:?}");
        assert!(
            pauses.windows(2).take(3).all(|pair| pair[1] > pair[0]),
            "{cuts:?}"
        );
    }

    #[test]
    fn a_remb_is_believed_until_too_much_is_lost() {
        let mut reports = Reports::new(500e3);
        assert_eq!(reports.estimate(), None);
        reports.on_remb(2e6);
        assert_eq!(reports.estimate(), Some(2e6));
        reports.on_report(SECOND, 0, Some(500e3));
        assert_eq!(reports.estimate(), Some(2e6));
        reports.on_report(2 * SECOND, 64, Some(500e3));
        assert!(reports.estimate().is_some_and(|bps| bps < 500e3));
        reports.on_remb(100e3);
        assert_eq!(reports.estimate(), Some(100e3));
    }
}
