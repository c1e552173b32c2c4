//! The director's turns: what the media plane reports, and what the registry wants done.

use std::time::Instant;

use lightstick_sfu::{CloseReason, MediaEvent};
use lightstick_signaling_core::rooms::{Activity, Effect, Event, LeaveReason};

use super::Director;

impl Director {
    pub(super) fn media_event(&mut self, event: MediaEvent) {
        let now = Instant::now();
        match event {
            MediaEvent::SessionConnected { session, after } => {
                self.rooms.connected(session);
                if let Some(state) = self.sessions.get(&session) {
                    let after_ms = after.as_millis();
                    state
                        .span
                        .in_scope(|| tracing::info!(after_ms, "connected"));
                }
            }
            MediaEvent::SessionClosed { session, reason } => {
                self.rooms.closed(now, session, leave_reason(reason));
            }
            MediaEvent::PublisherReady { session } => {
                self.rooms.publisher_ready(now, session);
            }
            MediaEvent::TrackStarted {
                session,
                track,
                codec,
            } => self.rooms.track_started(now, session, track, codec),
            MediaEvent::LayersChanged { session, streams } => {
                self.rooms.layers_changed(session, streams);
            }
            MediaEvent::LayersPaused { session, streams } => {
                if let Some(state) = self.sessions.get(&session) {
                    state
                        .span
                        .in_scope(|| tracing::debug!(?streams, "layers without viewers"));
                    state.view.send_modify(|view| {
                        for named in &mut view.layers {
                            named.paused = streams.contains(&named.stream);
                        }
                    });
                }
            }
            MediaEvent::HintsChanged { session, hints } => {
                // A parked publisher hears them too.
                if let Some(state) = self.sessions.get(&session) {
                    state.view.send_modify(|view| view.hints.clone_from(&hints));
                }
                self.rooms.hints_changed(now, session, hints);
            }
            MediaEvent::ViewerLayer { session, stream } => {
                if let Some(state) = self.sessions.get(&session) {
                    state.view.send_if_modified(|view| {
                        let seen = &mut view.seen[stream.track.index()];
                        seen.replace(stream.layer) != Some(stream.layer)
                    });
                }
            }
            MediaEvent::ViewerMain { session, main } => {
                if let Some(state) = self.sessions.get(&session) {
                    state.view.send_if_modified(|view| {
                        let before = std::mem::replace(&mut view.main, main);
                        before != main
                    });
                }
            }
        }
    }

    /// Carries out everything that the registry has asked for. A room of thousands that is closed
    /// leaves the worker to others in between.
    pub(super) async fn apply_effects(&mut self) {
        let mut changed = false;
        while let Some(effect) = self.rooms.poll_effect() {
            changed = true;
            tokio::task::coop::consume_budget().await;
            match effect {
                Effect::Close { session, shard } => self.parts.media.close(shard, session),
                Effect::Promote { session, shard } => {
                    self.parts.media.promote(shard, session);
                    if let Some(state) = self.sessions.get(&session) {
                        state.span.in_scope(|| tracing::info!("publishing"));
                    }
                }
                Effect::Main { room, track } => self.parts.media.set_main(room, track),
                Effect::EndShow(id) => self.parts.media.end_attached(id),
                Effect::RoomChanged(id) => {
                    if let Some(view) = self.views.get(&id)
                        && let Some(status) = self.rooms.view().status(id)
                    {
                        view.send_if_modified(|view| {
                            let changed = view.status != status;
                            view.status = status;
                            changed
                        });
                    }
                }
                Effect::RoomGone(id) => {
                    // The last thing that streams still open say, before they end.
                    if let Some(view) = self.views.remove(&id) {
                        view.send_modify(|view| view.status.activity = Activity::Ended);
                    }
                }
                Effect::Event(event) => self.event(event),
            }
        }
        if changed {
            self.parts.stats.set_counts(self.rooms.view().counts());
        }
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::SessionJoined {
                session,
                participant,
                ..
            } => {
                if let Some(state) = self.sessions.get(session) {
                    state.span.in_scope(|| {
                        tracing::info!(number = state.number, "joined");
                        tracing::debug!(?participant, "participant of the session");
                    });
                }
            }
            Event::SessionLeft {
                session,
                reason,
                after,
                ..
            } => {
                // One that was deleted is gone for good: the next DELETE finds nothing.
                if *reason != LeaveReason::Deleted {
                    self.ended.insert(*session);
                }
                self.parts.stats.left(*reason);
                if let Some(state) = self.sessions.remove(session) {
                    let after_ms = after.as_millis();
                    state
                        .span
                        .in_scope(|| tracing::info!(?reason, after_ms, "left"));
                }
            }
            Event::RoomStarted { room } => tracing::info!(%room, "show started"),
            Event::RoomEnded { room, reason } => {
                tracing::info!(%room, ?reason, "show ended");
            }
            Event::PublisherInterrupted { room, grace } => {
                tracing::info!(%room, ?grace, "publisher disconnected; waiting for it to return");
            }
            Event::PublisherReturned { room } => tracing::info!(%room, "publisher returned"),
            Event::LayersChanged { room, tracks, .. } => tracing::debug!(%room, ?tracks, "layers"),
            Event::MainChanged { room, main } => tracing::info!(%room, %main, "main track changed"),
            Event::HintsChanged { room, hints } => {
                let codes: Vec<&str> = hints.iter().map(|hint| hint.code.as_str()).collect();
                if codes.is_empty() {
                    tracing::info!(%room, "publisher's stream has no faults any more");
                } else {
                    let hints = codes.join(",");
                    tracing::warn!(%room, %hints, "publisher's stream has faults");
                }
            }
        }
        self.feed.publish(&event);
    }
}

fn leave_reason(reason: CloseReason) -> LeaveReason {
    match reason {
        CloseReason::PeerClosed => LeaveReason::PeerClosed,
        CloseReason::ConnectTimeout => LeaveReason::ConnectTimeout,
        CloseReason::NoMedia => LeaveReason::NoMedia,
        CloseReason::ConsentExpired => LeaveReason::ConsentExpired,
        CloseReason::BitrateExceeded => LeaveReason::BitrateExceeded,
        CloseReason::TransportError => LeaveReason::TransportError,
        // A session that the director asked to close is in the registry no more.
        CloseReason::Requested | CloseReason::Internal => LeaveReason::Internal,
    }
}
