//! AV1, the RTP payload format of AOMedia, version 1.0: OBU elements behind an aggregation header.

use super::{PayloadInfo, SwitchUp, TEMPORAL_LAYERS};

// The aggregation header, section 4.4.
const CONTINUES: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;

// OBU types, AV1 bitstream specification section 6.2.2.
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

pub(super) fn inspect(payload: &[u8]) -> Option<PayloadInfo> {
    let (&aggregation, mut rest) = payload.split_first()?;
    let continues = aggregation & CONTINUES != 0;
    let new_sequence = aggregation & NEW_SEQUENCE != 0;
    // A coded video sequence cannot start amid an OBU.
    if rest.is_empty() || continues && new_sequence {
        return None;
    }
    // W: how many elements there are, the last one without a length; 0: every one has a length.
    let count = usize::from(aggregation >> 4 & 0x03);
    let mut info = PayloadInfo {
        keyframe: new_sequence,
        ..PayloadInfo::default()
    };
    let mut index = 0;
    let mut layered = false;
    while !rest.is_empty() {
        index += 1;
        let element = if index == count {
            std::mem::take(&mut rest)
        } else {
            let (size, after) = leb128(rest)?;
            let (element, after) = after.split_at_checked(size)?;
            rest = after;
            element
        };
        // The rest of an OBU that an earlier packet has begun says nothing new.
        if index == 1 && continues || element.is_empty() {
            continue;
        }
        let obu = Obu::read(element)?;
        let starts = matches!(
            obu.kind,
            SEQUENCE_HEADER | TEMPORAL_DELIMITER | FRAME_HEADER | FRAME
        );
        info.starts_frame |= starts && !continues && obu.layer.is_none_or(|(_, s)| s == 0);
        info.keyframe |= obu.kind == SEQUENCE_HEADER;
        if let (false, Some((temporal_id, _))) = (layered, obu.layer) {
            layered = true;
            info.temporal_id = temporal_id.min(TEMPORAL_LAYERS as u8 - 1);
        }
    }
    // In the scalability modes L1T2 and L1T3 (AV1 bitstream specification section 6.7.5) every
    // picture of an upper layer predicts from the base picture before it and what came since.
    if info.starts_frame && info.temporal_id == 0 {
        info.switch_up = SwitchUp::Above;
    }
    // Fewer elements than W promises.
    (index >= count).then_some(info)
}

struct Obu {
    kind: u8,
    /// Temporal and spatial layer, where the OBU has an extension header.
    layer: Option<(u8, u8)>,
}

impl Obu {
    /// AV1 bitstream specification section 5.3. Its size field, which RTP advises to leave out, is
    /// not needed.
    fn read(element: &[u8]) -> Option<Self> {
        let (&header, rest) = element.split_first()?;
        if header & 0x80 != 0 {
            return None;
        }
        let layer = if header & 0x04 != 0 {
            let extension = rest.first()?;
            Some((extension >> 5, extension >> 3 & 0x03))
        } else {
            None
        };
        let kind = header >> 3 & 0x0f;
        Some(Self { kind, layer })
    }
}

/// A length in little-endian base 128 (AV1 bitstream specification section 4.10.5), at most 8
/// bytes and 2^32 - 1, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, &bytes[index + 1..]));
        }
    }
    None
}
