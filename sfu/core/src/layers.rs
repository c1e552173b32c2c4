//! Which layer a viewer gets, and how much of it: what was asked for, what there is, and what its
//! network carries.

mod steps;

use std::time::Instant;

use lightstick_types::{Bitrate, Layer, LayerChoice};

use crate::temporal;
pub use steps::LayerRates;
use steps::NetworkCap;

/// A set of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerSet(u8);

impl LayerSet {
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

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in it and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
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

/// The layer a viewer gets now and the one it shall get.
#[derive(Clone, Debug, Default)]
pub struct LayerSelector {
    choice: LayerChoice,
    network: NetworkCap,
    live: LayerSet,
    /// Of the live ones, those that bring nothing until the publisher hears that they are wanted.
    asleep: LayerSet,
    current: Option<Layer>,
    target: Option<Layer>,
    /// Where it shall end; the target may be a step on the way.
    goal: Option<Layer>,
    /// Nothing is sent for now, because the link has no room for it.
    held: bool,
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

    /// The highest temporal layer of the layer that is forwarded now.
    #[must_use]
    #[inline]
    pub fn temporal(&self) -> u8 {
        match (self.choice, self.current) {
            (LayerChoice::Auto, Some(current)) => self.network.temporal(current),
            _ => temporal::ALL,
        }
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

    /// Hears which of the live layers bring nothing for now; counts from the next
    /// [`Self::set_live`] on.
    pub fn set_asleep(&mut self, asleep: LayerSet) {
        self.asleep = asleep;
    }

    /// The layers that the viewer gets, waits for, or must be able to fall back on: a link that
    /// narrows cannot wait for a layer to wake.
    #[must_use]
    pub fn watched(&self) -> LayerSet {
        let fallback = self.live.iter().next();
        let fallback = fallback.filter(|_| self.choice == LayerChoice::Auto && !self.held);
        [self.current, self.target, self.goal, fallback]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Hears what the viewer's link carries, without its audio. Only [`LayerChoice::Auto`] follows.
    pub fn on_estimate(&mut self, now: Instant, link: Bitrate, rates: &LayerRates) {
        self.network.judge(now, link, rates, self.live);
        self.aim();
    }

    /// What the next step up takes, more pictures or a better layer, where [`LayerChoice::Auto`] would
    /// have it.
    #[must_use]
    pub fn better(&self, rates: &LayerRates) -> Option<Bitrate> {
        if self.choice != LayerChoice::Auto {
            return None;
        }
        self.network.better(rates, self.live)
    }

    /// The target's keyframe has come: it is forwarded from here on.
    pub fn switched(&mut self) {
        if let Some(target) = self.target.take() {
            self.current = Some(target);
            self.aim();
        }
    }

    /// It is for another track from now on, whose layers it has yet to hear of.
    pub fn turn(&mut self) {
        *self = Self::new(self.choice);
    }

    /// Sends nothing for now, or goes on with a keyframe.
    pub fn set_held(&mut self, held: bool) {
        self.held = held;
        if held {
            self.current = None;
        }
        self.aim();
    }

    /// What its goal takes of a link.
    #[must_use]
    pub fn cost(&self, rates: &LayerRates) -> Bitrate {
        let auto = self.choice == LayerChoice::Auto;
        let cost = self.goal.map(|goal| match auto {
            true => rates.up_to(goal, self.network.temporal(goal)),
            false => rates.layer(goal),
        });
        cost.flatten().unwrap_or(Bitrate(0))
    }

    /// What the lowest layer takes that can be had.
    #[must_use]
    pub fn least(&self, rates: &LayerRates) -> Bitrate {
        let lowest = self.live.iter().next();
        let least = lowest.and_then(|lowest| rates.layer(lowest));
        least.unwrap_or(Bitrate(0))
    }

    /// The source is another one: nothing is current until a keyframe comes.
    pub fn restart(&mut self) {
        self.current = None;
        self.aim();
    }

    fn aim(&mut self) {
        let cap = match self.choice {
            LayerChoice::Auto => self.network.layer(),
            LayerChoice::Low => Layer::Low,
            LayerChoice::Medium => Layer::Medium,
            LayerChoice::High => Layer::High,
        };
        self.goal = self.live.best_up_to(cap).filter(|_| !self.held);
        let next = self.goal.map(|goal| self.step_towards(goal));
        self.target = if next == self.current { None } else { next };
    }

    /// Who must leave its layer, or has none yet, takes what flows until a sleeping goal wakes.
    fn step_towards(&self, goal: Layer) -> Layer {
        let awake = self.live.without(self.asleep);
        let current = self.current.filter(|current| awake.contains(*current));
        let waits = current.is_some_and(|current| current <= goal);
        if waits || !self.asleep.contains(goal) {
            return goal;
        }
        awake
            .best_up_to(goal)
            .filter(|step| current.is_none_or(|current| *step < current))
            .unwrap_or(goal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
    fn auto_follows_the_link_with_headroom_and_patience() {
        let start = Instant::now();
        let rates = LayerRates::whole([150_000, 500_000, 2_500_000]);
        let mut selector = LayerSelector::new(LayerChoice::Auto);
        selector.set_live(all());
        selector.switched();
        let mut at = |ms, link| {
            let now = start + Duration::from_millis(ms);
            selector.on_estimate(now, Bitrate(link), &rates);
            if selector.target().is_some() {
                selector.switched();
            }
            selector.current()
        };
        assert_eq!(at(0, 2_500_000), Some(Layer::High));
        assert_eq!(at(100, 2_400_000), Some(Layer::Medium));
        assert_eq!(at(200, 3_000_000), Some(Layer::Medium), "too soon");
        assert_eq!(at(2_100, 2_600_000), Some(Layer::Medium), "too little");
        assert_eq!(at(2_200, 2_700_000), Some(Layer::High));
        assert_eq!(at(2_300, 100_000), Some(Layer::Low), "the least there is");
        assert_eq!(at(9_000, 510_000), Some(Layer::Low));
        assert_eq!(at(9_100, 540_000), Some(Layer::Medium));
    }

    #[test]
    fn what_sleeps_is_waited_for_on_what_flows() {
        use Layer::{High, Low, Medium};
        // What is asleep, the layer of before, and the choice; then the steps to the goal.
        let check = |asleep: &[Layer], before: Option<Layer>, choice, steps: &[Layer]| {
            let mut selector = LayerSelector::new(choice);
            if let Some(before) = before {
                selector.set_live([before].into_iter().collect());
                selector.switched();
            }
            let mut asleep: LayerSet = asleep.iter().copied().collect();
            selector.set_asleep(asleep);
            selector.set_live(all());
            let mut taken = Vec::new();
            while let Some(target) = selector.target().filter(|_| taken.len() < 5) {
                taken.push(target);
                assert!(selector.watched().contains(target));
                assert!(selector.watched().contains(*steps.last().unwrap()));
                // It has brought a keyframe, so it is awake.
                asleep.remove(target);
                selector.set_asleep(asleep);
                selector.switched();
            }
            assert_eq!(taken, steps, "from {before:?} to {choice:?}");
        };
        check(&[High], None, LayerChoice::High, &[Medium, High]);
        check(&[Medium, High], None, LayerChoice::Auto, &[Low, High]);
        check(&[Low, Medium], None, LayerChoice::Low, &[High, Low]);
        check(&[Low, Medium], None, LayerChoice::High, &[High]);
        check(&[Low, Medium, High], None, LayerChoice::High, &[High]);
        // On the way up, what the viewer has is as good as a step between.
        check(&[High], Some(Low), LayerChoice::High, &[High]);
        check(&[Medium], Some(High), LayerChoice::Medium, &[Low, Medium]);
        check(&[Low, Medium], Some(High), LayerChoice::Low, &[Low]);
        // What has fallen silent is no place to wait.
        check(&[Low, Medium], Some(Medium), LayerChoice::Low, &[High, Low]);
        check(&[Low, High], Some(Low), LayerChoice::High, &[Medium, High]);
    }

    #[test]
    fn the_lowest_layer_stays_for_links_that_may_narrow() {
        let watched = |choice| {
            let mut selector = LayerSelector::new(choice);
            selector.set_live(all());
            selector.switched();
            selector.watched().iter().collect::<Vec<_>>()
        };
        assert_eq!(watched(LayerChoice::Auto), [Layer::Low, Layer::High]);
        assert_eq!(watched(LayerChoice::High), [Layer::High]);
        assert_eq!(watched(LayerChoice::Low), [Layer::Low]);
    }

    #[test]
    fn a_better_layer_is_wanted_only_where_there_is_one() {
        let rates = LayerRates::whole([100_000, 0, 1_000_000]);
        let better = |choice, live: &[Layer], link| {
            let mut selector = LayerSelector::new(choice);
            selector.set_live(live.iter().copied().collect());
            selector.on_estimate(Instant::now(), Bitrate(link), &rates);
            selector.better(&rates)
        };
        use Layer::{High, Low, Medium};
        let high = Some(Bitrate(1_080_000));
        assert_eq!(better(LayerChoice::Auto, &[Low, High], 300_000), high);
        assert_eq!(better(LayerChoice::Auto, &[Low, High], 3_000_000), None);
        assert_eq!(better(LayerChoice::Low, &[Low, High], 300_000), None);
        assert_eq!(better(LayerChoice::Auto, &[High], 300_000), None);
        assert_eq!(better(LayerChoice::Auto, &[], 300_000), None);
        // A layer that was never measured is given the benefit of the doubt.
        assert_eq!(better(LayerChoice::Auto, &[Low, Medium], 50_000), None);
    }
}
