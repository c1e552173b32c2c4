use std::time::Instant;

use lightstick_types::{Codec, Layer, NodeId, SourceId, StreamId, TrackId};

use super::*;
use crate::packet::{Format, PacketExtensions};

/// The second packet of each picture has its number plus one.
fn packet(picture: u64, second: bool, temporal_id: u8, switch_up: SwitchUp) -> MediaPacket {
    let now = Instant::now();
    MediaPacket {
        source: SourceId::new(NodeId(0), 1),
        stream: StreamId {
            track: TrackId::FIRST_VIDEO,
            layer: Layer::High,
        },
        format: Format {
            codec: Codec::Vp8,
            profile: 0,
        },
        sequence: 100 + picture * 2 + u64::from(second),
        timestamp: picture as u32 * 3_000,
        marker: second,
        info: PayloadInfo {
            starts_frame: !second,
            temporal_id,
            switch_up,
            ..PayloadInfo::default()
        },
        extensions: PacketExtensions::default(),
        payload: vec![0; 10].into(),
        primary: None,
        received_at: now,
        sampled_at: now,
    }
}

/// The pictures that pass, each of which is given as its temporal layer and what it says of
/// switching up (`y`: itself, `u`: above), with the cap that holds from its second packet on.
fn check(table: &[(&str, u8)], expected: &[usize]) {
    let mut gate = TemporalGate::new(&packet(0, false, 0, SwitchUp::No), ALL);
    let mut passed = Vec::new();
    let mut cap = ALL;
    for (n, (picture, next)) in table.iter().enumerate() {
        let temporal_id = picture.as_bytes()[0] - b'0';
        let switch_up = match picture.as_bytes().get(1) {
            Some(b'y') => SwitchUp::Itself,
            Some(b'u') => SwitchUp::Above,
            _ => SwitchUp::No,
        };
        let first = gate.passes(&packet(n as u64, false, temporal_id, switch_up), cap);
        cap = *next;
        let second = gate.passes(&packet(n as u64, true, temporal_id, switch_up), cap);
        assert_eq!(first, second, "picture {n} of {table:?} is cut in two");
        if first {
            passed.push(n);
        }
    }
    assert_eq!(passed, expected, "{table:?}");
}

#[test]
fn pictures_pass_or_not() {
    // Nothing is capped.
    check(&[("0", 3), ("2", 3), ("1", 3), ("2", 3)], &[0, 1, 2, 3]);
    // Down at the next picture.
    check(
        &[("0", 3), ("2", 1), ("1", 1), ("2", 1), ("0", 1)],
        &[0, 1, 2, 4],
    );
    check(&[("0", 0), ("2", 0), ("1", 0), ("2", 0), ("0", 0)], &[0, 4]);
    // VP8: each layer is entered with a picture of its own that needs the base only, in turn.
    check(
        &[
            ("0", 0),
            ("2y", 3),
            ("1y", 3),
            ("2", 3),
            ("0", 3),
            ("2", 3),
            ("1", 3),
            ("2", 3),
            ("0", 3),
            ("2y", 3),
            ("1y", 3),
            ("2", 3),
        ],
        &[0, 2, 4, 6, 8, 9, 10, 11],
    );
    check(
        &[
            ("0", 0),
            ("1y", 0),
            ("0", 3),
            ("1", 3),
            ("0", 3),
            ("1y", 3),
            ("0", 3),
            ("1", 3),
        ],
        &[0, 2, 4, 5, 6, 7],
    );
    // VP9, AV1, H.264: all layers after a picture below them that says so.
    check(
        &[
            ("0u", 0),
            ("2u", 3),
            ("1u", 3),
            ("2u", 3),
            ("0", 3),
            ("2", 3),
            ("1", 3),
            ("2", 3),
            ("0u", 3),
            ("2u", 3),
            ("1u", 3),
        ],
        &[0, 4, 8, 9, 10],
    );
    check(&[("0u", 1), ("2u", 3), ("1u", 3), ("2", 3)], &[0, 2, 3]);
    check(
        &[
            ("0u", 1),
            ("2u", 1),
            ("1", 3),
            ("2", 3),
            ("0u", 3),
            ("2", 3),
        ],
        &[0, 2, 4, 5],
    );
}

#[test]
fn late_packets_go_by_what_held_at_their_place() {
    let at = |picture, second, temporal_id| packet(picture, second, temporal_id, SwitchUp::Above);
    let mut gate = TemporalGate::new(&at(0, false, 0), ALL);
    assert!(gate.passes(&at(1, false, 1), ALL));
    assert!(gate.passes(&at(2, false, 0), 0));
    assert!(gate.passes(&at(1, true, 1), 0), "the rest of what was sent");
    assert!(!gate.passes(&at(3, true, 1), ALL), "nothing starts there");
    assert!(!gate.passes(&at(3, false, 1), ALL), "the beginning of it");
    assert!(gate.passes(&at(4, false, 0), ALL));
    assert!(gate.passes(&at(5, true, 1), ALL));
    assert!(!gate.passes(&at(3, false, 1), ALL), "it was left out");
}

#[test]
fn a_keyframe_opens_all() {
    let mut gate = TemporalGate::new(&packet(0, false, 0, SwitchUp::No), 0);
    assert!(!gate.passes(&packet(1, false, 1, SwitchUp::No), ALL));
    let mut keyframe = packet(2, false, 0, SwitchUp::No);
    keyframe.info.keyframe = true;
    assert!(gate.passes(&keyframe, ALL));
    assert!(gate.passes(&packet(3, false, 3, SwitchUp::No), ALL));
}
