//! What a shard looks at now and then instead of with every packet: how its publishers are, what is
//! kept for replays, and what its viewers' links carry.

use lightstick_sfu_core::health::Fault;
use lightstick_types::{HintCode, StreamId};

use crate::api::MediaEvent;
use crate::session::RoleState;
use crate::shard::{SURVEY_EVERY, Shard};
use crate::stats::ESTIMATE_BOUNDS_KBPS;

impl Shard {
    /// Looks at everything that is looked at now and then, where it is time.
    pub(crate) fn survey(&mut self) {
        if self.now < self.survey_at {
            return;
        }
        self.survey_at = self.now + SURVEY_EVERY;
        self.survey_health();
        let bytes = self.rooms.share_replays(&self.local.shared.config);
        self.io.stats.history_bytes.set(bytes);
        self.survey_links();
        self.sessions.note_silent(self.now);
        let stats = &self.io.stats.attached;
        let taps = &mut self.attached.taps;
        taps.end_detached(&mut self.rooms, stats, self.now);
    }

    /// Counts what is wrong with this shard's publishers. Of those that are parked, tells where that
    /// has changed; of the others their rooms do.
    fn survey_health(&mut self) {
        let mut events = Vec::new();
        let mut counts = [0; HintCode::COUNT];
        let now = self.now;
        for session in self.sessions.iter_mut() {
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
        for (_, source) in self.rooms.hops_mut().filter_map(|hop| hop.source_mut()) {
            for hint in source.hints().iter() {
                counts[hint.code.index()] += 1;
            }
        }
        for (cell, count) in self.io.stats.hinted.iter().zip(counts) {
            cell.set(count);
        }
        for event in events {
            self.control.emit(event);
        }
    }

    /// A session is connected; of a publisher, media is expected from now on.
    pub(crate) fn expect_media(&mut self, key: u32) {
        let now = self.now;
        let session = self.sessions.get_mut(key);
        if let Some(parked) = session.and_then(|session| session.parked_mut()) {
            parked.handle_connected(now);
            self.arm(key);
        }
    }

    /// A publisher's packet shows a fault.
    pub(crate) fn note_fault(&mut self, key: u32, fault: Fault) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let Some(parked) = session.parked_mut() {
            parked.note(fault, now);
            return;
        }
        let Some(room) = self.room_of(key) else {
            return;
        };
        let source = self.rooms.get(room).and_then(|(hop, _)| hop.source_mut());
        if let Some((_, source)) = source.filter(|(feeder, _)| feeder.0 == key) {
            source.health_mut().note(fault, now);
        }
    }

    /// Counts this shard's viewers by what their links are estimated to carry.
    fn survey_links(&mut self) {
        let mut counts = [0; ESTIMATE_BOUNDS_KBPS.len() + 1];
        let mut sum = 0;
        for estimate in self.rooms.estimates() {
            let bps = estimate.bps();
            counts[ESTIMATE_BOUNDS_KBPS.partition_point(|kbps| kbps * 1_000 < bps)] += 1;
            sum += bps;
        }
        let stats = &self.io.stats;
        for (cell, count) in stats.estimates.iter().zip(counts) {
            cell.set(count);
        }
        stats.estimates_bps.set(sum);
    }
}

/// The layers of a publisher that names them, with their simulcast ids: by track, lowest first.
pub(crate) fn named_layers(role: &RoleState) -> Vec<(StreamId, String)> {
    let RoleState::Publisher { ingress, .. } = role else {
        return Vec::new();
    };
    let rid = |stream| Some((stream, ingress.rid(stream)?.to_owned()));
    StreamId::all().filter_map(rid).collect()
}

/// How many video tracks a publisher has announced.
pub(crate) fn video_tracks(role: &RoleState) -> usize {
    match role {
        RoleState::Publisher { ingress, .. } => ingress.video_tracks().into(),
        RoleState::Viewer { .. } => 0,
    }
}
