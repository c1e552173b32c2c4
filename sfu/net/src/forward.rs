//! A packet's way through a shard's rooms: from the publisher's session to the viewers here and
//! on the other shards, and the keyframe requests that go the other way.

use std::sync::Arc;
use std::time::Duration;

use lightstick_sfu_core::egress::NotSent;
use lightstick_sfu_core::layers::LayerSet;
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::uptrack::{Incoming, Refused, SourceConfig};
use lightstick_sfu_core::watched::Supply;
use lightstick_types::{Bitrate, Layer, RoomId, ShardId, TrackKind};

use crate::api::{CloseReason, LayerMedia, MediaEvent, RoomMedia, TrackMedia};
use crate::link::Message;
use crate::room::{Fresh, Room};
use crate::session::RoleState;
use crate::shard::Shard;
use crate::viewer::Offered;

impl Shard {
    /// Takes a publisher's packet into its room and gives it to everyone there.
    pub(crate) fn ingest(&mut self, key: u32, packet: Incoming) {
        let Some(session) = self.sessions.get(key as usize) else {
            return;
        };
        let (id, session) = (session.room, session.id);
        let wall_now = self.wall_now();
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let Some(publisher) = room.publisher.as_mut().filter(|p| p.session == key) else {
            // A publisher that was replaced may still send for a moment.
            self.io.stats.drop_media.add(1);
            return;
        };
        match publisher.source.ingest(packet, wall_now) {
            Ok((packet, changes)) => {
                self.io.stats.rtp_in_lost.add(changes.missing);
                let (kind, codec) = (packet.kind, packet.format.codec);
                let hold = room.hold(self.shared.config.frame_hold);
                if let Some(sets) = changes.inserted {
                    room.push(sets, 0, self.now, hold);
                }
                if room.push(Arc::new(packet), 0, self.now, hold) {
                    self.holding.push(id);
                } else {
                    self.touched_rooms.push(id);
                }
                if changes.track_started {
                    self.emit(MediaEvent::TrackStarted {
                        session,
                        kind,
                        codec,
                    });
                }
                if changes.layers {
                    self.layers_changed(id);
                }
            }
            Err(Refused::Close) => {
                self.io.stats.drop_media.add(1);
                self.remove(key, CloseReason::BitrateExceeded);
            }
            Err(Refused::OverLimit | Refused::NotItsCodec | Refused::TooLate) => {
                self.io.stats.drop_media.add(1)
            }
        }
    }

    /// Gives this turn's packets to this shard's viewers of the room.
    fn fan_out(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        // The batch steps aside while sessions are written to. Those may leave the room meanwhile.
        let mut batch = std::mem::take(&mut room.batch);
        let mut viewers = std::mem::take(&mut self.fanned);
        viewers.clear();
        viewers.extend_from_slice(&room.viewers);
        // Video first: a run of equal datagrams is one system call, and audio would break it.
        batch.sort_by_key(|fresh| fresh.packet.kind == TrackKind::Audio);
        let mut longest = [0; Layer::COUNT];
        for Fresh { packet, .. } in &batch {
            if packet.kind == TrackKind::Video {
                let longest = &mut longest[packet.layer.index()];
                *longest = packet.payload.len().max(*longest);
            }
        }
        for &key in &viewers {
            self.contained_session(key, |shard| shard.give(key, &batch, &longest));
        }
        self.io.stats.rtp_out.add(self.given.iter().sum());
        for (fresh, viewers) in batch.iter().zip(self.given.drain(..)) {
            if viewers > 0 {
                let received_at = fresh.packet.received_at;
                match self.forwarded.last_mut() {
                    Some((at, count)) if *at == received_at => *count += viewers,
                    _ => self.forwarded.push((received_at, viewers)),
                }
            }
        }
        batch.clear();
        self.fanned = viewers;
        if let Some(room) = self.rooms.get_mut(&id) {
            room.batch = batch;
        }
    }

    /// Gives one viewer what it gets of a batch.
    fn give(&mut self, key: u32, batch: &[Fresh], longest: &[usize; Layer::COUNT]) {
        self.given.resize(batch.len(), 0);
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let (Some(route), RoleState::Viewer(viewer)) = (session.route, &mut session.role) else {
            return;
        };
        let before = viewer.layer_sent();
        let was_behind = viewer.is_behind();
        let mut sink = self.io.sink(route);
        let mut refused = 0;
        for (fresh, given) in batch.iter().zip(&mut self.given) {
            let offered = Offered {
                packet: &fresh.packet,
                generation: fresh.generation,
                longest: longest[fresh.packet.layer.index()],
            };
            match viewer.forward(offered, self.now, &mut sink) {
                Ok(sent) => *given += u64::from(sent),
                // No drop: it had this one already, out of the history, before the batch left.
                Err(NotSent::Number) => {}
                Err(_) => refused += 1,
            }
        }
        session.bytes_sent += sink.bytes;
        let after = viewer.layer_sent();
        let behind = !was_behind && viewer.is_behind();
        self.io.stats.drop_media.add(refused);
        self.note_layer(key, before, after);
        if behind {
            self.arm(key);
        }
    }

    /// Hears another shard.
    pub(crate) fn hear(&mut self, from: ShardId, message: Message) {
        match message {
            Message::Media {
                room,
                generation,
                packets,
            } => {
                if let Some(state) = self.rooms.get_mut(&room) {
                    for packet in packets.iter() {
                        // Its home has held it for as long as it may be.
                        state.push(Arc::clone(packet), generation, self.now, Duration::ZERO);
                    }
                    self.touched_rooms.push(room);
                }
            }
            Message::Interest { room: id, wanted } => {
                let room = self.rooms.entry(id).or_default();
                room.set_interest(from, wanted);
                let supply = room.supply;
                if wanted {
                    self.links.send(from, Message::Live { room: id, supply });
                    self.send_replay(id, from);
                }
                self.forget_if_idle(id);
            }
            Message::Keyframe { room, layers } => {
                layers
                    .iter()
                    .for_each(|layer| self.request_keyframe(room, layer));
            }
            Message::Watched { room, layers } => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.set_watched(from, layers);
                }
            }
            Message::Live { room, supply } => self.set_supply(room, supply),
        }
    }

    /// Puts a viewer into its room. A publisher enters when it is promoted.
    pub(crate) fn enter_room(&mut self, key: u32) {
        let session = &self.sessions[key as usize];
        if matches!(session.role, RoleState::Publisher { .. }) {
            return;
        }
        let id = session.room;
        let home = id.home(self.shards);
        let room = self.rooms.entry(id).or_default();
        let place = room.viewers.len();
        let first = place == 0;
        room.viewers.push(key);
        let supply = room.supply;
        self.sessions[key as usize].place = place;
        if first && home != self.id {
            self.links.send(
                home,
                Message::Interest {
                    room: id,
                    wanted: true,
                },
            );
        }
        if let Some(viewer) = self.sessions[key as usize].viewer() {
            // The keyframe is asked for when there is a connection to send it on.
            viewer.set_supply(supply);
        }
    }

    /// Takes a session out of its room, where a viewer has a `place`.
    pub(crate) fn leave_room(&mut self, key: u32, id: RoomId, place: usize) {
        let home = id.home(self.shards);
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        if room.publisher.as_ref().is_some_and(|p| p.session == key) {
            room.publisher = None;
            self.layers_changed(id);
        } else if room.viewers.get(place) == Some(&key) {
            room.viewers.swap_remove(place);
            if let Some(moved) = room.viewers.get(place) {
                self.sessions[*moved as usize].place = place;
            }
            if room.viewers.is_empty() && home != self.id {
                self.links.send(
                    home,
                    Message::Interest {
                        room: id,
                        wanted: false,
                    },
                );
            }
        }
        self.forget_if_idle(id);
    }

    fn forget_if_idle(&mut self, id: RoomId) {
        if self.rooms.get(&id).is_some_and(Room::is_idle) {
            self.rooms.remove(&id);
        }
    }

    pub(crate) fn source_config(&self, bitrate_max: Bitrate) -> SourceConfig {
        let config = &self.shared.config;
        let units = |d: Duration| (d.as_millis() / 10).min(0xfff) as u16;
        let delays = config.playout_delay_min.zip(config.playout_delay_max);
        SourceConfig {
            bitrate_max,
            keyframe_interval: config.keyframe_interval,
            playout_delay: delays.map(|(min, max)| (units(min), units(max))),
        }
    }

    /// Gives a shard that has just got its first viewer of a room what newcomers start from.
    fn send_replay(&mut self, id: RoomId, to: ShardId) {
        let Some(room) = self.rooms.get(&id) else {
            return;
        };
        let packets: Arc<[Arc<MediaPacket>]> = room.history.all(self.now).cloned().collect();
        let generation = room.generation(to);
        if !packets.is_empty() {
            // A full ring drops it: the viewers there then wait for a keyframe.
            let _ = self.links.offer(
                to,
                Message::Media {
                    room: id,
                    generation,
                    packets,
                },
            );
        }
    }

    /// At the room's home: other layers can be had than before.
    pub(crate) fn layers_changed(&mut self, id: RoomId) {
        let supply = self.spread_supply(id);
        let publisher = self.rooms.get(&id).and_then(|room| room.publisher.as_ref());
        let session = publisher.and_then(|p| self.sessions.get(p.session as usize));
        if let Some(session) = session.map(|session| session.id) {
            let layers = supply.available.iter().collect();
            self.emit(MediaEvent::LayersChanged { session, layers });
        }
    }

    /// At the room's home: tells its viewers and the other shards which layers can be had.
    pub(crate) fn spread_supply(&mut self, id: RoomId) -> Supply {
        let Some(room) = self.rooms.get(&id) else {
            return Supply::default();
        };
        let supply = room
            .publisher
            .as_ref()
            .map(|p| p.source.supply())
            .unwrap_or_default();
        let remotes: Vec<ShardId> = room.remotes().collect();
        for shard in remotes {
            self.links.send(shard, Message::Live { room: id, supply });
        }
        self.set_supply(id, supply);
        supply
    }

    fn set_supply(&mut self, id: RoomId, supply: Supply) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        room.set_supply(supply, self.now);
        if supply.available.is_empty() {
            room.forget();
        }
        let mut wanted = LayerSet::default();
        for &key in &room.viewers {
            let Some(session) = self.sessions.get_mut(key as usize) else {
                continue;
            };
            let connected = session.connected;
            if let Some(keyframe) = session.viewer().and_then(|v| v.set_supply(supply))
                && connected
            {
                wanted.insert(keyframe.0);
            }
        }
        wanted
            .iter()
            .for_each(|layer| self.request_keyframe(id, layer));
    }

    /// Asks for a keyframe of a room's layer. Requests merge until the end of the turn and, at
    /// the home shard, for the keyframe interval.
    pub(crate) fn request_keyframe(&mut self, id: RoomId, layer: Layer) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.request_keyframe(layer);
            self.touched_rooms.push(id);
        }
    }

    /// Asks again for the keyframes that viewers still wait for: the first request, or the
    /// keyframe itself, may have been lost.
    pub(crate) fn revisit_waiting(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else {
            return;
        };
        let waiting: LayerSet = room
            .viewers
            .iter()
            .filter_map(|key| self.sessions.get(*key as usize))
            .filter(|session| session.connected)
            .filter_map(|session| match &session.role {
                // What a newcomer waits for patiently is on its way.
                RoleState::Viewer(viewer) if !viewer.is_patient(self.now) => viewer.wanted(),
                _ => None,
            })
            .map(|wanted| wanted.0)
            .collect();
        waiting
            .iter()
            .for_each(|layer| self.request_keyframe(id, layer));
    }

    /// Does for a room what has gathered during the turn.
    pub(crate) fn tend_room(&mut self, id: RoomId) {
        let now = self.now;
        let home = id.home(self.shards);
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        if room.is_due(now) {
            room.release_at = None;
            room.cross(id, &mut self.links, &self.io.stats);
            self.links.flush();
            self.fan_out(id);
        }
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        if home != self.id {
            let layers = std::mem::take(&mut room.wanted);
            if !layers.is_empty() {
                let interval = self.shared.config.keyframe_interval;
                room.asked(layers, now, Some(interval));
                self.links
                    .send(home, Message::Keyframe { room: id, layers });
            }
            return;
        }
        // Nobody publishes: nobody can be asked.
        room.wanted = LayerSet::default();
        let Some(publisher) = &mut room.publisher else {
            return;
        };
        let key = publisher.session;
        let silent = publisher.source.poll_silence(now);
        let woken = std::mem::take(&mut publisher.woken);
        let requests = publisher.source.poll_keyframe_requests(now);
        if let Some(at) = room.deadline() {
            self.rooms_next = self.rooms_next.min(at);
        }
        room.asked(requests, now, None);
        if woken {
            self.pauses_changed(id);
        } else if silent {
            self.layers_changed(id);
        }
        if requests.is_empty() {
            return;
        }
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        if let RoleState::Publisher { ingress, .. } = &session.role {
            for layer in requests.iter() {
                if ingress.request_keyframe(&mut session.rtc, layer) {
                    self.io.stats.keyframe_requests_out.add(1);
                }
            }
        }
        self.mark_dirty(key);
    }

    /// What a room's publisher sends, for the API.
    pub(crate) fn room_media(&mut self, id: RoomId) -> Option<RoomMedia> {
        let now = self.now;
        let publisher = self.rooms.get_mut(&id)?.publisher.as_mut()?;
        let session = self.sessions.get(publisher.session as usize)?;
        let mut tracks = Vec::new();
        for kind in [TrackKind::Audio, TrackKind::Video] {
            let Some(format) = publisher.source.format(kind) else {
                continue;
            };
            let layers = publisher
                .source
                .layer_views(kind, now)
                .into_iter()
                .map(|view| {
                    let rid = match &session.role {
                        RoleState::Publisher { ingress, .. } if kind == TrackKind::Video => {
                            ingress.rid(view.layer).map(|rid| rid.to_string())
                        }
                        _ => None,
                    };
                    LayerMedia {
                        layer: view.layer,
                        rid,
                        bitrate: view.bitrate,
                        frames_per_second: view.frames_per_second,
                        keyframe_age: view.keyframe_age,
                        paused: view.paused,
                    }
                });
            tracks.push(TrackMedia {
                kind,
                codec: format.codec,
                layers: layers.collect(),
            });
        }
        Some(RoomMedia { tracks })
    }
}
