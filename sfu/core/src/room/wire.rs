//! What one hop tells another below it, as bytes, for a link between nodes.
//!
//! [`Outbound`] makes numbered messages of it, [`Inbound`] reads them: it puts them back into their
//! order, drops what comes twice, and cuts where something is lost. A message says all that it needs
//! beside the epoch of the sender's clock, which the receiver learns.
//!
//! Every field is checked. What a payload says about its frame and where, apart from what took more
//! than that payload to find out, is read anew instead of believed.

mod fields;
mod packet;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::{StreamId, TrackId, VIDEO_TRACKS_MAX};

use super::message::{Batch, Down};
use crate::packet::MediaPacket;
use crate::streams::StreamSet;
use crate::watched::Supply;
use fields::Reader;
pub use fields::WireError;

/// The first byte of each message. Another one is another format.
const VERSION: u8 = 1;
/// Bytes of a message after which no further packet is begun.
const MESSAGE_FULL: usize = 16 << 10;
/// Messages that wait for one before them. Then that is lost.
const WAITING_MAX: usize = 64;

const SUBSCRIBED: u8 = 0;
const SUPPLY: u8 = 1;
const MEDIA: u8 = 2;
const PAST: u8 = 3;

/// A time on a hop's clock: microseconds since that hop's epoch, which is its own choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MediaTime(pub i64);

impl MediaTime {
    fn of(at: Instant, epoch: Instant) -> Self {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Self(match at.checked_duration_since(epoch) {
            Some(after) => micros(after),
            None => -micros(epoch - at),
        })
    }

    fn at(self, epoch: Instant) -> Result<Instant, WireError> {
        let time = Duration::from_micros(self.0.unsigned_abs());
        let at = match self.0 >= 0 {
            true => epoch.checked_add(time),
            false => epoch.checked_sub(time),
        };
        at.ok_or(WireError::Time)
    }
}

/// The sending end of a link.
#[derive(Debug)]
pub struct Outbound {
    epoch: Instant,
    next: u64,
}

/// Messages of what a hop has told, one at a time: the carrier sends them at its own pace.
#[derive(Debug)]
pub struct Messages<'a> {
    outbound: &'a mut Outbound,
    down: &'a Down,
    /// Packets that are encoded; none while nothing is.
    done: Option<usize>,
    now: Instant,
}

impl Outbound {
    /// `now` becomes the epoch of the link's times.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            next: 0,
        }
    }

    /// Encodes something. Each message is at most some bytes longer than 16 KiB and a packet.
    pub fn encode<'a>(&'a mut self, down: &'a Down, now: Instant) -> Messages<'a> {
        Messages {
            outbound: self,
            down,
            done: None,
            now,
        }
    }
}

impl Iterator for Messages<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let total = match self.down {
            Down::Media(batch) => batch.packets.len(),
            Down::Subscribed(_) | Down::Supply(_) => 0,
        };
        if self.done.is_some_and(|done| done >= total) {
            return None;
        }
        let epoch = self.outbound.epoch;
        let mut out = Vec::new();
        out.push(VERSION);
        out.extend_from_slice(&self.outbound.next.to_be_bytes());
        out.extend_from_slice(&MediaTime::of(self.now, epoch).0.to_be_bytes());
        let mut done = self.done.unwrap_or_default();
        match self.down {
            Down::Subscribed(supply) => write_supply(SUBSCRIBED, *supply, &mut out),
            Down::Supply(supply) => write_supply(SUPPLY, *supply, &mut out),
            Down::Media(batch) => {
                out.push(if batch.is_past { PAST } else { MEDIA });
                out.extend_from_slice(&batch.generation.to_be_bytes());
                while let Some(packet) = batch.packets.get(done)
                    && out.len() < MESSAGE_FULL
                {
                    packet::write(packet, epoch, &mut out);
                    done += 1;
                }
            }
        }
        self.outbound.next += 1;
        self.done = Some(done);
        Some(out)
    }
}

/// The receiving end of a link.
#[derive(Debug, Default)]
pub struct Inbound {
    /// The sender's epoch on our clock, as near as the fastest message has shown it.
    epoch: Option<Instant>,
    next: u64,
    /// What came before its turn.
    waiting: BTreeMap<u64, Down>,
    /// Messages that were lost, at one place each: gaps that the link has cut.
    cuts: u32,
}

impl Inbound {
    /// Reads a message, of which the packets keep parts. What is to be told to the hop comes by
    /// [`poll`](Self::poll).
    ///
    /// # Errors
    /// [`WireError`]: nothing of it counts, and it is as good as lost.
    pub fn receive(&mut self, message: Bytes, now: Instant) -> Result<(), WireError> {
        let mut reader = Reader::new(message);
        if reader.u8()? != VERSION {
            return Err(WireError::Version);
        }
        let number = reader.u64()?;
        if number < self.next || self.waiting.contains_key(&number) {
            return Ok(());
        }
        let sent_at = MediaTime(reader.i64()?);
        let epoch = MediaTime(sent_at.0.checked_neg().ok_or(WireError::Time)?).at(now)?;
        let epoch = self.epoch.map_or(epoch, |known| known.min(epoch));
        let down = match reader.u8()? {
            SUBSCRIBED => Down::Subscribed(read_supply(&mut reader)?),
            SUPPLY => Down::Supply(read_supply(&mut reader)?),
            kind @ (MEDIA | PAST) => {
                let generation = reader.u32()?;
                let mut packets = Vec::new();
                while !reader.is_empty() {
                    let packet = packet::read(&mut reader, epoch, now)?;
                    packets.push(Arc::new(packet));
                }
                let packets: Arc<[Arc<MediaPacket>]> = packets.into();
                Down::Media(Batch {
                    generation,
                    is_past: kind == PAST,
                    packets,
                })
            }
            _ => return Err(WireError::Value),
        };
        if !reader.is_empty() {
            return Err(WireError::Trailing);
        }
        self.epoch = Some(epoch);
        self.waiting.insert(number, down);
        Ok(())
    }

    /// The next thing that the sender has told. Its generations add up with the gaps of the link.
    pub fn poll(&mut self) -> Option<Down> {
        loop {
            let down = self.next()?;
            let is_empty = matches!(&down, Down::Media(batch) if batch.packets.is_empty());
            if !is_empty {
                return Some(down);
            }
        }
    }

    fn next(&mut self) -> Option<Down> {
        let (&number, _) = self.waiting.first_key_value()?;
        if number != self.next {
            if self.waiting.len() < WAITING_MAX {
                return None;
            }
            self.cuts = self.cuts.wrapping_add(1);
        }
        self.next = number.wrapping_add(1);
        let mut down = self.waiting.remove(&number)?;
        if let Down::Media(batch) = &mut down {
            batch.generation = batch.generation.wrapping_add(self.cuts);
        }
        Some(down)
    }

    /// Whether nothing waits for a message before it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn write_supply(kind: u8, supply: Supply, out: &mut Vec<u8>) {
    out.push(kind);
    for streams in [supply.available, supply.asleep, supply.paused] {
        let bits = streams
            .iter()
            .fold(0, |bits: u16, stream| bits | 1 << stream.index());
        out.extend_from_slice(&bits.to_be_bytes());
    }
    out.push(supply.video_tracks);
    out.push(supply.main.map_or(0, |main| main.index() as u8));
}

fn read_supply(reader: &mut Reader) -> Result<Supply, WireError> {
    let mut streams = || -> Result<StreamSet, WireError> {
        let bits = reader.u16()?;
        if u32::from(bits) >> StreamId::COUNT != 0 {
            return Err(WireError::Value);
        }
        let holds = |stream: &StreamId| bits & 1 << stream.index() != 0;
        Ok(StreamId::all().filter(holds).collect())
    };
    let (available, asleep, paused) = (streams()?, streams()?, streams()?);
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

#[cfg(test)]
mod tests;
