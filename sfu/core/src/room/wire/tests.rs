//! What is written is read, whatever else is not, and links may do their worst.

use std::time::UNIX_EPOCH;

use lightstick_types::{Codec, Layer, NodeId, SourceId};
use proptest::prelude::*;

use super::*;
use crate::codec::inspect;
use crate::packet::{Format, PacketExtensions};
use crate::room::tests::packet as picture;

/// A descriptor of VP8 with a picture id and a temporal layer, RFC 7741.
const VP8: [u8; 14] = [
    0x90, 0xe0, 0x80, 1, 7, 0x60, 1, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01,
];

fn media(generation: u32, packets: Vec<MediaPacket>) -> Down {
    Down::Media(Batch {
        generation,
        is_past: generation % 2 == 1,
        packets: packets.into_iter().map(Arc::new).collect(),
    })
}

fn any_packet(now: Instant) -> impl Strategy<Value = MediaPacket> {
    let numbers = (any::<u32>(), any::<u32>(), 0..1_u64 << 48, any::<u32>());
    let extensions = (
        proptest::option::of(any::<u32>()),
        proptest::option::of(-1e9..1e9),
        proptest::option::of((0..0x800_u16, 0x800..0x1000_u16)),
        proptest::option::of((-127..=0_i8, any::<bool>())),
        proptest::option::of(any::<u8>()),
    );
    let what = (0..13_usize, any::<[bool; 3]>(), 0..4_u8, 0..1_400_usize);
    (numbers, extensions, what, -3_000_000..3_000_000_i64).prop_map(
        move |((node, number, sequence, timestamp), extensions, what, micros)| {
            let (stream, [marker, starts_frame, keyframe], temporal_id, length) = what;
            let stream = StreamId::all().nth(stream).expect("one of them");
            let is_audio = stream == StreamId::AUDIO;
            let codec = if is_audio { Codec::Opus } else { Codec::Vp8 };
            let mut payload = if is_audio { vec![0xfc] } else { VP8.to_vec() };
            payload.resize(payload.len() + length, 0xa5);
            let mut info = inspect(codec, &payload).expect("a payload");
            (info.starts_frame, info.keyframe) = (starts_frame, keyframe);
            info.temporal_id = temporal_id;
            let (captured, offset, playout_delay, audio_level, orientation) = extensions;
            let sampled_at = MediaTime(micros).at(now).expect("about now");
            MediaPacket {
                source: SourceId::new(NodeId(node), number),
                stream: StreamId {
                    track: stream.track,
                    layer: stream.layer,
                },
                format: Format { codec, profile: 3 },
                sequence,
                timestamp,
                marker,
                info,
                extensions: PacketExtensions {
                    captured_at: captured.map(|at| UNIX_EPOCH + Duration::from_nanos(at.into())),
                    capture_clock_offset: offset,
                    playout_delay,
                    audio_level,
                    orientation,
                },
                payload: payload.into(),
                primary: None,
                received_at: sampled_at.min(now),
                sampled_at,
            }
        },
    )
}

proptest! {
    #[test]
    fn packets_come_back_as_they_were(
        packets in {
            let now = Instant::now();
            prop::collection::vec(any_packet(now), 1..40).prop_map(move |packets| (now, packets))
        },
        generation: u32,
    ) {
        let (now, packets) = packets;
        let sent = media(generation, packets.clone());
        // The link takes no time: the receiver learns the very epoch.
        let (mut outbound, mut inbound) = (Outbound::new(now), Inbound::default());
        for message in outbound.encode(&sent, now) {
            prop_assert!(message.len() < MESSAGE_FULL + 2_000);
            prop_assert_eq!(inbound.receive(message.into(), now), Ok(()));
        }
        let mut read = Vec::new();
        while let Some(Down::Media(batch)) = inbound.poll() {
            prop_assert_eq!(batch.generation, generation);
            prop_assert_eq!(batch.is_past, generation % 2 == 1);
            read.extend(batch.packets.iter().map(|packet| format!("{packet:?}")));
        }
        let sent: Vec<_> = packets.iter().map(|packet| format!("{packet:?}")).collect();
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn bytes_that_are_wrong_are_no_message_or_another(
        packet in any_packet(Instant::now()),
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let now = Instant::now();
        let sent = media(1, vec![packet]);
        let mut message = Outbound::new(now).encode(&sent, now).next().expect("a message");
        let short = message[..cut.index(message.len())].to_vec();
        // A message may end behind any packet: here, behind none.
        let mut inbound = Inbound::default();
        if inbound.receive(short.into(), now).is_ok() {
            prop_assert!(inbound.poll().is_none());
        }
        let at = at.index(message.len());
        message[at] = byte;
        let mut inbound = Inbound::default();
        let _ = inbound.receive(message.into(), now);
        let read = std::iter::from_fn(|| inbound.poll());
        prop_assert!(read.count() <= 1);
    }
}

#[test]
fn a_link_out_of_order_is_put_in_order_and_a_loss_is_a_cut() {
    let now = Instant::now();
    let mut outbound = Outbound::new(now);
    let messages: Vec<_> = (0..200)
        .map(|n| {
            let down = media(5, vec![picture(Layer::High, n, n == 0)]);
            outbound.encode(&down, now).next().expect("a message")
        })
        .collect();
    let mut inbound = Inbound::default();
    let mut read = Vec::new();
    for pair in messages.chunks(2).enumerate().filter(|(n, _)| *n != 20) {
        let (_, pair) = pair;
        for message in [&pair[1], &pair[0], &pair[1]] {
            inbound
                .receive(message.clone().into(), now)
                .expect("a message");
        }
        assert!(inbound.waiting.len() <= WAITING_MAX);
        while let Some(Down::Media(batch)) = inbound.poll() {
            read.push((batch.generation, batch.packets[0].sequence));
        }
    }
    let lost = 40..42;
    let sent = (0..200).filter(|n| !lost.contains(n));
    let sent: Vec<_> = sent.map(|n| (if n < 40 { 5 } else { 6 }, n)).collect();
    assert_eq!(read, sent);
    assert!(inbound.is_empty());
}

#[test]
fn a_supply_comes_back_as_it_was() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = (Outbound::new(now), Inbound::default());
    let available: StreamSet = StreamId::all().skip(1).collect();
    let supply = Supply {
        available,
        asleep: StreamId::all().skip(2).step_by(2).collect(),
        paused: StreamSet::default(),
        video_tracks: 4,
        main: TrackId::video(2),
    };
    for down in [Down::Subscribed(supply), Down::Supply(Supply::default())] {
        for message in outbound.encode(&down, now) {
            inbound.receive(message.into(), now).expect("a message");
        }
    }
    assert!(matches!(inbound.poll(), Some(Down::Subscribed(read)) if read == supply));
    assert!(matches!(inbound.poll(), Some(Down::Supply(read)) if read == Supply::default()));
    assert!(inbound.poll().is_none());
}

#[test]
fn payloads_are_parts_of_the_message_but_for_small_ones() {
    let now = Instant::now();
    let mut small = picture(Layer::High, 2, false);
    small.payload = vec![0; 20].into();
    let sent = media(1, vec![picture(Layer::High, 1, true), small]);
    let mut outbound = Outbound::new(now);
    let message: Bytes = outbound
        .encode(&sent, now)
        .next()
        .expect("a message")
        .into();
    let within = message.as_ptr_range();
    let mut inbound = Inbound::default();
    inbound.receive(message, now).expect("a message");
    let Some(Down::Media(batch)) = inbound.poll() else {
        panic!("no media");
    };
    let is_part = |packet: &Arc<MediaPacket>| within.contains(&packet.payload.as_ptr());
    assert_eq!(
        batch.packets.iter().map(is_part).collect::<Vec<_>>(),
        [true, false]
    );
}
