//! What a shard does for one viewer besides forwarding: its start, its reports, lost packets,
//! replays and probes.

use lightstick_sfu_core::demux::Kind;
use lightstick_sfu_core::egress::Egress;
use lightstick_types::Layer;

use crate::api::MediaEvent;
use crate::session::RoleState;
use crate::shard::Shard;

impl Shard {
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
        let layer = wanted.0;
        let history = self.rooms.get(&id).map(|room| &room.history);
        let start = history.and_then(|history| history.start(layer, self.now));
        match (history, start) {
            (Some(history), Some(start)) if viewer.is_fresh() => {
                viewer.start_from(layer, start, history, self.now);
                let deadline = session.deadline(&self.shared.config);
                self.timers.arm(key, deadline);
            }
            _ => self.request_keyframe(id, layer),
        }
    }

    /// Tells the control plane when a viewer gets another layer than before.
    pub(crate) fn note_layer(&mut self, key: u32, before: Option<Layer>, after: Option<Layer>) {
        if let Some(layer) = after.filter(|_| before != after) {
            let session = self.sessions[key as usize].id;
            self.io.stats.layer_switches.add(1);
            self.emit(MediaEvent::ViewerLayer { session, layer });
        }
    }

    /// A viewer sends RTCP. It has no RTP to send.
    pub(crate) fn viewer_datagram(&mut self, key: u32, kind: Kind, datagram: &[u8]) {
        let wall_now = self.wall_now();
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let id = session.room;
        let RoleState::Viewer(viewer) = &mut session.role else {
            return;
        };
        let (Kind::Rtcp, Some(egress)) = (kind, &mut viewer.egress) else {
            self.io.stats.drop_refused.add(1);
            return;
        };
        self.report.clear();
        self.report.extend_from_slice(datagram);
        if let Err(error) = egress.hear(&mut self.report, self.now, wall_now, &mut self.heard) {
            tracing::trace!(%error, "report refused");
            self.io.stats.drop_refused.add(1);
        }
        let stats = &self.io.stats;
        let heard = &self.heard;
        stats.rtp_out_lost.add(heard.newly_lost);
        stats.nacks_in.add(heard.lost.len() as u64);
        stats.keyframe_requests_in.add(heard.keyframe_requests);
        stats.drop_refused.add(heard.broken);
        if let (Some(route), Some(room)) = (session.route, self.rooms.get_mut(&id)) {
            let mut sink = self.io.sink(route);
            let mut resent = 0;
            for &lost in &heard.lost {
                let again =
                    sink.datagram(|out, _| egress.resend(lost, &room.history, self.now, out));
                resent += u64::from(again.is_ok());
            }
            session.bytes_sent += sink.bytes;
            self.io.stats.rtx_out.add(resent);
        }
        let asked = heard.keyframe_requests > 0;
        let mut wanted = None;
        if let Some(room) = self.rooms.get_mut(&id).filter(|_| heard.estimated) {
            let (rates, audio) = room.rates.read(self.now);
            wanted = viewer.on_estimate(self.now, &rates, audio);
            let deadline = session.deadline(&self.shared.config);
            self.timers.arm(key, deadline);
        }
        let RoleState::Viewer(viewer) = &mut session.role else {
            return;
        };
        let asked = viewer.layer().filter(|_| asked);
        for layer in wanted.map(|wanted| wanted.0).into_iter().chain(asked) {
            self.request_keyframe(id, layer);
        }
    }

    /// Does for a viewer what is due: the next packets of its replay, a report.
    pub(crate) fn tend_viewer(&mut self, key: u32) {
        let (now, wall_now) = (self.now, self.wall_now());
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let id = session.room;
        let mut room = self.rooms.get_mut(&id);
        let (Some(route), RoleState::Viewer(viewer)) = (session.route, &mut session.role) else {
            return;
        };
        let mut sink = self.io.sink(route);
        let before = viewer.layer_sent();
        let mut sent = 0;
        if let Some(room) = &room {
            if viewer.is_behind(now) {
                sent = viewer.catch_up(now, &room.history, &mut sink);
            }
            viewer.send_probe(now, &room.history, &mut sink);
        }
        let after = viewer.layer_sent();
        let due = |egress: &Egress| egress.report_at() <= now;
        let mut wanted = None;
        if let Some(egress) = viewer.egress.as_mut().filter(|egress| due(egress)) {
            // Nothing to report is no failure.
            let _ = sink.datagram(|out, _| match egress.report(now, wall_now, out) {
                true => Ok(()),
                false => Err(()),
            });
            // A link that has fallen silent carries nothing: time alone tells.
            if let Some(room) = &mut room {
                let (rates, audio) = room.rates.read(now);
                wanted = viewer.on_estimate(now, &rates, audio);
            }
        }
        session.bytes_sent += sink.bytes;
        self.io.stats.rtp_out.add(sent);
        self.note_layer(key, before, after);
        if let Some(wanted) = wanted {
            self.request_keyframe(id, wanted.0);
        }
        self.timers.arm(
            key,
            self.sessions[key as usize].deadline(&self.shared.config),
        );
    }
}
