//! What is counted rather than shown one by one: reactions and presence.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lightstick_chat_proto::{Effects, Reaction};

/// Presence is said this often, if it has changed.
const PRESENT_EVERY: Duration = Duration::from_secs(1);
/// And this often in any case: what is said is not sent again to those who missed it.
const PRESENT_AGAIN: Duration = Duration::from_secs(5);
/// Names are said this often, if they have changed.
const NAMES_EVERY: Duration = Duration::from_secs(2);
/// The reaction that every room has.
pub(crate) const HEART: &str = "heart";

#[derive(Debug)]
pub(crate) struct Counter {
    reactions: HashMap<Box<str>, u32>,
    present_said: u32,
    present_at: Option<Instant>,
    names_changed: bool,
    names_at: Option<Instant>,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self {
            reactions: HashMap::new(),
            present_said: 0,
            present_at: None,
            names_changed: false,
            names_at: None,
        }
    }

    pub(crate) fn react(&mut self, kind: &str, count: u32) {
        match self.reactions.get_mut(kind) {
            Some(total) => *total = total.saturating_add(count),
            None => {
                self.reactions.insert(kind.into(), count);
            }
        }
    }

    pub(crate) fn names_changed(&mut self) {
        self.names_changed = true;
    }

    /// How long after a tick there is something to say, whatever happens meanwhile.
    pub(crate) fn owed_after(&self, present: u32) -> Option<Duration> {
        if present != 0 && present != self.present_said || self.names_changed {
            Some(PRESENT_EVERY)
        } else {
            (present != 0).then_some(PRESENT_AGAIN)
        }
    }

    /// The counts of a tick, if there is anything to say.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        present: u32,
        votes: Option<Vec<u32>>,
        names: impl FnOnce() -> Option<Vec<String>>,
    ) -> Option<Effects> {
        let due = |at: Option<Instant>, every| at.is_none_or(|at| now >= at + every);
        let mut effects = Effects::default();
        let mut reactions: Vec<_> = self.reactions.drain().collect();
        reactions.sort_unstable();
        effects.reactions = reactions
            .into_iter()
            .map(|(kind, count)| Reaction {
                kind: kind.into(),
                count,
            })
            .collect();
        let mut say = !effects.reactions.is_empty();
        let changed = present != self.present_said && due(self.present_at, PRESENT_EVERY);
        if present != 0 && (changed || due(self.present_at, PRESENT_AGAIN)) {
            (self.present_said, self.present_at) = (present, Some(now));
            effects.present = present;
            say = true;
        }
        if let Some(votes) = votes {
            effects.votes = votes;
            say = true;
        }
        if self.names_changed && due(self.names_at, NAMES_EVERY) {
            (self.names_changed, self.names_at) = (false, Some(now));
            if let Some(names) = names() {
                effects.names = names;
                say = true;
            }
        }
        say.then_some(effects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_said_once() {
        let mut counter = Counter::new();
        let now = Instant::now();
        counter.react(HEART, 3);
        counter.react("wave", 1);
        counter.react(HEART, 100_000);
        let effects = counter.take(now, 5, None, || None).unwrap();
        let said: Vec<_> = effects
            .reactions
            .iter()
            .map(|r| (&*r.kind, r.count))
            .collect();
        assert_eq!(said, [("heart", 100_003), ("wave", 1)]);
        assert_eq!(effects.present, 5);
        assert!(
            counter.take(now, 6, None, || None).is_none(),
            "said a moment ago"
        );
        let later = now + PRESENT_EVERY;
        assert_eq!(counter.take(later, 6, None, || None).unwrap().present, 6);
        assert!(counter.take(later, 6, None, || None).is_none());
        let again = later + PRESENT_AGAIN;
        assert_eq!(counter.take(again, 6, None, || None).unwrap().present, 6);
        assert!(
            counter
                .take(again + PRESENT_AGAIN, 0, None, || None)
                .is_none()
        );
    }

    #[test]
    fn names_are_said_when_they_change_where_the_room_is_small() {
        let mut counter = Counter::new();
        let now = Instant::now();
        counter.names_changed();
        let names = || Some(vec!["mina".to_owned()]);
        assert_eq!(counter.take(now, 0, None, names).unwrap().names, ["mina"]);
        counter.names_changed();
        assert!(counter.take(now, 0, None, names).is_none());
        assert!(counter.take(now + NAMES_EVERY, 0, None, || None).is_none());
    }
}
