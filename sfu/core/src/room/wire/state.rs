//! Streams that can be had, and what a hop asks of the one above.

use bytes::Bytes;
use lightstick_types::{StreamId, TrackId, VIDEO_TRACKS_MAX};

use super::fields::Reader;
use super::{VERSION, WireError};
use crate::room::message::Up;
use crate::streams::StreamSet;
use crate::watched::Supply;

const SUBSCRIBE: u8 = 0;
const UNSUBSCRIBE: u8 = 1;
const KEYFRAME: u8 = 2;
const WATCHED: u8 = 3;

/// What a hop tells the one above, as a message that must arrive, after those before it.
#[must_use]
pub fn write_up(up: &Up) -> Vec<u8> {
    let mut out = vec![VERSION];
    match up {
        Up::Subscribe => out.push(SUBSCRIBE),
        Up::Unsubscribe => out.push(UNSUBSCRIBE),
        Up::Keyframe(streams) => {
            out.push(KEYFRAME);
            write_streams(*streams, &mut out);
        }
        Up::Watched(streams) => {
            out.push(WATCHED);
            write_streams(*streams, &mut out);
        }
    }
    out
}

/// Reads what [`write_up`] has written.
///
/// # Errors
/// [`WireError`]: it is something else.
pub fn read_up(message: Bytes) -> Result<Up, WireError> {
    let mut reader = Reader::new(message);
    if reader.u8()? != VERSION {
        return Err(WireError::Version);
    }
    let up = match reader.u8()? {
        SUBSCRIBE => Up::Subscribe,
        UNSUBSCRIBE => Up::Unsubscribe,
        KEYFRAME => Up::Keyframe(read_streams(&mut reader)?),
        WATCHED => Up::Watched(read_streams(&mut reader)?),
        _ => return Err(WireError::Value),
    };
    match reader.is_empty() {
        true => Ok(up),
        false => Err(WireError::Trailing),
    }
}

pub(super) fn write_supply(supply: Supply, out: &mut Vec<u8>) {
    for streams in [supply.available, supply.asleep, supply.paused] {
        write_streams(streams, out);
    }
    out.push(supply.video_tracks);
    out.push(supply.main.map_or(0, |main| main.index() as u8));
}

pub(super) fn read_supply(reader: &mut Reader) -> Result<Supply, WireError> {
    let (available, asleep, paused) = (
        read_streams(reader)?,
        read_streams(reader)?,
        read_streams(reader)?,
    );
    let video_tracks = reader.u8()?;
    if usize::from(video_tracks) > VIDEO_TRACKS_MAX {
        return Err(WireError::Value);
    }
    let main = match reader.u8()? {
        0 => None,
        n => Some(TrackId::video(usize::from(n) - 1).ok_or(WireError::Value)?),
    };
    Ok(Supply {
        available,
        asleep,
        paused,
        video_tracks,
        main,
    })
}

fn write_streams(streams: StreamSet, out: &mut Vec<u8>) {
    let bits = streams
        .iter()
        .fold(0, |bits: u16, stream| bits | 1 << stream.index());
    out.extend_from_slice(&bits.to_be_bytes());
}

fn read_streams(reader: &mut Reader) -> Result<StreamSet, WireError> {
    let bits = reader.u16()?;
    if u32::from(bits) >> StreamId::COUNT != 0 {
        return Err(WireError::Value);
    }
    let holds = |stream: &StreamId| bits & 1 << stream.index() != 0;
    Ok(StreamId::all().filter(holds).collect())
}
