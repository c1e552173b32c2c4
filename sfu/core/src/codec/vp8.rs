//! VP8, RFC 7741: the payload descriptor in front of every packet.

use super::{PayloadInfo, SwitchUp};

/// A VP8 payload descriptor (RFC 7741 section 4.2): its values, and where they stand in the
/// payload for those that are rewritten in place. All offsets lie inside the payload that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// Running number of the picture.
    pub picture_id: Option<PictureId>,
    /// `TL0PICIDX`, the running number of base-layer pictures, and its offset.
    pub tl0_pic_idx: Option<(u8, usize)>,
    /// `TID` and `Y`: the temporal layer, and whether the picture depends on the base layer only.
    pub temporal: Option<(u8, bool)>,
    /// `KEYIDX`, the running number of keyframes (5 bits), and the offset of its octet, which it
    /// shares with `TID` and `Y`.
    pub key_idx: Option<(u8, usize)>,
    /// Bytes of the descriptor: the VP8 payload header or the partition's data starts there.
    pub len: usize,
}

/// `PictureID` as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureId {
    /// 7 or 15 bits.
    pub value: u16,
    /// Whether it has 15 bits, in two octets. The first one's top bit says so and must stay set.
    pub u15: bool,
    /// Of its first octet in the payload.
    pub offset: usize,
}

pub(super) fn inspect(payload: &[u8]) -> Option<PayloadInfo> {
    let &first = payload.first()?;
    let descriptor = descriptor(first, payload)?;
    let header = payload.get(descriptor.len)?;
    // S = 1 and PID = 0: the first packet of the first partition, which holds the frame header.
    let starts_frame = first & 0x17 == 0x10;
    // N: no other frame refers to this one.
    let discardable = first & 0x20 != 0;
    Some(PayloadInfo {
        starts_frame,
        // Section 4.3: the inverse key frame flag is the lowest bit of the frame header.
        keyframe: starts_frame && header & 0x01 == 0,
        // Where there are layers, one of the base is never left out, whatever N says: TL0PICIDX counts it.
        temporal_id: descriptor
            .temporal
            .map_or(u8::from(discardable), |(tid, _)| tid),
        switch_up: match descriptor.temporal {
            Some((_, true)) => SwitchUp::Itself,
            Some((_, false)) => SwitchUp::No,
            // Only what nothing refers to is ever left out.
            None => SwitchUp::Above,
        },
        discardable,
        vp8: Some(descriptor),
        ..PayloadInfo::default()
    })
}

fn descriptor(first: u8, payload: &[u8]) -> Option<Vp8Descriptor> {
    let mut descriptor = Vp8Descriptor {
        picture_id: None,
        tl0_pic_idx: None,
        temporal: None,
        key_idx: None,
        len: 1,
    };
    if first & 0x80 == 0 {
        return Some(descriptor);
    }
    let mut at = 1;
    let mut next = || {
        let offset = at;
        at += 1;
        payload.get(offset).map(|&octet| (octet, offset))
    };
    let (extension, _) = next()?;
    if extension & 0x80 != 0 {
        let (high, offset) = next()?;
        let u15 = high & 0x80 != 0;
        let mut value = u16::from(high & 0x7f);
        if u15 {
            value = value << 8 | u16::from(next()?.0);
        }
        descriptor.picture_id = Some(PictureId { value, u15, offset });
    }
    if extension & 0x40 != 0 {
        descriptor.tl0_pic_idx = Some(next()?);
    }
    if extension & 0x30 != 0 {
        let (octet, offset) = next()?;
        if extension & 0x20 != 0 {
            descriptor.temporal = Some((octet >> 6, octet & 0x20 != 0));
        }
        if extension & 0x10 != 0 {
            descriptor.key_idx = Some((octet & 0x1f, offset));
        }
    }
    descriptor.len = at;
    Some(descriptor)
}
