//! Actions that wait for their records: nothing that somebody does with their power is in force
//! before the archive has taken what it will say of it.
//!
//! One action at a time is with the archive, so that each is planned on what the one before has
//! left. The others wait here, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lightstick_chat_proto::moderate::Action;
use lightstick_types::ChatMember;

use super::apply::Change;
use super::{Actor, Output, Room};
use crate::now::Now;
use crate::record::{Answer, Asker, AuditRecord, Done, Record};
use crate::refusal::{Code, Refusal};

/// Actions that wait for the one that is being kept. More are refused.
const WAITING_MAX: usize = 256;
/// When to try again an action that found no place.
const AGAIN: Duration = Duration::from_secs(1);

/// What somebody wants done.
#[derive(Debug)]
pub(super) enum Request {
    Moderate {
        actor: Actor,
        action: Box<Action>,
        reason: String,
    },
    Appeal {
        member: Arc<ChatMember>,
        text: String,
    },
    Erase {
        actor: Actor,
        user: String,
    },
}

/// What a request changes once its records are kept.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) records: Vec<Record>,
    pub(super) changes: Vec<Change>,
    pub(super) done: Done,
}

impl Plan {
    pub(super) fn new(done: Done) -> Self {
        Self {
            records: Vec::new(),
            changes: Vec::new(),
            done,
        }
    }

    pub(super) fn audit(&mut self, record: AuditRecord) -> AuditRecord {
        self.records.push(Record::Audit(record.clone()));
        record
    }

    pub(super) fn state(&mut self, key: impl Into<String>, value: Option<&impl serde::Serialize>) {
        let value = value.and_then(|value| serde_json::to_string(value).ok());
        let key = key.into();
        self.records.push(Record::State { key, value });
    }

    pub(super) fn clear(&mut self, user: String, actor: &Actor) {
        let by = actor.user.clone();
        self.changes.push(Change::Clear { user, by });
    }

    pub(super) fn notice(&mut self, user: String, code: &'static str, detail: &str, seconds: u32) {
        self.changes.push(Change::Notice {
            user,
            code,
            detail: detail.to_owned(),
            seconds,
        });
    }
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: VecDeque<(Request, Asker)>,
    /// What the archive is given.
    keeping: Option<(u64, Plan, Asker)>,
    last: u64,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.keeping.is_none()
    }
}

impl Room {
    /// Does what is asked for, once its records are kept.
    pub(super) fn request(&mut self, now: Now, request: Request, to: Asker) {
        if self.pending.waiting.len() >= WAITING_MAX {
            return self.refuse(to, Refusal::later(Code::Full, AGAIN));
        }
        self.pending.waiting.push_back((request, to));
        self.next_request(now);
    }

    /// The shell has heard of the records of an action: see [`Output::Commit`].
    pub fn kept(&mut self, now: Now, action: u64, kept: bool) {
        let Some((_, plan, to)) = self.pending.keeping.take_if(|(id, ..)| *id == action) else {
            return;
        };
        self.finish(now, plan, to, kept);
        self.next_request(now);
    }

    fn finish(&mut self, now: Now, plan: Plan, to: Asker, kept: bool) {
        let result = match kept {
            true => Ok(plan.done),
            false => Err(Code::NotKept.into()),
        };
        for change in plan.changes {
            match kept {
                true => self.apply(now, change),
                false => self.give_up(change),
            }
        }
        match result {
            Ok(done) => self.outputs.push_back(Output::Answer(Answer {
                to,
                binding: false,
                result: Ok(done),
            })),
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    fn next_request(&mut self, now: Now) {
        while self.pending.keeping.is_none() {
            let Some((request, to)) = self.pending.waiting.pop_front() else {
                return;
            };
            let mut plan = match self.plan(now, request, to) {
                Ok(plan) => plan,
                Err(refusal) => {
                    self.refuse(to, refusal);
                    continue;
                }
            };
            if plan.records.is_empty() {
                self.finish(now, plan, to, true);
                continue;
            }
            self.pending.last += 1;
            self.outputs.push_back(Output::Commit {
                records: std::mem::take(&mut plan.records),
                answers: Vec::new(),
                action: Some(self.pending.last),
            });
            self.pending.keeping = Some((self.pending.last, plan, to));
        }
    }

    fn plan(&mut self, now: Now, request: Request, to: Asker) -> Result<Plan, Refusal> {
        match request {
            Request::Moderate {
                actor,
                action,
                reason,
            } => self.plan_action(now, &actor, *action, &reason, to),
            Request::Appeal { member, text } => self.plan_appeal(now, &member, &text),
            Request::Erase { actor, user } => Ok(self.plan_erasure(now, &actor, &user)),
        }
    }
}
