//! The rooms that a node knows of, and which of them have to be settled when.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use lightstick_types::{RoomId, RoomName};

use crate::link::RoomKey;
use crate::room::Room;

#[derive(Debug, Default)]
pub(crate) struct Rooms {
    entries: HashMap<RoomKey, Entry>,
    by_name: HashMap<RoomName, RoomKey>,
    by_id: HashMap<RoomId, RoomKey>,
    next: u64,
    /// To be settled before anything else happens.
    marked: BTreeSet<RoomKey>,
    timers: BTreeSet<(Instant, RoomKey)>,
}

#[derive(Debug)]
struct Entry {
    room: Room,
    wake: Option<Instant>,
}

impl Rooms {
    pub(crate) fn key(&self, name: &RoomName) -> Option<RoomKey> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn key_of(&self, id: RoomId) -> Option<RoomKey> {
        self.by_id.get(&id).copied()
    }

    /// The room of this name, which is known from now on.
    pub(crate) fn enter(&mut self, name: RoomName) -> RoomKey {
        if let Some(key) = self.key(&name) {
            return key;
        }
        let key = RoomKey(self.next);
        self.next += 1;
        self.by_name.insert(name.clone(), key);
        let room = Room::new(name);
        self.entries.insert(key, Entry { room, wake: None });
        key
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: RoomKey) -> Option<&mut Room> {
        self.entries.get_mut(&key).map(|entry| &mut entry.room)
    }

    pub(crate) fn set_id(&mut self, id: RoomId, key: Option<RoomKey>) {
        match key {
            Some(key) => self.by_id.insert(id, key),
            None => self.by_id.remove(&id),
        };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// In the order in which they became known.
    pub(crate) fn keys(&self) -> BTreeSet<RoomKey> {
        self.entries.keys().copied().collect()
    }

    pub(crate) fn mark(&mut self, key: RoomKey) {
        self.marked.insert(key);
    }

    /// Marks the rooms whose time has come.
    pub(crate) fn mark_due(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.wake = None;
            }
            self.marked.insert(key);
        }
    }

    pub(crate) fn next_marked(&mut self) -> Option<RoomKey> {
        self.marked.pop_first()
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A room was settled, and will be again then. It is forgotten where nothing is known of it.
    pub(crate) fn settled(&mut self, key: RoomKey, wake: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if let Some(at) = std::mem::replace(&mut entry.wake, wake) {
            self.timers.remove(&(at, key));
        }
        if entry.room.is_unused() {
            self.by_name.remove(&entry.room.name);
            self.entries.remove(&key);
        } else if let Some(at) = wake {
            self.timers.insert((at, key));
        }
    }
}
