//! One poll at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_chat_proto as proto;

use crate::now::Now;
use crate::refusal::{Code, Refusal};
use crate::screen::POLL_CHARS_MAX;

const CHOICES: std::ops::RangeInclusive<usize> = 2..=10;
const SECONDS_DEFAULT: u32 = 120;
const SECONDS_MAX: u32 = 3_600;

#[derive(Debug)]
pub(crate) struct Poll {
    id: u64,
    question: String,
    choices: Vec<String>,
    counts: Vec<u32>,
    votes: HashMap<Arc<str>, u32>,
    /// Whose votes of an address count, the latest last.
    guests: HashMap<u64, VecDeque<Arc<str>>>,
    pub(crate) ends_at: Instant,
    ends_at_ms: u64,
    /// Counts have changed since they were last shown.
    changed: bool,
}

impl Poll {
    pub(crate) fn start(id: u64, start: proto::PollStart, now: Now) -> Result<Self, Refusal> {
        let good = |text: &String| {
            let chars = text.trim().chars().count();
            (1..=POLL_CHARS_MAX).contains(&chars)
        };
        if !good(&start.question) || !start.choices.iter().all(good) {
            let detail = "a question and its choices have 1 to 100 characters";
            return Err(Refusal::because(Code::OutOfRange, detail));
        }
        if !CHOICES.contains(&start.choices.len()) {
            return Err(Refusal::because(Code::OutOfRange, "2 to 10 choices"));
        }
        let seconds = match start.seconds {
            0 => SECONDS_DEFAULT,
            seconds => seconds.min(SECONDS_MAX),
        };
        let end = now.after(Duration::from_secs(seconds.into()));
        Ok(Self {
            id,
            question: start.question.trim().to_owned(),
            counts: vec![0; start.choices.len()],
            choices: start.choices,
            votes: HashMap::new(),
            guests: HashMap::new(),
            ends_at: end.at,
            ends_at_ms: end.unix_ms,
            changed: false,
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// One vote a user: a second replaces the first. Of users without a token, `guest` says the
    /// address and how many votes count there; a further one replaces the oldest.
    pub(crate) fn vote(
        &mut self,
        user: &Arc<str>,
        guest: Option<(u64, u32)>,
        choice: u32,
    ) -> Result<(), Refusal> {
        if choice as usize >= self.choices.len() {
            return Err(Code::OutOfRange.into());
        }
        if let Some((address, votes_max)) = guest {
            let voters = self.guests.entry(address).or_default();
            if !voters.contains(user) {
                voters.push_back(Arc::clone(user));
            }
            if voters.len() > votes_max.max(1) as usize
                && let Some(oldest) = voters.pop_front()
                && let Some(before) = self.votes.remove(&oldest)
            {
                self.counts[before as usize] -= 1;
            }
        }
        if let Some(before) = self.votes.insert(Arc::clone(user), choice) {
            self.counts[before as usize] -= 1;
        }
        self.counts[choice as usize] += 1;
        self.changed = true;
        Ok(())
    }

    /// The counts, where they have changed since the last call.
    pub(crate) fn take_counts(&mut self) -> Option<Vec<u32>> {
        std::mem::take(&mut self.changed).then(|| self.counts.clone())
    }

    pub(crate) fn shown(&self, ended: bool) -> proto::Poll {
        let choices = self.choices.iter().zip(&self.counts);
        proto::Poll {
            id: self.id,
            question: self.question.clone(),
            choices: choices
                .map(|(text, votes)| proto::PollChoice {
                    text: text.clone(),
                    votes: *votes,
                })
                .collect(),
            ends_at_ms: self.ends_at_ms,
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_one_a_user() {
        let now = Now {
            at: Instant::now(),
            unix_ms: 0,
        };
        let start = proto::PollStart {
            question: "Encore?".into(),
            choices: vec!["yes".into(), "YES".into()],
            seconds: 0,
        };
        let mut poll = Poll::start(1, start, now).unwrap();
        assert_eq!(poll.take_counts(), None);
        let (mina, hana) = (Arc::from("mina"), Arc::from("hana"));
        poll.vote(&mina, None, 0).unwrap();
        poll.vote(&hana, None, 1).unwrap();
        poll.vote(&mina, None, 1).unwrap();
        assert!(poll.vote(&mina, None, 2).is_err());
        assert_eq!(poll.take_counts(), Some(vec![0, 2]));
        assert_eq!(poll.take_counts(), None);
        assert_eq!(poll.shown(true).choices[1].votes, 2);
        // Whoever votes under many names from one address has as many votes as it has.
        for n in 0..200 {
            let guest = format!("guest-{n}").into();
            poll.vote(&guest, Some((7, 2)), 0).unwrap();
        }
        assert_eq!(poll.take_counts(), Some(vec![2, 2]));
        poll.vote(&"guest-199".into(), Some((7, 2)), 1).unwrap();
        assert_eq!(poll.take_counts(), Some(vec![1, 3]));
        for (question, choices) in [("", 2), ("q", 1), ("q", 11)] {
            let start = proto::PollStart {
                question: question.into(),
                choices: vec!["c".into(); choices],
                seconds: 0,
            };
            assert!(Poll::start(1, start, now).is_err());
        }
    }
}
