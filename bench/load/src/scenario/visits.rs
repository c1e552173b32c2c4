//! Joins at a steady rate by viewers who leave again.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::watch::merge;
use crate::joiner::{Joined, Joiner, Outcome};
use crate::worker::Id;

/// Viewers that stay at the same time, at most. Full: joining waits, and shows as joins that began
/// late.
const STAYING_MAX: usize = 8_192;
/// Leaving requests under way at the same time.
const LEAVERS: usize = 4;

/// Who comes, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Visits {
    /// Of the first; the others follow.
    pub(super) first_id: Id,
    pub(super) count: usize,
    pub(super) rate: f64,
    /// None: until somebody else sees them off.
    pub(super) stay: Option<Duration>,
    /// Of a hundred, so many vanish without a word to the server.
    pub(super) vanish: u8,
}

impl Visits {
    /// Everyone joins, and leaves after their stay, if it has an end. Returns once the last has,
    /// with how joining and leaving went.
    pub(super) fn run(&self, joiner: &Joiner) -> (Outcome, Outcome) {
        let (staying, leaving) = bounded::<(Instant, Joined)>(STAYING_MAX);
        thread::scope(|scope| {
            let leavers: Vec<_> = (0..LEAVERS)
                .map(|_| {
                    let leaving = leaving.clone();
                    scope.spawn(move || {
                        let mut outcome = Outcome::default();
                        for (at, joined) in leaving {
                            thread::sleep(at.saturating_duration_since(Instant::now()));
                            self.leave(joiner, &joined, &mut outcome);
                        }
                        outcome
                    })
                })
                .collect();
            drop(leaving);
            let stop = AtomicBool::new(false);
            let joins = joiner.join_all(self.first_id, self.count, self.rate, &stop, |joined| {
                if let Some(stay) = self.stay {
                    // The leavers stay until this end of the channel is gone.
                    let _ = staying.send((Instant::now() + stay, joined.clone()));
                }
            });
            drop(staying);
            let leaves = leavers
                .into_iter()
                .map(|leaver| leaver.join().expect("a leaver does not panic"))
                .fold(Outcome::default(), merge);
            (joins, leaves)
        })
    }

    fn leave(&self, joiner: &Joiner, joined: &Joined, outcome: &mut Outcome) {
        if joined.id % 100 < usize::from(self.vanish) {
            joiner.vanish(joined);
            return;
        }
        if let Err(error) = joiner.leave(joined) {
            *outcome.failures.entry(format!("{error:#}")).or_default() += 1;
        }
    }
}
