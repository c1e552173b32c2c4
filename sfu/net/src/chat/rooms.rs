//! Who of a shard's sessions is to be shown what, and who is next.
//!
//! A tick concerns thousands of sessions, and showing it to all of them at once would hold up the
//! video. So a room remembers the ticks that somebody has not been shown, and goes round its
//! members in pieces. Whoever's turn it is gets all that it has not seen: a shard that is too slow
//! for every tick shows several as one, at no more cost than one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use lightstick_chat_wire::{FRAME_BYTES_MAX, Frame, Tick};
use lightstick_types::RoomName;
use slab::Slab;

use super::channels::Place;

/// Ticks that a room remembers for those who have not been shown them: some seconds. The oldest
/// goes, and whoever had not seen it is brought up to date from the room's history.
pub(crate) const TICKS_MAX: usize = 16;

/// All rooms with members here.
#[derive(Default)]
pub(crate) struct ChatRooms {
    rooms: Slab<ChatRoom>,
    by_name: HashMap<RoomName, usize>,
    /// Rooms with somebody to be shown something, next first.
    busy: VecDeque<usize>,
}

struct ChatRoom {
    name: RoomName,
    members: Vec<u32>,
    /// The last of them have been visited in this round, the first so many have not.
    left: usize,
    /// The ticks that somebody has not seen, oldest first.
    ticks: VecDeque<Arc<Tick>>,
    /// The number of the last tick.
    newest: u64,
    /// The number of the last tick when this round began: at its end, all have seen it.
    round: u64,
    /// In `busy`.
    is_busy: bool,
    due: Option<Arc<Due>>,
}

/// What somebody who has seen all ticks up to a number is to be shown.
#[derive(Debug)]
pub(crate) struct Due {
    after: u64,
    /// The number of the last tick in it.
    pub(crate) until: u64,
    pub(crate) ticks: Vec<Tick>,
    /// Some before these are gone.
    pub(crate) overrun: bool,
}

/// What became of a tick that is to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The one before it has not been shown to all.
    pub(crate) late: bool,
    /// An older one had to go that somebody had not seen.
    pub(crate) overrun: bool,
}

impl ChatRooms {
    /// A session joins a room: it is shown what comes from now on.
    pub(crate) fn join(&mut self, name: &RoomName, key: u32) -> Place {
        let room = match self.by_name.get(name) {
            Some(room) => *room,
            None => {
                let room = self.rooms.insert(ChatRoom::new(name.clone()));
                self.by_name.insert(name.clone(), room);
                room
            }
        };
        let state = &mut self.rooms[room];
        state.members.push(key);
        Place {
            room,
            index: state.members.len() as u32 - 1,
            shown: state.newest,
        }
    }

    /// A session leaves its room. The key of the one that takes its index, if another does.
    pub(crate) fn leave(&mut self, place: Place) -> Option<u32> {
        let room = self.rooms.get_mut(place.room)?;
        let index = place.index as usize;
        if index >= room.members.len() {
            return None;
        }
        room.members.swap_remove(index);
        // The last one has been visited, if any has: at its new place it may be visited again.
        room.left = room.left.min(room.members.len());
        let moved = room.members.get(index).copied();
        if room.members.is_empty() {
            self.by_name.remove(&room.name);
            self.rooms.remove(place.room);
            self.busy.retain(|busy| *busy != place.room);
        }
        moved
    }

    /// Rooms with members here.
    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether somebody is to be shown something.
    pub(crate) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// A room shows a tick. `None`: nobody is here to see it.
    pub(crate) fn show(&mut self, name: &RoomName, tick: Arc<Tick>) -> Option<Shown> {
        let key = *self.by_name.get(name)?;
        let room = self.rooms.get_mut(key)?;
        let mut shown = Shown {
            late: room.ticks.len() > 1,
            overrun: false,
        };
        if room.ticks.len() == TICKS_MAX {
            room.ticks.pop_front();
            shown.overrun = true;
        }
        room.ticks.push_back(tick);
        room.newest += 1;
        room.due = None;
        if !std::mem::replace(&mut room.is_busy, true) {
            room.begin_round();
            self.busy.push_back(key);
        }
        Some(shown)
    }

    /// The next session to visit. Rooms take turns.
    pub(crate) fn next(&mut self) -> Option<u32> {
        while let Some(key) = self.busy.pop_front() {
            let Some(room) = self.rooms.get_mut(key) else {
                continue;
            };
            if room.left == 0 && !room.end_round() {
                room.is_busy = false;
                continue;
            }
            self.busy.push_back(key);
            room.left = room.left.checked_sub(1)?;
            return room.members.get(room.left).copied();
        }
        None
    }

    /// What a session is to be shown. `None`: it has seen everything.
    pub(crate) fn due(&mut self, place: Place) -> Option<Arc<Due>> {
        let room = self.rooms.get_mut(place.room)?;
        if place.shown >= room.newest {
            return None;
        }
        // Neighbours have nearly always seen the same.
        match &room.due {
            Some(due) if due.after == place.shown => Some(Arc::clone(due)),
            _ => {
                let due = Arc::new(room.make_due(place.shown));
                room.due = Some(Arc::clone(&due));
                Some(due)
            }
        }
    }
}

impl ChatRoom {
    fn new(name: RoomName) -> Self {
        Self {
            name,
            members: Vec::new(),
            left: 0,
            ticks: VecDeque::new(),
            newest: 0,
            round: 0,
            is_busy: false,
            due: None,
        }
    }

    fn begin_round(&mut self) {
        self.left = self.members.len();
        self.round = self.newest;
    }

    /// All have seen what there was when the round began. False: and nothing has come since.
    fn end_round(&mut self) -> bool {
        let since = (self.newest - self.round) as usize;
        while self.ticks.len() > since {
            self.ticks.pop_front();
        }
        self.due = None;
        if since == 0 {
            return false;
        }
        self.begin_round();
        true
    }

    fn make_due(&self, after: u64) -> Due {
        let missing = (self.newest - after) as usize;
        let kept = self.ticks.len();
        let ticks = self.ticks.iter().skip(kept.saturating_sub(missing));
        let mut joined: Vec<Tick> = Vec::new();
        for tick in ticks {
            if let Some(last) = joined.last_mut()
                && let Some(both) = join(last, tick)
            {
                *last = both;
            } else {
                joined.push(Tick::clone(tick));
            }
        }
        Due {
            after,
            until: self.newest,
            ticks: joined,
            overrun: missing > kept,
        }
    }
}

/// Two ticks as one. `None`: a frame of it would be too long.
fn join(one: &Tick, two: &Tick) -> Option<Tick> {
    let frames = |one: &Option<Frame>, two: &Option<Frame>| match (one, two) {
        (Some(one), Some(two)) => {
            (one.len() + two.len() <= FRAME_BYTES_MAX).then(|| Some(Frame::joined([one, two])))
        }
        (one, two) => Some(one.as_ref().or(two.as_ref()).cloned()),
    };
    Some(Tick {
        ctl: frames(&one.ctl, &two.ctl)?,
        chat: frames(&one.chat, &two.chat)?,
        fx: frames(&one.fx, &two.fx)?,
        messages: one.messages + two.messages,
    })
}

#[cfg(test)]
mod tests;
