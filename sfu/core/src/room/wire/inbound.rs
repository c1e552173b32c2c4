//! The receiving end of a link.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lightstick_types::{StreamId, TrackKind};

use super::fields::Reader;
use super::{MEDIA, MediaTime, PAST, SUBSCRIBED, SUPPLY, VERSION, WireError, packet, state};
use crate::packet::MediaPacket;
use crate::room::message::{Batch, Down};

/// Frames that wait for others before them. The longest waiting one is dropped for a further one.
const WAITING_MAX: usize = 512;

/// The receiving end of a link, for one room.
#[derive(Debug, Default)]
pub struct Inbound {
    /// The sender's epoch on our clock, as near as the fastest message has shown it.
    epoch: Option<Instant>,
    subscription: u32,
    lanes: [Lane; StreamId::COUNT],
    /// Frames that came before their turn.
    waiting: VecDeque<Frame>,
    ready: VecDeque<Down>,
}

/// Where a stream's frames are.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// None before the first frame of a subscription.
    generation: Option<u32>,
    next: u32,
}

/// A part of a frame.
#[derive(Debug)]
struct Frame {
    subscription: u32,
    number: u32,
    stream: StreamId,
    batch: Batch,
}

enum Turn {
    Now,
    Later,
    Never,
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
        match reader.u8()? {
            SUBSCRIBED => {
                let subscription = reader.varint32()?;
                let supply = state::read_supply(&mut reader)?;
                reader.end()?;
                self.subscription = subscription;
                self.lanes = Default::default();
                self.ready.push_back(Down::Subscribed(supply));
            }
            SUPPLY => {
                let supply = state::read_supply(&mut reader)?;
                reader.end()?;
                self.ready.push_back(Down::Supply(supply));
            }
            kind @ (MEDIA | PAST) => {
                let frame = self.read_frame(&mut reader, kind == PAST, now)?;
                match self.turn(&frame) {
                    Turn::Now => self.deliver(frame),
                    Turn::Later => {
                        if self.waiting.len() >= WAITING_MAX {
                            self.waiting.pop_front();
                        }
                        self.waiting.push_back(frame);
                    }
                    Turn::Never => {}
                }
            }
            _ => return Err(WireError::Value),
        }
        self.release();
        Ok(())
    }

    /// The next thing that the sender has told.
    pub fn poll(&mut self) -> Option<Down> {
        self.ready.pop_front()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits for a message before it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty()
    }

    fn read_frame(
        &mut self,
        reader: &mut Reader,
        is_past: bool,
        now: Instant,
    ) -> Result<Frame, WireError> {
        let subscription = reader.varint32()?;
        let generation = reader.varint32()?;
        let number = reader.varint32()?;
        let sent_at = MediaTime(reader.signed()?);
        let epoch = MediaTime(sent_at.0.checked_neg().ok_or(WireError::Time)?).at(now)?;
        let epoch = self.epoch.map_or(epoch, |known| known.min(epoch));
        let packets = packet::read_run(reader, sent_at.at(epoch)?, now)?;
        reader.end()?;
        self.epoch = Some(epoch);
        let packets: Arc<[Arc<MediaPacket>]> = packets.into();
        Ok(Frame {
            subscription,
            number,
            stream: packets[0].stream,
            batch: Batch {
                generation,
                is_past,
                packets,
            },
        })
    }

    /// When a frame is to be delivered.
    fn turn(&self, frame: &Frame) -> Turn {
        let ahead = |a: u32, b: u32| a.wrapping_sub(b).cast_signed();
        match ahead(frame.subscription, self.subscription) {
            0 => {}
            1.. => return Turn::Later,
            _ => return Turn::Never,
        }
        if frame.stream.track.kind() == TrackKind::Audio {
            return Turn::Now;
        }
        let Lane { generation, next } = self.lanes[frame.stream.index()];
        let segment = generation.map_or(1, |own| ahead(frame.batch.generation, own));
        let number = match segment {
            // Whatever is missing of the one before does not matter any more.
            1.. => ahead(frame.number, 0),
            0 => ahead(frame.number, next),
            _ => return Turn::Never,
        };
        match number {
            0 => Turn::Now,
            1.. => Turn::Later,
            _ => Turn::Never,
        }
    }

    fn deliver(&mut self, frame: Frame) {
        let lane = &mut self.lanes[frame.stream.index()];
        lane.generation = Some(frame.batch.generation);
        lane.next = frame.number.wrapping_add(1);
        self.ready.push_back(Down::Media(frame.batch));
    }

    /// Delivers what has waited for what was delivered, and lets go of what will never be.
    fn release(&mut self) {
        let mut at = 0;
        while let Some(frame) = self.waiting.get(at) {
            match self.turn(frame) {
                Turn::Later => at += 1,
                Turn::Never => {
                    self.waiting.remove(at);
                }
                Turn::Now => {
                    if let Some(frame) = self.waiting.remove(at) {
                        self.deliver(frame);
                    }
                    at = 0;
                }
            }
        }
    }
}
