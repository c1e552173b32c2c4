//! Commands of the control plane, and how a shard obeys them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lightstick_sfu_core::offer::Offer;
use lightstick_types::{ChatMember, RoomId, SessionId, TrackId};
use tokio::sync::oneshot;

use crate::api::{
    AttachError, CloseReason, CommandError, LocalIce, OpenError, RemoteIce, RoleConfig, RoomMedia,
    SessionMedia, SessionOpened, ViewerChoice,
};
use crate::attached::{SourceOpening, TapSeat};
use crate::session::Session;
use crate::shard::Shard;
use crate::survey::{named_layers, video_tracks};

/// A session that shall be opened, whose offer was read on the way to its shard.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) session: SessionId,
    pub(crate) room: RoomId,
    pub(crate) role: RoleConfig,
    pub(crate) member: Option<Arc<ChatMember>>,
    pub(crate) offer: Offer,
}

/// Where an offer's answer goes.
pub(crate) type Reply = oneshot::Sender<Result<SessionOpened, OpenError>>;

/// What the control plane asks of one shard. Where the asker has gone, nothing is left behind.
#[derive(Debug)]
pub(crate) enum Command {
    Open {
        opening: Box<Opening>,
        reply: Reply,
    },
    RestartIce {
        session: SessionId,
        ice: RemoteIce,
        reply: oneshot::Sender<Result<LocalIce, CommandError>>,
    },
    Choose {
        session: SessionId,
        choice: ViewerChoice,
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    RoomMedia {
        room: RoomId,
        reply: oneshot::Sender<Option<RoomMedia>>,
    },
    SessionMedia {
        session: SessionId,
        reply: oneshot::Sender<Option<SessionMedia>>,
    },
    AttachTap {
        seat: Box<TapSeat>,
        reply: oneshot::Sender<Result<(), AttachError>>,
    },
    AttachSource {
        opening: Box<SourceOpening>,
        reply: oneshot::Sender<Result<(), AttachError>>,
    },
}

/// What a shard must do, without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// A parked publisher is its room's publisher from now on.
    Promote(SessionId),
    Close(SessionId),
    /// This video track of a room is shown first; `None`: the first one.
    Main(RoomId, Option<TrackId>),
    /// The room's show is over.
    EndAttached(RoomId),
}

impl Shard {
    /// Does what a command says. An answer whose requester is gone is dropped.
    pub(crate) fn obey(&mut self, command: Command) {
        match command {
            Command::Open { opening, reply } => {
                self.joins.push_offer(opening, reply, &self.io.stats)
            }
            Command::RestartIce {
                session,
                ice,
                reply,
            } => {
                let _ = reply.send(self.restart_ice(session, &ice));
            }
            Command::Choose {
                session,
                choice,
                reply,
            } => {
                let key = self.sessions.find(session).ok_or(CommandError::NoSession);
                let _ = reply.send(key.map(|key| self.choose(key, choice)));
            }
            Command::RoomMedia { room, reply } => {
                let _ = reply.send(self.room_media(room));
            }
            Command::SessionMedia { session, reply } => {
                let key = self.sessions.find(session);
                let _ = reply.send(key.and_then(|key| self.session_media(key)));
            }
            Command::AttachTap { seat, reply } => {
                let attached = self.attached.taps.attach(*seat, &mut self.rooms, self.now);
                let _ = reply.send(attached);
            }
            Command::AttachSource { opening, reply } => {
                let stats = &self.io.stats.attached;
                let sources = &mut self.attached.sources;
                let _ = reply.send(sources.attach(*opening, &mut self.rooms, stats, self.now));
            }
        }
    }

    pub(crate) fn follow(&mut self, order: Order) {
        match order {
            Order::Promote(session) => self.promote(session),
            Order::Close(session) => self.close(session),
            Order::Main(room, track) => self.set_main(room, track),
            Order::EndAttached(room) => {
                let (rooms, stats) = (&mut self.rooms, &self.io.stats);
                self.attached.end_room(room, rooms, stats, self.now);
            }
        }
    }

    fn close(&mut self, session: SessionId) {
        if let Some(key) = self.sessions.find(session) {
            self.remove(key, CloseReason::Requested);
        }
    }

    pub(crate) fn open(&mut self, opening: Opening, reply: Reply) {
        // The asker gave up while the command waited.
        if reply.is_closed() {
            return;
        }
        let key = self.sessions.next_key();
        let (shared, candidates, now) = (&self.local.shared, &self.local.candidates, self.now);
        // Nothing but the new session can be broken by a panic in this.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Session::open(opening, key, shared, candidates, now)
        }));
        let opened = opened.unwrap_or_else(|_| {
            self.io.stats.panics.add(1);
            tracing::error!("the answering of an offer panicked");
            Err(OpenError::Stack("its making panicked".to_owned()))
        });
        let (session, viewer, answer) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let opened = SessionOpened {
            shard: self.local.shard,
            answer,
            local_ufrag: session.ice.credentials().local.ufrag.clone(),
            remote_ufrag: session.ice.credentials().remote.ufrag.clone(),
            layers: named_layers(&session.role),
            video_tracks: video_tracks(&session.role),
        };
        let gauge = session.role.gauge(&self.io.stats);
        gauge.set(gauge.get() + 1);
        self.sessions.insert(session);
        if let Some(viewer) = viewer {
            self.seat_viewer(key, viewer);
        }
        self.poll_session(key);
        if reply.send(Ok(opened)).is_err() {
            self.remove(key, CloseReason::Requested);
        }
    }

    fn restart_ice(
        &mut self,
        session: SessionId,
        ice: &RemoteIce,
    ) -> Result<LocalIce, CommandError> {
        let key = self.sessions.find(session).ok_or(CommandError::NoSession)?;
        let session = self.sessions.get_mut(key).ok_or(CommandError::NoSession)?;
        let local = session.restart_ice(ice, &self.local.candidates)?;
        self.sessions.by_ufrag.insert(local.ufrag.clone(), key);
        self.tend_ice(key);
        Ok(local)
    }

    /// What the API shows of a session.
    fn session_media(&mut self, key: u32) -> Option<SessionMedia> {
        let viewer = self.viewer_media(key);
        let mut media = self.sessions.get_mut(key)?.media();
        if let Some(viewer) = viewer {
            media.bytes_sent += viewer.bytes_sent;
            media.streams = viewer.streams.into_iter().flatten().collect();
            media.round_trip = viewer.round_trip;
            media.loss = viewer.loss;
            media.estimate = viewer.estimate;
        }
        Some(media)
    }
}
