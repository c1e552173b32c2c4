//! One stream to a viewer: what was negotiated for it, and what was sent on it so far.

use std::time::Instant;

use lightstick_types::{Codec, TrackKind};

use super::header::ExtensionIds;
use super::sent::SentLog;
use crate::ntp::Ntp;
use crate::packet::{Format, MediaPacket};
use crate::rewrite::Rewritten;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::srtp::{Sealer, SendStream};

/// A stream names its section until it is known to the peer; in so many packets at most.
const MID_PACKETS: u32 = 200;

/// One format that a viewer takes, and the payload types it gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub format: Format,
    pub payload_type: u8,
    /// Of what is sent again (RFC 4588), where the viewer takes that.
    pub resend_payload_type: Option<u8>,
}

/// What was negotiated for one of a viewer's streams.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    pub kind: TrackKind,
    pub mid: String,
    /// Canonical name: streams with the same one are played together (RFC 3550 section 6.5.1).
    pub cname: String,
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC of what is sent again.
    pub resend_ssrc: Option<u32>,
    /// RTP clock, in hertz.
    pub clock_rate: u32,
    /// Formats, the preferred first.
    pub accepted: Vec<Accepted>,
    pub extensions: ExtensionIds,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) stream: SendStream,
    pub(super) resend: Option<Resend>,
    pub(super) config: StreamConfig,
    pub(super) packets: u32,
    pub(super) octets: u32,
    /// Of the last packet.
    pub(super) last_number: u16,
    /// Timestamp of the last packet, and when it was sampled.
    pub(super) last: Option<(u32, Instant)>,
    /// The peer has reported on it: it knows which section it belongs to.
    pub(super) known: bool,
    /// As last reported.
    pub(super) lost: i32,
}

#[derive(Debug)]
pub(super) struct Resend {
    pub(super) stream: SendStream,
    pub(super) sent: SentLog,
}

impl Outgoing {
    /// A stream that has sent nothing. `None`: its SSRC is taken.
    pub(super) fn new(
        config: StreamConfig,
        sealer: &mut Sealer,
        resend_packets: usize,
    ) -> Option<Self> {
        let stream = sealer.stream(config.ssrc)?;
        let resend_stream = config.resend_ssrc.and_then(|ssrc| sealer.stream(ssrc));
        Some(Self {
            stream,
            resend: resend_stream.map(|stream| Resend {
                stream,
                sent: SentLog::new(resend_packets),
            }),
            config,
            packets: 0,
            octets: 0,
            last_number: 0,
            last: None,
            known: false,
            lost: 0,
        })
    }

    /// The format and payload for this viewer. RED goes out whole only to a viewer that numbers
    /// Opus as the publisher does, because its blocks carry that number inside (RFC 2198).
    #[inline]
    pub(super) fn place<'a>(&self, packet: &'a MediaPacket) -> Option<(Accepted, &'a [u8])> {
        let formats = &self.config.accepted;
        if packet.format.codec != Codec::Red {
            return Some((accepted(formats, packet.format)?, &packet.payload));
        }
        let opus = accepted(
            formats,
            Format {
                codec: Codec::Opus,
                profile: 0,
            },
        )?;
        let primary = packet.primary?;
        match accepted(formats, packet.format) {
            Some(red) if primary.payload_type == opus.payload_type => Some((red, &packet.payload)),
            _ => Some((opus, primary.of(&packet.payload)?)),
        }
    }

    #[inline]
    pub(super) fn count(&mut self, rewritten: &Rewritten, octets: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
        self.last = Some((rewritten.timestamp, rewritten.sampled_at));
        self.last_number = rewritten.sequence as u16;
        self.known |= self.packets == MID_PACKETS;
    }

    pub(super) fn sender_info(&self, now: Instant, ntp: Ntp) -> Option<SenderInfo> {
        let (timestamp, sampled_at) = self.last?;
        let since = now.saturating_duration_since(sampled_at).as_micros();
        let ticks = since * u128::from(self.config.clock_rate) / 1_000_000;
        Some(SenderInfo {
            ssrc: self.stream.ssrc(),
            ntp,
            timestamp: timestamp.wrapping_add(ticks as u32),
            packets: self.packets,
            octets: self.octets,
        })
    }

    pub(super) fn newly_lost(&mut self, block: &ReportBlock) -> u64 {
        let grown = i64::from(block.lost) - i64::from(self.lost);
        self.lost = block.lost.max(self.lost);
        u64::try_from(grown).unwrap_or(0)
    }
}

/// What a viewer calls a format: of the same profile, or else of the same codec where a decoder
/// for one profile commonly decodes the other.
#[inline]
pub(super) fn accepted(formats: &[Accepted], format: Format) -> Option<Accepted> {
    let same_codec = || formats.iter().filter(|a| a.format.codec == format.codec);
    same_codec()
        .find(|a| a.format.profile == format.profile)
        .or_else(|| {
            let lenient = format.codec == Codec::H264;
            same_codec()
                .max_by_key(|a| a.format.profile)
                .filter(|_| lenient)
        })
        .copied()
}

#[inline]
pub(super) fn append_payload(
    out: &mut Vec<u8>,
    payload: &[u8],
    packet: &MediaPacket,
    rewritten: &Rewritten,
) {
    let start = out.len();
    out.extend_from_slice(payload);
    let (Some(descriptor), Some(vp8)) = (packet.info.vp8, rewritten.vp8) else {
        return;
    };
    if let (Some(at), Some(id)) = (descriptor.picture_id, vp8.picture_id) {
        let offset = start + at.offset;
        if at.u15 {
            out[offset..offset + 2].copy_from_slice(&(id | 0x8000).to_be_bytes());
        } else {
            out[offset] = id as u8 & 0x7F;
        }
    }
    if let (Some((_, offset)), Some(index)) = (descriptor.tl0_pic_idx, vp8.tl0_pic_idx) {
        out[start + offset] = index;
    }
}
