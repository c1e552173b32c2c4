//! All links and rooms of a node.

use std::time::Instant;

use crate::close::CloseReason;
use crate::config::RelayConfig;
use crate::link::{Links, RoomKey};
use crate::output::{LinkId, Out};
use crate::room::{Context, Room};
use crate::rooms::Rooms;

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: RelayConfig,
    pub(super) links: Links,
    pub(super) rooms: Rooms,
    pub(super) out: Out,
    /// The node takes no more links and subscriptions.
    pub(super) is_draining: bool,
}

/// What becomes of a link after a message that is wrong.
pub(super) enum Fault {
    Close(CloseReason),
    /// Nothing depends on what was lost.
    Malformed,
}

impl From<CloseReason> for Fault {
    fn from(reason: CloseReason) -> Self {
        Self::Close(reason)
    }
}

impl State {
    pub(super) fn new(config: RelayConfig) -> Self {
        Self {
            config,
            links: Links::new(),
            rooms: Rooms::default(),
            out: Out::default(),
            is_draining: false,
        }
    }

    pub(super) fn close(&mut self, link: LinkId, reason: CloseReason, now: Instant) {
        self.out.close(link, reason);
        self.forget(link, now);
    }

    pub(super) fn forget(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        let mut keys = link.rooms();
        if link.is_parent() {
            // It may have been asked for any room.
            keys = self.rooms.keys();
        }
        for key in keys {
            self.with_room(key, now, |room, cx| room.forget_link(id, cx));
        }
    }

    /// Changes what is known of a room, which is settled afterwards.
    pub(super) fn with_room<R>(
        &mut self,
        key: RoomKey,
        now: Instant,
        change: impl FnOnce(&mut Room, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.rooms.mark(key);
        let room = self.rooms.get_mut(key)?;
        let mut cx = Context::new(
            key,
            room.id,
            &self.config,
            &mut self.links,
            &mut self.out,
            now,
        );
        Some(change(room, &mut cx))
    }

    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(key) = self.rooms.next_marked() {
            let Some(room) = self.rooms.get_mut(key) else {
                continue;
            };
            let mut cx = Context::new(
                key,
                room.id,
                &self.config,
                &mut self.links,
                &mut self.out,
                now,
            );
            room.settle(&mut cx);
            let (wake, others) = (cx.wake, cx.others);
            self.rooms.settled(key, wake);
            others.into_iter().for_each(|key| self.rooms.mark(key));
        }
    }

    /// A room is told of on a new link. To compare it with all links would take long where both are
    /// many.
    pub(super) fn settle_new_link(&mut self, key: RoomKey, link: LinkId, now: Instant) {
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        let mut cx = Context::new(
            key,
            room.id,
            &self.config,
            &mut self.links,
            &mut self.out,
            now,
        );
        room.settle_new_link(link, &mut cx);
        if cx.wake.is_some() {
            self.rooms.mark(key);
        }
    }
}
