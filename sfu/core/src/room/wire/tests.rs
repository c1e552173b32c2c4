//! What is written is read, whatever else is not, and links may do their worst.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use lightstick_types::{Codec, Layer, NodeId, SourceId, TrackId};
use proptest::prelude::*;

use super::*;
use crate::codec::inspect;
use crate::packet::{Format, PacketExtensions};
use crate::room::message::{Batch, Up};
use crate::room::tests::packet as picture;
use crate::streams::StreamSet;
use crate::watched::Supply;

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

/// Both ends of a link, on which a subscription has begun.
fn link(now: Instant) -> (Outbound, Inbound) {
    let (mut outbound, mut inbound) = (Outbound::new(now), Inbound::default());
    for message in outbound.encode(&Down::Subscribed(Supply::default()), now) {
        inbound
            .receive(message.bytes.into(), now)
            .expect("a message");
    }
    assert!(matches!(inbound.poll(), Some(Down::Subscribed(_))));
    (outbound, inbound)
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
        let (mut outbound, mut inbound) = link(now);
        for message in outbound.encode(&sent, now) {
            prop_assert!(message.bytes.len() < MESSAGE_FULL + 2_000);
            prop_assert_eq!(inbound.receive(message.bytes.into(), now), Ok(()));
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
        let (mut outbound, mut inbound) = link(now);
        let mut message = outbound.encode(&media(1, vec![packet]), now).remove(0).bytes;
        let short = message[..cut.index(message.len())].to_vec();
        prop_assert!(inbound.receive(short.into(), now).is_err());
        prop_assert!(inbound.poll().is_none());
        let at = at.index(message.len());
        message[at] = byte;
        let _ = inbound.receive(message.into(), now);
        let read = std::iter::from_fn(|| inbound.poll());
        prop_assert!(read.count() <= 1);
    }

    #[test]
    fn numbers_come_back_as_they_were(number: u64, signed: i64) {
        let mut out = Vec::new();
        write_varint(number, &mut out);
        write_signed(signed, &mut out);
        let mut reader = fields::Reader::new(out.into());
        prop_assert_eq!(reader.varint(), Ok(number));
        prop_assert_eq!(reader.signed(), Ok(signed));
        prop_assert!(reader.is_empty());
    }
}

/// A frame of one packet a message.
fn frame(layer: Layer, sequence: u64, generation: u32) -> Down {
    let mut packet = picture(layer, sequence, sequence == 0);
    packet.timestamp = sequence as u32 * 3_000;
    media(generation * 2, vec![packet])
}

fn numbers(inbound: &mut Inbound) -> Vec<(Layer, u32, u64)> {
    let told = std::iter::from_fn(|| inbound.poll());
    told.map(|down| match down {
        Down::Media(batch) => {
            let first = &batch.packets[0];
            (first.stream.layer, batch.generation / 2, first.sequence)
        }
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn frames_of_a_stream_are_put_in_order_and_others_do_not_wait() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = link(now);
    let mut encode = |layer, sequence, generation| {
        let mut messages = outbound.encode(&frame(layer, sequence, generation), now);
        assert_eq!(messages.len(), 1);
        Bytes::from(messages.remove(0).bytes)
    };
    let high: Vec<_> = (0..4).map(|n| encode(Layer::High, n, 0)).collect();
    let low = encode(Layer::Low, 9, 0);
    let mut receive = |message: &Bytes| {
        inbound.receive(message.clone(), now).expect("a message");
        numbers(&mut inbound)
    };
    assert_eq!(receive(&high[1]), []);
    assert_eq!(receive(&high[3]), []);
    assert_eq!(receive(&low), [(Layer::Low, 0, 9)]);
    let both = [(Layer::High, 0, 0), (Layer::High, 0, 1)];
    assert_eq!(receive(&high[0]), both);
    assert_eq!(receive(&high[1]), [], "it came twice");
    // The third was dropped, and the sender has cut.
    let cut = [encode(Layer::High, 7, 1), encode(Layer::High, 8, 1)];
    assert_eq!(receive(&cut[1]), []);
    let after = [(Layer::High, 1, 7), (Layer::High, 1, 8)];
    assert_eq!(receive(&cut[0]), after);
    assert_eq!(receive(&high[2]), [], "it is of before");
    assert!(inbound.is_empty());
}

#[test]
fn media_wait_for_their_subscription() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = link(now);
    let late = outbound.encode(&frame(Layer::High, 1, 0), now).remove(0);
    let begun = outbound
        .encode(&Down::Subscribed(Supply::default()), now)
        .remove(0);
    assert_eq!(begun.class, Class::Control);
    let next = outbound.encode(&frame(Layer::High, 2, 0), now).remove(0);
    inbound.receive(next.bytes.into(), now).expect("a message");
    assert!(inbound.poll().is_none());
    inbound.receive(begun.bytes.into(), now).expect("a message");
    inbound.receive(late.bytes.into(), now).expect("a message");
    assert!(matches!(inbound.poll(), Some(Down::Subscribed(_))));
    assert_eq!(numbers(&mut inbound), [(Layer::High, 0, 2)]);
    assert!(inbound.is_empty());
}

#[test]
fn audio_that_is_lost_once_comes_with_the_next() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = link(now);
    let mut heard = Vec::new();
    for n in 0..40 {
        let mut packet = picture(Layer::High, 100 + n, false);
        packet.stream = StreamId::AUDIO;
        packet.format.codec = Codec::Opus;
        packet.payload = vec![0xfc, 1].into();
        packet.info = inspect(Codec::Opus, &packet.payload).expect("a payload");
        packet.timestamp = n as u32 * 960;
        let messages = outbound.encode(&media(0, vec![packet]), now);
        assert!(messages.len() == 1 && messages[0].class == Class::Audio);
        for message in messages.into_iter().filter(|_| n % 4 != 2) {
            assert!(message.bytes.len() < 80);
            inbound
                .receive(message.bytes.into(), now)
                .expect("a message");
        }
        while let Some(Down::Media(batch)) = inbound.poll() {
            heard.extend(batch.packets.iter().map(|packet| packet.sequence));
        }
    }
    heard.dedup();
    assert_eq!(heard, (100..140).collect::<Vec<_>>());
}

#[test]
fn what_waits_is_bounded() {
    let now = Instant::now();
    let (mut outbound, mut inbound) = link(now);
    outbound.encode(&frame(Layer::High, 0, 0), now);
    let mut waiting = 0;
    for n in 1..2_000 {
        let message = outbound.encode(&frame(Layer::High, n, 0), now).remove(0);
        inbound
            .receive(message.bytes.into(), now)
            .expect("a message");
        waiting = inbound.waiting().max(waiting);
    }
    assert!((100..1_000).contains(&waiting), "{waiting}");
    assert!(inbound.poll().is_none());
}

#[test]
fn a_frame_costs_little_more_than_its_payload() {
    let now = Instant::now();
    let (mut outbound, _) = link(now);
    let one_frame = |n| MediaPacket {
        timestamp: 3_000,
        ..picture(Layer::High, n, n == 0)
    };
    let mut packets: Vec<_> = (0..10).map(one_frame).collect();
    for packet in &mut packets {
        packet.sampled_at = now;
        packet.received_at = now;
    }
    let payload: usize = packets.iter().map(|packet| packet.payload.len()).sum();
    let messages = outbound.encode(&media(0, packets), now);
    assert_eq!(messages.len(), 1);
    let beside = messages[0].bytes.len() - payload;
    assert!(beside <= 40 + 10 * 10, "{beside} bytes beside the payload");
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
            inbound
                .receive(message.bytes.into(), now)
                .expect("a message");
        }
    }
    assert!(matches!(inbound.poll(), Some(Down::Subscribed(read)) if read == supply));
    assert!(matches!(inbound.poll(), Some(Down::Supply(read)) if read == Supply::default()));
    assert!(inbound.poll().is_none());
}

#[test]
fn what_is_asked_of_the_hop_above_comes_back_as_it_was() {
    let some: StreamSet = StreamId::all().step_by(3).collect();
    for up in [
        Up::Subscribe,
        Up::Unsubscribe,
        Up::Keyframe(some),
        Up::Watched(StreamSet::default()),
    ] {
        let written = write_up(&up);
        assert_eq!(read_up(written.clone().into()), Ok(up));
        let short = written[..written.len() - 1].to_vec();
        assert_eq!(read_up(short.into()), Err(WireError::Truncated));
        let long = [written, vec![0]].concat();
        assert_eq!(read_up(long.into()), Err(WireError::Trailing));
    }
    assert_eq!(read_up(vec![1, 0].into()), Err(WireError::Version));
    assert_eq!(read_up(vec![VERSION, 9].into()), Err(WireError::Value));
}

#[test]
fn payloads_are_parts_of_the_message_but_for_small_ones() {
    let now = Instant::now();
    let mut small = picture(Layer::High, 2, false);
    small.payload = vec![0; 20].into();
    small.timestamp = 3_000;
    let (mut outbound, mut inbound) = link(now);
    let mut messages = outbound.encode(&media(0, vec![picture(Layer::High, 1, true), small]), now);
    let message = Bytes::from(messages.remove(0).bytes);
    let within = message.as_ptr_range();
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
