//! Which layer a viewer gets: what was asked for, what there is, and what its network carries.

use std::time::{Duration, Instant};

use lightstick_types::{Layer, LayerChoice};

/// A set of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerSet(u8);

impl LayerSet {
    /// Adds a layer.
    pub fn insert(&mut self, layer: Layer) {
        self.0 |= 1 << layer.index();
    }

    /// Takes a layer out.
    pub fn remove(&mut self, layer: Layer) {
        self.0 &= !(1 << layer.index());
    }

    /// Whether it holds `layer`.
    #[must_use]
    pub fn contains(self, layer: Layer) -> bool {
        self.0 & (1 << layer.index()) != 0
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its layers, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Layer> {
        Layer::ALL
            .into_iter()
            .filter(move |layer| self.contains(*layer))
    }

    /// The best layer up to `cap`, or else the lowest there is.
    #[must_use]
    pub fn best_up_to(self, cap: Layer) -> Option<Layer> {
        self.iter()
            .filter(|layer| *layer <= cap)
            .last()
            .or_else(|| self.iter().next())
    }
}

impl FromIterator<Layer> for LayerSet {
    fn from_iter<I: IntoIterator<Item = Layer>>(layers: I) -> Self {
        let mut set = Self::default();
        layers.into_iter().for_each(|layer| set.insert(layer));
        set
    }
}

/// The best layer that a viewer's network is believed to carry, judged by the loss it reports.
///
/// Receiver reports are all that every client sends; a link that queues instead of losing is
/// noticed only once its queue is full.
#[derive(Clone, Debug)]
pub struct NetworkCap {
    cap: Layer,
    /// Consecutive reports with heavy loss.
    bad: u32,
    /// Since when the reports are clean.
    clean_since: Option<Instant>,
    /// How long they must be clean before the next try upwards; doubles when a try fails.
    patience: Duration,
    raised_at: Option<Instant>,
}

impl Default for NetworkCap {
    fn default() -> Self {
        Self {
            cap: Layer::High,
            bad: 0,
            clean_since: None,
            patience: Self::PATIENCE,
            raised_at: None,
        }
    }
}

impl NetworkCap {
    /// Loss from which a report counts against the layer.
    const HEAVY_LOSS: f32 = 0.10;
    /// Loss up to which a report counts as clean.
    const CLEAN_LOSS: f32 = 0.02;
    /// Heavy reports in a row before a step down: one can be chance.
    const REPORTS: u32 = 2;
    const PATIENCE: Duration = Duration::from_secs(8);
    const PATIENCE_MAX: Duration = Duration::from_secs(120);
    /// A step down within this time of a step up means that the step up was wrong.
    const REGRET: Duration = Duration::from_secs(10);

    /// The best layer to give now.
    #[must_use]
    pub fn cap(&self) -> Layer {
        self.cap
    }

    /// Hears the fraction of packets lost, 0 to 1, from a receiver report.
    pub fn on_report(&mut self, now: Instant, loss: f32) {
        if loss >= Self::HEAVY_LOSS {
            self.clean_since = None;
            self.bad += 1;
            if self.bad >= Self::REPORTS && self.cap > Layer::Low {
                self.bad = 0;
                self.cap = step(self.cap, -1);
                let regretted = self
                    .raised_at
                    .is_some_and(|at| now.saturating_duration_since(at) < Self::REGRET);
                self.patience = if regretted {
                    (self.patience * 2).min(Self::PATIENCE_MAX)
                } else {
                    Self::PATIENCE
                };
            }
            return;
        }
        self.bad = 0;
        if loss > Self::CLEAN_LOSS {
            self.clean_since = None;
            return;
        }
        let since = *self.clean_since.get_or_insert(now);
        if self.cap < Layer::High && now.saturating_duration_since(since) >= self.patience {
            self.cap = step(self.cap, 1);
            self.raised_at = Some(now);
            self.clean_since = Some(now);
        }
    }
}

fn step(layer: Layer, by: i8) -> Layer {
    match (layer, by) {
        (Layer::High, -1) | (Layer::Low, 1) => Layer::Medium,
        (Layer::Medium, 1) => Layer::High,
        (Layer::Medium, -1) => Layer::Low,
        (layer, _) => layer,
    }
}

/// The layer a viewer gets now and the one it shall get.
#[derive(Clone, Debug, Default)]
pub struct LayerSelector {
    choice: LayerChoice,
    network: NetworkCap,
    live: LayerSet,
    current: Option<Layer>,
    target: Option<Layer>,
}

impl LayerSelector {
    /// A selector that starts with what the viewer asked for.
    #[must_use]
    pub fn new(choice: LayerChoice) -> Self {
        Self {
            choice,
            ..Self::default()
        }
    }

    /// The layer that is forwarded now.
    #[must_use]
    pub fn current(&self) -> Option<Layer> {
        self.current
    }

    /// The layer that waits for its next keyframe to take over.
    #[must_use]
    pub fn target(&self) -> Option<Layer> {
        self.target
    }

    /// The viewer asks for something else.
    pub fn choose(&mut self, choice: LayerChoice) {
        self.choice = choice;
        self.aim();
    }

    /// Hears which layers carry media.
    pub fn set_live(&mut self, live: LayerSet) {
        self.live = live;
        self.aim();
    }

    /// Hears a receiver report. Only [`LayerChoice::Auto`] follows it.
    pub fn on_report(&mut self, now: Instant, loss: f32) {
        self.network.on_report(now, loss);
        self.aim();
    }

    /// The target's keyframe has come: it is forwarded from here on.
    pub fn switched(&mut self) {
        if let Some(target) = self.target.take() {
            self.current = Some(target);
        }
    }

    /// The source is another one: nothing is current until a keyframe comes.
    pub fn restart(&mut self) {
        self.current = None;
        self.aim();
    }

    fn aim(&mut self) {
        let cap = match self.choice {
            LayerChoice::Auto => self.network.cap(),
            LayerChoice::Low => Layer::Low,
            LayerChoice::Medium => Layer::Medium,
            LayerChoice::High => Layer::High,
        };
        let best = self.live.best_up_to(cap);
        self.target = if best == self.current { None } else { best };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> LayerSet {
        Layer::ALL.into_iter().collect()
    }

    #[test]
    fn choices_against_what_is_live() {
        use Layer::{High, Low, Medium};
        let check = |choice, live: &[Layer], want| {
            let mut selector = LayerSelector::new(choice);
            selector.set_live(live.iter().copied().collect());
            assert_eq!(selector.target(), want, "{choice:?} of {live:?}");
        };
        check(LayerChoice::Auto, &[Low, Medium, High], Some(High));
        check(LayerChoice::Low, &[Low, Medium, High], Some(Low));
        check(LayerChoice::Medium, &[Low, High], Some(Low));
        check(LayerChoice::Low, &[High], Some(High));
        check(LayerChoice::Medium, &[High], Some(High));
        check(LayerChoice::High, &[], None);
    }

    #[test]
    fn the_current_layer_goes_on_until_the_keyframe() {
        let mut selector = LayerSelector::new(LayerChoice::High);
        selector.set_live(all());
        selector.switched();
        assert_eq!(selector.current(), Some(Layer::High));
        selector.choose(LayerChoice::Low);
        assert_eq!(
            (selector.current(), selector.target()),
            (Some(Layer::High), Some(Layer::Low))
        );
        selector.choose(LayerChoice::High);
        assert_eq!(
            (selector.current(), selector.target()),
            (Some(Layer::High), None)
        );
    }

    #[test]
    fn a_layer_that_dies_is_left() {
        let mut selector = LayerSelector::new(LayerChoice::Auto);
        selector.set_live(all());
        selector.switched();
        selector.set_live([Layer::Low, Layer::Medium].into_iter().collect());
        assert_eq!(selector.target(), Some(Layer::Medium));
    }

    #[test]
    fn loss_steps_down_and_clean_reports_step_up_with_growing_patience() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut network = NetworkCap::default();
        network.on_report(at(0), 0.3);
        assert_eq!(network.cap(), Layer::High, "one bad report is chance");
        network.on_report(at(1), 0.3);
        assert_eq!(network.cap(), Layer::Medium);
        for s in 2..=10 {
            network.on_report(at(s), 0.0);
        }
        assert_eq!(network.cap(), Layer::High);
        // The step up was wrong: the next one takes twice as long.
        network.on_report(at(11), 0.2);
        network.on_report(at(12), 0.2);
        assert_eq!(network.cap(), Layer::Medium);
        for s in 13..=28 {
            network.on_report(at(s), 0.0);
            assert_eq!(network.cap(), Layer::Medium, "at {s}");
        }
        network.on_report(at(29), 0.0);
        assert_eq!(network.cap(), Layer::High);
    }
}
