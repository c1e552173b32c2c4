//! The RTP header of one viewer's stream, extensions included.

use crate::ntp::Ntp;
use crate::packet::PacketExtensions;
use crate::srtp::PacketIndex;

/// The ids of header extensions as a viewer has negotiated them (RFC 8285 section 4.2: 1 to 14);
/// `None`: not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143 section 15).
    pub mid: Option<u8>,
    /// Transport-wide sequence number.
    pub transport_sequence: Option<u8>,
    /// `abs-capture-time`.
    pub capture_time: Option<u8>,
    /// `playout-delay`.
    pub playout_delay: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    pub audio_level: Option<u8>,
    /// `urn:3gpp:video-orientation`.
    pub orientation: Option<u8>,
}

/// What stands in the fixed header besides the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) timestamp: u32,
}

/// Bytes of the fixed header (RFC 3550 section 5.1).
const FIXED: usize = 12;
/// Padding follows the payload.
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;

/// Writes headers of one packet after another into a buffer that others fill up.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    /// Appends the fixed header and begins the extensions.
    #[inline]
    pub(super) fn begin(out: &'a mut Vec<u8>, index: &PacketIndex, fixed: Fixed) -> Self {
        let start = out.len();
        let [seq_high, seq_low] = index.sequence().to_be_bytes();
        let time = fixed.timestamp.to_be_bytes();
        let ssrc = index.ssrc().to_be_bytes();
        out.extend_from_slice(&[
            0x80 | EXTENSION_BIT,
            u8::from(fixed.marker) << 7 | fixed.payload_type & 0x7F,
            seq_high,
            seq_low,
            time[0],
            time[1],
            time[2],
            time[3],
            ssrc[0],
            ssrc[1],
            ssrc[2],
            ssrc[3],
            // One-byte headers (RFC 8285 section 4.2); the length comes last.
            0xBE,
            0xDE,
            0,
            0,
        ]);
        Self { out, start }
    }

    #[inline]
    fn element(&mut self, id: Option<u8>, data: &[u8]) {
        let Some(id) = id.filter(|id| (1..15).contains(id)) else {
            return;
        };
        self.out.push(id << 4 | (data.len() - 1) as u8);
        self.out.extend_from_slice(data);
    }

    #[inline]
    pub(super) fn transport_sequence(&mut self, ids: &ExtensionIds, sequence: u16) {
        self.element(ids.transport_sequence, &sequence.to_be_bytes());
    }

    pub(super) fn mid(&mut self, ids: &ExtensionIds, mid: &[u8]) {
        if (1..=16).contains(&mid.len()) {
            self.element(ids.mid, mid);
        }
    }

    #[inline]
    pub(super) fn passed_on(&mut self, ids: &ExtensionIds, from: &PacketExtensions) {
        if let Some((level, voice)) = from.audio_level {
            // RFC 6464 section 3: the level without its sign.
            let level = level.unsigned_abs().min(127);
            self.element(ids.audio_level, &[u8::from(voice) << 7 | level]);
        }
        if let Some((min, max)) = from.playout_delay {
            let (min, max) = (min.min(0xFFF), max.min(0xFFF));
            let [_, a, b, c] = (u32::from(min) << 12 | u32::from(max)).to_be_bytes();
            self.element(ids.playout_delay, &[a, b, c]);
        }
        if let Some(orientation) = from.orientation {
            self.element(ids.orientation, &[orientation]);
        }
        if let Some(captured_at) = from.captured_at {
            let mut data = [0; 16];
            data[..8].copy_from_slice(&Ntp::from(captured_at).0.to_be_bytes());
            let length = match from.capture_clock_offset {
                Some(offset) => {
                    let offset = (offset * 4_294_967_296.0) as i64;
                    data[8..].copy_from_slice(&offset.to_be_bytes());
                    16
                }
                None => 8,
            };
            self.element(ids.capture_time, &data[..length]);
        }
    }

    /// Ends the extensions. Returns the length of the header.
    #[inline]
    pub(super) fn end(self) -> usize {
        let Self { out, start } = self;
        let length = out.len() - start - FIXED - 4;
        if length == 0 {
            out[start] &= !EXTENSION_BIT;
            out.truncate(start + FIXED);
            return FIXED;
        }
        let words = length.div_ceil(4);
        out.resize(start + FIXED + 4 + 4 * words, 0);
        out[start + FIXED + 3] = words as u8;
        FIXED + 4 + 4 * words
    }
}

/// Pads the packet that begins at `start` of `out` with `bytes`, 1 to 255, the last of which says
/// how many they are (RFC 3550 section 5.1).
pub(super) fn pad(out: &mut Vec<u8>, start: usize, bytes: u8) {
    out.resize(out.len() + usize::from(bytes), 0);
    if let Some(last) = out.last_mut() {
        *last = bytes;
        out[start] |= PADDING_BIT;
    }
}
