//! The chat's part of a shard's turn: channels that open and close, frames that members write, and
//! what members are sent, in slices of time after the media has left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lightstick_chat_wire::{Channel, Frame, Written};
use lightstick_types::SessionId;
use str0m::channel::{ChannelData, ChannelId};
use tokio::sync::mpsc::error::TrySendError;

use super::channels::{self, Chat, Dropped, Opened};
use super::rooms::Due;
use super::{ChatCommand, ChatEvent, ChatRefused};
use crate::session::Session;
use crate::shard::Shard;

/// What the chat gets of each turn, after the media and before those who join. A turn without it
/// takes some milliseconds at full load, so it gets a part of the thread even then, and next to all
/// of an idle one.
const SLICE: Duration = Duration::from_micros(500);
/// Commands handled before some members are sent something, and the other way round.
const RUN: usize = 16;

/// What happens on a session's data channels.
#[derive(Debug)]
pub(crate) enum ChannelEvent {
    Opened(ChannelId, String),
    Data(ChannelData),
    Drained,
    Closed(ChannelId),
}

/// What a member is sent.
enum Delivery<'a> {
    /// What its room shows.
    Ticks(&'a Due),
    /// Something of its own.
    Own(&'a Frame),
    /// What waits for its link.
    Waiting,
}

impl Shard {
    /// Handles an event of a session's data channels.
    pub(crate) fn handle_channel_event(&mut self, key: u32, event: ChannelEvent) {
        match event {
            ChannelEvent::Opened(id, label) => self.channel_opened(key, id, &label),
            ChannelEvent::Data(data) => self.channel_data(key, data),
            ChannelEvent::Drained => {
                if self.deliver(key, &Delivery::Waiting) {
                    self.sessions.mark_dirty(key);
                }
            }
            ChannelEvent::Closed(id) => self.channel_closed(key, id),
        }
    }

    fn channel_opened(&mut self, key: u32, id: ChannelId, label: &str) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let stats = &self.io.stats.chat;
        let replaced = match &mut session.chat {
            None => {
                stats.channels_ignored.add(1);
                session.connection.rtc.direct_api().close_data_channel(id);
                None
            }
            Some(chat) => match chat.open(id, label) {
                Opened::Unknown => {
                    stats.channels_refused.add(1);
                    session.connection.rtc.direct_api().close_data_channel(id);
                    None
                }
                Opened::Taken(channel, before) => {
                    channels::prepare(&mut session.connection.rtc, id);
                    match before {
                        Some(before) => session
                            .connection
                            .rtc
                            .direct_api()
                            .close_data_channel(before),
                        None => {
                            let open = &stats.channels[channel as usize];
                            open.set(open.get() + 1);
                        }
                    }
                    Some((channel, before.is_some()))
                }
            },
        };
        self.sessions.mark_dirty(key);
        if let Some((Channel::Ctl, replaced)) = replaced {
            if replaced {
                // What was on its way on the old one is lost: the member begins anew.
                self.leave_chat(key);
            }
            self.enter_chat(key);
        }
    }

    fn channel_closed(&mut self, key: u32, id: ChannelId) {
        let Some(chat) = self.chat_of(key) else {
            return;
        };
        let Some(closed) = chat.close(id) else {
            return;
        };
        let open = &self.io.stats.chat.channels[closed as usize];
        open.set(open.get().saturating_sub(1));
        if closed == Channel::Ctl {
            self.leave_chat(key);
        }
    }

    fn channel_data(&mut self, key: u32, data: ChannelData) {
        let (shard, now) = (self.id, self.now);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let id = session.id;
        let Some(chat) = &mut session.chat else {
            self.io.stats.chat.drop_stray.add(1);
            return;
        };
        let taken = chat.take(data, now);
        let stats = &self.io.stats.chat;
        match taken {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                let event = ChatEvent::Frame {
                    shard,
                    session: id,
                    bytes,
                };
                if self.chat.offer(event) {
                    stats.frames_in.add(1);
                    stats.bytes_in.add(length);
                } else {
                    stats.drop_queue.add(1);
                }
            }
            Err(dropped) => {
                let (count, told) = match dropped {
                    Dropped::Flood(head) => (&stats.drop_flood, Some((head, ChatRefused::TooFast))),
                    Dropped::Oversize(head) => {
                        (&stats.drop_oversize, Some((head, ChatRefused::Unreadable)))
                    }
                    Dropped::Text(head) => {
                        (&stats.drop_text, Some((head, ChatRefused::Unreadable)))
                    }
                    Dropped::Stray => (&stats.drop_stray, None),
                };
                count.add(1);
                if let Some((Some(head), why)) = told {
                    // Dropped when the chat is behind: refusals are the least of its work.
                    self.chat.offer(ChatEvent::Refused {
                        shard,
                        session: id,
                        head,
                        why,
                    });
                }
            }
        }
    }

    /// A session's `ctl` channel is open.
    fn enter_chat(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let id = session.id;
        let Some(chat) = &mut session.chat else {
            return;
        };
        chat.place = Some(self.chat.rooms.join(&chat.member.room, key));
        let member = Arc::clone(&chat.member);
        let members = &self.io.stats.chat.members;
        members.set(members.get() + 1);
        let shard = self.id;
        self.chat.emit(ChatEvent::Opened {
            shard,
            session: id,
            member,
        });
    }

    /// A session's `ctl` channel is gone.
    fn leave_chat(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let id = session.id;
        if let Some(chat) = &mut session.chat {
            let left = chat.leave(&self.io.stats.chat);
            if let Some(place) = left {
                self.forget_member(id, place);
            }
        }
    }

    /// A session is gone, and its chat with it.
    pub(crate) fn end_chat(&mut self, session: &mut Session) {
        let Some(mut chat) = session.chat.take() else {
            return;
        };
        for (channel, _) in chat.open_channels() {
            let open = &self.io.stats.chat.channels[channel as usize];
            open.set(open.get().saturating_sub(1));
        }
        if let Some(place) = chat.leave(&self.io.stats.chat) {
            self.forget_member(session.id, place);
        }
    }

    fn forget_member(&mut self, session: SessionId, place: channels::Place) {
        if let Some(moved) = self.chat.rooms.leave(place)
            && let Some(chat) = self.chat_of(moved)
            && let Some(moved) = &mut chat.place
        {
            moved.index = place.index;
        }
        let shard = self.id;
        self.chat.emit(ChatEvent::Closed { shard, session });
    }

    fn chat_of(&mut self, key: u32) -> Option<&mut Chat> {
        let session = self.sessions.get_mut(key)?;
        session.chat.as_deref_mut()
    }

    /// Whether there is work for a slice.
    pub(crate) fn chat_waits(&self) -> bool {
        self.chat.rooms.is_busy() || !self.chat.commands.is_empty()
    }

    /// Does as much of the chat's work as fits into a slice of time. False: there was none.
    pub(crate) fn handle_chat(&mut self) -> bool {
        // Whoever hands over a command from here on wakes this shard again.
        self.chat.woken.swap(false, Ordering::SeqCst);
        if !self.chat_waits() {
            return false;
        }
        let begun = Instant::now();
        // What is written now is timed from now.
        self.now = begun;
        let over = || begun.elapsed() >= SLICE;
        loop {
            let mut idle = true;
            for _ in 0..RUN {
                let Ok(command) = self.chat.commands.try_recv() else {
                    break;
                };
                idle = false;
                self.handle_chat_command(command);
                if over() {
                    return true;
                }
            }
            for _ in 0..RUN {
                let Some(key) = self.chat.rooms.next() else {
                    break;
                };
                idle = false;
                if self.show_due(key) {
                    self.drive(key);
                }
                if over() {
                    return true;
                }
            }
            if idle {
                return true;
            }
        }
    }

    fn handle_chat_command(&mut self, command: ChatCommand) {
        match command {
            ChatCommand::Show { room, tick } => {
                if let Some(shown) = self.chat.rooms.show(&room, tick) {
                    let stats = &self.io.stats.chat;
                    stats.late.add(shown.late.into());
                    stats.overrun.add(shown.overrun.into());
                }
            }
            ChatCommand::Tell { session, frame } => {
                if let Some(&key) = self.sessions.by_id.get(&session) {
                    let shown = self.show_due(key);
                    let told = self.deliver(key, &Delivery::Own(&frame));
                    if shown || told {
                        self.drive(key);
                    }
                }
            }
            ChatCommand::Close { session } => {
                if let Some(&key) = self.sessions.by_id.get(&session) {
                    self.close_chat(key);
                }
            }
        }
    }

    fn close_chat(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(chat) = &session.chat else {
            return;
        };
        let open: Vec<ChannelId> = chat.open_channels().map(|(_, id)| id).collect();
        for id in open {
            session.connection.rtc.direct_api().close_data_channel(id);
        }
        // `ChannelClosed` follows for each.
        self.drive(key);
    }

    /// Shows a member what its room has shown since it was last visited. True: something was
    /// written.
    fn show_due(&mut self, key: u32) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let id = session.id;
        let place = session.chat.as_mut().and_then(|chat| chat.place.as_mut());
        let Some(place) = place else {
            return false;
        };
        let Some(due) = self.chat.rooms.due(*place) else {
            return false;
        };
        place.shown = due.until;
        if due.overrun {
            self.resync(id);
        }
        self.deliver(key, &Delivery::Ticks(&due))
    }

    /// Sends a member something, as far as its link takes it. True: something was written.
    fn deliver(&mut self, key: u32, delivery: &Delivery<'_>) -> bool {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let id = session.id;
        let stats = &self.io.stats.chat;
        let written = session.contained(|session| {
            let Some(chat) = session.chat.as_mut().filter(|chat| chat.place.is_some()) else {
                return Ok((Written::default(), false));
            };
            let (reader, mut link) = chat.split(&mut session.connection.rtc, stats);
            let mut written = Written::default();
            let mut add = |more: Written| {
                written.frames += more.frames;
                written.missed += more.missed;
            };
            match delivery {
                Delivery::Ticks(due) => {
                    for tick in &due.ticks {
                        add(reader.offer(now, tick, &mut link));
                    }
                }
                Delivery::Own(frame) => add(reader.offer_own(now, frame, &mut link)),
                Delivery::Waiting => add(reader.settle(now, &mut link)),
            }
            let resync = reader.take_resync();
            chat.count(stats);
            Ok((written, resync))
        });
        let Ok((written, resync)) = written else {
            // Whoever polls the session next hears of the panic.
            return true;
        };
        stats.missed.add(written.missed.into());
        if resync {
            self.resync(id);
        }
        written.frames > 0
    }

    fn resync(&mut self, session: SessionId) {
        self.io.stats.chat.resyncs.add(1);
        let shard = self.id;
        self.chat.emit(ChatEvent::Resync { shard, session });
    }

    /// Reports held resources, so that tests can check for leaks.
    pub(crate) fn count_chat(&self) {
        let stats = &self.io.stats;
        stats.held_chat_rooms.set(self.chat.rooms.len() as u64);
        stats.chat.drop_packet.set(crate::dtls::refused());
    }
}

impl super::ChatOutbox {
    /// Sends an event that must not be lost.
    fn emit(&mut self, event: ChatEvent) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Sends an event, if there is room for it.
    fn offer(&mut self, event: ChatEvent) -> bool {
        self.flush();
        self.waiting.is_empty() && self.events.try_send(event).is_ok()
    }

    /// Sends the events that wait, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
                self.waiting.push_front(event);
                return;
            }
        }
    }
}
