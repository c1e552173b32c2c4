//! Packets of one stream, as they follow each other: what they have in common once, then of each what
//! differs from the one before.
//!
//! In common: source, stream, codec and profile. Of a packet: flags; the numbers that it skips, its
//! timestamp and its time of sampling, where the flags say so; how long it was here; the extensions
//! that the flags name; and the payload behind its length.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use lightstick_types::{Codec, NodeId, SourceId, StreamId};

use super::fields::{Reader, write_signed, write_varint};
use super::{MediaTime, WireError};
use crate::codec::{self, PayloadInfo, TEMPORAL_LAYERS, inspect};
use crate::packet::{Format, MediaPacket, PacketExtensions};

/// Sequence numbers are below: more than any show has packets.
const SEQUENCES: u64 = 1 << 48;
/// A packet was taken in and sampled within so much of the present.
const TIME_APART: Duration = Duration::from_secs(3_600);
/// The largest playout delay, in units of 10 ms.
const PLAYOUT_DELAY_MAX: u16 = 0xfff;

const MARKER: u16 = 1;
const STARTS_FRAME: u16 = 1 << 1;
const KEYFRAME: u16 = 1 << 2;
const CAPTURED_AT: u16 = 1 << 3;
const CLOCK_OFFSET: u16 = 1 << 4;
const PLAYOUT_DELAY: u16 = 1 << 5;
const AUDIO_LEVEL: u16 = 1 << 6;
const VOICE: u16 = 1 << 7;
const ORIENTATION: u16 = 1 << 8;
/// Its number does not follow on that of the packet before.
const SKIPS: u16 = 1 << 9;
/// It was not sampled with the packet before.
const ANOTHER_TIME: u16 = 1 << 10;
const TEMPORAL: u16 = 11;
const KNOWN: u16 = (1 << 13) - 1;

const CODECS: [Codec; 6] = [
    Codec::H264,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
    Codec::Opus,
    Codec::Red,
];

/// Appends packets of one stream, and of one source and format, until `full` bytes are written. Returns
/// how many.
pub(super) fn write_run(
    run: &[Arc<MediaPacket>],
    now: Instant,
    full: usize,
    out: &mut Vec<u8>,
) -> usize {
    let first = &run[0];
    let codec = CODECS.iter().position(|codec| *codec == first.format.codec);
    out.extend_from_slice(&first.source.node.0.to_be_bytes());
    out.extend_from_slice(&first.source.number.to_be_bytes());
    out.push(first.stream.index() as u8);
    out.push(codec.unwrap_or(CODECS.len()) as u8);
    write_varint(first.format.profile.into(), out);
    let mut before: Option<&MediaPacket> = None;
    for (written, packet) in run.iter().enumerate() {
        if written > 0 && out.len() >= full {
            return written;
        }
        write(packet, before, now, out);
        before = Some(packet);
    }
    run.len()
}

fn write(packet: &MediaPacket, before: Option<&MediaPacket>, now: Instant, out: &mut Vec<u8>) {
    let MediaPacket {
        info, extensions, ..
    } = packet;
    let (next, timestamp, sampled_at) = before.map_or((0, 0, now), |before| {
        (before.sequence + 1, before.timestamp, before.sampled_at)
    });
    let flag = |set, flag| if set { flag } else { 0 };
    let flags = flag(packet.marker, MARKER)
        | flag(info.starts_frame, STARTS_FRAME)
        | flag(info.keyframe, KEYFRAME)
        | flag(extensions.captured_at.is_some(), CAPTURED_AT)
        | flag(extensions.capture_clock_offset.is_some(), CLOCK_OFFSET)
        | flag(extensions.playout_delay.is_some(), PLAYOUT_DELAY)
        | flag(extensions.audio_level.is_some(), AUDIO_LEVEL)
        | flag(
            extensions.audio_level.is_some_and(|(_, voice)| voice),
            VOICE,
        )
        | flag(extensions.orientation.is_some(), ORIENTATION)
        | flag(packet.sequence != next, SKIPS)
        | flag(
            (packet.timestamp, packet.sampled_at) != (timestamp, sampled_at),
            ANOTHER_TIME,
        )
        | u16::from(info.temporal_id) << TEMPORAL;
    write_varint(flags.into(), out);
    if flags & SKIPS != 0 {
        let skipped = packet.sequence.wrapping_sub(next);
        write_signed(skipped.cast_signed(), out);
    }
    if flags & ANOTHER_TIME != 0 {
        let ticks = packet.timestamp.wrapping_sub(timestamp).cast_signed();
        write_signed(ticks.into(), out);
        write_signed(MediaTime::of(packet.sampled_at, sampled_at).0, out);
    }
    let here = now.saturating_duration_since(packet.received_at);
    write_varint(u64::try_from(here.as_micros()).unwrap_or(u64::MAX), out);
    if let Some(at) = extensions.captured_at {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        out.extend_from_slice(&nanos.to_be_bytes());
    }
    if let Some(offset) = extensions.capture_clock_offset {
        out.extend_from_slice(&offset.to_bits().to_be_bytes());
    }
    if let Some((least, most)) = extensions.playout_delay {
        out.extend_from_slice(&least.to_be_bytes());
        out.extend_from_slice(&most.to_be_bytes());
    }
    if let Some((level, _)) = extensions.audio_level {
        out.push(level.cast_unsigned());
    }
    out.extend(extensions.orientation);
    write_varint(packet.payload.len() as u64, out);
    out.extend_from_slice(&packet.payload);
}

/// What the packets of a run have in common, and the one before.
struct Run {
    source: SourceId,
    stream: StreamId,
    format: Format,
    sequence: u64,
    timestamp: u32,
    sampled_at: Instant,
}

/// Reads packets that were written at `sent_at`, on our clock. At least one.
pub(super) fn read_run(
    reader: &mut Reader,
    sent_at: Instant,
    now: Instant,
) -> Result<Vec<Arc<MediaPacket>>, WireError> {
    let source = SourceId::new(NodeId(reader.u32()?), reader.u32()?);
    let stream = StreamId::all()
        .nth(reader.u8()?.into())
        .ok_or(WireError::Value)?;
    let codec = *CODECS
        .get(usize::from(reader.u8()?))
        .ok_or(WireError::Value)?;
    if codec.kind() != stream.track.kind() {
        return Err(WireError::Value);
    }
    let profile = reader.varint32()?;
    let mut run = Run {
        source,
        stream,
        format: Format { codec, profile },
        sequence: u64::MAX,
        timestamp: 0,
        sampled_at: sent_at,
    };
    let mut packets = Vec::new();
    while packets.is_empty() || !reader.is_empty() {
        packets.push(Arc::new(run.read(reader, sent_at, now)?));
    }
    Ok(packets)
}

impl Run {
    fn read(
        &mut self,
        reader: &mut Reader,
        sent_at: Instant,
        now: Instant,
    ) -> Result<MediaPacket, WireError> {
        let flags = u16::try_from(reader.varint()?).map_err(|_| WireError::Value)?;
        let temporal_id = (flags >> TEMPORAL) as u8;
        if flags & !KNOWN != 0 || usize::from(temporal_id) >= TEMPORAL_LAYERS {
            return Err(WireError::Value);
        }
        self.sequence = self.sequence.wrapping_add(1);
        if flags & SKIPS != 0 {
            let skipped = reader.signed()?.cast_unsigned();
            self.sequence = self.sequence.wrapping_add(skipped);
        }
        if self.sequence >= SEQUENCES {
            return Err(WireError::Value);
        }
        if flags & ANOTHER_TIME != 0 {
            let ticks = i32::try_from(reader.signed()?).map_err(|_| WireError::Value)?;
            self.timestamp = self.timestamp.wrapping_add(ticks.cast_unsigned());
            self.sampled_at = MediaTime(reader.signed()?).at(self.sampled_at)?;
        }
        let here = Duration::from_micros(reader.varint()?);
        let received_at = sent_at.checked_sub(here).ok_or(WireError::Time)?.min(now);
        for at in [received_at, self.sampled_at] {
            if at.max(now) - at.min(now) > TIME_APART {
                return Err(WireError::Time);
            }
        }
        let extensions = read_extensions(reader, flags)?;
        let len = usize::try_from(reader.varint()?).map_err(|_| WireError::Value)?;
        let payload = reader.bytes(len)?;
        let codec = self.format.codec;
        let mut info = PayloadInfo::default();
        if !payload.is_empty() {
            info = inspect(codec, &payload).ok_or(WireError::Payload)?;
            if info.padding > 0 {
                return Err(WireError::Payload);
            }
            info.starts_frame = flags & STARTS_FRAME != 0;
            info.keyframe = flags & KEYFRAME != 0;
            info.temporal_id = temporal_id;
        }
        let primary = (codec == Codec::Red)
            .then(|| codec::red::primary(&payload))
            .flatten();
        Ok(MediaPacket {
            source: self.source,
            stream: self.stream,
            format: self.format,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: flags & MARKER != 0,
            info,
            extensions,
            primary,
            payload,
            received_at,
            sampled_at: self.sampled_at,
        })
    }
}

fn read_extensions(reader: &mut Reader, flags: u16) -> Result<PacketExtensions, WireError> {
    let mut extensions = PacketExtensions::default();
    if flags & CAPTURED_AT != 0 {
        let since = Duration::from_nanos(reader.u64()?);
        let at = UNIX_EPOCH.checked_add(since).ok_or(WireError::Time)?;
        extensions.captured_at = Some(at);
    }
    if flags & CLOCK_OFFSET != 0 {
        let offset = f64::from_bits(reader.u64()?);
        if !offset.is_finite() {
            return Err(WireError::Value);
        }
        extensions.capture_clock_offset = Some(offset);
    }
    if flags & PLAYOUT_DELAY != 0 {
        let (least, most) = (reader.u16()?, reader.u16()?);
        if least > most || most > PLAYOUT_DELAY_MAX {
            return Err(WireError::Value);
        }
        extensions.playout_delay = Some((least, most));
    }
    if flags & AUDIO_LEVEL != 0 {
        let level = reader.u8()?.cast_signed();
        if !(-127..=0).contains(&level) {
            return Err(WireError::Value);
        }
        extensions.audio_level = Some((level, flags & VOICE != 0));
    } else if flags & VOICE != 0 {
        return Err(WireError::Value);
    }
    if flags & ORIENTATION != 0 {
        extensions.orientation = Some(reader.u8()?);
    }
    Ok(extensions)
}
