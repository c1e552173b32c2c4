//! A packet's fields, in order: source, track, layer, codec, profile, sequence number, timestamp,
//! flags, temporal layer, times of arrival and sampling, the extensions that the flags name, and the
//! payload behind its length.

use std::time::{Duration, Instant, UNIX_EPOCH};

use lightstick_types::{Codec, Layer, NodeId, SourceId, StreamId, TrackId, TrackKind};

use super::fields::Reader;
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
const KNOWN: u16 = (1 << 9) - 1;

const CODECS: [Codec; 6] = [
    Codec::H264,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
    Codec::Opus,
    Codec::Red,
];

/// Appends a packet. One that cannot cross, because no datagram could carry it either, is left out.
pub(super) fn write(packet: &MediaPacket, epoch: Instant, out: &mut Vec<u8>) {
    let Ok(len) = u16::try_from(packet.payload.len()) else {
        return;
    };
    let MediaPacket {
        info, extensions, ..
    } = packet;
    let codec = CODECS
        .iter()
        .position(|codec| *codec == packet.format.codec);
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
        | flag(extensions.orientation.is_some(), ORIENTATION);
    out.extend_from_slice(&packet.source.node.0.to_be_bytes());
    out.extend_from_slice(&packet.source.number.to_be_bytes());
    out.push(packet.stream.track.index() as u8);
    out.push(packet.stream.layer.index() as u8);
    out.push(codec.unwrap_or(CODECS.len()) as u8);
    out.extend_from_slice(&packet.format.profile.to_be_bytes());
    out.extend_from_slice(&packet.sequence.to_be_bytes());
    out.extend_from_slice(&packet.timestamp.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.push(info.temporal_id);
    for at in [packet.received_at, packet.sampled_at] {
        out.extend_from_slice(&MediaTime::of(at, epoch).0.to_be_bytes());
    }
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
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&packet.payload);
}

/// Reads a packet of a link whose times count from `epoch`.
pub(super) fn read(
    reader: &mut Reader,
    epoch: Instant,
    now: Instant,
) -> Result<MediaPacket, WireError> {
    let source = SourceId::new(NodeId(reader.u32()?), reader.u32()?);
    let track = match reader.u8()? {
        0 => TrackId::AUDIO,
        n => TrackId::video(usize::from(n) - 1).ok_or(WireError::Value)?,
    };
    let layer = *Layer::ALL
        .get(usize::from(reader.u8()?))
        .ok_or(WireError::Value)?;
    let codec = *CODECS
        .get(usize::from(reader.u8()?))
        .ok_or(WireError::Value)?;
    let is_audio = track.kind() == TrackKind::Audio;
    if codec.kind() != track.kind() || (is_audio && layer != Layer::High) {
        return Err(WireError::Value);
    }
    let profile = reader.u32()?;
    let (sequence, timestamp, flags) = (reader.u64()?, reader.u32()?, reader.u16()?);
    let temporal_id = reader.u8()?;
    if sequence >= SEQUENCES || flags & !KNOWN != 0 || usize::from(temporal_id) >= TEMPORAL_LAYERS {
        return Err(WireError::Value);
    }
    let mut time = || {
        let at = MediaTime(reader.i64()?).at(epoch)?;
        let apart = at.max(now) - at.min(now);
        match apart <= TIME_APART {
            true => Ok(at),
            false => Err(WireError::Time),
        }
    };
    let (received_at, sampled_at) = (time()?.min(now), time()?);
    let extensions = read_extensions(reader, flags)?;
    let len = reader.u16()?;
    let payload = reader.bytes(len.into())?;
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
        source,
        stream: StreamId { track, layer },
        format: Format { codec, profile },
        sequence,
        timestamp,
        marker: flags & MARKER != 0,
        info,
        extensions,
        primary,
        payload,
        received_at,
        sampled_at,
    })
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
