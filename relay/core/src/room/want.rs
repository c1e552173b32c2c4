//! A room that nobody announces, although somebody waits for it.

use std::collections::BTreeMap;
use std::time::Instant;

use lightstick_types::RoomName;

use super::context::Context;
use crate::limits::{HOPS_MAX, WANT_TIMEOUT};
use crate::message::Message;
use crate::output::{LinkId, ToRoom};

#[derive(Debug, Default)]
pub(crate) struct Want {
    /// Children that wait.
    askers: BTreeMap<LinkId, Question>,
    /// Parents that were asked.
    asked: BTreeMap<LinkId, Question>,
    /// When the room is called unknown in any case.
    until: Option<Instant>,
    is_owner_told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    /// How much farther up it is passed on. It falls on the way, so that no question goes round.
    hops_left: u8,
    is_answered: bool,
}

impl Want {
    pub(crate) fn is_empty(&self) -> bool {
        self.askers.is_empty() && self.asked.is_empty()
    }

    /// A child waits. It is told anew.
    pub(crate) fn add_asker(&mut self, link: LinkId, hops_left: u8) {
        let question = Question {
            hops_left,
            is_answered: false,
        };
        self.askers.insert(link, question);
    }

    pub(crate) fn remove_asker(&mut self, link: LinkId) {
        self.askers.remove(&link);
    }

    /// A parent has answered.
    pub(crate) fn answered(&mut self, link: LinkId) {
        if let Some(question) = self.asked.get_mut(&link) {
            question.is_answered = true;
        }
    }

    pub(crate) fn forget(&mut self, link: LinkId) {
        self.askers.remove(&link);
        self.asked.remove(&link);
    }

    /// Asks the parents for a room that is not known, and says that it is unknown when they have
    /// answered.
    pub(super) fn settle(
        &mut self,
        name: &RoomName,
        is_watched: bool,
        is_known: bool,
        cx: &mut Context<'_>,
    ) {
        let hops_of_askers = self.askers.values().map(|asker| asker.hops_left);
        let hops = match is_watched {
            true => HOPS_MAX as u8,
            false => hops_of_askers.max().unwrap_or_default(),
        };
        match hops.checked_sub(1) {
            Some(hops_left) if !is_known => self.ask(name, hops_left, cx),
            _ => self.stop_asking(name, cx),
        }
        let is_answered = self.asked.values().all(|asked| asked.is_answered);
        if let Some(until) = self.until.filter(|until| !is_answered && *until > cx.now) {
            cx.wake_at(until);
            self.is_owner_told &= is_watched;
            return;
        }
        // A child that waits for a known room cannot be told of it: it is too far away.
        for (link, asker) in &mut self.askers {
            if !std::mem::replace(&mut asker.is_answered, true) {
                let room = name.clone();
                cx.out.control(*link, &Message::Unknown { room });
            }
        }
        let is_unknown_here = is_watched && !is_known;
        if is_unknown_here && !self.is_owner_told {
            cx.out.tell(cx.id, ToRoom::Unknown);
        }
        self.is_owner_told = is_unknown_here;
    }

    fn ask(&mut self, name: &RoomName, hops_left: u8, cx: &mut Context<'_>) {
        let parents = cx
            .links
            .iter()
            .filter(|(_, link)| link.is_parent() && link.peer.is_some());
        for (id, _) in parents {
            let asked = self.asked.get(id);
            if asked.is_some_and(|asked| asked.hops_left == hops_left) {
                continue;
            }
            let question = Question {
                hops_left,
                is_answered: asked.is_some_and(|asked| asked.is_answered),
            };
            self.asked.insert(*id, question);
            let room = name.clone();
            cx.out.control(*id, &Message::Want { room, hops_left });
            self.until.get_or_insert(cx.now + WANT_TIMEOUT);
        }
    }

    fn stop_asking(&mut self, name: &RoomName, cx: &mut Context<'_>) {
        let asked = std::mem::take(&mut self.asked);
        for link in asked.into_keys() {
            // Also where the room was announced: the question may still be on its way.
            if cx.links.contains_key(&link) {
                let room = name.clone();
                cx.out.control(link, &Message::Unwant { room });
            }
        }
        self.until = None;
    }
}
