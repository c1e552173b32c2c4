//! What a session is for, and what it counts.

use std::time::Instant;

use lightstick_types::Codec;
use str0m::rtp::RtpPacket;

use super::Gauges;
use super::publish::{Publisher, PublisherTally};
use crate::tally::{Arrival, Header, ViewerTally};

pub(super) enum Side {
    View(Box<ViewerTally>),
    Publish(Box<Publisher>),
}

impl Side {
    pub(super) fn viewer(&self, lost: bool) -> Option<ViewerTally> {
        match self {
            Self::View(tally) => {
                let mut tally = (**tally).clone();
                tally.lost = lost;
                Some(tally)
            }
            Self::Publish(_) => None,
        }
    }

    pub(super) fn publisher(&self, lost: bool) -> Option<PublisherTally> {
        match self {
            Self::View(_) => None,
            Self::Publish(publisher) => Some(publisher.tally(lost)),
        }
    }

    pub(super) fn begin_window(&mut self) {
        match self {
            Self::View(tally) => tally.begin_window(),
            Self::Publish(publisher) => publisher.begin_window(),
        }
    }

    pub(super) fn flows(&self) -> bool {
        match self {
            Self::View(tally) => tally.first_keyframe.is_some(),
            Self::Publish(publisher) => publisher.sending.is_some(),
        }
    }

    /// Whether ICE and DTLS are done.
    pub(super) fn connected(&self) -> bool {
        match self {
            Self::View(tally) => tally.connected.is_some(),
            Self::Publish(publisher) => publisher.sending.is_some(),
        }
    }

    /// Video packets that came to a viewer.
    pub(super) fn video_packets(&self) -> u64 {
        match self {
            Self::View(tally) => tally.video.packets,
            Self::Publish(_) => 0,
        }
    }

    /// Counts an RTP packet that was opened.
    pub(super) fn packet(
        &mut self,
        codec: Option<Codec>,
        packet: &RtpPacket,
        at: Instant,
        at_us: u64,
        gauges: &mut Gauges,
    ) {
        if let (Self::View(tally), Some(codec)) = (self, codec) {
            let arrival = Arrival {
                codec,
                ssrc: *packet.header.ssrc,
                seq: *packet.seq_no,
                rtp_time: packet.header.timestamp,
                marker: packet.header.marker,
                payload: &packet.payload,
                at,
                at_us,
            };
            tally.note(arrival, gauges.window, &mut gauges.transit);
        }
    }

    /// Counts an RTP packet that stays encrypted (RFC 3550 section 5.1).
    pub(super) fn header(
        &mut self,
        codec: Option<Codec>,
        datagram: &[u8],
        at: Instant,
        at_us: u64,
        gauges: &Gauges,
    ) {
        if let (Self::View(tally), Some(codec)) = (self, codec) {
            let header = Header {
                kind: codec.kind(),
                ssrc: u32::from_be_bytes([8, 9, 10, 11].map(|i| datagram[i])),
                seq: u16::from_be_bytes([datagram[2], datagram[3]]),
                bytes: datagram.len(),
                at,
                at_us,
            };
            tally.note_header(header, gauges.window);
        }
    }
}
