//! H.264, RFC 6184, in packetization modes 0 and 1: single NAL units, STAP-A and FU-A. Temporal
//! layers are read from the headers that SVC adds (RFC 6190 section 1.1.3).

use super::{PayloadInfo, SwitchUp, TEMPORAL_LAYERS};

// NAL unit types of H.264 table 7-1 and of RFC 6184 table 1.
const SLICE: u8 = 1;
const PARTITION_A: u8 = 2;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const AUD: u8 = 9;
const PREFIX: u8 = 14;
const SVC_SLICE: u8 = 20;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

pub(super) fn inspect(payload: &[u8]) -> Option<PayloadInfo> {
    let (&first, rest) = payload.split_first()?;
    let mut seen = Seen::default();
    match nal_type(first)? {
        1..=23 => seen.nal(first, rest)?,
        STAP_A => {
            // Section 5.7.1: 16 bits of size, then the NAL unit, until the payload ends.
            let mut rest = rest;
            while !rest.is_empty() {
                let (size, after) = rest.split_first_chunk()?;
                let size = usize::from(u16::from_be_bytes(*size));
                let (nal, after) = after.split_at_checked(size)?;
                let (&header, body) = nal.split_first()?;
                if !matches!(nal_type(header)?, 1..=23) {
                    return None;
                }
                seen.nal(header, body)?;
                rest = after;
            }
        }
        FU_A => {
            // Section 5.8: the indicator carries F and NRI, the FU header S, E and the type.
            let (&fu, body) = rest.split_first()?;
            let start = fu & 0x80 != 0;
            if body.is_empty() || start && fu & 0x40 != 0 || !matches!(fu & 0x1f, 1..=23) {
                return None;
            }
            let header = first & 0xe0 | fu & 0x1f;
            if start {
                seen.nal(header, body)?;
            } else {
                seen.continued(header);
            }
        }
        // Types 25 to 27 and 29 need the interleaved mode, which is never negotiated.
        _ => return None,
    }
    seen.info()
}

/// The type of a NAL unit, or none where the forbidden bit marks it as damaged (section 1.3).
fn nal_type(header: u8) -> Option<u8> {
    (header & 0x80 == 0).then_some(header & 0x1f)
}

/// What the NAL units of one packet amount to.
#[derive(Default)]
struct Seen {
    any: bool,
    starts: bool,
    keyframe: bool,
    picture: bool,
    reference: bool,
    /// The lowest temporal layer that an SVC header names.
    layer: Option<u8>,
}

impl Seen {
    /// A NAL unit from its beginning. `None` for a slice without a byte of its header.
    fn nal(&mut self, header: u8, body: &[u8]) -> Option<()> {
        self.continued(header);
        self.starts |= match header & 0x1f {
            // `first_mb_in_slice` opens the slice header (H.264 section 7.3.3); in Exp-Golomb
            // code 0 is the single bit 1. Later slices of the picture start at another block.
            SLICE | PARTITION_A | IDR => body.first()? & 0x80 != 0,
            // Each of these ends the access unit before it (H.264 section 7.4.1.2.3).
            SEI..=AUD | PREFIX..=18 => true,
            _ => false,
        };
        // The first bit tells the three bytes from those of MVC.
        if let (PREFIX | SVC_SLICE, Some([svc, _, last])) = (header & 0x1f, body.first_chunk::<3>())
            && svc & 0x80 != 0
        {
            let layer = (last >> 5).min(TEMPORAL_LAYERS as u8 - 1);
            self.layer = Some(self.layer.map_or(layer, |lowest| lowest.min(layer)));
        }
        Some(())
    }

    /// A NAL unit whose beginning is in an earlier packet, or what holds of any part of one.
    fn continued(&mut self, header: u8) {
        self.any = true;
        self.keyframe |= matches!(header & 0x1f, IDR | SPS);
        self.picture |= matches!(header & 0x1f, SLICE..=IDR);
        self.reference |= header & 0x60 != 0;
    }

    fn info(&self) -> Option<PayloadInfo> {
        // SEI and delimiters have nal_ref_idc 0 in reference pictures too, so only a slice tells.
        let discardable = self.picture && !self.reference;
        let temporal_id = self.layer.unwrap_or(discardable.into());
        // With SVC headers the layers are those of dyadic coding, as encoders for conversation make
        // them: an upper picture predicts from the base picture before it and what came since.
        // Without, only what nothing refers to is ever left out.
        let switch_up = if temporal_id == 0 {
            SwitchUp::Above
        } else {
            SwitchUp::No
        };
        self.any.then_some(PayloadInfo {
            starts_frame: self.starts,
            keyframe: self.keyframe,
            temporal_id,
            switch_up,
            discardable,
            vp8: None,
        })
    }
}
