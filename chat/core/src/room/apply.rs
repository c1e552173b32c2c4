//! Makes the changes of a plan, once its records are kept.

use lightstick_chat_proto as proto;
use lightstick_chat_proto::entry::Entry;
use lightstick_chat_proto::part::Part;
use lightstick_chat_wire::Frame;

use super::plan::Change;
use super::state::RoomState;
use crate::now::Now;
use crate::record::RoomEvent;

impl RoomState {
    pub(super) fn apply(&mut self, now: Now, change: Change) {
        match change {
            Change::Delete { id, by } => {
                self.withdraw(now, &by, |message, _| message == id);
                self.talk
                    .show_entry(now, Entry::Deleted(proto::Deleted { ids: vec![id] }));
                self.talk
                    .out
                    .event(RoomEvent::MessagesDeleted { ids: vec![id] });
            }
            Change::Clear { user, by } => {
                let ids = self.withdraw(now, &by, |_, author| author == user);
                self.talk.show_entry(now, Entry::UserCleared(user));
                if !ids.is_empty() {
                    self.talk.out.event(RoomEvent::MessagesDeleted { ids });
                }
            }
            Change::Sanction {
                user,
                sanction,
                past,
                event,
            } => {
                for past in past {
                    self.moderation.sanctions.lift(&past);
                }
                self.moderation.sanctions.impose(&user, sanction);
                self.moderation.appeals.remove(&user);
                self.talk.out.event(RoomEvent::UserModerated(event));
            }
            Change::Lift { user, event } => {
                self.moderation.sanctions.lift(&user);
                self.moderation.appeals.remove(&user);
                self.talk.out.event(RoomEvent::UserModerated(event));
            }
            Change::Approve(held) => self.approve(now, *held),
            Change::Deny(held) => self.deny(&held),
            Change::Pin(message) => {
                let message = message.map(|message| *message);
                let shown = message.clone().unwrap_or_default();
                self.talk.board.pin(message);
                self.talk.show_entry(now, Entry::Pinned(shown));
            }
            Change::Settings(settings) => {
                let (settings, screen) = *settings;
                self.rules.replace_screen(screen);
                self.talk.board.set_settings(settings);
                let shown = self.talk.board.public_settings();
                self.talk.show_entry(now, Entry::Settings(shown));
            }
            Change::Announce(announcement) => {
                self.talk.board.announce(announcement.clone());
                self.talk.show_entry(now, Entry::Announcement(announcement));
            }
            Change::PollStart(poll) => self.talk.start_poll(now, *poll),
            Change::PollEnd => self.talk.end_poll(now),
            Change::Notice {
                user,
                code,
                detail,
                seconds,
            } => self.talk.notice(&user, code, &detail, seconds),
            Change::TellQueue(client) => {
                let frame = Frame::new([Part::Queue(self.moderation.queue())]);
                self.talk.out.tell(client, frame);
            }
            Change::Appeal { user, appeal } => {
                match appeal {
                    Some(appeal) => self.moderation.appeals.insert(user, appeal),
                    None => self.moderation.appeals.remove(&user),
                };
            }
            Change::AppealOpened { user, appeal } => {
                let text = appeal.text.clone();
                self.moderation.appeals.insert(user.clone(), appeal);
                self.talk.out.event(RoomEvent::AppealOpened { user, text });
            }
            Change::Erase {
                user,
                sanctions,
                found,
            } => {
                self.withdraw(now, "", |_, author| author == user);
                self.moderation.appeals.remove(&user);
                for (whose, sanction) in sanctions {
                    match sanction {
                        Some(sanction) => drop(self.moderation.sanctions.impose(&whose, sanction)),
                        None => drop(self.moderation.sanctions.lift(&whose)),
                    }
                }
                self.posts.erase(&user);
                if found {
                    self.talk.show_entry(now, Entry::UserCleared(user));
                }
            }
        }
    }

    /// The records of a change could not be kept: all is as it was.
    pub(super) fn give_up(&mut self, change: Change) {
        if let Change::Approve(held) | Change::Deny(held) = change {
            self.moderation.held.put_back(*held);
        }
    }
}
