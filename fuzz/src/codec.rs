//! RTP payloads, as a publisher sends them.

use lightstick_sfu_core::codec::{PayloadInfo, TEMPORAL_LAYERS, inspect, red};
use lightstick_types::Codec;

/// What holds for every codec.
fn read(codec: Codec, payload: &[u8]) -> Option<PayloadInfo> {
    let info = inspect(codec, payload);
    assert!(info.is_none() || !payload.is_empty());
    assert!(info.is_none_or(|info| usize::from(info.temporal_id) < TEMPORAL_LAYERS));
    assert!(info.is_none_or(|info| info.vp8.is_some() == (codec == Codec::Vp8)));
    info
}

/// Formats whose descriptor stands in front: what follows a readable one cannot change its sense.
fn read_descriptor(codec: Codec, payload: &[u8]) -> Option<PayloadInfo> {
    let info = read(codec, payload);
    if info.is_some() {
        let longer = [payload, &[0xff, 0x00, 0x55]].concat();
        assert_eq!(info, inspect(codec, &longer));
    }
    info
}

/// H.264 payloads: an aggregate says no more and no less than its units one by one.
pub fn codec_h264(payload: &[u8]) {
    let info = read(Codec::H264, payload);
    let single = payload
        .first()
        .is_some_and(|header| matches!(header & 0x1f, 1..=23));
    if single && payload.len() <= usize::from(u16::MAX) {
        let size = (payload.len() as u16).to_be_bytes();
        let aggregate = [&[0x78], &size[..], payload].concat();
        assert_eq!(info, read(Codec::H264, &aggregate));
        let twice = [&aggregate[..], &aggregate[1..]].concat();
        assert_eq!(info, read(Codec::H264, &twice));
    }
}

/// VP8 payloads: what is written at the told offsets is read back, and nothing else changes.
pub fn codec_vp8(payload: &[u8]) {
    let Some(info) = read_descriptor(Codec::Vp8, payload) else {
        return;
    };
    let vp8 = info.vp8.expect("VP8 always has a descriptor");
    assert!(vp8.len < payload.len());
    let mut patched = payload.to_vec();
    let mut expected = vp8;
    if let Some(id) = &mut expected.picture_id {
        id.value = id.value.wrapping_add(1) & if id.u15 { 0x7fff } else { 0x7f };
        if id.u15 {
            patched[id.offset..id.offset + 2].copy_from_slice(&(id.value | 0x8000).to_be_bytes());
        } else {
            patched[id.offset] = id.value as u8;
        }
    }
    if let Some((value, offset)) = &mut expected.tl0_pic_idx {
        *value = value.wrapping_add(1);
        patched[*offset] = *value;
    }
    if let Some((value, offset)) = &mut expected.key_idx {
        *value = (*value + 1) & 0x1f;
        patched[*offset] = patched[*offset] & 0xe0 | *value;
    }
    let patched = inspect(Codec::Vp8, &patched).expect("still a VP8 payload");
    assert_eq!(patched.vp8, Some(expected));
    assert_eq!(
        PayloadInfo {
            vp8: None,
            ..patched
        },
        PayloadInfo { vp8: None, ..info }
    );
}

/// VP9 payloads.
pub fn codec_vp9(payload: &[u8]) {
    let _ = read_descriptor(Codec::Vp9, payload);
}

/// AV1 payloads: a packet that continues an OBU starts nothing.
pub fn codec_av1(payload: &[u8]) {
    if let Some(info) = read(Codec::Av1, payload) {
        assert!(payload[0] & 0x80 == 0 || !info.starts_frame);
        assert!(payload[0] & 0x08 == 0 || info.keyframe);
    }
}

/// Opus payloads, and RED ones with the block that a viewer without RED gets.
pub fn codec_audio(payload: &[u8]) {
    let _ = read_descriptor(Codec::Opus, payload);
    let info = read(Codec::Red, payload);
    let primary = red::primary(payload);
    assert_eq!(info.is_some(), primary.is_some());
    if let Some(primary) = primary {
        assert!(primary.payload_type < 128);
        assert!(primary.of(payload).is_some_and(|block| !block.is_empty()));
        assert_eq!(Some(primary.start.into()), newest_block(payload));
        // A longer payload lengthens the newest block and nothing else.
        let longer = [payload, &[0]].concat();
        let after = red::primary(&longer).expect("still a RED payload");
        assert_eq!(after, primary);
    }
}

/// Where the newest block starts: the plainest reading of RFC 2198 section 3 that there is.
fn newest_block(payload: &[u8]) -> Option<usize> {
    let (mut at, mut redundant) = (0, 0);
    while payload.get(at)? & 0x80 != 0 {
        let header = u32::from_be_bytes(*payload.get(at..)?.first_chunk()?);
        redundant += header as usize & 0x3ff;
        at += 4;
    }
    Some(at + 1 + redundant)
}
