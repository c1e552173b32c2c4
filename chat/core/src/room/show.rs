//! Ticks: what everybody is shown at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lightstick_chat_proto as proto;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::{FRAME_BYTES_MAX, Frame, Tick};
use prost::Message as _;

use super::write::user_of;
use super::{Output, Room};
use crate::now::Now;
use crate::record::{Answer, AuditRecord, MessageRecord, Record};
use crate::stream::batch;

/// Personal copies of messages that were left out, for each user a second.
const DIRECT_PER_SECOND: u32 = 3;

/// An entry that is never left out.
#[derive(Debug)]
pub(super) struct Urgent {
    pub(super) entry: Bytes,
    /// The message's; 0: none.
    pub(super) id: u64,
    pub(super) user: Arc<str>,
    /// Of its message in `accepted`.
    pub(super) place: Option<usize>,
}

impl Urgent {
    /// The message is gone before anybody was shown it. Its place in the stream is kept.
    pub(super) fn take_away(&mut self) {
        let removed = proto::Entry {
            entry: Some(proto::entry::Entry::Removed(proto::Removed {})),
        };
        (self.entry, self.id, self.place) = (removed.encode_to_vec().into(), 0, None);
    }
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

impl Room {
    pub(super) fn snapshot_is_old(&mut self) {
        self.snapshot = None;
    }

    /// Something waits for the next tick.
    pub(super) fn wants_tick(&mut self, now: Now) {
        let at = (self.ticked_at + self.config.tick).max(now.at);
        self.tick_at = Some(self.tick_at.map_or(at, |before| before.min(at)));
    }

    /// Something that is never left out waits.
    pub(super) fn wants_urgent(&mut self, now: Now) {
        let at = now.at + self.config.urgent_wait;
        self.urgent_at.get_or_insert(at);
    }

    /// Shows what is never left out, and nothing else.
    pub(super) fn show_urgent(&mut self, now: Now) {
        self.refill(now);
        let ctl = self.urgent_frame(now);
        self.outputs.push_back(Output::Show(Tick {
            ctl,
            ..Tick::default()
        }));
    }

    pub(super) fn tick(&mut self, now: Now) {
        self.refill(now);
        (self.tick_at, self.ticked_at) = (None, now.at);
        let ctl = self.urgent_frame(now);
        let (chat, messages) = self.chosen_frame(now);
        let fx = self.effects_frame(now);
        if ctl.is_some() || chat.is_some() || fx.is_some() {
            self.outputs.push_back(Output::Show(Tick {
                ctl,
                chat,
                fx,
                messages,
            }));
        }
        let mut records = Vec::new();
        for Accepted {
            record,
            audit,
            asked,
        } in std::mem::take(&mut self.accepted)
        {
            let Some(answer) = asked else {
                records.push(Record::Message(record));
                continue;
            };
            // By itself: what is wrong with one must not keep out the others.
            let audit = audit.map(Record::Audit);
            let message = Record::Message(record);
            self.outputs.push_back(Output::Commit {
                records: audit.into_iter().chain([message]).collect(),
                answers: vec![answer],
                action: None,
            });
        }
        // Messages before what was done to them.
        records.append(&mut self.records);
        let answers = std::mem::take(&mut self.answers);
        if !records.is_empty() || !answers.is_empty() {
            self.outputs.push_back(Output::Commit {
                records,
                answers,
                action: None,
            });
        }
        // Urgent entries that are left have lost the messages that they were of.
        for urgent in &mut self.urgent {
            urgent.place = None;
        }
        // Presence is said once a second, and may have changed since.
        if let Some(after) = self.counter.owed_after(self.clients.len() as u32) {
            self.tick_at = Some(now.at + after);
        }
    }

    /// What is shown is paid from a budget of bytes that fills with time: at most half a second's.
    fn refill(&mut self, now: Now) {
        let rate = self.config.bytes_per_second();
        let passed = now
            .at
            .saturating_duration_since(self.budget_at)
            .as_secs_f64();
        self.budget_at = now.at;
        // What is never left out may run into debt; not for longer than two seconds.
        self.budget = (self.budget + passed * rate).clamp(-2.0 * rate, rate / 2.0);
    }

    fn urgent_frame(&mut self, now: Now) -> Option<Frame> {
        self.urgent_at = None;
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
                self.totals.shown += 1;
            }
            if let Some(accepted) = urgent.place.and_then(|place| self.accepted.get_mut(place)) {
                accepted.record.shown = true;
            }
        }
        if !self.urgent.is_empty() {
            self.wants_urgent(now);
        }
        self.snapshot_is_old();
        let frame = batch(first, shown.iter().map(|urgent| &urgent.entry), 0);
        self.budget -= frame.len() as f64;
        Some(frame)
    }

    fn chosen_frame(&mut self, now: Now) -> (Option<Frame>, u32) {
        if self.sampler.is_empty() {
            return (None, 0);
        }
        let chosen = self.sampler.choose(self.budget);
        let first = self.stream.position().offset + 1;
        for candidate in &chosen.shown {
            self.stream
                .push(candidate.entry.clone(), candidate.id, &candidate.user);
            if let Some(accepted) = self.accepted.get_mut(candidate.place) {
                accepted.record.shown = true;
            }
        }
        self.totals.shown += chosen.shown.len() as u64;
        self.totals.skipped += u64::from(chosen.skipped);
        if chosen.skipped > 0 {
            self.send_direct(now);
        }
        self.snapshot_is_old();
        let entries = chosen.shown.iter().map(|candidate| &candidate.entry);
        let frame = batch(first, entries, chosen.skipped);
        self.budget -= frame.len() as f64;
        (Some(frame), chosen.shown.len() as u32)
    }

    /// Whoever is answered or named hears of it, also where the room does not.
    fn send_direct(&mut self, now: Now) {
        let mut told = Vec::new();
        for MessageRecord {
            message,
            shown,
            hidden,
            ..
        } in self.accepted.iter().map(|accepted| &accepted.record)
        {
            if *shown || *hidden {
                continue;
            }
            let answered = message.reply.iter().map(|reply| &reply.user);
            let author = user_of(message);
            let mut frame = None;
            for user in answered
                .chain(&message.mentions)
                .filter(|user| **user != author)
            {
                let Some(state) = self.users.get_mut(&**user) else {
                    continue;
                };
                let second = Duration::from_secs(1);
                if state.clients.is_empty()
                    || state
                        .direct
                        .take(now.at, DIRECT_PER_SECOND, second)
                        .is_err()
                {
                    continue;
                }
                let frame =
                    frame.get_or_insert_with(|| Frame::new([Part::Direct(message.clone())]));
                told.extend(state.clients.iter().map(|client| (*client, frame.clone())));
            }
        }
        let tell = told
            .into_iter()
            .map(|(client, frame)| Output::Tell { client, frame });
        self.outputs.extend(tell);
    }

    fn effects_frame(&mut self, now: Now) -> Option<Frame> {
        let votes = self.poll.as_mut().and_then(crate::poll::Poll::take_counts);
        let present = self.clients.len() as u32;
        let mut counter = std::mem::replace(&mut self.counter, crate::effects::Counter::new());
        let effects = counter.take(now.at, present, votes, || self.present_names());
        self.counter = counter;
        let frame = Frame::new([Part::Effects(effects?)]);
        self.budget -= frame.len() as f64;
        Some(frame)
    }
}
