//! Padding that is sent to find out what a viewer's link carries.

use std::time::{Duration, Instant};

use super::{Outlet, Turn, Viewer};
use crate::bwe::{ClusterId, Probe};
use crate::history::History;

/// Time between the bursts of a probe.
const EVERY: Duration = Duration::from_millis(5);

/// A probe that is under way.
#[derive(Debug)]
pub(super) struct Probing {
    cluster: ClusterId,
    ends_at: Instant,
    bytes_left: usize,
    /// When the next of it may leave.
    at: Instant,
}

impl Probing {
    pub(super) fn new(probe: Probe, now: Instant) -> Self {
        Self {
            cluster: probe.cluster,
            ends_at: now + probe.duration,
            bytes_left: probe.bytes,
            at: now,
        }
    }

    pub(super) fn at(&self) -> Instant {
        self.at
    }
}

impl Viewer {
    /// Sends the next packets of a probe, where one is under way.
    pub(super) fn send_probe<O: Outlet>(&mut self, history: &History, turn: &mut Turn<'_, O>) {
        let (Some(probe), Some(egress), Some(route)) =
            (&mut self.probe, self.sending.egress_mut(), self.route)
        else {
            return;
        };
        let now = turn.now;
        if now < probe.at {
            return;
        }
        probe.at = now + EVERY;
        // An even share of what is left, in the steps that are left.
        let left = probe.ends_at.saturating_duration_since(now);
        let steps = left.as_micros() / EVERY.as_micros() + 1;
        let mut share = probe.bytes_left / steps as usize;
        let mut sent = 0;
        while share > 0 {
            let write = |out: &mut Vec<u8>, _| egress.probe(probe.cluster, history, now, out);
            let bytes = turn.outlet.datagram(route, write).unwrap_or(0);
            if bytes == 0 {
                break;
            }
            sent += bytes as u64;
            share = share.saturating_sub(bytes);
            probe.bytes_left = probe.bytes_left.saturating_sub(bytes);
        }
        if steps == 1 || probe.bytes_left == 0 {
            self.probe = None;
        }
        self.bytes_sent += sent;
        self.pay(now, sent);
    }
}
