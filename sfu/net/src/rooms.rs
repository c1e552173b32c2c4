//! The rooms of one shard: a hop of each.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use lightstick_sfu_core::history::Reach;
use lightstick_sfu_core::room::{Hop, HopConfig, Output, PeerId, Tally};
use lightstick_sfu_core::timer::TimerWheel;
use lightstick_types::{Bitrate, NodeId, RoomId, ShardId};
use slab::Slab;

use crate::config::MediaConfig;
use crate::link::peer_of;
use crate::stats::{DELAY_BOUNDS_US, ShardStats};

/// A room's place on its shard. It is free for another once nothing needs the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoomKey(u32);

/// Where a shard stands among all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) shard: ShardId,
    pub(crate) shards: usize,
}

impl Position {
    /// The home rule: the shard that a room comes from, where that is another one.
    fn above(self, room: RoomId) -> Option<PeerId> {
        let home = room.home(self.shards);
        (home != self.shard).then(|| peer_of(home))
    }
}

/// A shard's rooms.
pub(crate) struct Rooms {
    position: Position,
    config: HopConfig,
    rooms: Slab<Room>,
    by_id: HashMap<RoomId, RoomKey>,
    timers: TimerWheel,
    fired: Vec<u32>,
    /// Rooms whose packets wait for the rest of their frame, and until when: for fractions of a
    /// millisecond, which the timers do not know.
    held: Vec<(Instant, RoomKey)>,
    /// Rooms that something has happened to.
    touched: VecDeque<RoomKey>,
    pub(crate) tally: Tally,
}

struct Room {
    id: RoomId,
    hop: Hop,
    is_touched: bool,
    is_held: bool,
}

impl Rooms {
    pub(crate) fn new(position: Position, config: &MediaConfig, now: Instant) -> Self {
        let units = |d: std::time::Duration| (d.as_millis() / 10).min(0xfff) as u16;
        let delays = config.playout_delay_min.zip(config.playout_delay_max);
        Self {
            position,
            config: HopConfig {
                node: NodeId::default(),
                keyframe_interval: config.keyframe_interval,
                pause_after: config.pause_after,
                frame_hold: config.frame_hold,
                playout_delay: delays.map(|(min, max)| (units(min), units(max))),
            },
            rooms: Slab::new(),
            by_id: HashMap::new(),
            timers: TimerWheel::new(now),
            fired: Vec::new(),
            held: Vec::new(),
            touched: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn find(&self, id: RoomId) -> Option<RoomKey> {
        self.by_id.get(&id).copied()
    }

    /// Whether other shards get the room from this one.
    pub(crate) fn is_home(&self, id: RoomId) -> bool {
        self.position.above(id).is_none()
    }

    /// A room, which is made where there is none.
    pub(crate) fn open(&mut self, id: RoomId, now: Instant) -> RoomKey {
        if let Some(key) = self.find(id) {
            return key;
        }
        let hop = Hop::new(self.config, self.position.above(id), now);
        let key = RoomKey(self.rooms.insert(Room {
            id,
            hop,
            is_touched: false,
            is_held: false,
        }) as u32);
        self.by_id.insert(id, key);
        key
    }

    /// A room's hop, and what it counts into. Something happens to it: it is looked after soon.
    pub(crate) fn touch(&mut self, key: RoomKey) -> Option<(&mut Hop, &mut Tally)> {
        let room = self.rooms.get_mut(key.0 as usize)?;
        if !std::mem::replace(&mut room.is_touched, true) {
            self.touched.push_back(key);
        }
        Some((&mut room.hop, &mut self.tally))
    }

    /// The same, to look at it, or after it.
    pub(crate) fn get(&mut self, key: RoomKey) -> Option<(&mut Hop, &mut Tally)> {
        let room = self.rooms.get_mut(key.0 as usize)?;
        Some((&mut room.hop, &mut self.tally))
    }

    /// What a room wants done next.
    pub(crate) fn poll(&mut self, key: RoomKey) -> Option<(RoomId, Output)> {
        let room = self.rooms.get_mut(key.0 as usize)?;
        Some((room.id, room.hop.poll()?))
    }

    /// Whether a room waits to be looked after.
    pub(crate) fn has_more(&self) -> bool {
        !self.touched.is_empty() || !self.fired.is_empty()
    }

    /// The next room to look after.
    pub(crate) fn next(&mut self, now: Instant) -> Option<RoomKey> {
        if self.fired.is_empty() {
            self.timers.advance(now, &mut self.fired);
        }
        while let Some(held) = self.held.iter().position(|(at, _)| *at <= now) {
            let (_, key) = self.held.swap_remove(held);
            if let Some(room) = self.rooms.get_mut(key.0 as usize) {
                room.is_held = false;
                return Some(key);
            }
        }
        while let Some(fired) = self.fired.pop() {
            if self.rooms.contains(fired as usize) {
                return Some(RoomKey(fired));
            }
        }
        self.touched.pop_front()
    }

    /// A room was looked after: it waits until it wants to be again, and goes where nothing needs it.
    pub(crate) fn settle(&mut self, key: RoomKey) {
        let Some(room) = self.rooms.get_mut(key.0 as usize) else {
            return;
        };
        room.is_touched = false;
        if room.hop.is_idle() {
            self.by_id.remove(&room.id);
            self.timers.disarm(key.0);
            self.rooms.remove(key.0 as usize);
            return;
        }
        self.timers.arm(key.0, room.hop.poll_timeout());
        if let Some(at) = room.hop.held_until()
            && !std::mem::replace(&mut room.is_held, true)
        {
            self.held.push((at, key));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held.iter().map(|(at, _)| *at);
        held.chain(self.timers.next()).min()
    }

    /// Shares out what may be kept for replays, and counts what is. Packets are shared by the shards
    /// that have them, but each has its part of the total for itself.
    pub(crate) fn share_replays(&mut self, config: &MediaConfig) -> u64 {
        let held = |(_, room): (usize, &mut Room)| room.hop.history_mut().held();
        let held = self.rooms.iter_mut().map(held);
        let (layers, bytes) = held.fold((0, 0), |sum, room| (sum.0 + room.0, sum.1 + room.1));
        let share = config.replay_total_bytes_max / self.position.shards / layers.max(1);
        let reach = Reach {
            age: config.replay_age_max,
            bytes: share.min(config.replay_bytes_max) as u64,
        };
        for (_, room) in &mut self.rooms {
            room.hop.history_mut().set_reach(reach);
        }
        bytes
    }

    /// All hops.
    pub(crate) fn hops_mut(&mut self) -> impl Iterator<Item = &mut Hop> {
        self.rooms.iter_mut().map(|(_, room)| &mut room.hop)
    }

    /// Estimates of all viewers' links.
    pub(crate) fn estimates(&mut self) -> impl Iterator<Item = Bitrate> {
        let viewers = self.hops_mut().flat_map(|hop| hop.viewers_mut().iter());
        viewers.filter_map(|viewer| viewer.media().estimate)
    }

    /// Adds what the hops have counted to what the shard shows. What was forwarded has left by now.
    pub(crate) fn count(&mut self, stats: &ShardStats) {
        let forwarded = std::mem::take(&mut self.tally.forwarded);
        let tally = std::mem::take(&mut self.tally);
        for (cell, count) in [
            (&stats.rtp_in, tally.rtp_in),
            (&stats.rtp_in_lost, tally.rtp_in_lost),
            (&stats.rtp_out, tally.rtp_out),
            (&stats.paced_out, tally.paced_out),
            (&stats.rtx_out, tally.rtx_out),
            (&stats.rtp_out_lost, tally.rtp_out_lost),
            (&stats.nacks_in, tally.nacks_in),
            (&stats.keyframe_requests_in, tally.keyframe_requests_in),
            (&stats.layer_switches, tally.layer_switches),
            (&stats.layers_paused, tally.layers_paused),
            (&stats.layers_resumed, tally.layers_resumed),
            (&stats.starts_replayed, tally.starts_replayed),
            (&stats.starts_asked, tally.starts_asked),
            (&stats.starts_waited, tally.starts_waited),
            (&stats.drop_media, tally.drop_media),
            (&stats.drop_behind, tally.drop_behind),
            (&stats.drop_refused, tally.drop_refused),
            (&stats.drop_flood, tally.drop_flood),
            (&stats.attached.taps_missed, tally.tap_missed),
            (&stats.panics, tally.panics),
        ] {
            if count > 0 {
                cell.add(count);
            }
        }
        if !forwarded.is_empty() {
            let sent = Instant::now();
            for (received, viewers) in &forwarded {
                let us = sent.saturating_duration_since(*received).as_micros() as u64;
                let bucket = DELAY_BOUNDS_US.partition_point(|bound| *bound < us);
                stats.forward_delay[bucket].add(*viewers);
                stats.forward_delay_us.add(us * viewers);
            }
        }
        self.tally.forwarded = forwarded;
        self.tally.forwarded.clear();
    }
}
