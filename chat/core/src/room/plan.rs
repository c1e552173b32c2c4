//! What an action would change, and the records that have to be kept first.

use lightstick_chat_proto as proto;

use super::moderation::{Appeal, Held};
use crate::now::Now;
use crate::poll::Poll;
use crate::record::{Actor, AuditRecord, ClientKey, Done, Record};
use crate::sanctions::Sanction;
use crate::screen::Screen;

#[derive(Debug)]
pub(super) enum Change {
    Delete {
        id: u64,
        by: String,
    },
    Clear {
        user: String,
        by: String,
    },
    Sanction {
        user: String,
        sanction: Sanction,
        /// Whose sanctions are over.
        past: Vec<String>,
        event: AuditRecord,
    },
    Lift {
        user: String,
        event: AuditRecord,
    },
    Approve(Box<Held>),
    Deny(Box<Held>),
    Pin(Option<Box<proto::Message>>),
    Settings(Box<(proto::Settings, Screen)>),
    Announce(proto::Announcement),
    PollStart(Box<Poll>),
    PollEnd,
    Notice {
        user: String,
        code: &'static str,
        detail: String,
        seconds: u32,
    },
    TellQueue(ClientKey),
    /// `None`: no longer there.
    Appeal {
        user: String,
        appeal: Option<Appeal>,
    },
    AppealOpened {
        user: String,
        appeal: Appeal,
    },
    Erase {
        user: String,
        /// What is left of the sanctions that named the user.
        sanctions: Vec<(String, Option<Sanction>)>,
        found: bool,
    },
}

/// Changes that are made once their records are kept.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) records: Vec<Record>,
    pub(super) changes: Vec<Change>,
    pub(super) done: Done,
}

impl Plan {
    pub(super) fn new(now: Now) -> Self {
        Self {
            records: Vec::new(),
            changes: Vec::new(),
            done: Done {
                at_ms: now.unix_ms,
                ..Done::default()
            },
        }
    }

    pub(super) fn audit(&mut self, record: AuditRecord) -> AuditRecord {
        self.records.push(Record::Audit(record.clone()));
        record
    }

    /// Keeps a part of the room's state; `None`: it is no longer there.
    pub(super) fn state(&mut self, key: impl Into<String>, value: Option<&impl serde::Serialize>) {
        let value = value.and_then(|value| serde_json::to_string(value).ok());
        let key = key.into();
        self.records.push(Record::State { key, value });
    }

    /// Forgets a part of the room's state.
    pub(super) fn forget(&mut self, key: impl Into<String>) {
        self.state(key, None::<&()>);
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
