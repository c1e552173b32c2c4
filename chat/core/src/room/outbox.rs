//! What leaves a room.

use std::collections::VecDeque;

use lightstick_chat_proto as proto;
use lightstick_chat_wire::{Frame, Tick};

use crate::record::{Answer, Asker, ClientKey, Done, Record, RoomEvent};
use crate::refusal::Refusal;

/// What a room wants done.
#[derive(Debug)]
pub enum Output {
    /// Everybody is shown this.
    Show(Tick),
    /// One client is sent this.
    Tell {
        client: ClientKey,
        frame: Frame,
    },
    /// Keep the records, all or none of those that must be kept; then give the answers. In order.
    Commit {
        /// May be empty.
        records: Vec<Record>,
        /// May be empty.
        answers: Vec<Answer>,
        /// What waits for the records: [`ChatRoom::kept`](super::ChatRoom::kept) is told whether they are
        /// kept.
        action: Option<u64>,
    },
    /// An answer that waits for nothing.
    Answer(Answer),
    /// Ask the review hook, and call [`ChatRoom::reviewed`](super::ChatRoom::reviewed).
    Review(Review),
    Event(Box<RoomEvent>),
    /// A cue for those who read captions elsewhere.
    Caption(proto::CaptionCue),
}

/// A message that the review hook is asked about.
#[derive(Clone, Debug)]
pub struct Review {
    /// The number to answer with.
    pub id: u64,
    /// As it would be shown.
    pub message: proto::Message,
}

/// What a room counts, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub accepted: u64,
    /// Of these, shown to everybody.
    pub shown: u64,
    /// Of these, left out for want of room.
    pub skipped: u64,
    /// Of these, shown to their author only, or deleted before they were shown.
    pub hidden: u64,
    pub refused: u64,
    /// Messages that waited for a moderator.
    pub held: u64,
    pub reactions: u64,
    /// Reactions above a client's limit, or of no known kind.
    pub reactions_dropped: u64,
}

/// Outputs in order, and what waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    records: Vec<Record>,
    answers: Vec<Answer>,
    pub(super) totals: Totals,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn tell(&mut self, client: ClientKey, frame: Frame) {
        self.push(Output::Tell { client, frame });
    }

    pub(super) fn event(&mut self, event: RoomEvent) {
        self.push(Output::Event(Box::new(event)));
    }

    /// Answers at once.
    pub(super) fn answer(&mut self, to: Asker, done: Done) {
        self.push(Output::Answer(Answer {
            to,
            binding: false,
            result: Ok(done),
        }));
    }

    /// Answers once all that was accepted before is kept.
    pub(super) fn acknowledge(&mut self, to: Asker, done: Done) {
        self.answers.push(Answer {
            to,
            binding: false,
            result: Ok(done),
        });
    }

    pub(super) fn refuse(&mut self, to: Asker, refusal: Refusal) {
        self.totals.refused += 1;
        self.push(Output::Answer(Answer {
            to,
            binding: false,
            result: Err(refusal),
        }));
    }

    /// Keeps a record with the next commit.
    pub(super) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Commits the messages of a tick, and after them all that waits.
    pub(super) fn commit(&mut self, mut messages: Vec<Record>) {
        messages.append(&mut self.records);
        let answers = std::mem::take(&mut self.answers);
        if !messages.is_empty() || !answers.is_empty() {
            self.push(Output::Commit {
                records: messages,
                answers,
                action: None,
            });
        }
    }

    /// The next output. What waits for a commit waits for the next tick where there `will_tick`
    /// messages; otherwise it needs none.
    pub(super) fn poll(&mut self, will_tick: bool) -> Option<Output> {
        if self.outputs.is_empty() && !will_tick {
            self.commit(Vec::new());
        }
        self.outputs.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Code;

    fn removed(id: u64) -> Record {
        Record::Removed {
            ids: vec![id],
            user: None,
            by: String::new(),
            at_ms: 0,
        }
    }

    #[test]
    fn answers_wait_for_the_records_of_their_tick_and_refusals_do_not() {
        let mut out = Outbox::default();
        out.record(removed(2));
        out.acknowledge(Asker::Request(1), Done::default());
        assert!(out.poll(true).is_none(), "messages are still to come");
        out.refuse(Asker::Request(2), Code::Muted.into());
        assert!(matches!(out.poll(true), Some(Output::Answer(_))));
        assert_eq!(out.totals.refused, 1);
        out.commit(vec![removed(1)]);
        let Some(Output::Commit {
            records, answers, ..
        }) = out.poll(true)
        else {
            panic!("no commit")
        };
        let ids = records.iter().map(|record| match record {
            Record::Removed { ids, .. } => ids[0],
            other => panic!("{other:?}"),
        });
        assert_eq!(ids.collect::<Vec<_>>(), [1, 2]);
        assert_eq!(answers.len(), 1);
        assert!(out.poll(false).is_none() && out.is_empty());
    }

    #[test]
    fn without_a_tick_answers_leave_at_once() {
        let mut out = Outbox::default();
        out.acknowledge(Asker::Request(1), Done::default());
        assert!(matches!(out.poll(false), Some(Output::Commit { .. })));
        assert!(out.poll(false).is_none());
    }
}
