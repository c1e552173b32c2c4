//! What is attached to rooms beside sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lightstick_sfu_core::room::{TapConfig, TapId};
use lightstick_types::RoomId;

use super::MediaPlane;
use crate::api::{AttachError, ShardError};
use crate::attached::{SourceConfig, SourceHandle, TapReceiver, source, tap};
use crate::command::{Command, Order};
use crate::port::Port;

impl MediaPlane {
    /// Gives out a room's packets, video from its streams' next keyframes on. The room need not have a
    /// publisher, and may get another one at any time: the packets name their source.
    ///
    /// # Errors
    /// [`AttachError`]
    pub async fn attach_tap(
        &self,
        room: RoomId,
        config: TapConfig,
    ) -> Result<TapReceiver, AttachError> {
        let port = self.home_port(room)?;
        let id = TapId(self.taps.fetch_add(1, Ordering::Relaxed));
        let (seat, receiver) = tap(id, room, config);
        let seat = Box::new(seat);
        port.ask(|reply| Command::AttachTap { seat, reply })
            .await??;
        Ok(receiver)
    }

    /// Makes the caller the source of a room, in place of whoever was. It is for the control plane to
    /// close a session that published there: its packets go nowhere from now on.
    ///
    /// # Errors
    /// [`AttachError`]
    pub async fn attach_source(
        &self,
        room: RoomId,
        config: SourceConfig,
    ) -> Result<SourceHandle, AttachError> {
        let port = self.home_port(room)?;
        let (opening, handle) = source(room, config, Arc::clone(&port.waker));
        let opening = Box::new(opening);
        port.ask(|reply| Command::AttachSource { opening, reply })
            .await??;
        Ok(handle)
    }

    /// Ends the taps and the attached sources of a room whose show is over. Never blocks.
    pub fn end_attached(&self, room: RoomId) {
        self.order(self.home(room), Order::EndAttached(room));
    }

    fn home_port(&self, room: RoomId) -> Result<&Port, ShardError> {
        let home = self.home(room);
        self.running(home)?;
        Ok(self.port(home))
    }
}
