//! What a shard looks at now and then instead of with every packet: which layers are watched, how
//! its publishers are, and what its viewers' links carry.

use lightstick_sfu_core::health::Fault;
use lightstick_sfu_core::history::Reach;
use lightstick_sfu_core::layers::LayerSet;
use lightstick_types::{HintCode, Layer, RoomId};

use crate::api::MediaEvent;
use crate::link::Message;
use crate::session::RoleState;
use crate::shard::Shard;
use crate::stats::ESTIMATE_BOUNDS_KBPS;

impl Shard {
    /// Looks at which of a room's layers this shard's viewers watch. At home, what nobody has
    /// watched for long is paused; elsewhere the home hears of changes.
    pub(crate) fn survey_layers(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let sessions = &self.sessions;
        let watched = room
            .viewers
            .iter()
            .filter_map(|key| match &sessions.get(*key as usize)?.role {
                RoleState::Viewer(viewer) => Some(viewer.watched()),
                RoleState::Publisher { .. } => None,
            })
            .fold(LayerSet::default(), LayerSet::or);
        let home = id.home(self.shards);
        if home != self.id {
            if std::mem::replace(&mut room.watched, watched) != watched {
                let layers = watched;
                self.links.send(home, Message::Watched { room: id, layers });
            }
            return;
        }
        let watched = watched.or(room.watched_elsewhere());
        let Some(publisher) = &mut room.publisher else {
            return;
        };
        let available = publisher.source.supply().available;
        if publisher.watched.look(self.now, available, watched) {
            self.pauses_changed(id);
        }
    }

    /// A viewer watches these layers from now on: those that are paused come back.
    pub(crate) fn watches(&mut self, id: RoomId, layers: LayerSet) {
        let home = id.home(self.shards);
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        if home != self.id && !layers.without(room.watched).is_empty() {
            room.watched = room.watched.or(layers);
            let layers = room.watched;
            self.links.send(home, Message::Watched { room: id, layers });
        }
        for layer in room.supply.paused.and(layers).iter() {
            self.request_keyframe(id, layer);
        }
    }

    /// At home: the publisher is asked to pause other layers than before.
    pub(crate) fn pauses_changed(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let Some(publisher) = &mut room.publisher else {
            return;
        };
        let paused = publisher.watched.paused();
        let before = room.supply.paused;
        publisher.source.set_paused(self.now, paused);
        let count = |layers: LayerSet| layers.iter().count() as u64;
        let stats = &self.io.stats;
        stats.layers_paused.add(count(paused.without(before)));
        stats.layers_resumed.add(count(before.without(paused)));
        if let Some(session) = self.sessions.get(publisher.session as usize) {
            let event = MediaEvent::LayersPaused {
                session: session.id,
                layers: paused.iter().collect(),
            };
            self.emit(event);
        }
        self.layers_changed(id);
    }

    /// Looks at how this shard's publishers are, parked or not, and tells where that has changed.
    pub(crate) fn survey_health(&mut self) {
        let mut events = Vec::new();
        let mut counts = [0; HintCode::COUNT];
        let now = self.now;
        for (_, session) in &mut self.sessions {
            let id = session.id;
            let Some(parked) = session.parked_mut() else {
                continue;
            };
            if parked.look(now) {
                let hints = parked.hints().iter().collect();
                events.push(MediaEvent::HintsChanged { session: id, hints });
            }
            for hint in parked.hints().iter() {
                counts[hint.code.index()] += 1;
            }
        }
        for room in self.rooms.values_mut() {
            let key = room.publisher.as_ref().map(|publisher| publisher.session);
            let Some(session) = key.and_then(|key| self.sessions.get(key as usize)) else {
                continue;
            };
            let RoleState::Publisher { ingress, .. } = &session.role else {
                continue;
            };
            if let Some(hints) = room.look_at_health(self.now, ingress.ssrc_changes()) {
                let session = session.id;
                events.push(MediaEvent::HintsChanged { session, hints });
            }
            let publisher = room.publisher.as_ref();
            for hint in publisher.iter().flat_map(|p| p.source.hints().iter()) {
                counts[hint.code.index()] += 1;
            }
        }
        for (cell, count) in self.io.stats.hinted.iter().zip(counts) {
            cell.set(count);
        }
        for event in events {
            self.emit(event);
        }
    }

    /// Shares out what may be kept for replays, and counts what is. Packets are shared by the shards
    /// that have them, but each has its part of the total for itself.
    pub(crate) fn survey_replays(&mut self) {
        let held = self.rooms.values().map(|room| room.history.held());
        let (layers, bytes) = held.fold((0, 0), |sum, room| (sum.0 + room.0, sum.1 + room.1));
        let config = &self.shared.config;
        let share = config.replay_total_bytes_max / self.shards / layers.max(1);
        let reach = Reach {
            age: config.replay_age_max,
            bytes: share.min(config.replay_bytes_max) as u64,
        };
        for room in self.rooms.values_mut() {
            room.history.set_reach(reach);
        }
        self.io.stats.history_bytes.set(bytes);
    }

    /// A session is connected; of a publisher, media is expected from now on.
    pub(crate) fn expect_media(&mut self, key: u32) {
        let now = self.now;
        let session = self.sessions.get_mut(key as usize);
        if let Some(parked) = session.and_then(|session| session.parked_mut()) {
            parked.handle_connected(now);
            self.arm(key);
        }
    }

    /// A publisher sends what belongs to nothing that was agreed on.
    pub(crate) fn note_unplaced(&mut self, key: u32) {
        let now = self.now;
        self.io.stats.drop_media.add(1);
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        if let Some(parked) = session.parked_mut() {
            parked.note(Fault::Unplaced, now);
            return;
        }
        let room = self.rooms.get_mut(&session.room);
        let publisher = room.and_then(|room| room.publisher.as_mut());
        if let Some(publisher) = publisher.filter(|publisher| publisher.session == key) {
            publisher.source.health_mut().note(Fault::Unplaced, now);
        }
    }

    /// Counts this shard's viewers by what their links are estimated to carry.
    pub(crate) fn survey_links(&self) {
        let mut counts = [0; ESTIMATE_BOUNDS_KBPS.len() + 1];
        let mut sum = 0;
        for (_, session) in &self.sessions {
            let RoleState::Viewer(viewer) = &session.role else {
                continue;
            };
            if let Some(estimate) = viewer.egress.as_ref().and_then(|e| e.estimate()) {
                let bps = estimate.bps();
                counts[ESTIMATE_BOUNDS_KBPS.partition_point(|kbps| kbps * 1_000 < bps)] += 1;
                sum += bps;
            }
        }
        let stats = &self.io.stats;
        for (cell, count) in stats.estimates.iter().zip(counts) {
            cell.set(count);
        }
        stats.estimates_bps.set(sum);
    }
}

/// The layers of a publisher that names them, lowest first, with their simulcast ids.
pub(crate) fn named_layers(role: &RoleState) -> Vec<(Layer, String)> {
    let RoleState::Publisher { ingress, .. } = role else {
        return Vec::new();
    };
    let rid = |layer| Some((layer, ingress.rid(layer)?.to_string()));
    Layer::ALL.into_iter().filter_map(rid).collect()
}
