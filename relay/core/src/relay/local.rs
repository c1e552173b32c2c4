//! What the owners of rooms tell.

use std::time::Instant;

use bytes::Bytes;
use lightstick_types::{RoomId, RoomName};

use super::chat::Chat;
use super::media::send_down;
use super::state::State;
use crate::limits::{PAYLOAD_MAX, RESUME_MAX};
use crate::link::RoomKey;
use crate::message::Message;
use crate::output::{Local, LocalError};
use crate::room::{Room, Show};

pub(super) struct Owner<'a> {
    state: &'a mut State,
    id: RoomId,
    now: Instant,
}

impl<'a> Owner<'a> {
    pub(super) fn new(state: &'a mut State, id: RoomId, now: Instant) -> Self {
        Self { state, id, now }
    }

    pub(super) fn handle(&mut self, local: Local) -> Result<(), LocalError> {
        match local {
            Local::Open { name } => return self.open(name),
            Local::Close => {
                self.change(|room, cx| room.close(cx))?;
                self.state.rooms.set_id(self.id, None);
            }
            Local::Publish { epoch } => self.change(|room, _| room.publish(epoch))?,
            Local::Unpublish => self.change(|room, _| room.unpublish())?,
            Local::Watch => self.change(|room, _| room.is_watched = true)?,
            Local::Unwatch => self.change(|room, _| room.is_watched = false)?,
            Local::Resume(points) => {
                check_len(&points, RESUME_MAX)?;
                self.room()?.feeds.resume = points;
            }
            Local::Up(payload) => return self.up(payload),
            Local::Down { to, class, payload } => {
                let key = self.key()?;
                return send_down(self.state, key, to, class, payload, self.now);
            }
            Local::Show { version, state } => return self.show(version, state),
            Local::ChatUp(payload) => {
                check_len(&payload, PAYLOAD_MAX)?;
                let key = self.key()?;
                return Chat::new(self.state, key, self.now).up(payload);
            }
            Local::ChatDown { to, payload } => {
                check_len(&payload, PAYLOAD_MAX)?;
                let key = self.key()?;
                return Chat::new(self.state, key, self.now).down(to, &payload);
            }
        }
        Ok(())
    }

    fn key(&self) -> Result<RoomKey, LocalError> {
        let key = self.state.rooms.key_of(self.id);
        key.ok_or(LocalError::NoSuchRoom)
    }

    fn room(&mut self) -> Result<&mut Room, LocalError> {
        let key = self.key()?;
        let room = self.state.rooms.get_mut(key);
        room.ok_or(LocalError::NoSuchRoom)
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Room, &mut crate::room::Context<'_>),
    ) -> Result<(), LocalError> {
        let key = self.key()?;
        let changed = self.state.with_room(key, self.now, change);
        changed.ok_or(LocalError::NoSuchRoom)
    }

    fn open(&mut self, name: RoomName) -> Result<(), LocalError> {
        let (state, id) = (&mut *self.state, self.id);
        let known = state.rooms.key(&name);
        let known = known.and_then(|key| state.rooms.get_mut(key));
        let is_open = known.is_some_and(|room| room.id.is_some());
        if is_open || state.rooms.key_of(id).is_some() {
            return Err(LocalError::AlreadyOpen);
        }
        let key = state.rooms.enter(name);
        state.rooms.set_id(id, Some(key));
        state.with_room(key, self.now, |room, cx| room.open(id, cx));
        Ok(())
    }

    fn up(&mut self, payload: Bytes) -> Result<(), LocalError> {
        check_len(&payload, PAYLOAD_MAX)?;
        let (link, subscription) = self
            .room()?
            .feeds
            .subscription()
            .ok_or(LocalError::NoFeed)?;
        let message = Message::Up {
            subscription,
            payload,
        };
        self.state.out.control(link, &message);
        Ok(())
    }

    fn show(&mut self, version: u64, state: Bytes) -> Result<(), LocalError> {
        check_len(&state, PAYLOAD_MAX)?;
        let key = self.key()?;
        let State { rooms, out, .. } = &mut *self.state;
        let room = rooms.get_mut(key).ok_or(LocalError::NoSuchRoom)?;
        let epoch = room.published.ok_or(LocalError::NotPublished)?;
        let show = Show {
            epoch,
            version,
            state,
        };
        room.keep_show(show, out);
        Ok(())
    }
}

fn check_len(payload: &Bytes, len_max: usize) -> Result<(), LocalError> {
    match payload.len() <= len_max {
        true => Ok(()),
        false => Err(LocalError::TooLong),
    }
}
