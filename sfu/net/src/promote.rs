//! A publisher's way into its room: parked while it connects, ready with its first picture, in the
//! room when the control plane has promoted it.

use lightstick_sfu_core::parked::Taken;
use lightstick_sfu_core::room::{FeederId, SourceEvent, SourceSetup};
use lightstick_sfu_core::uptrack::Incoming;
use lightstick_types::SessionId;

use crate::api::MediaEvent;
use crate::session::RoleState;
use crate::shard::Shard;

impl Shard {
    /// Keeps a packet of a publisher that is not in its room yet.
    pub(crate) fn park(&mut self, key: u32, packet: Incoming) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let id = session.id;
        match session.parked_mut().map(|parked| parked.push(packet)) {
            Some(Taken::Ready) => self
                .control
                .emit(MediaEvent::PublisherReady { session: id }),
            Some(Taken::Waits) => self.arm(key),
            Some(Taken::Noted) | None => {}
            Some(Taken::Dropped) => self.io.stats.drop_media.add(1),
        }
    }

    /// Lets time pass for a publisher that is not in its room yet.
    pub(crate) fn tend_parked(&mut self, key: u32) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(key)
            && session
                .parked_mut()
                .is_some_and(|parked| parked.handle_timeout(now))
        {
            let session = session.id;
            self.control.emit(MediaEvent::PublisherReady { session });
        }
    }

    /// Makes a parked publisher its room's publisher, with the packets that it has sent so far. The
    /// control plane closes the one before.
    pub(crate) fn promote(&mut self, session: SessionId) {
        let now = self.now;
        // It may have closed meanwhile.
        let Some(key) = self.sessions.find(session) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
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
        let setup = SourceSetup {
            bitrate_max: *bitrate_max,
            video_tracks: ingress.video_tracks(),
            parameter_sets: ingress.parameter_sets().to_vec(),
            health: promoted.health,
        };
        let room = self.rooms.open(session.room, now);
        let stats = &self.io.stats.attached;
        let sources = &mut self.attached.sources;
        sources.replace(room, &mut self.rooms, stats, now);
        if let Some((hop, _)) = self.rooms.touch(room) {
            hop.handle_source(SourceEvent::Attached(FeederId(key), Box::new(setup)), now);
        }
        for packet in promoted.packets {
            self.ingest(key, packet);
        }
        let Some((hop, _)) = self.rooms.touch(room) else {
            return;
        };
        let Some((_, source)) = hop.source_mut() else {
            return;
        };
        let streams = source.supply().available;
        if promoted.cut {
            streams
                .iter()
                .for_each(|stream| source.request_keyframe(stream));
        }
        if streams.is_empty() {
            // The one before may have had some.
            self.tell(key, |session| MediaEvent::LayersChanged {
                session,
                streams: Vec::new(),
            });
        }
        self.arm(key);
    }
}
