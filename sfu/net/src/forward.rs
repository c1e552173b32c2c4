//! A packet's way through a shard's rooms: from the publisher's session to the viewers here and
//! on the other shards, and the keyframe requests that go the other way.

use std::sync::Arc;

use lightstick_sfu_core::layers::LayerSet;
use lightstick_sfu_core::packet::MediaPacket;
use lightstick_sfu_core::uptrack::{Incoming, Refused, Source, SourceConfig};
use lightstick_types::{Bitrate, Layer, RoomId, ShardId, TrackKind};

use crate::api::{CloseReason, LayerMedia, MediaEvent, RoomMedia, TrackMedia};
use crate::egress::NotSent;
use crate::link::Message;
use crate::room::{Publisher, Room};
use crate::session::RoleState;
use crate::shard::Shard;

impl Shard {
    /// Takes a publisher's packet into its room and gives it to everyone there.
    pub(crate) fn ingest(&mut self, key: u32, packet: Incoming) {
        let Some(session) = self.sessions.get(key as usize) else {
            return;
        };
        let id = session.room;
        let wall_now = self.wall_now();
        self.io.stats.rtp_in.add(1);
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
                let packet = Arc::new(packet);
                room.batch(&packet);
                room.replay.push(&packet, 0);
                if room.has_batch() {
                    self.touched_rooms.push(id);
                }
                if changes.track_started {
                    self.emit(MediaEvent::TrackStarted {
                        room: id,
                        kind,
                        codec,
                    });
                }
                if changes.layers {
                    self.layers_changed(id);
                }
                self.fan_out(id, &packet, 0);
            }
            Err(Refused::Close) => {
                self.io.stats.drop_media.add(1);
                self.remove(key, CloseReason::BitrateExceeded);
            }
            Err(Refused::OverLimit | Refused::NotItsCodec) => self.io.stats.drop_media.add(1),
        }
    }

    /// Gives a packet to this shard's viewers of the room.
    fn fan_out(&mut self, id: RoomId, packet: &Arc<MediaPacket>, generation: u32) {
        // The list steps aside while its sessions are written to.
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let viewers = std::mem::take(&mut room.viewers);
        let mut signals = Vec::new();
        let mut sent = 0;
        for &key in &viewers {
            let Some(session) = self.sessions.get_mut(key as usize) else {
                continue;
            };
            match session.forward(packet, generation, &mut signals) {
                Ok(true) => {
                    sent += 1;
                    self.mark_dirty(key);
                }
                Ok(false) => {}
                Err(NotSent::Format | NotSent::Stream) => self.io.stats.drop_media.add(1),
            }
            if !signals.is_empty() {
                for signal in signals.drain(..) {
                    self.on_signal(key, signal);
                }
            }
        }
        self.io.stats.rtp_out.add(sent);
        if sent > 0 {
            self.count_forwarded(packet.received_at, sent);
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.viewers = viewers;
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
                for packet in packets.iter() {
                    if let Some(room) = self.rooms.get_mut(&room) {
                        room.replay.push(packet, generation);
                    }
                    self.fan_out(room, packet, generation);
                }
            }
            Message::Interest { room: id, wanted } => {
                let room = self.rooms.entry(id).or_default();
                room.set_interest(from, wanted);
                let layers = room.live;
                if wanted {
                    self.links.send(from, Message::Live { room: id, layers });
                    self.send_replay(id, from);
                }
                self.forget_if_idle(id);
            }
            Message::Keyframe { room, layers } => {
                layers
                    .iter()
                    .for_each(|layer| self.request_keyframe(room, layer));
            }
            Message::Live { room, layers } => self.set_live(room, layers),
        }
    }

    /// Puts a session into its room.
    pub(crate) fn enter_room(&mut self, key: u32) {
        let session = &self.sessions[key as usize];
        let id = session.room;
        let home = id.home(self.shards);
        let room = self.rooms.entry(id).or_default();
        match &session.role {
            RoleState::Publisher { bitrate_max, .. } => {
                room.sources = room.sources.wrapping_add(1);
                let source = Source::new(room.sources, self.source_config(*bitrate_max), self.now);
                let room = self.rooms.entry(id).or_default();
                room.publisher = Some(Publisher {
                    session: key,
                    source,
                });
                self.layers_changed(id);
            }
            RoleState::Viewer(_) => {
                let first = room.viewers.is_empty();
                room.viewers.push(key);
                let live = room.live;
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
                    viewer.set_live(live);
                }
            }
        }
    }

    /// Takes a session out of its room.
    pub(crate) fn leave_room(&mut self, key: u32, id: RoomId) {
        let home = id.home(self.shards);
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        if room.publisher.as_ref().is_some_and(|p| p.session == key) {
            room.publisher = None;
            self.layers_changed(id);
        } else if let Some(at) = room.viewers.iter().position(|viewer| *viewer == key) {
            room.viewers.swap_remove(at);
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

    fn source_config(&self, bitrate_max: Bitrate) -> SourceConfig {
        let config = &self.shared.config;
        let units = |d: std::time::Duration| (d.as_millis() / 10).min(0xfff) as u16;
        let delays = config.playout_delay_min.zip(config.playout_delay_max);
        SourceConfig {
            bitrate_max,
            keyframe_interval: config.keyframe_interval,
            playout_delay: delays.map(|(min, max)| (units(min), units(max))),
        }
    }

    /// A viewer can be sent to from now on.
    pub(crate) fn viewer_connected(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let id = session.room;
        let Some(viewer) = session.viewer() else {
            return;
        };
        let Some(wanted) = viewer.wanted() else {
            return;
        };
        let recent = self
            .rooms
            .get(&id)
            .map(|room| (room.replay.of(wanted.0, self.now), &room.replay));
        match recent {
            Some((packets, replay)) if viewer.is_fresh() && !packets.is_empty() => {
                viewer.start_from(packets, replay.generation(wanted.0), self.now);
                let deadline = session.deadline(&self.shared.config);
                self.timers.arm(key, deadline);
            }
            _ => self.request_keyframe(id, wanted.0),
        }
    }

    /// Sends a viewer the next packets of its replay.
    pub(crate) fn catch_up(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let mut signals = Vec::new();
        let sent = session.catch_up(self.now, &mut signals);
        self.timers.arm(key, session.deadline(&self.shared.config));
        self.io.stats.rtp_out.add(sent);
        self.mark_dirty(key);
        for signal in signals {
            self.on_signal(key, signal);
        }
    }

    /// Gives a shard that has just got its first viewer of a room what newcomers start from.
    fn send_replay(&mut self, id: RoomId, to: ShardId) {
        let Some(room) = self.rooms.get(&id) else {
            return;
        };
        let packets: Arc<[Arc<MediaPacket>]> = room.replay.all(self.now).cloned().collect();
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

    /// At the room's home: its live layers are other ones.
    fn layers_changed(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get(&id) else {
            return;
        };
        let layers = room
            .publisher
            .as_ref()
            .map(|p| p.source.live_layers())
            .unwrap_or_default();
        let remotes: Vec<ShardId> = room.remotes().collect();
        for shard in remotes {
            self.links.send(shard, Message::Live { room: id, layers });
        }
        self.emit(MediaEvent::LayersChanged {
            room: id,
            layers: layers.iter().collect(),
        });
        self.set_live(id, layers);
    }

    fn set_live(&mut self, id: RoomId, live: LayerSet) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        room.live = live;
        if live.is_empty() {
            room.replay.clear();
        }
        let viewers = std::mem::take(&mut room.viewers);
        let mut wanted = LayerSet::default();
        for &key in &viewers {
            let Some(session) = self.sessions.get_mut(key as usize) else {
                continue;
            };
            let connected = session.connected;
            if let Some(keyframe) = session.viewer().and_then(|viewer| viewer.set_live(live))
                && connected
            {
                wanted.insert(keyframe.0);
            }
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.viewers = viewers;
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
                RoleState::Viewer(viewer) => viewer.wanted(),
                RoleState::Publisher { .. } => None,
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
        if room.has_batch() {
            room.cross(id, &mut self.links, &self.io.stats);
        }
        if home != self.id {
            let layers = std::mem::take(&mut room.wanted);
            if !layers.is_empty() {
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
        let requests = publisher.source.poll_keyframe_requests(now);
        if let Some(at) = room.deadline() {
            self.rooms_next = self.rooms_next.min(at);
        }
        if silent {
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
