//! The receiving side of a session: reading its socket, and what a light viewer leaves out.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, UdpSockRef};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Input, RtcConfig};

use super::{Gauges, Session};
use crate::stamp;

/// A GRO batch is at most this long, in bytes.
const DATAGRAMS_MAX: usize = 1 << 16;
/// Batches read in one system call.
const BATCHES: usize = 16;
/// A light viewer reads what has come once in this while: waking up for each datagram would cost
/// several times as much, and its sender would pay for the wake-ups. Of a 2.5 Mbit/s video, a
/// receive buffer of the usual size holds some ten times as much.
pub const LIGHT_READS_EVERY: Duration = Duration::from_millis(50);

/// Receive memory of one thread.
#[derive(Debug)]
pub struct ReceiveBuffers {
    bytes: Vec<u8>,
    metas: [RecvMeta; BATCHES],
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self {
            bytes: vec![0; BATCHES * DATAGRAMS_MAX],
            metas: [RecvMeta::default(); BATCHES],
        }
    }
}

impl Session {
    /// Reads all that the socket has.
    pub fn receive(&mut self, buffers: &mut ReceiveBuffers, gauges: &mut Gauges) {
        let planned = self
            .reads_at
            .map_or(0, |_| LIGHT_READS_EVERY.as_micros() as u64);
        let mut more = true;
        while more && self.ended.is_none() {
            let mut slices = buffers.bytes.chunks_exact_mut(DATAGRAMS_MAX);
            let mut slices: [IoSliceMut<'_>; BATCHES] =
                std::array::from_fn(|_| IoSliceMut::new(slices.next().expect("BATCHES of them")));
            let socket = UdpSockRef::from(&self.socket);
            let batches = match self.state.recv(socket, &mut slices, &mut buffers.metas) {
                Ok(batches) => batches,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Would block. Other errors of a UDP socket concern one datagram and come with
                // the next call again if they stay.
                Err(_) => return,
            };
            // Fewer than there is room for: the socket is empty.
            more = batches == BATCHES;
            let at = Instant::now();
            let at_us = stamp::now_us();
            let epoch_us = stamp::epoch_us();
            let batches = buffers
                .bytes
                .chunks(DATAGRAMS_MAX)
                .zip(buffers.metas)
                .take(batches);
            for (bytes, meta) in batches {
                let lag = meta.timestamp.map_or(0, |kernel| {
                    epoch_us.saturating_sub(kernel.as_micros() as u64)
                });
                if gauges.window.holds(at_us) {
                    gauges.lag.record_us(lag.saturating_sub(planned));
                }
                for datagram in bytes[..meta.len].chunks(meta.stride.max(1)) {
                    let (from, came_us) = (meta.addr, at_us - lag);
                    match &mut self.link {
                        Some(link) => {
                            let came = at - Duration::from_micros(lag);
                            link.come(datagram, from, came, came_us);
                        }
                        None => self.datagram(datagram, from, at, came_us, gauges),
                    }
                }
            }
        }
        if self.light && self.reads_at.is_none() && self.flows() {
            self.reads_at = Some(Instant::now() + LIGHT_READS_EVERY);
        }
    }

    pub(super) fn datagram(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        at: Instant,
        at_us: u64,
        gauges: &mut Gauges,
    ) {
        if self.light && self.flows() && is_rtp(datagram) {
            let codec = self.payloads.codec(datagram[1] & 0x7F);
            self.side.header(codec, datagram, at, at_us, gauges);
            return;
        }
        if is_dtls(datagram) && self.chat.as_ref().is_some_and(|chat| chat.is_deaf()) {
            return;
        }
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, datagram) else {
            gauges.refused += 1;
            return;
        };
        if self.rtc.handle_input(Input::Receive(at, receive)).is_err() {
            self.end();
            return;
        }
        let before = self.side.video_packets();
        self.pump(at, at_us, gauges);
        if is_rtp(datagram) {
            self.on_wire(datagram, self.side.video_packets() > before, at_us, gauges);
        }
    }

    /// Counts a video packet of a viewer as it came; `new`: it was not there before.
    fn on_wire(&self, datagram: &[u8], new: bool, at_us: u64, gauges: &mut Gauges) {
        let payload_type = datagram[1] & 0x7F;
        let resent = self.payloads.is_resend(payload_type);
        if self.light || !resent && !self.payloads.is_video(payload_type) {
            return;
        }
        if let Some(wire) = gauges.wire.at(at_us, gauges.window) {
            wire.media += u64::from(!resent);
            wire.resent += u64::from(resent);
            wire.repaired += u64::from(resent && new);
        }
    }
}

/// Told by its first two bytes (RFC 7983, RFC 5761 section 4), and long enough for a header.
fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() >= 12 && datagram[0] >> 6 == 2 && !(192..=223).contains(&datagram[1])
}

/// Told by its first byte (RFC 7983).
fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// A sender that numbers packets for transport-wide feedback would never get it.
pub(super) fn without_feedback(config: RtcConfig) -> RtcConfig {
    let mut extensions = ExtensionMap::empty();
    for (id, extension) in ExtensionMap::standard().iter() {
        if *extension != Extension::TransportSequenceNumber {
            extensions.set(id, extension.clone());
        }
    }
    config.set_extension_map(extensions)
}
