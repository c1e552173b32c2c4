//! A room that nobody announces, although somebody waits for it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Context, Room};
use crate::limits::{HOPS_MAX, WANT_TIMEOUT};
use crate::message::Message;
use crate::output::{LinkId, ToRoom};

#[derive(Debug, Default)]
pub(crate) struct Want {
    /// Children that wait, and whether they were told that the room is unknown.
    askers: BTreeMap<LinkId, bool>,
    /// Parents that were asked, and whether they have answered.
    asked: BTreeMap<LinkId, bool>,
    /// How far up the room is asked for.
    hops: u8,
    /// When the room is called unknown in any case.
    until: Option<Instant>,
    is_owner_told: bool,
}

impl Want {
    pub(crate) fn is_empty(&self) -> bool {
        self.askers.is_empty() && self.asked.is_empty()
    }

    /// A child waits. It is told anew.
    pub(crate) fn add_asker(&mut self, link: LinkId, hops: u8) {
        self.askers.insert(link, false);
        self.hops = self.hops.max(hops);
    }

    pub(crate) fn remove_asker(&mut self, link: LinkId) {
        self.askers.remove(&link);
    }

    /// A parent has answered.
    pub(crate) fn answered(&mut self, link: LinkId) {
        if let Some(has_answered) = self.asked.get_mut(&link) {
            *has_answered = true;
        }
    }

    pub(crate) fn forget(&mut self, link: LinkId) {
        self.askers.remove(&link);
        self.asked.remove(&link);
    }
}

impl Room {
    /// Asks the parents for a room that is not known, and says that it is unknown when they have
    /// answered.
    pub(super) fn settle_wants(&mut self, cx: &mut Context<'_>) {
        let is_known = self.published.is_some() || !self.routes.is_empty();
        let is_wanted = self.is_watched || !self.want.askers.is_empty();
        if is_known || !is_wanted {
            self.stop_asking(cx);
        }
        if !is_wanted {
            return;
        }
        if !is_known {
            self.ask(cx);
            let is_answered = self.want.asked.values().all(|answered| *answered);
            if let Some(until) = self
                .want
                .until
                .filter(|until| !is_answered && *until > cx.now)
            {
                cx.wake_at(until);
                return;
            }
        }
        // A child that waits for a known room cannot be told of it: it is too far away.
        for (link, is_told) in &mut self.want.askers {
            if !std::mem::replace(is_told, true) {
                let room = self.name.clone();
                cx.out.control(*link, &Message::Unknown { room });
            }
        }
        let tells_owner = self.is_watched && !is_known;
        if tells_owner && !std::mem::replace(&mut self.want.is_owner_told, true) {
            cx.out.tell(self.id, ToRoom::Unknown);
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        let hops = match self.is_watched {
            true => HOPS_MAX as u8 - 1,
            false => self.want.hops,
        };
        let Some(hops_left) = hops.checked_sub(1) else {
            return;
        };
        let parents = cx
            .links
            .iter()
            .filter(|(_, link)| link.is_parent() && link.peer.is_some());
        for (id, _) in parents {
            if self.want.asked.contains_key(id) || self.want.askers.contains_key(id) {
                continue;
            }
            self.want.asked.insert(*id, false);
            let room = self.name.clone();
            cx.out.control(*id, &Message::Want { room, hops_left });
            self.want.until.get_or_insert(cx.now + WANT_TIMEOUT);
        }
    }

    fn stop_asking(&mut self, cx: &mut Context<'_>) {
        let asked = std::mem::take(&mut self.want.asked);
        for link in asked.into_keys() {
            // One that has announced the room waits for nothing more.
            if !self.routes.contains_key(&link) && cx.links.contains_key(&link) {
                let room = self.name.clone();
                cx.out.control(link, &Message::Unwant { room });
            }
        }
        self.want.until = None;
        self.want.is_owner_told = false;
        if self.want.askers.is_empty() {
            self.want.hops = 0;
        }
    }
}
