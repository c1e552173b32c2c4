//! The director's turns: commands about sessions, and the ends of its tasks.

use std::net::IpAddr;
use std::time::Instant;

use lightstick_sfu::{
    CommandError, LocalIce, OpenError, OpenSession, RemoteIce, RoleConfig, SessionOpened,
};
use lightstick_signaling_core::etag::{EntityTag, Match, MatchError, if_match};
use lightstick_signaling_core::rooms::{LeaveReason, Opened, SessionNumber};
use lightstick_signaling_core::sdpfrag::Fragment;
use lightstick_types::{LayerChoice, Role, RoomId, SessionId, ShardId, TrackId};
use tokio::sync::watch;
use tokio::task::{self, JoinError as TaskError};
use tracing::Instrument as _;

use super::commands::{
    Command, Found, Join, JoinError, JoinGuard, Joined, Patch, PatchError, Patched, Reply,
    SessionError, SessionUrl, Watch,
};
use super::streams::{EventKinds, StreamNumber, Streams};
use super::{Director, Draining};
use crate::feed::{NamedLayer, RoomView, SessionView};

/// What the shell keeps of an opened session.
pub(super) struct SessionState {
    pub(super) number: SessionNumber,
    pub(super) span: tracing::Span,
    pub(super) view: watch::Sender<SessionView>,
    streams: Streams,
    etag: EntityTag,
    generation: u32,
    remote_ufrag: String,
    restarting: bool,
}

/// The end of a task.
pub(super) enum Done {
    Opened {
        session: SessionId,
        address: IpAddr,
        span: tracing::Span,
        result: Result<SessionOpened, OpenError>,
        reply: Reply<Result<Joined, JoinError>>,
    },
    Restarted {
        session: SessionId,
        /// The request's fragment: its sections are repeated in the answer.
        asked: Box<Fragment>,
        result: Result<LocalIce, CommandError>,
        reply: Reply<Result<Patched, PatchError>>,
    },
}

impl Director {
    pub(super) fn command(&mut self, command: Command) {
        let now = Instant::now();
        // An answer that nobody waits for any more is dropped.
        match command {
            Command::Join(join, reply) => self.join(now, *join, reply),
            Command::Abandon(session) => self.rooms.closed(now, session, LeaveReason::Abandoned),
            Command::Find(url, reply) => {
                let found = self.find(now, &url).map(|(_, shard, state)| Found {
                    shard,
                    etag: state.etag.clone(),
                });
                let _ = reply.send(found);
            }
            Command::FindTrack(url, track, reply) => {
                let _ = reply.send(self.find_track(now, &url, track));
            }
            Command::Patch(url, patch, reply) => self.patch(now, &url, *patch, reply),
            Command::Delete(url, reply) => {
                let _ = reply.send(self.delete(now, &url));
            }
            Command::Watch(url, stream, reply) => {
                let _ = reply.send(self.watch(now, &url, stream));
            }
            Command::AddStream(url, kinds, reply) => {
                let streams_max = self.parts.event_streams_per_session_max;
                let made = self.find(now, &url);
                let _ = reply.send(made.map(|(_, _, state)| state.streams.add(kinds, streams_max)));
            }
            Command::EndStream(url, stream, reply) => {
                let found = self.find(now, &url);
                let _ = reply.send(found.and_then(|(_, _, state)| {
                    let ended = state.streams.remove(stream);
                    ended.then_some(()).ok_or(SessionError::NoStream)
                }));
            }
            Command::Rooms {
                after,
                limit,
                pattern,
                reply,
            } => {
                let wanted = |name: &_| pattern.as_ref().is_none_or(|p| p.matches(name));
                let _ = reply.send(self.rooms.view().list_rooms(now, after, limit, wanted));
            }
            Command::Room(room, reply) => {
                let _ = reply.send(self.rooms.view().room(now, &room));
            }
            Command::Sessions {
                room,
                after,
                limit,
                reply,
            } => {
                let _ = reply.send(self.rooms.view().list_sessions(now, &room, after, limit));
            }
            Command::Kick(room, number, reply) => {
                let _ = reply.send(self.rooms.kick(now, &room, number));
            }
            Command::CloseRoom(room, reply) => {
                let _ = reply.send(self.rooms.close_room(now, &room));
            }
            Command::SetMain {
                room,
                track,
                publisher,
                reply,
            } => {
                let done = self.rooms.set_main(&room, track, publisher.as_ref());
                let _ = reply.send(done);
            }
            Command::Drain(deadline, reply) => self.drain(deadline, reply),
        }
    }

    fn join(&mut self, now: Instant, join: Join, reply: Reply<Result<Joined, JoinError>>) {
        let Join {
            admission,
            member,
            offer,
        } = join;
        let (session, role) = (admission.session, admission.role);
        let (address, name) = (admission.address, admission.room.clone());
        let room = match self.rooms.admit(now, admission) {
            Ok(room) => room,
            Err(refusal) => {
                let _ = reply.send(Err(refusal.into()));
                return;
            }
        };
        let span = match role {
            Role::Publisher => {
                tracing::info_span!("session", ?session, room = %name, role = "publisher")
            }
            Role::Viewer => {
                tracing::info_span!("session", ?session, room = %name, role = "viewer")
            }
        };
        let media = self.parts.media.clone();
        let request = OpenSession {
            session,
            room,
            role: match role {
                Role::Publisher => RoleConfig::Publisher {
                    bitrate_max: self.parts.bitrate_max,
                },
                Role::Viewer => RoleConfig::Viewer {
                    choice: LayerChoice::Auto,
                },
            },
            member,
            offer,
        };
        let within = span.clone();
        let task = async move {
            let result = media.open(request).await;
            Done::Opened {
                session,
                address,
                span,
                result,
                reply,
            }
        };
        let task = self.tasks.spawn(task.instrument(within));
        self.task_sessions.insert(task.id(), session);
    }

    pub(super) fn done(&mut self, done: Result<(task::Id, Done), TaskError>) {
        let now = Instant::now();
        match done {
            Ok((id, done)) => {
                self.task_sessions.remove(&id);
                match done {
                    Done::Opened {
                        session,
                        address,
                        span,
                        result,
                        reply,
                    } => {
                        let result = self.opened(now, session, address, span, result);
                        // A client that has gone away drops the guard with the answer.
                        drop(reply.send(result));
                    }
                    Done::Restarted {
                        session,
                        asked,
                        result,
                        reply,
                    } => {
                        let _ = reply.send(self.restarted(session, *asked, result));
                    }
                }
            }
            Err(error) => {
                // The media plane's handle panicked: our bug, but not the other sessions'.
                tracing::error!(%error, "the task of a session failed");
                let Some(session) = self.task_sessions.remove(&error.id()) else {
                    return;
                };
                match self.sessions.get_mut(&session) {
                    // A restart that failed leaves the session as it was.
                    Some(state) => state.restarting = false,
                    None => self.rooms.open_failed(now, session),
                }
            }
        }
    }

    fn opened(
        &mut self,
        now: Instant,
        session: SessionId,
        address: IpAddr,
        span: tracing::Span,
        result: Result<SessionOpened, OpenError>,
    ) -> Result<Joined, JoinError> {
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => {
                span.in_scope(|| tracing::debug!(%error, "the session was not opened"));
                match error {
                    OpenError::Malformed(_) | OpenError::Unacceptable(_) => {
                        self.rooms.offer_refused(now, session);
                    }
                    OpenError::Stack(_) | OpenError::Shard(_) => {
                        self.rooms.open_failed(now, session);
                    }
                }
                return Err(error.into());
            }
        };
        if self.rooms.opened(now, session, opened.shard) == Opened::Gone {
            return Err(JoinError::Gone);
        }
        self.rooms.announced(session, opened.video_tracks);
        let number = self.rooms.view().number(session).ok_or(JoinError::Gone)?;
        let etag = EntityTag::new(0, &opened.local_ufrag);
        span.in_scope(|| tracing::debug!(%address, "peer"));
        let named = |(stream, rid)| NamedLayer {
            stream,
            rid,
            paused: false,
        };
        let view = SessionView {
            layers: opened.layers.into_iter().map(named).collect(),
            ..SessionView::default()
        };
        self.sessions.insert(
            session,
            SessionState {
                number,
                span,
                view: watch::Sender::new(view),
                streams: Streams::default(),
                etag: etag.clone(),
                generation: 0,
                remote_ufrag: opened.remote_ufrag,
                restarting: false,
            },
        );
        Ok(Joined {
            answer: opened.answer,
            etag,
            number,
            guard: JoinGuard::new(self.commands.clone(), session),
        })
    }

    fn find(
        &mut self,
        now: Instant,
        url: &SessionUrl,
    ) -> Result<(RoomId, ShardId, &mut SessionState), SessionError> {
        self.rooms
            .take_request(now, url.address)
            .map_err(|retry_after| SessionError::RateLimited { retry_after })?;
        let (room, shard) = self
            .rooms
            .view()
            .find(&url.room, url.role, url.session)
            .ok_or(SessionError::NotFound)?;
        let state = self
            .sessions
            .get_mut(&url.session)
            .ok_or(SessionError::NotFound)?;
        Ok((room, shard, state))
    }

    fn find_track(
        &mut self,
        now: Instant,
        url: &SessionUrl,
        track: TrackId,
    ) -> Result<Found, SessionError> {
        let (room, shard, state) = self.find(now, url)?;
        let etag = state.etag.clone();
        match self.rooms.view().has_track(room, track) {
            true => Ok(Found { shard, etag }),
            false => Err(SessionError::NoTrack),
        }
    }

    fn delete(&mut self, now: Instant, url: &SessionUrl) -> Result<(), SessionError> {
        let found = self.find(now, url).map(drop);
        match found {
            Ok(()) => {
                self.rooms.delete(now, url.session);
                Ok(())
            }
            // By a client that does not know that its session was closed, or that closed the
            // connection first: what it wants is so, or is made so. Once: then there is nothing
            // left that could be deleted.
            Err(SessionError::NotFound) if self.ended.forget(url.session) => {
                if url.role == Role::Publisher {
                    self.rooms.delete_lost(now, &url.room, url.session);
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn patch(
        &mut self,
        now: Instant,
        url: &SessionUrl,
        patch: Patch,
        reply: Reply<Result<Patched, PatchError>>,
    ) {
        let Patch {
            if_match: value,
            fragment,
        } = patch;
        let planned = self
            .find(now, url)
            .map_err(PatchError::Session)
            .and_then(|(_, shard, state)| plan(shard, state, value.as_deref(), &fragment));
        match planned {
            Ok(Plan::Trickle) => {
                let _ = reply.send(Ok(Patched::Trickle));
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
            Ok(Plan::Restart(shard, ice, span)) => {
                let session = url.session;
                let media = self.parts.media.clone();
                let task = async move {
                    Done::Restarted {
                        session,
                        asked: Box::new(fragment),
                        result: media.restart_ice(shard, session, ice).await,
                        reply,
                    }
                };
                let task = self.tasks.spawn(task.instrument(span));
                self.task_sessions.insert(task.id(), session);
            }
        }
    }

    fn restarted(
        &mut self,
        session: SessionId,
        asked: Fragment,
        result: Result<LocalIce, CommandError>,
    ) -> Result<Patched, PatchError> {
        let gone = PatchError::Session(SessionError::NotFound);
        let Some(state) = self.sessions.get_mut(&session) else {
            return Err(gone);
        };
        state.restarting = false;
        let local = result.map_err(|error| match error {
            CommandError::NoSession => gone,
            CommandError::Shard(error) => PatchError::Shard(error),
            CommandError::Refused(why) => PatchError::Refused(why),
        })?;
        state.generation += 1;
        state.etag = EntityTag::new(state.generation, &local.ufrag);
        state.remote_ufrag = asked.ufrag.unwrap_or_default();
        state
            .span
            .in_scope(|| tracing::info!(generation = state.generation, "ICE restarted"));
        Ok(Patched::Restarted {
            fragment: Fragment {
                ufrag: Some(local.ufrag),
                pwd: Some(local.pwd),
                candidates: local.candidates,
                end_of_candidates: true,
                ..asked
            },
            etag: state.etag.clone(),
        })
    }

    fn watch(
        &mut self,
        now: Instant,
        url: &SessionUrl,
        stream: Option<StreamNumber>,
    ) -> Result<Watch, SessionError> {
        let streams_max = self.parts.event_streams_per_session_max;
        let (room, _, state) = self.find(now, url)?;
        if state.view.receiver_count() >= streams_max {
            return Err(SessionError::TooManyStreams);
        }
        let (kinds, ended) = match stream {
            Some(stream) => {
                let (kinds, ended) = state.streams.get(stream).ok_or(SessionError::NoStream)?;
                (kinds, Some(ended))
            }
            None => (EventKinds::default(), None),
        };
        let (number, session) = (state.number, state.view.subscribe());
        let status = self
            .rooms
            .view()
            .status(room)
            .ok_or(SessionError::NotFound)?;
        let reconnect_after = self
            .draining
            .is_some()
            .then_some(self.parts.reconnect_after);
        let room = self
            .views
            .entry(room)
            .or_insert_with(|| {
                watch::Sender::new(RoomView {
                    status,
                    reconnect_after,
                })
            })
            .subscribe();
        Ok(Watch {
            number,
            room,
            session,
            kinds,
            ended,
        })
    }

    fn drain(&mut self, deadline: Instant, reply: Reply<()>) {
        self.rooms.drain();
        let after = self.parts.reconnect_after;
        for view in self.views.values() {
            view.send_modify(|view| view.reconnect_after = Some(after));
        }
        let draining = self.draining.get_or_insert_with(|| {
            tracing::info!("draining: new sessions are refused");
            Draining {
                deadline,
                replies: Vec::new(),
            }
        });
        draining.deadline = draining.deadline.min(deadline);
        draining.replies.push(reply);
    }
}

enum Plan {
    Trickle,
    Restart(ShardId, RemoteIce, tracing::Span),
}

/// What a PATCH asks for (RFC 9725 section 4.3).
fn plan(
    shard: ShardId,
    state: &mut SessionState,
    value: Option<&str>,
    fragment: &Fragment,
) -> Result<Plan, PatchError> {
    let allowed = if_match(value, &state.etag).map_err(PatchError::Match)?;
    let ice = RemoteIce {
        ufrag: fragment.ufrag.clone().unwrap_or_default(),
        pwd: fragment.pwd.clone().unwrap_or_default(),
    };
    let same = ice.ufrag == state.remote_ufrag;
    match allowed {
        // A fragment without credentials means the ICE session that its tag names, or, without a tag, the
        // present one.
        Match::Current | Match::Absent if same || ice.ufrag.is_empty() => Ok(Plan::Trickle),
        Match::Absent => Err(PatchError::Match(MatchError::Required)),
        Match::Current => Err(PatchError::OtherSession),
        // Clients of servers without tags send `*` with every fragment; the credentials tell a
        // trickle from a restart.
        Match::Any if same => Ok(Plan::Trickle),
        Match::Any if ice.ufrag.is_empty() || ice.pwd.is_empty() => Err(PatchError::NoCredentials),
        Match::Any if state.restarting => Err(PatchError::Restarting),
        Match::Any => {
            state.restarting = true;
            Ok(Plan::Restart(shard, ice, state.span.clone()))
        }
    }
}
