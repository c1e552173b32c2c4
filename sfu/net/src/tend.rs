//! What a shard does for one viewer besides forwarding: its start, its reports, lost packets,
//! what it is behind with, and probes.

use lightstick_sfu_core::demux::Kind;
use lightstick_sfu_core::egress::Egress;
use lightstick_sfu_core::start::Choice;
use lightstick_types::Layer;

use crate::api::MediaEvent;
use crate::session::RoleState;
use crate::shard::Shard;
use crate::viewer::Run;

impl Shard {
    /// Lets a newcomer start who can be sent to from now on; and again where the keyframe that it
    /// was to start from has not come.
    pub(crate) fn start_viewer(&mut self, key: u32) {
        let (now, interval) = (self.now, self.shared.config.keyframe_interval);
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let id = session.room;
        let Some(viewer) = session.viewer().filter(|viewer| viewer.is_fresh()) else {
            return;
        };
        let (Some(wanted), Some(room)) = (viewer.wanted(), self.rooms.get_mut(&id)) else {
            return;
        };
        let watched = viewer.watched();
        let (layer, stats) = (wanted.0, &self.io.stats);
        match room.start(layer, viewer.rate(), now, interval) {
            Choice::Replay { start, ask } => {
                stats.starts_replayed.add(1);
                viewer.start_from(layer, start, &room.history, now);
                if ask {
                    self.request_keyframe(id, layer);
                }
            }
            Choice::Wait(patience) => {
                stats.starts_waited.add(1);
                viewer.wait_until(now.checked_add(patience));
            }
            Choice::Ask(patience) => {
                stats.starts_asked.add(1);
                viewer.wait_until(now.checked_add(patience));
                self.request_keyframe(id, layer);
            }
        }
        self.watches(id, watched);
        self.arm(key);
    }

    /// Tells the control plane when a viewer gets another layer than before.
    pub(crate) fn note_layer(&mut self, key: u32, before: Option<Layer>, after: Option<Layer>) {
        if let Some(layer) = after.filter(|_| before != after) {
            let session = self.sessions[key as usize].id;
            self.io.stats.layer_switches.add(1);
            self.emit(MediaEvent::ViewerLayer { session, layer });
        }
    }

    /// A viewer sends RTCP. It has no RTP to send. Whether it was authentic.
    pub(crate) fn viewer_datagram(&mut self, key: u32, kind: Kind, datagram: &[u8]) -> bool {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return false;
        };
        let (id, route) = (session.room, session.route);
        let RoleState::Viewer(viewer) = &mut session.role else {
            return false;
        };
        let (Kind::Rtcp, Some(egress)) = (kind, &mut viewer.egress) else {
            self.io.stats.drop_refused.add(1);
            return false;
        };
        self.report.clear();
        self.report.extend_from_slice(datagram);
        let read = egress.hear(&mut self.report, now, &mut self.heard);
        if let Err(error) = &read {
            tracing::trace!(%error, "report refused");
            self.io.stats.drop_refused.add(1);
        }
        let stats = &self.io.stats;
        let asked = viewer.keyframe_request(&self.heard, now);
        let lost = self.heard.lost.len();
        stats.nacks_in.add(lost as u64);
        let sought = session.inflow.lost(lost, now);
        self.heard.lost.truncate(sought);
        stats.drop_flood.add((lost - sought) as u64);
        let heard = &self.heard;
        stats.rtp_out_lost.add(heard.newly_lost);
        stats.keyframe_requests_in.add(heard.keyframe_requests);
        stats.drop_refused.add(heard.broken);
        let mut wanted = None;
        let mut sent = 0;
        if let Some(room) = self.rooms.get_mut(&id) {
            if let Some(route) = route.filter(|_| !heard.lost.is_empty()) {
                let mut sink = self.io.sink(route);
                let resent = viewer.resend(heard, &room.history, now, &mut sink);
                sent = sink.bytes;
                self.io.stats.rtx_out.add(resent);
            }
            if heard.estimated {
                let (rates, audio) = room.rates.read(now);
                wanted = viewer.on_estimate(now, &rates, audio);
            }
        }
        let estimated = heard.estimated;
        session.bytes_sent += sent;
        if estimated {
            // Perhaps a probe has begun.
            self.arm(key);
        }
        for layer in wanted.map(|wanted| wanted.0).into_iter().chain(asked) {
            self.request_keyframe(id, layer);
        }
        read.is_ok()
    }

    /// Does for a viewer what is due: packets that it is behind with, the next of a probe, a
    /// report, another start.
    pub(crate) fn tend_viewer(&mut self, key: u32) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key as usize) else {
            return;
        };
        let id = session.room;
        let room = self.rooms.get_mut(&id);
        let RoleState::Viewer(viewer) = &mut session.role else {
            return;
        };
        let Some(route) = session.route else {
            return;
        };
        let starts = viewer.has_waited(now);
        let mut sink = self.io.sink(route);
        let before = viewer.layer_sent();
        let mut run = Run::default();
        let history = room.as_ref().map(|room| &room.history);
        let held = viewer.held_request(now, history);
        if let Some(room) = &room {
            run = viewer.run(now, &room.history, &mut sink);
            viewer.send_probe(now, &room.history, &mut sink);
        }
        let after = viewer.layer_sent();
        let due = |egress: &Egress| egress.report_at() <= now;
        let mut wanted = None;
        if let Some(egress) = viewer.egress.as_mut().filter(|egress| due(egress)) {
            // Nothing to report is no failure.
            let _ = sink.datagram(|out, _| match egress.report(now, out) {
                true => Ok(()),
                false => Err(()),
            });
        }
        if let Some(room) = room.filter(|_| viewer.is_unheard(now)) {
            let (rates, audio) = room.rates.read(now);
            wanted = viewer.on_estimate(now, &rates, audio);
        }
        if run.lost {
            wanted = viewer.wanted();
        }
        session.bytes_sent += sink.bytes;
        let stats = &self.io.stats;
        stats.rtp_out.add(run.sent);
        stats.paced_out.add(run.sent);
        stats.drop_media.add(run.refused);
        stats.drop_behind.add(run.lost.into());
        self.note_layer(key, before, after);
        for layer in wanted.map(|wanted| wanted.0).into_iter().chain(held) {
            self.request_keyframe(id, layer);
        }
        if starts {
            self.start_viewer(key);
        }
        self.arm(key);
    }

    /// Sees to it that a session is looked at in time.
    pub(crate) fn arm(&mut self, key: u32) {
        if let Some(session) = self.sessions.get(key as usize) {
            self.timers.arm(key, session.deadline(&self.shared.config));
        }
    }
}
