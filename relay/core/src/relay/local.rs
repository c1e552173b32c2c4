//! What the owners of rooms tell.

use std::time::Instant;

use bytes::Bytes;
use lightstick_types::{NodeId, RoomId, RoomName};

use super::Relay;
use crate::limits::{PAYLOAD_MAX, RESUME_MAX};
use crate::message::Message;
use crate::output::{Local, LocalError};
use crate::room::Show;

impl Relay {
    /// What the owner of a room tells.
    ///
    /// # Errors
    /// [`LocalError`]: nothing was done.
    pub fn handle_local(
        &mut self,
        room: RoomId,
        local: Local,
        now: Instant,
    ) -> Result<(), LocalError> {
        let done = match local {
            Local::Down { to, class, payload } => {
                return self.send_down(room, to, class, payload, now);
            }
            Local::Open { name } => self.open(room, name, now),
            Local::Show { version, state } => self.show(room, version, state),
            Local::ChatUp(payload) => self.chat_up(room, payload, now),
            Local::ChatDown { to, payload } => self.chat_down(room, to, payload, now),
            local => self.change(room, local, now),
        };
        self.settle(now);
        done
    }

    fn open(&mut self, id: RoomId, name: RoomName, now: Instant) -> Result<(), LocalError> {
        let known = self.rooms.key(&name);
        let is_open = known
            .and_then(|key| self.rooms.get_mut(key))
            .is_some_and(|room| room.id.is_some());
        if is_open || self.rooms.key_of(id).is_some() {
            return Err(LocalError::AlreadyOpen);
        }
        let key = self.rooms.enter(name);
        self.rooms.set_id(id, Some(key));
        self.with_room(key, now, |room, cx| room.open(id, cx));
        Ok(())
    }

    fn change(&mut self, id: RoomId, local: Local, now: Instant) -> Result<(), LocalError> {
        let key = self.rooms.key_of(id).ok_or(LocalError::NoSuchRoom)?;
        match local {
            Local::Close => {
                self.with_room(key, now, |room, cx| room.close(cx));
                self.rooms.set_id(id, None);
            }
            Local::Publish { epoch } => {
                self.with_room(key, now, |room, _| room.publish(epoch));
            }
            Local::Unpublish => {
                self.with_room(key, now, |room, _| room.unpublish());
            }
            Local::Watch => {
                self.with_room(key, now, |room, _| room.is_watched = true);
            }
            Local::Unwatch => {
                self.with_room(key, now, |room, _| room.is_watched = false);
            }
            Local::Resume(points) if points.len() > RESUME_MAX => {
                return Err(LocalError::TooLong);
            }
            Local::Resume(points) => {
                if let Some(room) = self.rooms.get_mut(key) {
                    room.feeds.resume = points;
                }
            }
            Local::Up(payload) => return self.up(id, payload),
            _ => {}
        }
        Ok(())
    }

    fn up(&mut self, id: RoomId, payload: Bytes) -> Result<(), LocalError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(LocalError::TooLong);
        }
        let key = self.rooms.key_of(id).ok_or(LocalError::NoSuchRoom)?;
        let room = self.rooms.get_mut(key).ok_or(LocalError::NoSuchRoom)?;
        let (link, subscription) = room.feeds.subscription().ok_or(LocalError::NoFeed)?;
        let message = Message::Up {
            subscription,
            payload,
        };
        self.out.control(link, &message);
        Ok(())
    }

    fn show(&mut self, id: RoomId, version: u64, state: Bytes) -> Result<(), LocalError> {
        if state.len() > PAYLOAD_MAX {
            return Err(LocalError::TooLong);
        }
        let key = self.rooms.key_of(id).ok_or(LocalError::NoSuchRoom)?;
        let room = self.rooms.get_mut(key).ok_or(LocalError::NoSuchRoom)?;
        let epoch = room.published.ok_or(LocalError::NotPublished)?;
        let show = Show {
            epoch,
            version,
            state,
        };
        room.keep_show(show, &mut self.out);
        Ok(())
    }

    fn chat_up(&mut self, id: RoomId, payload: Bytes, now: Instant) -> Result<(), LocalError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(LocalError::TooLong);
        }
        let key = self.rooms.key_of(id).ok_or(LocalError::NoSuchRoom)?;
        let room = self.rooms.get_mut(key).ok_or(LocalError::NoSuchRoom)?;
        let way = room.feeds.subscription().ok_or(LocalError::NoFeed)?;
        let from = self.config.id;
        let is_sent = self.pass_chat(Some(way), now, |subscription| Message::ChatUp {
            subscription,
            from,
            payload,
        });
        is_sent.then_some(()).ok_or(LocalError::Busy)
    }

    fn chat_down(
        &mut self,
        id: RoomId,
        to: Option<NodeId>,
        payload: Bytes,
        now: Instant,
    ) -> Result<(), LocalError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(LocalError::TooLong);
        }
        let key = self.rooms.key_of(id).ok_or(LocalError::NoSuchRoom)?;
        let room = self.rooms.get_mut(key).ok_or(LocalError::NoSuchRoom)?;
        if room.published.is_none() {
            return Err(LocalError::NotPublished);
        }
        let ways: Vec<_> = match to {
            None => room.below.iter().collect(),
            Some(to) => vec![room.below.way_to(to).ok_or(LocalError::NotSubscribed)?],
        };
        let mut is_sent = true;
        for way in ways {
            let payload = payload.clone();
            is_sent &= self.pass_chat(Some(way), now, |subscription| Message::ChatDown {
                subscription,
                to,
                payload,
            });
        }
        // To all: the links that have no room for it are counted.
        (is_sent || to.is_none())
            .then_some(())
            .ok_or(LocalError::Busy)
    }
}
