//! A shard's sessions: how they are found, and when each is looked at.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use lightstick_sfu_core::ice::Route;
use lightstick_sfu_core::timer::TimerWheel;
use lightstick_types::SessionId;
use lightstick_types::rate::Bucket;
use slab::Slab;

use crate::demux::Senders;
use crate::session::Session;
use crate::stats::ShardStats;

/// SSRCs that one session is found by at most.
const SSRCS_MAX: usize = 8;

/// A shard's sessions, by keys that are free for others once a session is removed.
pub(crate) struct Sessions {
    // Boxed: a growing slab would hold up to twice the memory, and copy all of it amid a show.
    slab: Slab<Box<Session>>,
    by_id: HashMap<SessionId, u32>,
    pub(crate) by_ufrag: HashMap<String, u32>,
    pub(crate) by_addr: HashMap<Route, u32>,
    pub(crate) senders: Senders,
    /// Media of unknown addresses that may still be tried.
    pub(crate) strangers: Bucket,
    timers: TimerWheel,
    /// Those whose timers have fired, and are yet to be looked at; the first is last.
    fired: Vec<u32>,
    /// Sessions with something to send.
    dirty: VecDeque<u32>,
}

impl Sessions {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            slab: Slab::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_addr: HashMap::new(),
            senders: Senders::default(),
            strangers: Bucket::default(),
            timers: TimerWheel::new(now),
            fired: Vec::new(),
            dirty: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, key: u32) -> Option<&Session> {
        self.slab.get(key as usize).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut Session> {
        self.slab.get_mut(key as usize).map(Box::as_mut)
    }

    /// The key of a session.
    pub(crate) fn find(&self, id: SessionId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The key of the next session.
    pub(crate) fn next_key(&self) -> u32 {
        self.slab.vacant_key() as u32
    }

    /// Takes a session in, to be found by its id and by its ICE user name.
    pub(crate) fn insert(&mut self, session: Session) {
        let key = self.next_key();
        self.by_id.insert(session.id, key);
        let ufrag = session.ice.credentials().local.ufrag.clone();
        self.by_ufrag.insert(ufrag, key);
        self.slab.insert(Box::new(session));
    }

    /// Takes a session out, so that nothing finds it any more. The addresses that were known to be
    /// its peer's come with it.
    pub(crate) fn remove(&mut self, key: u32) -> Option<(Box<Session>, Vec<Route>)> {
        let mut session = self.slab.try_remove(key as usize)?;
        self.timers.disarm(key);
        self.by_id.remove(&session.id);
        for ufrag in session.ice.ufrags() {
            self.by_ufrag.remove(ufrag);
        }
        for ssrc in session.ssrcs.drain(..) {
            self.senders.remove(ssrc);
        }
        let mut routes: Vec<Route> = session.ice.routes().collect();
        routes.retain(|route| self.by_addr.get(route) == Some(&key));
        Some((session, routes))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slab.iter_mut().map(|(_, session)| session.as_mut())
    }

    pub(crate) fn keys(&self) -> Vec<u32> {
        self.slab.iter().map(|(key, _)| key as u32).collect()
    }

    /// Remembers who sends, so that it is found again at another address.
    pub(crate) fn note_sender(&mut self, key: u32, ssrc: u32) {
        let Some(session) = self.slab.get_mut(key as usize) else {
            return;
        };
        let ssrcs = &mut session.ssrcs;
        if !ssrcs.contains(&ssrc) && ssrcs.len() < SSRCS_MAX {
            ssrcs.push(ssrc);
            self.senders.add(ssrc, key);
        }
    }

    /// Notes whose peers are silent: they may have moved.
    pub(crate) fn note_silent(&mut self, now: Instant) {
        self.senders.forget_silent();
        for (key, session) in &self.slab {
            if session.connection.is_connected && session.ice.is_silent(now) {
                for ssrc in &session.ssrcs {
                    self.senders.note_silent(*ssrc, key as u32);
                }
            }
        }
    }

    /// Sees to it that a session is looked at by then.
    pub(crate) fn arm(&mut self, key: u32, deadline: Instant) {
        self.timers.arm(key, deadline);
    }

    /// The next session whose time has come. Whoever is armed again while it waits for its turn does
    /// not fire twice.
    pub(crate) fn next_fired(&mut self, now: Instant) -> Option<u32> {
        if self.fired.is_empty() {
            self.timers.advance(now, &mut self.fired);
            self.fired.reverse();
        }
        self.fired.pop()
    }

    /// Puts a session on the list of those with something to send.
    pub(crate) fn mark_dirty(&mut self, key: u32) {
        if let Some(session) = self.slab.get_mut(key as usize)
            && !std::mem::replace(&mut session.waiting.dirty, true)
        {
            self.dirty.push_back(key);
        }
    }

    /// The next session with something to send.
    pub(crate) fn next_dirty(&mut self) -> Option<u32> {
        while let Some(key) = self.dirty.pop_front() {
            if let Some(session) = self.slab.get_mut(key as usize) {
                session.waiting.dirty = false;
                return Some(key);
            }
        }
        None
    }

    pub(crate) fn has_more(&self) -> bool {
        !self.fired.is_empty() || !self.dirty.is_empty()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Reports what is held, so that tests can check for leaks.
    pub(crate) fn count_held(&self, stats: &ShardStats) {
        stats.held_addresses.set(self.by_addr.len() as u64);
        stats.held_names.set(self.by_ufrag.len() as u64);
        stats.held_timers.set(self.timers.running() as u64);
    }
}
