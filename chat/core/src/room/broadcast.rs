//! What everybody is shown: messages and entries that wait for it, and the frames they leave in.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lightstick_chat_proto as proto;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::{FRAME_BYTES_MAX, Frame};
use prost::Message as _;

use super::budget::{Budget, Schedule};
use super::draft::user_of;
use super::outbox::Totals;
use crate::config::RoomConfig;
use crate::effects::Counter;
use crate::record::{Answer, AuditRecord, MessageRecord};
use crate::sample::{Candidate, Sampler};
use crate::stream::{Stream, batch};

/// Messages of one tick. More are refused: nobody writes so fast but machines.
const ACCEPTED_MAX: usize = 20_000;

/// An entry that is never left out.
#[derive(Debug)]
struct Urgent {
    entry: Bytes,
    /// The message's; 0: none.
    id: u64,
    user: Arc<str>,
    /// Of its message in `accepted`.
    place: Option<usize>,
}

/// A message that waits for its tick.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) record: MessageRecord,
    /// Somebody used their power to write it.
    pub(super) audit: Option<AuditRecord>,
    /// The integrator's server waits to hear that it is kept.
    pub(super) asked: Option<Answer>,
}

/// Who is to see a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Audience {
    /// Its author only.
    Author,
    /// Everybody, whatever the crowd writes.
    Everybody,
    /// Everybody, if it is chosen among others by this weight.
    Chosen(f64),
}

/// What became of messages that were withdrawn.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Withdrawn {
    /// Those that had been shown and are still in the stream.
    pub(super) shown: Vec<u64>,
    /// How many nobody has seen.
    pub(super) unshown: u64,
    /// Those whose records have not left yet.
    pub(super) unkept: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) stream: Stream,
    pub(super) counter: Counter,
    pub(super) schedule: Schedule,
    sampler: Sampler,
    budget: Budget,
    urgent: Vec<Urgent>,
    urgent_max: usize,
    /// Messages accepted since the last tick.
    accepted: Vec<Accepted>,
}

impl Broadcast {
    pub(super) fn new(config: &RoomConfig, epoch: u64, seed: u64, now: Instant) -> Self {
        Self {
            stream: Stream::new(epoch, config.history_entries),
            counter: Counter::new(),
            schedule: Schedule::new(config.tick, config.urgent_wait, now),
            sampler: Sampler::new(seed),
            budget: Budget::new(config.bytes_per_second(), now),
            urgent: Vec::new(),
            urgent_max: config.urgent_max,
            accepted: Vec::new(),
        }
    }

    /// No more messages are accepted in this tick.
    pub(super) fn is_full(&self) -> bool {
        self.accepted.len() >= ACCEPTED_MAX
    }

    /// Nothing more that is never left out is taken until what waits is shown.
    pub(super) fn is_urgent_full(&self) -> bool {
        self.urgent.len() >= self.urgent_max
    }

    /// Messages wait for the next tick.
    pub(super) fn has_accepted(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// Takes a message for the next tick.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        user: Arc<str>,
        audience: Audience,
        accepted: Accepted,
    ) {
        let place = self.accepted.len();
        let message = &accepted.record.message;
        let id = message.id;
        let entry = |message: &proto::Message| encoded(Entry::Message(message.clone()));
        match audience {
            Audience::Author => {}
            Audience::Everybody => {
                self.urgent.push(Urgent {
                    entry: entry(message),
                    id,
                    user,
                    place: Some(place),
                });
                self.schedule.want_urgent(now);
            }
            Audience::Chosen(weight) => {
                let candidate = Candidate {
                    id,
                    user,
                    entry: entry(message),
                    place,
                };
                self.sampler.offer(candidate, weight);
            }
        }
        self.accepted.push(accepted);
        self.schedule.want_tick(now);
    }

    /// Shows something that is never left out.
    pub(super) fn show_entry(&mut self, now: Instant, entry: Entry) {
        self.urgent.push(Urgent {
            entry: encoded(entry),
            id: 0,
            user: Arc::from(""),
            place: None,
        });
        self.schedule.want_urgent(now);
    }

    /// Takes messages out of everything that somebody could still be sent, by their id and user.
    pub(super) fn withdraw(&mut self, gone: impl Fn(u64, &str) -> bool) -> Withdrawn {
        let shown = self.stream.remove(&gone);
        let before = self.sampler.offered();
        self.sampler.withdraw(&gone);
        let mut unshown = u64::from(before - self.sampler.offered());
        for urgent in &mut self.urgent {
            if urgent.id != 0 && gone(urgent.id, &urgent.user) {
                // Its place in the stream is kept.
                let removed = encoded(Entry::Removed(proto::Removed {}));
                (urgent.entry, urgent.id, urgent.place) = (removed, 0, None);
                unshown += 1;
            }
        }
        let mut unkept = Vec::new();
        for accepted in &mut self.accepted {
            let message = &accepted.record.message;
            if gone(message.id, user_of(message)) {
                unkept.push(message.id);
                accepted.record.hidden = true;
            }
        }
        Withdrawn {
            shown,
            unshown,
            unkept,
        }
    }

    /// Who wrote a message that is still here.
    pub(super) fn author_of(&self, id: u64) -> Option<Arc<str>> {
        match self.waiting(id) {
            Some(message) => Some(user_of(message).into()),
            None => self.stream.author(id).cloned(),
        }
    }

    /// The text of a message that is still here.
    pub(super) fn text_of(&self, id: u64) -> Option<String> {
        match self.waiting(id) {
            Some(message) => Some(message.text.clone()),
            None => Some(self.stream.message(id)?.text),
        }
    }

    /// A message of the next tick.
    fn waiting(&self, id: u64) -> Option<&proto::Message> {
        let mut messages = self.accepted.iter().map(|it| &it.record.message);
        messages.find(|message| message.id == id)
    }

    pub(super) fn refill(&mut self, now: Instant) {
        self.budget.refill(now);
    }

    /// What is never left out, as much as fits into one frame.
    pub(super) fn urgent_frame(&mut self, now: Instant, totals: &mut Totals) -> Option<Frame> {
        self.schedule.urgent();
        if self.urgent.is_empty() {
            return None;
        }
        let mut bytes = 0;
        let fit = self.urgent.iter().position(|urgent| {
            bytes += urgent.entry.len() + 8;
            bytes > FRAME_BYTES_MAX
        });
        let count = fit.unwrap_or(self.urgent.len()).max(1);
        let first = self.stream.position().offset + 1;
        let rest = self.urgent.split_off(count);
        let shown = std::mem::replace(&mut self.urgent, rest);
        for urgent in &shown {
            self.stream
                .push(urgent.entry.clone(), urgent.id, &urgent.user);
            if urgent.id != 0 {
                totals.shown += 1;
            }
            if let Some(accepted) = urgent.place.and_then(|place| self.accepted.get_mut(place)) {
                accepted.record.shown = true;
            }
        }
        if !self.urgent.is_empty() {
            self.schedule.want_urgent(now);
        }
        let frame = batch(first, shown.iter().map(|urgent| &urgent.entry), 0);
        self.budget.spend(frame.len());
        Some(frame)
    }

    /// The messages that were chosen, how many they are, and how many were left out.
    pub(super) fn chosen_frame(&mut self, totals: &mut Totals) -> Option<(Frame, u32, u32)> {
        if self.sampler.is_empty() {
            return None;
        }
        let chosen = self.sampler.choose(self.budget.bytes());
        let first = self.stream.position().offset + 1;
        for candidate in &chosen.shown {
            self.stream
                .push(candidate.entry.clone(), candidate.id, &candidate.user);
            if let Some(accepted) = self.accepted.get_mut(candidate.place) {
                accepted.record.shown = true;
            }
        }
        totals.shown += chosen.shown.len() as u64;
        totals.skipped += u64::from(chosen.skipped);
        let entries = chosen.shown.iter().map(|candidate| &candidate.entry);
        let frame = batch(first, entries, chosen.skipped);
        self.budget.spend(frame.len());
        Some((frame, chosen.shown.len() as u32, chosen.skipped))
    }

    pub(super) fn effects_frame(
        &mut self,
        now: Instant,
        present: u32,
        votes: Option<Vec<u32>>,
        names: impl FnOnce() -> Option<Vec<String>>,
    ) -> Option<Frame> {
        let effects = self.counter.take(now, present, votes, names)?;
        let frame = Frame::new([Part::Effects(effects)]);
        self.budget.spend(frame.len());
        Some(frame)
    }

    /// Messages of this tick that everybody might have seen, and that were left out.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &proto::Message> {
        let records = self.accepted.iter().map(|accepted| &accepted.record);
        let left_out = records.filter(|record| !record.shown && !record.hidden);
        left_out.map(|record| &record.message)
    }

    /// The messages of a tick that is over.
    pub(super) fn take_accepted(&mut self) -> Vec<Accepted> {
        // Urgent entries that are left have lost the messages that they were of.
        for urgent in &mut self.urgent {
            urgent.place = None;
        }
        std::mem::take(&mut self.accepted)
    }
}

fn encoded(entry: Entry) -> Bytes {
    let entry = proto::Entry { entry: Some(entry) };
    entry.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(id: u64, user: &str, text: &str) -> Accepted {
        let message = proto::Message {
            id,
            author: Some(proto::Author {
                user: user.into(),
                ..Default::default()
            }),
            text: text.into(),
            ..Default::default()
        };
        Accepted {
            record: MessageRecord {
                message,
                shown: false,
                hidden: false,
                key: String::new(),
            },
            audit: None,
            asked: None,
        }
    }

    fn broadcast(now: Instant) -> Broadcast {
        Broadcast::new(&RoomConfig::default(), 1, 1, now)
    }

    #[test]
    fn what_is_urgent_is_always_shown_and_what_its_author_sees_never() {
        let now = Instant::now();
        let mut all = broadcast(now);
        let mut totals = Totals::default();
        for (id, audience) in [
            (1, Audience::Author),
            (2, Audience::Everybody),
            (3, Audience::Chosen(1.0)),
        ] {
            all.accept(now, "mina".into(), audience, accepted(id, "mina", "hi"));
        }
        assert!(all.urgent_frame(now, &mut totals).is_some());
        let (_, shown, skipped) = all.chosen_frame(&mut totals).unwrap();
        assert_eq!((shown, skipped, totals.shown), (1, 0, 2));
        let shown = all.take_accepted().into_iter().map(|it| it.record.shown);
        assert_eq!(shown.collect::<Vec<_>>(), [false, true, true]);
        assert!(all.urgent_frame(now, &mut totals).is_none());
        assert!(all.chosen_frame(&mut totals).is_none());
    }

    #[test]
    fn what_is_withdrawn_is_nowhere_any_more() {
        let now = Instant::now();
        let mut all = broadcast(now);
        let mut totals = Totals::default();
        let user: Arc<str> = "mina".into();
        all.accept(
            now,
            user.clone(),
            Audience::Everybody,
            accepted(1, "mina", "old"),
        );
        all.urgent_frame(now, &mut totals);
        all.take_accepted();
        for (id, audience) in [(2, Audience::Everybody), (3, Audience::Chosen(1.0))] {
            all.accept(now, user.clone(), audience, accepted(id, "mina", "new"));
        }
        assert_eq!(all.author_of(3).as_deref(), Some("mina"));
        assert_eq!(all.text_of(1).as_deref(), Some("old"));
        let withdrawn = all.withdraw(|_, author| author == "mina");
        assert_eq!(
            withdrawn,
            Withdrawn {
                shown: vec![1],
                unshown: 2,
                unkept: vec![2, 3],
            }
        );
        assert_eq!(all.text_of(1), None);
        assert!(all.chosen_frame(&mut totals).is_none());
        assert_eq!(all.left_out().count(), 0, "hidden is not left out");
        all.urgent_frame(now, &mut totals).unwrap();
        assert_eq!(totals.shown, 1, "the place alone is kept");
    }

    #[test]
    fn urgent_entries_that_fit_into_no_frame_leave_in_several() {
        let now = Instant::now();
        let mut all = broadcast(now);
        let mut totals = Totals::default();
        for _ in 0..5 {
            all.show_entry(now, Entry::UserCleared("x".repeat(6_000)));
        }
        let mut frames = 0;
        while let Some(frame) = all.urgent_frame(now, &mut totals) {
            assert!(frame.len() <= FRAME_BYTES_MAX);
            frames += 1;
        }
        assert_eq!(frames, 3);
        assert_eq!(all.stream.position().offset, 5);
    }
}
