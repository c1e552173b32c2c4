//! A shard's way to the control plane.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::api::MediaEvent;

/// Tells the control plane what happens. Nothing is lost: what finds no room waits; see
/// [`EVENTS_MAX`](crate::EVENTS_MAX).
pub(crate) struct Control {
    events: mpsc::Sender<MediaEvent>,
    waiting: VecDeque<MediaEvent>,
}

impl Control {
    pub(crate) fn new(events: mpsc::Sender<MediaEvent>) -> Self {
        Self {
            events,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn emit(&mut self, event: MediaEvent) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Tells what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.waiting.push_front(event);
                break;
            }
        }
    }
}
