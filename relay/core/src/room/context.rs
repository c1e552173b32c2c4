//! What a room is settled with.

use std::time::Instant;

use lightstick_types::RoomId;

use crate::config::RelayConfig;
use crate::link::{Links, RoomKey};
use crate::output::Out;

/// The node around a room, and what settling it asks for.
pub(crate) struct Context<'a> {
    pub(crate) key: RoomKey,
    /// The room's id, while it is open.
    pub(crate) id: Option<RoomId>,
    pub(crate) config: &'a RelayConfig,
    pub(crate) links: &'a mut Links,
    pub(crate) out: &'a mut Out,
    pub(crate) now: Instant,
    /// When the room has to be settled again.
    pub(crate) wake: Option<Instant>,
    /// Other rooms that have to be settled now.
    pub(crate) others: Vec<RoomKey>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        key: RoomKey,
        id: Option<RoomId>,
        config: &'a RelayConfig,
        links: &'a mut Links,
        out: &'a mut Out,
        now: Instant,
    ) -> Self {
        Self {
            key,
            id,
            config,
            links,
            out,
            now,
            wake: None,
            others: Vec::new(),
        }
    }

    pub(super) fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
