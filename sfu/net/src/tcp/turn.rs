//! What a shard does for TCP in a turn, after the media of its turn has left.

use std::time::{Duration, Instant};

use lightstick_sfu_core::demux::Frames;
use lightstick_sfu_core::ice::Route;
use mio::Registry;

use super::{Closed, FRAME_BYTES_MAX, Read};
use crate::shard::Shard;

/// What TCP gets of each turn. What comes over TCP waits for it, and datagrams don't wait for what
/// comes over TCP: a stream can be filled with frames that say nothing.
const SLICE: Duration = Duration::from_micros(500);

impl Shard {
    /// Accepts, reads and closes what fits into a slice of time: each connection in its turn.
    /// False: there was nothing to do.
    pub(crate) fn tend_tcp(&mut self, registry: &Registry) -> bool {
        if !self.io.tcp.has_more(self.now) {
            return false;
        }
        let begun = Instant::now();
        let now = self.now;
        self.io.tcp.close_overdue(now, &self.io.stats);
        self.io.tcp.accept(registry, now, &self.io.stats);
        let mut buffer = std::mem::take(&mut self.io.tcp.buffer);
        // One round: a connection that has more queues up again for the next turn.
        for _ in 0..self.io.tcp.ready.len() {
            if let Some(read) = self.io.tcp.read(now, &self.io.stats, &mut buffer) {
                self.take_frames(&read, &buffer[..read.length]);
            }
            if begun.elapsed() >= SLICE {
                break;
            }
        }
        self.io.tcp.buffer = buffer;
        true
    }

    fn take_frames(&mut self, read: &Read, bytes: &[u8]) {
        let now = self.now;
        let mut frames = Frames::new(bytes, FRAME_BYTES_MAX);
        for frame in &mut frames {
            let Ok(frame) = frame else {
                let why = Closed::Oversize;
                self.io.stats.drop_junk.add(1);
                self.io.tcp.close(read.token, why, now, &self.io.stats);
                return;
            };
            let tcp = &mut self.io.tcp;
            match tcp.may_handle(read.token, frame, now, &self.io.stats) {
                Some(true) => self.on_datagram(Route::Tcp(read.remote), now, frame),
                Some(false) => {}
                None => return,
            }
        }
        self.io.tcp.carry(read.token, frames.rest());
    }
}
