//! A packet's way through a shard's rooms: from the publisher's session into its room's hop, from
//! there to the other shards and to the viewers here; and the keyframe requests that go the other
//! way.

use std::time::{Duration, Instant};

use lightstick_sfu_core::health::Fault;
use lightstick_sfu_core::room::{Down, FeederId, Output, PeerId, SourceEvent, Turn};
use lightstick_sfu_core::streams::StreamSet;
use lightstick_sfu_core::uptrack::{Incoming, Refused};
use lightstick_types::{RoomId, SessionId, StreamId, TrackId};

use crate::api::{CloseReason, LayerMedia, MediaEvent, RoomMedia, TrackMedia};
use crate::attached::{Feeder, TapEnd, Wish};
use crate::link::Message;
use crate::rooms::RoomKey;
use crate::session::{RoleState, Session};
use crate::shard::Shard;
use crate::viewer::Seat;

/// Rooms have so much of a turn; the others go on in the next.
const ROOMS_SLICE: Duration = Duration::from_millis(8);

impl Shard {
    /// Takes a publisher's packet: into its room, or into its parking place.
    pub(crate) fn take_packet(&mut self, key: u32, packet: Incoming) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let RoleState::Publisher {
            ingress, parked, ..
        } = &mut session.role
        else {
            return;
        };
        let is_parked = parked.is_some();
        if ingress.take_ssrc_changed() {
            self.note_fault(key, Fault::ChangedSsrc);
        }
        match is_parked {
            true => self.park(key, packet),
            false => self.ingest(key, packet),
        }
    }

    /// Takes a promoted publisher's packet into its room.
    pub(crate) fn ingest(&mut self, key: u32, packet: Incoming) {
        let (now, wall_now) = (self.now, self.wall_now());
        let Some(room) = self.room_of(key) else {
            return;
        };
        let Some((hop, tally)) = self.rooms.touch(room) else {
            return;
        };
        if let Err(Refused::Close) = hop.push(FeederId(key), packet, wall_now, now, tally) {
            self.remove(key, CloseReason::BitrateExceeded);
        }
    }

    /// The room that a session has something to do with.
    pub(crate) fn room_of(&self, key: u32) -> Option<RoomKey> {
        let session = self.sessions.get(key)?;
        match session.seat() {
            Some(seat) => Some(seat.room),
            None => self.rooms.find(session.room),
        }
    }

    /// Takes a session out of its room.
    pub(crate) fn leave_room(&mut self, key: u32, session: &Session) {
        let now = self.now;
        match session.seat() {
            Some(Seat { room, viewer }) => {
                if let Some((hop, _)) = self.rooms.touch(room) {
                    hop.remove_viewer(viewer, now);
                }
            }
            None => {
                let room = self.rooms.find(session.room);
                if let Some((hop, _)) = room.and_then(|room| self.rooms.touch(room)) {
                    hop.handle_source(SourceEvent::Detached(FeederId(key)), now);
                }
            }
        }
    }

    /// Hears another shard.
    pub(crate) fn hear(&mut self, peer: PeerId, message: Message) {
        let now = self.now;
        match message {
            Message::Up(id, up) if self.rooms.is_home(id) => {
                let room = self.rooms.open(id, now);
                if let Some((hop, _)) = self.rooms.touch(room) {
                    hop.handle_up(peer, up, now);
                }
            }
            Message::Up(..) => {}
            Message::Down(id, down) => {
                let room = self.rooms.find(id);
                if let Some((hop, _)) = room.and_then(|room| self.rooms.touch(room)) {
                    hop.handle_down(peer, down, now);
                }
            }
        }
    }

    /// Looks after the rooms that something has happened to, or that wanted to be looked after by
    /// now.
    pub(crate) fn tend_rooms(&mut self) {
        let begun = Instant::now();
        while let Some(room) = self.rooms.next(self.now) {
            self.tend_room(room);
            if begun.elapsed() >= ROOMS_SLICE {
                break;
            }
        }
    }

    fn tend_room(&mut self, room: RoomKey) {
        let now = self.now;
        let Some((hop, _)) = self.rooms.get(room) else {
            return;
        };
        if hop.release(now) {
            // The other shards first: they go on meanwhile.
            self.settle(room);
            self.links.flush();
            let (rooms, io) = (&mut self.rooms, &mut self.io);
            if let Some((hop, tally)) = rooms.get(room) {
                hop.fan_out(&mut Turn {
                    now,
                    outlet: io,
                    tally,
                });
            }
        }
        if let Some((hop, tally)) = self.rooms.get(room) {
            hop.handle_timeout(now, tally);
        }
        self.settle(room);
        self.rooms.settle(room);
    }

    /// Does what a room wants done.
    pub(crate) fn settle(&mut self, room: RoomKey) {
        while let Some((id, output)) = self.rooms.poll(room) {
            self.follow_output(room, id, output);
        }
    }

    fn follow_output(&mut self, room: RoomKey, id: RoomId, output: Output) {
        match output {
            Output::Up(peer, up) => self.links.send(peer, Message::Up(id, up)),
            Output::Down(peer, Down::Media(batch)) => {
                let message = Message::Down(id, Down::Media(batch));
                if !self.links.offer(peer, message) {
                    self.io.stats.drop_ring.add(1);
                    if let Some((hop, _)) = self.rooms.get(room) {
                        hop.handle_overflow(peer, StreamId::all().collect(), self.now);
                    }
                }
            }
            Output::Replay(peer) => self.replay(room, id, peer),
            Output::Down(peer, down) => self.links.send(peer, Message::Down(id, down)),
            Output::Keyframe(feeder, streams) => match Feeder::from(feeder) {
                Feeder::Session(key) => self.ask_for_keyframes(key, streams),
                Feeder::Source(source) => {
                    let wish = Wish::Keyframes(streams);
                    self.attached.sources.ask(source, wish, &self.io.stats);
                }
            },
            Output::Pause(feeder, streams) => match Feeder::from(feeder) {
                Feeder::Session(key) => {
                    let streams = streams.iter().collect();
                    self.tell(key, |session| MediaEvent::LayersPaused { session, streams });
                }
                Feeder::Source(source) => {
                    let wish = Wish::Pause(streams);
                    self.attached.sources.ask(source, wish, &self.io.stats);
                }
            },
            Output::Tap(tap, batch) => {
                let (rooms, now) = (&mut self.rooms, self.now);
                self.attached.taps.feed(room, tap, batch, rooms, now);
            }
            Output::TapOverrun(tap) => {
                let (rooms, stats) = (&mut self.rooms, &self.io.stats.attached);
                let taps = &mut self.attached.taps;
                taps.end(tap, TapEnd::Overrun, rooms, stats, self.now);
            }
            Output::TrackStarted(feeder, track, codec) => {
                self.tell(feeder.0, |session| MediaEvent::TrackStarted {
                    session,
                    track,
                    codec,
                });
            }
            Output::LayersChanged(feeder, streams) => {
                let streams = streams.iter().collect();
                self.tell(feeder.0, |session| MediaEvent::LayersChanged {
                    session,
                    streams,
                });
            }
            Output::Hints(feeder, hints) => {
                self.tell(feeder.0, |session| MediaEvent::HintsChanged {
                    session,
                    hints,
                });
            }
            Output::ViewerLayer(key, stream) => {
                self.tell(key, |session| MediaEvent::ViewerLayer { session, stream });
            }
            Output::ViewerBehind(key) => self.arm(key),
            Output::ViewerFailed(key) => {
                tracing::error!("a viewer's handling panicked; its session ends");
                self.remove(key, CloseReason::Internal);
            }
        }
    }

    /// Gives another shard what its viewers begin with, all at once: packets are shared.
    fn replay(&mut self, room: RoomKey, id: RoomId, peer: PeerId) {
        while let Some((hop, _)) = self.rooms.get(room)
            && let Some(batch) = hop.poll_replay(peer, usize::MAX, self.now)
        {
            self.follow_output(room, id, Output::Down(peer, Down::Media(batch)));
        }
    }

    /// Tells the control plane what happens to a session.
    pub(crate) fn tell(&mut self, key: u32, event: impl FnOnce(SessionId) -> MediaEvent) {
        if let Some(session) = self.sessions.get(key) {
            let event = event(session.id);
            self.control.emit(event);
        }
    }

    fn ask_for_keyframes(&mut self, key: u32, streams: StreamSet) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if let RoleState::Publisher { ingress, .. } = &session.role {
            for stream in streams.iter() {
                if ingress.request_keyframe(&mut session.connection.rtc, stream) {
                    self.io.stats.keyframe_requests_out.add(1);
                }
            }
        }
        self.sessions.mark_dirty(key);
    }

    /// Shows a video track of a room first.
    pub(crate) fn set_main(&mut self, id: RoomId, track: Option<TrackId>) {
        let now = self.now;
        let room = self.rooms.find(id);
        if let Some((hop, _)) = room.and_then(|room| self.rooms.touch(room)) {
            hop.handle_source(SourceEvent::Main(track), now);
        }
    }

    /// What a room's publisher sends, for the API.
    pub(crate) fn room_media(&mut self, id: RoomId) -> Option<RoomMedia> {
        let now = self.now;
        let room = self.rooms.find(id)?;
        let (hop, _) = self.rooms.get(room)?;
        let (feeder, source) = hop.source_mut()?;
        let ingress = match Feeder::from(feeder) {
            Feeder::Session(key) => match &self.sessions.get(key)?.role {
                RoleState::Publisher { ingress, .. } => Some(ingress),
                RoleState::Viewer { .. } => None,
            },
            Feeder::Source(_) => None,
        };
        let mut tracks = Vec::new();
        let formats: Vec<_> = source.formats().collect();
        for (track, format) in formats {
            let layers = source.layer_views(track, now).into_iter().map(|view| {
                let stream = StreamId {
                    track,
                    layer: view.layer,
                };
                let rid = ingress.and_then(|ingress| ingress.rid(stream));
                let rid = rid.map(str::to_owned);
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
                id: track,
                codec: format.codec,
                layers: layers.collect(),
            });
        }
        Some(RoomMedia { tracks })
    }
}
