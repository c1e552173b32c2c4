//! A publisher's way into its room: parked while it connects, ready with its first media, in the
//! room when the control plane has promoted it.

use lightstick_sfu_core::parked::Taken;
use lightstick_sfu_core::uptrack::{Incoming, Source};
use lightstick_sfu_core::watched::Watched;
use lightstick_types::SessionId;

use crate::api::MediaEvent;
use crate::room::Publisher;
use crate::session::RoleState;
use crate::shard::Shard;

impl Shard {
    /// Keeps a packet of a publisher that is not in its room yet.
    pub(crate) fn park(&mut self, key: u32, packet: Incoming) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let id = session.id;
        match session.parked_mut().map(|parked| parked.push(packet)) {
            Some(Taken::Ready) => self.emit(MediaEvent::PublisherReady { session: id }),
            Some(Taken::Noted) | None => {}
            Some(Taken::Dropped) => self.io.stats.drop_media.add(1),
        }
    }

    /// Makes a parked publisher its room's publisher, with the packets that it has sent so far. The
    /// control plane closes the one before.
    pub(crate) fn promote(&mut self, session: SessionId) {
        // It may have closed meanwhile.
        let Some(&key) = self.by_id.get(&session) else {
            return;
        };
        let session = &mut self.sessions[key as usize];
        let id = session.room;
        let RoleState::Publisher {
            ingress,
            bitrate_max,
            parked,
        } = &mut session.role
        else {
            return;
        };
        let Some(parked) = parked.take() else {
            return;
        };
        let promoted = parked.promote();
        let (sets, bitrate_max) = (ingress.parameter_sets().clone(), *bitrate_max);
        let config = self.source_config(bitrate_max);
        let room = self.rooms.entry(id).or_default();
        let mut source = Source::new(room.next_source(), config, self.now);
        source.offer_parameter_sets(sets);
        *source.health_mut() = promoted.health;
        let watched = Watched::new(self.shared.config.pause_after);
        room.publisher = Some(Publisher::new(key, source, watched));
        // Nothing of the one before is left to start from.
        self.spread_supply(id);
        for packet in promoted.packets {
            self.ingest(key, packet);
        }
        let Some(room) = self.rooms.get(&id) else {
            return;
        };
        if room.supply.available.is_empty() {
            self.layers_changed(id);
        } else if promoted.cut {
            let layers = room.supply.available;
            layers
                .iter()
                .for_each(|layer| self.request_keyframe(id, layer));
        }
        self.arm(key);
    }
}
