//! What a shard does for one viewer's session: it takes part in its room's hop.

use crate::api::{CloseReason, MainChoice, MediaEvent, ViewerChoice};
use crate::rooms::RoomKey;
use crate::session::RoleState;
use crate::shard::Shard;
use lightstick_sfu_core::demux::Kind;
use lightstick_sfu_core::room::{Turn, Viewer, ViewerEvent, ViewerKey, ViewerMedia};

/// A viewer's place in its room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) room: RoomKey,
    pub(crate) viewer: ViewerKey,
}

impl Shard {
    /// A viewer's handshake is done: it is sent to from now on.
    pub(crate) fn connect_viewer(&mut self, key: u32) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let RoleState::Viewer { keys, .. } = &session.role else {
            return;
        };
        let Some(Ok(keys)) = keys.take() else {
            tracing::info!("the handshake agreed on no media keys");
            self.remove(key, CloseReason::TransportError);
            return;
        };
        let event = ViewerEvent::Connected {
            keys: Box::new(keys),
            wall_now: self.wall_now(),
        };
        self.handle_viewer(key, event);
    }

    /// A viewer sends RTCP. It has no RTP to send. Whether it was authentic.
    pub(crate) fn viewer_datagram(&mut self, key: u32, kind: Kind, datagram: &[u8]) -> bool {
        if kind != Kind::Rtcp {
            self.io.stats.drop_refused.add(1);
            return false;
        }
        let mut report = std::mem::take(&mut self.scratch.report);
        report.clear();
        report.extend_from_slice(datagram);
        let authentic = self.handle_viewer(key, ViewerEvent::Report(&mut report));
        self.scratch.report = report;
        authentic
    }

    /// Does for a viewer what is due.
    pub(crate) fn tend_viewer(&mut self, key: u32) {
        self.handle_viewer(key, ViewerEvent::Timeout);
    }

    pub(crate) fn choose(&mut self, key: u32, choice: ViewerChoice) {
        if let Some(layer) = choice.layer {
            self.handle_viewer(key, ViewerEvent::Choice(layer));
        }
        if let Some(main) = choice.main {
            let main = match main {
                MainChoice::Auto => None,
                MainChoice::Track(track) => Some(track),
            };
            self.handle_viewer(key, ViewerEvent::Main(main));
            self.tell(key, |session| MediaEvent::ViewerMain { session, main });
        }
    }

    /// Lets a viewer into its room. It gets media once it is connected.
    pub(crate) fn seat_viewer(&mut self, key: u32, viewer: Box<Viewer>) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let RoleState::Viewer { seat, .. } = &mut session.role else {
            return;
        };
        let room = self.rooms.open(session.room, now);
        if let Some((hop, _)) = self.rooms.touch(room) {
            let viewer = hop.add_viewer(viewer, now);
            *seat = Some(Seat { room, viewer });
        }
    }

    fn handle_viewer(&mut self, key: u32, event: ViewerEvent<'_>) -> bool {
        let Some(Seat { room, viewer }) = self.seat(key) else {
            return false;
        };
        let (now, outlet) = (self.now, &mut self.io);
        let Some((hop, tally)) = self.rooms.touch(room) else {
            return false;
        };
        let mut turn = Turn { now, outlet, tally };
        let authentic = hop.handle_viewer(viewer, event, &mut turn);
        self.arm(key);
        authentic
    }

    fn seat(&self, key: u32) -> Option<Seat> {
        self.sessions.get(key)?.seat()
    }

    /// What the hop knows of a viewer.
    pub(crate) fn viewer_media(&mut self, key: u32) -> Option<ViewerMedia> {
        let Seat { room, viewer } = self.seat(key)?;
        let (hop, _) = self.rooms.get(room)?;
        let viewer = hop.viewers_mut().get_mut(viewer)?;
        Some(viewer.media())
    }

    /// A session's datagrams go to its agent's route. Its room hears where that is.
    pub(crate) fn follow_route(&mut self, key: u32) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let route = session.ice.route();
        if std::mem::replace(&mut session.route, route) == route {
            return;
        }
        self.handle_viewer(key, ViewerEvent::Route(route));
    }

    /// Sees to it that a session is looked at in time.
    pub(crate) fn arm(&mut self, key: u32) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let mut deadline = session.deadline(&self.local.shared.config);
        if let Some(Seat { room, viewer }) = session.seat()
            && let Some((hop, _)) = self.rooms.get(room)
            && let Some(at) = hop
                .viewers_mut()
                .get_mut(viewer)
                .and_then(|v| v.poll_timeout())
        {
            deadline = deadline.min(at);
        }
        self.sessions.arm(key, deadline);
    }
}
