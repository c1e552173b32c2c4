//! Which messages are shown when there are more than anybody can read.
//!
//! A weighted reservoir (Efraimidis and Spirakis 2006, algorithm A-Res): each message draws a
//! key from its weight, the best keys win. Only as many are kept as could be shown at most;
//! the rest is counted at once.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

/// Messages that may be chosen from in one tick.
const KEPT_MAX: usize = 64;

/// A message that may be shown.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) id: u64,
    pub(crate) user: Arc<str>,
    pub(crate) entry: Bytes,
    /// Place in its tick's list of accepted messages.
    pub(crate) place: usize,
}

#[derive(Debug)]
struct Drawn {
    /// Smaller is better.
    key: f64,
    candidate: Candidate,
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Drawn {}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key)
    }
}

/// Chooses the messages of each tick.
#[derive(Debug)]
pub(crate) struct Sampler {
    rng: fastrand::Rng,
    /// The worst on top, so that it can go.
    drawn: BinaryHeap<Drawn>,
    offered: u32,
    /// How often each author was chosen lately; halves each tick.
    chosen: HashMap<Arc<str>, f64>,
}

/// What a tick shows, oldest first, and how many it does not.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) shown: Vec<Candidate>,
    pub(crate) skipped: u32,
}

impl Sampler {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            drawn: BinaryHeap::new(),
            offered: 0,
            chosen: HashMap::new(),
        }
    }

    /// Offers a message. Who was chosen lately is less likely to be again.
    pub(crate) fn offer(&mut self, candidate: Candidate, weight: f64) {
        self.offered += 1;
        let lately = self.chosen.get(&candidate.user).copied().unwrap_or(0.0);
        let weight = weight / (1.0 + 4.0 * lately);
        let uniform = 1.0 - self.rng.f64();
        let key = -uniform.ln() / weight;
        if self.drawn.len() == KEPT_MAX {
            if self.drawn.peek().is_some_and(|worst| worst.key <= key) {
                return;
            }
            self.drawn.pop();
        }
        self.drawn.push(Drawn { key, candidate });
    }

    /// A message that was offered is gone again.
    pub(crate) fn withdraw(&mut self, gone: impl Fn(u64, &str) -> bool) {
        let before = self.drawn.len();
        self.drawn
            .retain(|drawn| !gone(drawn.candidate.id, &drawn.candidate.user));
        self.offered -= (before - self.drawn.len()) as u32;
    }

    /// Messages that were offered since the last choice.
    pub(crate) fn offered(&self) -> u32 {
        self.offered
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offered == 0
    }

    /// Takes what fits into `bytes`. Authors have one message each before any has a second. One
    /// that is longer than what is left is taken if `bytes` was untouched: the caller's
    /// budget runs into debt once, rather than never showing a long message.
    pub(crate) fn choose(&mut self, bytes: f64) -> Chosen {
        let drawn = std::mem::take(&mut self.drawn).into_sorted_vec();
        let mut shown: Vec<Candidate> = Vec::new();
        let mut seconds = Vec::new();
        let mut left = bytes;
        let mut take = |candidate: Candidate, shown: &mut Vec<Candidate>| {
            let size = candidate.entry.len() as f64;
            if left >= size || (left > 0.0 && shown.is_empty()) {
                left -= size;
                shown.push(candidate);
            }
        };
        for Drawn { candidate, .. } in drawn {
            if shown.iter().any(|other| other.user == candidate.user) {
                seconds.push(candidate);
            } else {
                take(candidate, &mut shown);
            }
        }
        for candidate in seconds {
            take(candidate, &mut shown);
        }
        shown.sort_by_key(|candidate| candidate.place);
        self.chosen.retain(|_, lately| {
            *lately *= 0.8;
            *lately > 0.05
        });
        for candidate in &shown {
            *self.chosen.entry(Arc::clone(&candidate.user)).or_default() += 1.0;
        }
        let skipped = self.offered - shown.len() as u32;
        self.offered = 0;
        Chosen { shown, skipped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(place: usize, user: &str, bytes: usize) -> Candidate {
        Candidate {
            id: place as u64 + 1,
            user: user.into(),
            entry: vec![0; bytes].into(),
            place,
        }
    }

    #[test]
    fn all_are_shown_where_they_fit() {
        let mut sampler = Sampler::new(1);
        for place in 0..5 {
            sampler.offer(candidate(place, "mina", 100), 1.0);
        }
        let chosen = sampler.choose(500.0);
        let places: Vec<_> = chosen.shown.iter().map(|c| c.place).collect();
        assert_eq!((places, chosen.skipped), (vec![0, 1, 2, 3, 4], 0));
        assert!(sampler.is_empty());
    }

    #[test]
    fn what_is_shown_and_skipped_adds_up() {
        let mut sampler = Sampler::new(2);
        for round in 0..50_u32 {
            let offered = round * 37;
            for place in 0..offered {
                sampler.offer(candidate(place as usize, &format!("u{place}"), 90), 1.0);
            }
            let chosen = sampler.choose(1_000.0);
            assert_eq!(chosen.shown.len() as u32 + chosen.skipped, offered);
            assert!(chosen.shown.len() <= 11);
        }
    }

    #[test]
    fn a_loud_author_does_not_take_the_room() {
        let mut sampler = Sampler::new(3);
        let mut loud = 0;
        let mut all = 0;
        for _ in 0..100 {
            for place in 0..200 {
                let user = match place % 2 {
                    0 => "loud".to_owned(),
                    _ => format!("u{place}"),
                };
                sampler.offer(candidate(place, &user, 100), 1.0);
            }
            let chosen = sampler.choose(1_000.0);
            all += chosen.shown.len();
            loud += chosen.shown.iter().filter(|c| &*c.user == "loud").count();
        }
        assert_eq!(all, 1_000);
        assert!(loud <= 100, "{loud}");
    }

    #[test]
    fn heavier_messages_are_shown_more_often() {
        let mut sampler = Sampler::new(4);
        let mut heavy = 0;
        for _ in 0..200 {
            for place in 0..100 {
                let weight = if place < 10 { 4.0 } else { 1.0 };
                let user = format!("u{place}-{heavy}");
                sampler.offer(candidate(place, &user, 100), weight);
            }
            heavy += sampler
                .choose(1_000.0)
                .shown
                .iter()
                .filter(|c| c.place < 10)
                .count();
        }
        // Of 2,000 shown, 10 in 100 would be 200 without weights.
        assert!((400..800).contains(&heavy), "{heavy}");
    }

    #[test]
    fn a_long_message_is_shown_when_nothing_was_spent() {
        let mut sampler = Sampler::new(5);
        sampler.offer(candidate(0, "mina", 1_500), 1.0);
        assert_eq!(sampler.choose(0.0).shown.len(), 0);
        sampler.offer(candidate(0, "mina", 1_500), 1.0);
        assert_eq!(sampler.choose(400.0).shown.len(), 1);
    }

    #[test]
    fn the_withdrawn_are_not_counted() {
        let mut sampler = Sampler::new(6);
        for place in 0..3 {
            sampler.offer(candidate(place, "mina", 10), 1.0);
        }
        sampler.withdraw(|id, _| id == 2);
        let chosen = sampler.choose(1_000.0);
        let places: Vec<_> = chosen.shown.iter().map(|c| c.place).collect();
        assert_eq!((places, chosen.skipped), (vec![0, 2], 0));
    }
}
