//! VP9, RFC 9628: the payload descriptor in front of every packet.

use super::{PayloadInfo, SwitchUp, TEMPORAL_LAYERS};

// The first octet, section 4.2.
const PICTURE_ID: u8 = 0x80;
const INTER_PICTURE: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGIN: u8 = 0x08;
const SCALABILITY: u8 = 0x02;
// U, in the layer indices.
const SWITCHING_UP: u8 = 0x10;

pub(super) fn inspect(payload: &[u8]) -> Option<PayloadInfo> {
    let mut octets = payload.iter().copied();
    let first = octets.next()?;
    let has = |flag: u8| first & flag != 0;
    if has(PICTURE_ID) && octets.next()? & 0x80 != 0 {
        octets.next()?;
    }
    let (mut temporal_id, mut spatial_id) = (0, 0);
    let mut switch_up = SwitchUp::No;
    if has(LAYERS) {
        let layers = octets.next()?;
        temporal_id = (layers >> 5).min(TEMPORAL_LAYERS as u8 - 1);
        if layers & SWITCHING_UP != 0 {
            switch_up = SwitchUp::Above;
        }
        spatial_id = layers >> 1 & 0x07;
        if !has(FLEXIBLE) {
            octets.next()?; // TL0PICIDX
        }
    }
    if has(FLEXIBLE) && has(INTER_PICTURE) {
        references(&mut octets)?;
    }
    if has(SCALABILITY) {
        structure(&mut octets)?;
    }
    octets.next()?;
    // Without layer indices the picture is one layer frame.
    let base = spatial_id == 0;
    Some(PayloadInfo {
        starts_frame: base && has(BEGIN),
        // An upper spatial layer without inter-picture prediction still needs the one below it.
        keyframe: base && !has(INTER_PICTURE),
        temporal_id,
        switch_up,
        // Z speaks of upper spatial layers only; nothing tells about later pictures.
        discardable: false,
        vp8: None,
        ..PayloadInfo::default()
    })
}

/// `P_DIFF` of flexible mode: at most three, the lowest bit says whether another follows.
fn references(octets: &mut impl Iterator<Item = u8>) -> Option<()> {
    for _ in 0..3 {
        if octets.next()? & 0x01 == 0 {
            return Some(());
        }
    }
    None
}

/// The scalability structure, section 4.2.1.
fn structure(octets: &mut impl Iterator<Item = u8>) -> Option<()> {
    let head = octets.next()?;
    if head & 0x10 != 0 {
        // Width and height of each spatial layer, 16 bits each.
        let bytes = 4 * (usize::from(head >> 5) + 1);
        octets.nth(bytes - 1)?;
    }
    if head & 0x08 != 0 {
        for _ in 0..octets.next()? {
            let references = octets.next()? >> 2 & 0x03;
            for _ in 0..references {
                octets.next()?;
            }
        }
    }
    Some(())
}
