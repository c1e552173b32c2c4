//! What an action changes, once its records are kept.

use std::sync::Arc;

use lightstick_chat_proto as proto;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::Frame;
use prost::Message as _;

use super::held::Held;
use super::show::Urgent;
use super::write::user_of;
use super::{Appeal, ClientKey, Output, Room};
use crate::now::Now;
use crate::poll::Poll;
use crate::record::{AuditRecord, Record, RoomEvent};
use crate::sanctions::Sanction;
use crate::screen::Screen;

/// One change. Its records are kept already.
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

impl Room {
    pub(super) fn apply(&mut self, now: Now, change: Change) {
        match change {
            Change::Delete { id, by } => {
                self.take_away(now, &by, |message, _| message == id);
                self.show_entry(now, Entry::Deleted(proto::Deleted { ids: vec![id] }));
                self.tell(RoomEvent::MessagesDeleted { ids: vec![id] });
            }
            Change::Clear { user, by } => {
                let ids = self.take_away(now, &by, |_, author| author == user);
                self.show_entry(now, Entry::UserCleared(user));
                if !ids.is_empty() {
                    self.tell(RoomEvent::MessagesDeleted { ids });
                }
            }
            Change::Sanction {
                user,
                sanction,
                past,
                event,
            } => {
                for past in past {
                    self.sanctions.lift(&past);
                }
                self.sanctions.impose(&user, sanction);
                self.appeals.remove(&user);
                self.tell(RoomEvent::UserModerated(event));
            }
            Change::Lift { user, event } => {
                self.sanctions.lift(&user);
                self.appeals.remove(&user);
                self.tell(RoomEvent::UserModerated(event));
            }
            Change::Approve(held) => self.approve(now, *held),
            Change::Deny(held) => self.deny(&held),
            Change::Pin(message) => {
                self.pinned = message.map(|message| *message);
                let shown = self.pinned.clone().unwrap_or_default();
                self.show_entry(now, Entry::Pinned(shown));
            }
            Change::Settings(settings) => {
                let (settings, screen) = *settings;
                self.screen.replace(screen);
                self.settings = settings;
                self.show_entry(now, Entry::Settings(self.shown_settings()));
            }
            Change::Announce(announcement) => {
                self.announcement = Some(announcement.clone());
                self.show_entry(now, Entry::Announcement(announcement));
            }
            Change::PollStart(poll) => {
                self.show_entry(now, Entry::Poll(poll.shown(false)));
                self.poll = Some(*poll);
            }
            Change::PollEnd => self.finish_poll(now),
            Change::Notice {
                user,
                code,
                detail,
                seconds,
            } => self.notice(&user, code, &detail, seconds),
            Change::TellQueue(client) => {
                let frame = Frame::new([Part::Queue(self.queue())]);
                self.outputs.push_back(Output::Tell { client, frame });
            }
            Change::Appeal { user, appeal } => {
                match appeal {
                    Some(appeal) => self.appeals.insert(user, appeal),
                    None => self.appeals.remove(&user),
                };
            }
            Change::AppealOpened { user, appeal } => {
                let text = appeal.text.clone();
                self.appeals.insert(user.clone(), appeal);
                self.tell(RoomEvent::AppealOpened { user, text });
            }
            Change::Erase {
                user,
                sanctions,
                found,
            } => {
                self.take_away(now, "", |_, author| author == user);
                self.appeals.remove(&user);
                for (whose, sanction) in sanctions {
                    match sanction {
                        Some(sanction) => drop(self.sanctions.impose(&whose, sanction)),
                        None => drop(self.sanctions.lift(&whose)),
                    }
                }
                self.posts.erase(&user);
                if found {
                    self.show_entry(now, Entry::UserCleared(user));
                }
            }
        }
    }

    /// The records of a change could not be kept: all is as it was.
    pub(super) fn give_up(&mut self, change: Change) {
        if let Change::Approve(held) | Change::Deny(held) = change {
            self.put_back(*held);
        }
    }

    /// Takes messages out of everything that somebody could still be sent.
    pub(super) fn take_away(
        &mut self,
        now: Now,
        by: &str,
        gone: impl Fn(u64, &str) -> bool,
    ) -> Vec<u64> {
        let ids = self.stream.remove(&gone);
        let before = self.sampler.offered();
        self.sampler.withdraw(&gone);
        self.totals.hidden += u64::from(before - self.sampler.offered());
        let is_gone = |message: &proto::Message| gone(message.id, user_of(message));
        for urgent in &mut self.urgent {
            if urgent.id != 0 && gone(urgent.id, &urgent.user) {
                urgent.take_away();
                self.totals.hidden += 1;
            }
        }
        let mut unkept = Vec::new();
        for accepted in &mut self.accepted {
            if is_gone(&accepted.record.message) {
                accepted.record.hidden = true;
                unkept.push(accepted.record.message.id);
            }
        }
        if !unkept.is_empty() {
            // The archive gets these messages after the action that took them away.
            self.records.push(Record::Removed {
                ids: unkept,
                user: None,
                by: by.to_owned(),
                at_ms: now.unix_ms,
            });
        }
        self.highlighted.retain(|(_, message)| !is_gone(message));
        self.held.retain(|held| !is_gone(&held.message));
        if self.pinned.as_ref().is_some_and(is_gone) {
            self.pinned = None;
        }
        self.recovery = None;
        self.snapshot_is_old();
        ids
    }

    pub(super) fn end_poll(&mut self, now: Now) {
        if self
            .poll
            .as_ref()
            .is_some_and(|poll| poll.ends_at <= now.at)
        {
            self.finish_poll(now);
        }
    }

    fn finish_poll(&mut self, now: Now) {
        if let Some(poll) = self.poll.take() {
            let shown = poll.shown(true);
            self.show_entry(now, Entry::Poll(shown.clone()));
            self.tell(RoomEvent::PollEnded(shown));
        }
    }

    pub(super) fn tell(&mut self, event: RoomEvent) {
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    /// Shows something that is never left out.
    pub(super) fn show_entry(&mut self, now: Now, entry: Entry) {
        let entry = proto::Entry { entry: Some(entry) };
        self.urgent.push(Urgent {
            entry: entry.encode_to_vec().into(),
            id: 0,
            user: Arc::from(""),
            place: None,
        });
        self.snapshot_is_old();
        self.wants_urgent(now);
    }
}
