//! A shard's end of the chat: channels that open and close, frames that members write, and what
//! members are sent, in slices of time after the media has left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use lightstick_chat_wire::{Channel, Frame, Written};
use lightstick_types::{SessionId, ShardId};
use str0m::channel::{ChannelData, ChannelId};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::chat::{
    ChannelEvent, Chat, ChatCommand, ChatEvent, ChatRefused, ChatRooms, Dropped, Due, Opened,
    Place, prepare,
};
use crate::session::Session;
use crate::sessions::Sessions;
use crate::stats::ShardStats;

/// What the chat gets of each turn, after the media and before those who join. A turn without it
/// takes some milliseconds at full load, so it gets a part of the thread even then, and next to all
/// of an idle one.
pub(crate) const CHAT_SLICE: Duration = Duration::from_micros(500);
/// Commands handled before some members are sent something, and the other way round.
const RUN: usize = 16;

/// A shard's end of the chat.
pub(crate) struct ChatOutbox {
    shard: ShardId,
    commands: Receiver<ChatCommand>,
    /// Set by whoever has woken the shard for the chat; the shard clears it before it looks.
    woken: Arc<AtomicBool>,
    events: mpsc::Sender<ChatEvent>,
    /// Events that the chat had no room for; see [`CHAT_EVENTS_MAX`](crate::CHAT_EVENTS_MAX).
    waiting: VecDeque<ChatEvent>,
    rooms: ChatRooms,
    /// Pieces of work done in this run of commands and members.
    run: usize,
}

/// What the chat works on.
pub(crate) struct ChatTurn<'a> {
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) stats: &'a ShardStats,
    pub(crate) now: Instant,
}

/// What became of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worked {
    /// Nothing is left to do.
    Idle,
    Done,
    /// This session's channels were written to or closed: it is to be driven.
    Wrote(u32),
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

impl ChatOutbox {
    pub(crate) fn new(
        shard: ShardId,
        commands: Receiver<ChatCommand>,
        woken: Arc<AtomicBool>,
        events: mpsc::Sender<ChatEvent>,
    ) -> Self {
        Self {
            shard,
            commands,
            woken,
            events,
            waiting: VecDeque::new(),
            rooms: ChatRooms::default(),
            run: 0,
        }
    }

    /// Handles an event of a session's data channels.
    pub(crate) fn handle_event(&mut self, key: u32, event: ChannelEvent, turn: &mut ChatTurn<'_>) {
        match event {
            ChannelEvent::Opened(id, label) => self.channel_opened(key, id, &label, turn),
            ChannelEvent::Data(data) => self.channel_data(key, data, turn),
            ChannelEvent::Drained => {
                if self.deliver(key, &Delivery::Waiting, turn) {
                    turn.sessions.mark_dirty(key);
                }
            }
            ChannelEvent::Closed(id) => self.channel_closed(key, id, turn),
        }
    }

    fn channel_opened(&mut self, key: u32, id: ChannelId, label: &str, turn: &mut ChatTurn<'_>) {
        let Some(session) = turn.sessions.get_mut(key) else {
            return;
        };
        let stats = &turn.stats.chat;
        let rtc = &mut session.connection.rtc;
        let opened = session.chat.as_mut().map(|chat| chat.open(id, label));
        let (closed, ctl) = match opened {
            None => {
                stats.channels_ignored.add(1);
                (Some(id), None)
            }
            Some(Opened::Unknown) => {
                stats.channels_refused.add(1);
                (Some(id), None)
            }
            Some(Opened::Taken(channel, before)) => {
                prepare(rtc, id);
                if before.is_none() {
                    stats.channels[channel as usize].increase();
                }
                let ctl = (channel == Channel::Ctl).then_some(before.is_some());
                (before, ctl)
            }
        };
        if let Some(closed) = closed {
            rtc.direct_api().close_data_channel(closed);
        }
        turn.sessions.mark_dirty(key);
        if let Some(replaced) = ctl {
            if replaced {
                // What was on its way on the old one is lost: the member begins anew.
                self.leave(key, turn);
            }
            self.enter(key, turn);
        }
    }

    fn channel_closed(&mut self, key: u32, id: ChannelId, turn: &mut ChatTurn<'_>) {
        let Some(closed) = chat_of(turn.sessions, key).and_then(|chat| chat.close(id)) else {
            return;
        };
        turn.stats.chat.channels[closed as usize].decrease();
        if closed == Channel::Ctl {
            self.leave(key, turn);
        }
    }

    fn channel_data(&mut self, key: u32, data: ChannelData, turn: &mut ChatTurn<'_>) {
        let Some(session) = turn.sessions.get_mut(key) else {
            return;
        };
        let (shard, id) = (self.shard, session.id);
        let stats = &turn.stats.chat;
        let Some(chat) = &mut session.chat else {
            stats.drop_stray.add(1);
            return;
        };
        let dropped = match chat.take(data, turn.now) {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                let event = ChatEvent::Frame {
                    shard,
                    session: id,
                    bytes,
                };
                if self.offer(event) {
                    stats.frames_in.add(1);
                    stats.bytes_in.add(length);
                } else {
                    stats.drop_queue.add(1);
                }
                return;
            }
            Err(dropped) => dropped,
        };
        let (count, told) = match dropped {
            Dropped::Flood(head) => (&stats.drop_flood, Some((head, ChatRefused::TooFast))),
            Dropped::Oversize(head) => {
                (&stats.drop_oversize, Some((head, ChatRefused::Unreadable)))
            }
            Dropped::Text(head) => (&stats.drop_text, Some((head, ChatRefused::Unreadable))),
            Dropped::Stray => (&stats.drop_stray, None),
        };
        count.add(1);
        if let Some((Some(head), why)) = told {
            // Dropped when the chat is behind: refusals are the least of its work.
            self.offer(ChatEvent::Refused {
                shard,
                session: id,
                head,
                why,
            });
        }
    }

    /// A session's `ctl` channel is open.
    fn enter(&mut self, key: u32, turn: &mut ChatTurn<'_>) {
        let Some(session) = turn.sessions.get_mut(key) else {
            return;
        };
        let Some(chat) = &mut session.chat else {
            return;
        };
        chat.place = Some(self.rooms.join(&chat.member.room, key));
        turn.stats.chat.members.increase();
        let opened = ChatEvent::Opened {
            shard: self.shard,
            session: session.id,
            member: Arc::clone(&chat.member),
        };
        self.emit(opened);
    }

    /// A session's `ctl` channel is gone.
    fn leave(&mut self, key: u32, turn: &mut ChatTurn<'_>) {
        let Some(session) = turn.sessions.get_mut(key) else {
            return;
        };
        let id = session.id;
        let left = session.chat.as_mut();
        if let Some(place) = left.and_then(|chat| chat.leave(&turn.stats.chat)) {
            self.forget(id, place, turn.sessions);
        }
    }

    /// A session is gone, and its chat with it.
    pub(crate) fn end(&mut self, session: &mut Session, turn: &mut ChatTurn<'_>) {
        let Some(mut chat) = session.chat.take() else {
            return;
        };
        let stats = &turn.stats.chat;
        for (channel, _) in chat.open_channels() {
            stats.channels[channel as usize].decrease();
        }
        if let Some(place) = chat.leave(stats) {
            self.forget(session.id, place, turn.sessions);
        }
    }

    fn forget(&mut self, session: SessionId, place: Place, sessions: &mut Sessions) {
        if let Some(moved) = self.rooms.leave(place)
            && let Some(chat) = chat_of(sessions, moved)
            && let Some(moved) = &mut chat.place
        {
            moved.index = place.index;
        }
        let shard = self.shard;
        self.emit(ChatEvent::Closed { shard, session });
    }

    /// Whether there is work for a slice.
    pub(crate) fn has_more(&self) -> bool {
        self.rooms.is_busy() || !self.commands.is_empty()
    }

    /// A slice begins. False: there is no work for it.
    pub(crate) fn begin_slice(&mut self) -> bool {
        // Whoever hands over a command from here on wakes this shard again.
        self.woken.swap(false, Ordering::SeqCst);
        self.run = 0;
        self.has_more()
    }

    /// Does a piece of work: commands and members take turns, [`RUN`] of each.
    pub(crate) fn work(&mut self, turn: &mut ChatTurn<'_>) -> Worked {
        for _ in 0..2 {
            if self.run < RUN {
                if let Ok(command) = self.commands.try_recv() {
                    self.run += 1;
                    return self.handle_command(command, turn);
                }
                self.run = RUN;
            }
            if let Some(key) = self.rooms.next() {
                self.run = (self.run + 1) % (2 * RUN);
                return match self.show_due(key, turn) {
                    true => Worked::Wrote(key),
                    false => Worked::Done,
                };
            }
            self.run = 0;
        }
        Worked::Idle
    }

    fn handle_command(&mut self, command: ChatCommand, turn: &mut ChatTurn<'_>) -> Worked {
        match command {
            ChatCommand::Show { room, tick } => {
                if let Some(shown) = self.rooms.show(&room, tick) {
                    let stats = &turn.stats.chat;
                    stats.late.add(shown.late.into());
                    stats.overrun.add(shown.overrun.into());
                }
            }
            ChatCommand::Tell { session, frame } => {
                if let Some(key) = turn.sessions.find(session) {
                    let shown = self.show_due(key, turn);
                    let told = self.deliver(key, &Delivery::Own(&frame), turn);
                    if shown || told {
                        return Worked::Wrote(key);
                    }
                }
            }
            ChatCommand::Close { session } => {
                if let Some(key) = turn.sessions.find(session)
                    && close_channels(turn.sessions, key)
                {
                    return Worked::Wrote(key);
                }
            }
        }
        Worked::Done
    }

    /// Shows a member what its room has shown since it was last visited. True: something was
    /// written.
    fn show_due(&mut self, key: u32, turn: &mut ChatTurn<'_>) -> bool {
        let Some(session) = turn.sessions.get_mut(key) else {
            return false;
        };
        let id = session.id;
        let place = session.chat.as_mut().and_then(|chat| chat.place.as_mut());
        let Some(place) = place else {
            return false;
        };
        let Some(due) = self.rooms.due(*place) else {
            return false;
        };
        place.shown = due.until;
        if due.overrun {
            self.resync(id, turn.stats);
        }
        self.deliver(key, &Delivery::Ticks(&due), turn)
    }

    /// Sends a member something, as far as its link takes it. True: something was written.
    fn deliver(&mut self, key: u32, delivery: &Delivery<'_>, turn: &mut ChatTurn<'_>) -> bool {
        let (now, stats) = (turn.now, &turn.stats.chat);
        let Some(session) = turn.sessions.get_mut(key) else {
            return false;
        };
        let id = session.id;
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
            self.resync(id, turn.stats);
        }
        written.frames > 0
    }

    fn resync(&mut self, session: SessionId, stats: &ShardStats) {
        stats.chat.resyncs.add(1);
        let shard = self.shard;
        self.emit(ChatEvent::Resync { shard, session });
    }

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

    /// Reports held resources, so that tests can check for leaks.
    pub(crate) fn count_held(&self, stats: &ShardStats) {
        stats.held_chat_rooms.set(self.rooms.len() as u64);
        stats.chat.drop_packet.set(crate::dtls::refused());
    }
}

fn chat_of(sessions: &mut Sessions, key: u32) -> Option<&mut Chat> {
    sessions.get_mut(key)?.chat.as_deref_mut()
}

/// Closes a session's channels; [`ChannelEvent::Closed`] follows for each. False: it has no chat.
fn close_channels(sessions: &mut Sessions, key: u32) -> bool {
    let Some(session) = sessions.get_mut(key) else {
        return false;
    };
    let Some(chat) = &session.chat else {
        return false;
    };
    for (_, id) in chat.open_channels() {
        session.connection.rtc.direct_api().close_data_channel(id);
    }
    true
}

#[cfg(test)]
mod tests;
