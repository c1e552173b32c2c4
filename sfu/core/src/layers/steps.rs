//! The steps between the best and the least that a viewer can get, and which of them its link
//! carries.

use std::time::{Duration, Instant};

use lightstick_types::{Bitrate, Layer};

use super::LayerSet;
use crate::codec::TEMPORAL_LAYERS;
use crate::temporal;

/// One step: a layer, and its temporal layers up to one. Ordered from the least to the best: fewer
/// pictures come before a smaller picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) layer: Layer,
    pub(super) temporal: u8,
}

impl Step {
    const BEST: Self = Self::whole(Layer::High);

    const fn whole(layer: Layer) -> Self {
        let temporal = temporal::ALL;
        Self { layer, temporal }
    }
}

/// What each layer of a room takes on a viewer's link, with its temporal layers up to each one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerRates {
    /// In bit/s, headers included; 0 where nothing is known.
    bps: [[u64; TEMPORAL_LAYERS]; Layer::COUNT],
    /// Pictures a second.
    frames: [[f32; TEMPORAL_LAYERS]; Layer::COUNT],
}

impl LayerRates {
    /// Rates of layers without temporal layers, in bit/s; 0 where nothing is known.
    #[must_use]
    pub fn whole(bps: [u64; Layer::COUNT]) -> Self {
        let mut rates = Self::default();
        for (layer, bps) in Layer::ALL.into_iter().zip(bps) {
            let mut own = [(0, 0.0); TEMPORAL_LAYERS];
            own[0] = (bps, 0.0);
            rates.set(layer, own);
        }
        rates
    }

    /// Sets what each temporal layer of `layer` takes by itself: bit/s and pictures a second.
    pub fn set(&mut self, layer: Layer, own: [(u64, f32); TEMPORAL_LAYERS]) {
        let mut sum = (0, 0.0);
        for (temporal, (bps, frames)) in own.into_iter().enumerate() {
            sum = (sum.0 + bps, sum.1 + frames);
            self.bps[layer.index()][temporal] = sum.0;
            self.frames[layer.index()][temporal] = sum.1;
        }
    }

    /// What a layer takes with all its temporal layers, if that is known.
    #[must_use]
    pub fn layer(&self, layer: Layer) -> Option<Bitrate> {
        self.of(Step::whole(layer)).map(Bitrate)
    }

    /// What a layer takes with its temporal layers up to one, if that is known.
    #[must_use]
    pub fn up_to(&self, layer: Layer, temporal: u8) -> Option<Bitrate> {
        self.of(Step { layer, temporal }).map(Bitrate)
    }

    fn of(&self, step: Step) -> Option<u64> {
        let bps = self.bps[step.layer.index()][usize::from(step.temporal)];
        Some(bps).filter(|bps| *bps > 0)
    }

    fn frames(&self, step: Step) -> f32 {
        self.frames[step.layer.index()][usize::from(step.temporal)]
    }
}

/// A step must save this part of the one above it, in percent, or else it is none.
const SAVED_MIN: u64 = 10;
/// Of a layer above others, so many of its pictures must be left, and so many a second. With half
/// of them a large picture is worth more than a small one; with a quarter it is not. Half of 15 a
/// second is about the least that still moves. The lowest layer goes as far down as it can: below
/// it there is only a frozen picture. Some less than a half, as rates are measured.
const FRAMES_PART_MIN: f32 = 0.45;
const FRAMES_MIN: f32 = 7.0;

/// The steps that a room's live layers give, at most four a layer.
#[derive(Clone, Copy, Debug, Default)]
struct Ladder {
    /// For each layer, a bit for each temporal layer that is a step's highest.
    useful: [u8; Layer::COUNT],
}

impl Ladder {
    fn new(rates: &LayerRates, live: LayerSet) -> Self {
        let mut ladder = Self::default();
        let lowest = live.iter().next();
        for layer in live.iter() {
            let whole = Step::whole(layer);
            let mut above = whole;
            let useful = &mut ladder.useful[layer.index()];
            *useful = 1 << whole.temporal;
            for temporal in (0..whole.temporal).rev() {
                let step = Step { layer, temporal };
                let (Some(bps), Some(of)) = (rates.of(step), rates.of(above)) else {
                    break;
                };
                let frames = rates.frames(step);
                let watchable =
                    frames >= FRAMES_MIN && frames >= FRAMES_PART_MIN * rates.frames(whole);
                if bps * 100 <= of * (100 - SAVED_MIN) && (watchable || Some(layer) == lowest) {
                    *useful |= 1 << temporal;
                    above = step;
                }
            }
        }
        ladder
    }

    /// Its steps, the least first.
    fn steps(self) -> impl Iterator<Item = Step> {
        Layer::ALL.into_iter().flat_map(move |layer| {
            let useful = self.useful[layer.index()];
            (0..=temporal::ALL)
                .filter(move |temporal| useful & 1 << temporal != 0)
                .map(move |temporal| Step { layer, temporal })
        })
    }

    /// The step that a cap amounts to: the best up to it of its layer, or else the least of that, or
    /// of lower layers the best, or else the least there is.
    fn at(self, cap: Step) -> Option<Step> {
        let best = self.steps().take_while(|step| *step <= cap).last();
        best.filter(|step| step.layer == cap.layer)
            .or_else(|| self.steps().find(|step| step.layer == cap.layer))
            .or(best)
            .or_else(|| self.steps().next())
    }
}

/// The best step that a viewer's link is believed to carry.
#[derive(Clone, Debug)]
pub(super) struct NetworkCap {
    cap: Step,
    lowered_at: Option<Instant>,
    /// The least of each layer, by what was last known.
    least: [u8; Layer::COUNT],
}

impl Default for NetworkCap {
    fn default() -> Self {
        Self {
            cap: Step::BEST,
            lowered_at: None,
            least: [temporal::ALL; Layer::COUNT],
        }
    }
}

impl NetworkCap {
    /// A better step must leave this part of the link free, in percent: one that just fits would
    /// be left again at once.
    const HEADROOM: u64 = 8;
    /// A step down leaves more: the queue that led to it has to drain, and what was lost to be sent
    /// again.
    const DRAIN: u64 = 25;
    /// A link that carries this part less than what is sent, in percent, has lost packets already.
    /// The keyframe of a lower layer mends the picture at once; with fewer pictures, it would wait
    /// for what was lost to come through a full queue.
    const SHARP: u64 = 25;
    /// After a step down, all that must be over first.
    const CALM: Duration = Duration::from_secs(2);

    pub(super) fn layer(&self) -> Layer {
        self.cap.layer
    }

    /// The highest temporal layer of `current`, while that is forwarded: of one that is about to be
    /// left for a lower one, as little as can be.
    pub(super) fn temporal(&self, current: Layer) -> u8 {
        match current.cmp(&self.cap.layer) {
            std::cmp::Ordering::Less => temporal::ALL,
            std::cmp::Ordering::Equal => self.cap.temporal,
            std::cmp::Ordering::Greater => self.least[current.index()],
        }
    }

    /// Holds what the link carries against what the steps take.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        link: Bitrate,
        rates: &LayerRates,
        live: LayerSet,
    ) {
        let ladder = Ladder::new(rates, live);
        for (least, useful) in self.least.iter_mut().zip(ladder.useful) {
            *least = (useful.trailing_zeros() as u8).min(temporal::ALL);
        }
        let fits = |step: &Step, headroom: u64| {
            rates
                .of(*step)
                .is_none_or(|bps| bps * (100 + headroom) / 100 <= link.bps())
        };
        let (Some(lowest), Some(best)) = (ladder.steps().next(), ladder.steps().last()) else {
            return;
        };
        let present = ladder.at(self.cap).unwrap_or(lowest);
        if !fits(&present, 0) {
            let below = || {
                let below = ladder.steps().take_while(|step| *step < present);
                below.filter(|step| fits(step, Self::DRAIN))
            };
            let smaller = || below().filter(|step| step.layer < present.layer).last();
            let sharp = rates
                .of(present)
                .is_some_and(|bps| bps * 100 > link.bps() * (100 + Self::SHARP));
            let cap = smaller()
                .filter(|_| sharp)
                .or_else(|| below().last())
                .unwrap_or(lowest);
            if cap < self.cap {
                (self.cap, self.lowered_at) = (cap, Some(now));
            }
            return;
        }
        let calm = |at| now.saturating_duration_since(at) >= Self::CALM;
        let fitting = |step: &Step| fits(step, Self::HEADROOM);
        if self.lowered_at.is_none_or(calm)
            && let Some(better) = ladder.steps().filter(fitting).last()
            && better >= present
            && better > self.cap
        {
            self.cap = better;
        }
        // Nothing better is live: what comes live later is judged then.
        if best == present && self.cap < present {
            self.cap = present;
        }
    }

    /// What the next step up takes, with room to spare.
    pub(super) fn better(&self, rates: &LayerRates, live: LayerSet) -> Option<Bitrate> {
        let ladder = Ladder::new(rates, live);
        let present = ladder.at(self.cap)?;
        let better = ladder.steps().find(|step| *step > present)?;
        Some(Bitrate(rates.of(better)? * (100 + Self::HEADROOM) / 100))
    }
}

#[cfg(test)]
mod tests;
