//! The handlers' side of the director.

use std::time::{Duration, Instant};

use lightstick_signaling_core::rooms::{Participant, RoomSummary, SessionNumber, SessionSummary};
use lightstick_signaling_core::token::RoomPattern;
use lightstick_types::{RoomId, RoomName, TrackId};
use tokio::sync::{mpsc, oneshot};

use super::commands::{Command, Found, Join, Joined, Patch, Patched, Reply, SessionUrl, Watch};
use super::streams::{EventKinds, StreamNumber};
use crate::problem::Problem;

/// Asks the director. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DirectorHandle {
    commands: mpsc::Sender<Command>,
    retry_after: Duration,
}

impl DirectorHandle {
    pub(crate) fn new(commands: mpsc::Sender<Command>, retry_after: Duration) -> Self {
        Self {
            commands,
            retry_after,
        }
    }

    pub(crate) async fn join(&self, join: Join) -> Result<Joined, Problem> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(Command::Join(Box::new(join), reply))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Problem::overloaded(),
                mpsc::error::TrySendError::Closed(_) => self.stopped(),
            })?;
        Ok(answer.await.map_err(|_| self.stopped())??)
    }

    pub(crate) async fn find(&self, url: SessionUrl) -> Result<Found, Problem> {
        Ok(self.ask(|reply| Command::Find(url, reply)).await??)
    }

    /// A session whose room has such a video track.
    pub(crate) async fn find_track(
        &self,
        url: SessionUrl,
        track: TrackId,
    ) -> Result<Found, Problem> {
        let found = self.ask(|reply| Command::FindTrack(url, track, reply));
        Ok(found.await??)
    }

    pub(crate) async fn patch(&self, url: SessionUrl, patch: Patch) -> Result<Patched, Problem> {
        let patch = Box::new(patch);
        Ok(self
            .ask(|reply| Command::Patch(url, patch, reply))
            .await??)
    }

    pub(crate) async fn delete(&self, url: SessionUrl) -> Result<(), Problem> {
        Ok(self.ask(|reply| Command::Delete(url, reply)).await??)
    }

    /// What an event stream follows: the one of everything, or one that was made before.
    pub(crate) async fn watch(
        &self,
        url: SessionUrl,
        stream: Option<StreamNumber>,
    ) -> Result<Watch, Problem> {
        Ok(self
            .ask(|reply| Command::Watch(url, stream, reply))
            .await??)
    }

    pub(crate) async fn add_stream(
        &self,
        url: SessionUrl,
        kinds: EventKinds,
    ) -> Result<StreamNumber, Problem> {
        Ok(self
            .ask(|reply| Command::AddStream(url, kinds, reply))
            .await??)
    }

    pub(crate) async fn end_stream(
        &self,
        url: SessionUrl,
        stream: StreamNumber,
    ) -> Result<(), Problem> {
        Ok(self
            .ask(|reply| Command::EndStream(url, stream, reply))
            .await??)
    }

    pub(crate) async fn rooms(
        &self,
        after: Option<RoomId>,
        limit: usize,
        pattern: Option<RoomPattern>,
    ) -> Result<Vec<RoomSummary>, Problem> {
        self.ask(|reply| Command::Rooms {
            after,
            limit,
            pattern,
            reply,
        })
        .await
    }

    pub(crate) async fn room(&self, room: RoomName) -> Result<RoomSummary, Problem> {
        self.ask(|reply| Command::Room(room, reply))
            .await?
            .ok_or_else(Problem::room_not_found)
    }

    pub(crate) async fn sessions(
        &self,
        room: RoomName,
        after: SessionNumber,
        limit: usize,
    ) -> Result<Vec<SessionSummary>, Problem> {
        self.ask(|reply| Command::Sessions {
            room,
            after,
            limit,
            reply,
        })
        .await?
        .ok_or_else(Problem::room_not_found)
    }

    pub(crate) async fn kick(&self, room: RoomName, number: SessionNumber) -> Result<(), Problem> {
        let done = self.ask(|reply| Command::Kick(room, number, reply)).await?;
        done.then_some(()).ok_or_else(Problem::session_not_found)
    }

    pub(crate) async fn close_room(&self, room: RoomName) -> Result<(), Problem> {
        let done = self.ask(|reply| Command::CloseRoom(room, reply)).await?;
        done.then_some(()).ok_or_else(Problem::room_not_found)
    }

    /// Shows another video track of a room first. `publisher` is who asks, where only the publisher
    /// may.
    pub(crate) async fn set_main(
        &self,
        room: RoomName,
        track: Option<TrackId>,
        publisher: Option<Participant>,
    ) -> Result<(), Problem> {
        let done = self.ask(|reply| Command::SetMain {
            room,
            track,
            publisher,
            reply,
        });
        Ok(done.await??)
    }

    /// Returns when every session is gone, at `deadline` by force.
    pub(crate) async fn drain(&self, deadline: Instant) {
        // A director that is gone has nothing left to drain.
        let _ = self.ask(|reply| Command::Drain(deadline, reply)).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())
    }

    fn stopped(&self) -> Problem {
        Problem::draining(self.retry_after)
    }
}
