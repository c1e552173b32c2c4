//! H.264, RFC 6184, in packetization modes 0 and 1: single NAL units, STAP-A and FU-A. Temporal
//! layers are read from the headers that SVC adds (RFC 6190 section 1.1.3).

mod bits;
mod parameter_sets;

use super::{PayloadInfo, SwitchUp, TEMPORAL_LAYERS};
pub use parameter_sets::ParameterSets;

// NAL unit types of H.264 table 7-1 and of RFC 6184 table 1.
const SLICE: u8 = 1;
const PARTITION_A: u8 = 2;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const AUD: u8 = 9;
const PREFIX: u8 = 14;
const SVC_SLICE: u8 = 20;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Which NAL units of interest begin in a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nals(u8);

impl Nals {
    /// A sequence parameter set.
    pub const SPS: Self = Self(1);
    /// A picture parameter set.
    pub const PPS: Self = Self(1 << 1);
    /// The first slice of an IDR picture.
    pub const IDR: Self = Self(1 << 2);
    /// A recovery point: a decoder may start here and shows whole pictures after a while (H.264
    /// section D.2.8).
    pub const RECOVERY_POINT: Self = Self(1 << 3);
    /// The first slice of a picture that may refer to later ones.
    pub const B_SLICE: Self = Self(1 << 4);

    /// Whether all of `others` are among them.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether one of `others` is among them.
    #[must_use]
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

pub(super) fn inspect(payload: &[u8]) -> Option<PayloadInfo> {
    let (&first, rest) = payload.split_first()?;
    let mut seen = Seen::default();
    match nal_type(first)? {
        1..=23 => seen.nal(first, rest)?,
        STAP_A => {
            let mut aggregate = Aggregate(rest);
            while let Some(nal) = aggregate.next()? {
                let (&header, body) = nal.split_first()?;
                if !matches!(nal_type(header)?, 1..=23) {
                    return None;
                }
                seen.nal(header, body)?;
            }
            seen.padding = aggregate.0.len();
        }
        FU_A => {
            // Section 5.8: the indicator carries F and NRI, the FU header S, E and the type. Both S
            // and E are forbidden together, but encoders send short NAL units so, and decoders take
            // them.
            let (&fu, body) = rest.split_first()?;
            if body.is_empty() || !matches!(fu & 0x1f, 1..=23) {
                return None;
            }
            let header = first & 0xe0 | fu & 0x1f;
            if fu & 0x80 != 0 {
                seen.nal(header, body)?;
            } else {
                seen.continued(header);
            }
        }
        // Types 25 to 27 and 29 need the interleaved mode, which is never negotiated. Type 0 is no
        // NAL unit: it is how a start code of Annex B begins.
        _ => return None,
    }
    seen.info()
}

/// The NAL units of a STAP-A after its header (section 5.7.1): 16 bits of size, then the NAL unit,
/// until the payload ends. Some encoders pad it with zeros, which are left over.
struct Aggregate<'a>(&'a [u8]);

impl<'a> Aggregate<'a> {
    /// The next NAL unit; `Some(None)` at the end. `None`: the sizes do not fit.
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        if self.0.iter().take(2).all(|byte| *byte == 0) {
            return self.0.iter().all(|byte| *byte == 0).then_some(None);
        }
        let (size, after) = self.0.split_first_chunk()?;
        let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        self.0 = after;
        Some(Some(nal))
    }
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
    nals: Nals,
    padding: usize,
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
        self.nals = self.nals.or(match header & 0x1f {
            SPS => Nals::SPS,
            PPS => Nals::PPS,
            IDR if body[0] & 0x80 != 0 => Nals::IDR,
            SLICE if is_first_b_slice(body[0]) => Nals::B_SLICE,
            SEI if has_recovery_point(body) => Nals::RECOVERY_POINT,
            _ => Nals::default(),
        });
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
            nals: self.nals,
            padding: self.padding,
        })
    }
}

/// Whether a slice header begins with block 0 and the type B. In Exp-Golomb code (H.264 section
/// 9.1) that is `1`, and `010` for type 1 or `00111` for type 6 (table 7-6).
fn is_first_b_slice(first: u8) -> bool {
    first & 0xf0 == 0b1010_0000 || first & 0xfc == 0b1001_1100
}

/// Whether one of an SEI's messages is a recovery point: type 6 (H.264 sections 7.3.2.3.1 and D.1).
fn has_recovery_point(mut body: &[u8]) -> bool {
    // What follows the last message is one stop bit.
    while body.len() > 2 {
        let Some((kind, after)) = coded(body) else {
            return false;
        };
        let Some((size, after)) = coded(after) else {
            return false;
        };
        if kind == 6 {
            return true;
        }
        let Some(after) = after.get(size..) else {
            return false;
        };
        body = after;
    }
    false
}

/// A number as SEI messages carry them: bytes that are summed up, until one is not 255.
fn coded(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let ones = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let (&last, rest) = bytes.get(ones..)?.split_first()?;
    Some((ones * 255 + usize::from(last), rest))
}
