//! What hops tell each other as bytes, for a link between nodes.
//!
//! [`Outbound`] makes messages of it, each with a [`Class`] that says how it may travel; [`Inbound`]
//! reads them. Control messages keep their order. Frames overtake each other: those of one stream are
//! put back into their order, while other streams go on. One that the carrier has dropped is no loss
//! that the receiver has to find out: the sender's hop hears of it
//! ([`Hop::handle_overflow`](super::Hop::handle_overflow)) and cuts. A message says all that it needs
//! beside the epoch of the sender's clock, which the receiver learns.
//!
//! Every field is checked. What a payload says about its frame and where, apart from what took more
//! than that payload to find out, is read anew instead of believed.

mod fields;
mod inbound;
mod packet;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lightstick_types::{StreamId, TrackKind};

use super::message::{Batch, Down};
use crate::packet::MediaPacket;
pub use fields::WireError;
use fields::{write_signed, write_varint};
pub use inbound::Inbound;
pub use state::{read_up, write_up};

/// The first byte of each message. Another one is another format.
const VERSION: u8 = 2;
/// Bytes of a message after which no further packet is begun. The rest of a frame is another message.
const MESSAGE_FULL: usize = 64 << 10;

const SUBSCRIBED: u8 = 0;
const SUPPLY: u8 = 1;
/// A part of a frame.
const MEDIA: u8 = 2;
/// The same, of what the receiver begins with.
const PAST: u8 = 3;

/// How a message may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It must arrive, after all control messages before it.
    Control,
    /// It may be late, and may be dropped where the sender's hop is told so.
    Frame {
        stream: StreamId,
        /// A keyframe begins with it.
        is_keyframe: bool,
        /// It is of what the receiver begins with.
        is_past: bool,
    },
    /// It is worth nothing late, and may be lost: the next one brings it again.
    Audio,
}

/// One message, and how it may travel.
#[derive(Clone, Debug)]
pub struct Message {
    pub class: Class,
    pub bytes: Vec<u8>,
}

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

/// The sending end of a link, for one room.
#[derive(Debug)]
pub struct Outbound {
    epoch: Instant,
    /// Subscriptions so far: media of an earlier one may be on its way yet.
    subscription: u32,
    numbers: [Numbers; StreamId::COUNT],
    /// The last packet of audio, which comes again with the next.
    audio: Option<Arc<MediaPacket>>,
}

/// How a stream's frames are numbered: from 0 on after each cut.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    generation: Option<u32>,
    next: u32,
}

impl Numbers {
    fn next(&mut self, generation: u32) -> u32 {
        if self.generation.replace(generation) != Some(generation) {
            self.next = 0;
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }
}

impl Outbound {
    /// `now` becomes the epoch of the link's times.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            subscription: 0,
            numbers: Default::default(),
            audio: None,
        }
    }

    /// The messages that tell the hop below something. Each is at most some bytes longer than 64 KiB
    /// and a packet.
    pub fn encode(&mut self, down: &Down, now: Instant) -> Vec<Message> {
        match down {
            Down::Subscribed(supply) => {
                self.subscription = self.subscription.wrapping_add(1);
                self.numbers = Default::default();
                self.audio = None;
                let mut bytes = vec![VERSION, SUBSCRIBED];
                write_varint(self.subscription.into(), &mut bytes);
                state::write_supply(*supply, &mut bytes);
                vec![Message {
                    class: Class::Control,
                    bytes,
                }]
            }
            Down::Supply(supply) => {
                let mut bytes = vec![VERSION, SUPPLY];
                state::write_supply(*supply, &mut bytes);
                vec![Message {
                    class: Class::Control,
                    bytes,
                }]
            }
            Down::Media(batch) => self.encode_media(batch, now),
        }
    }

    fn encode_media(&mut self, batch: &Batch, now: Instant) -> Vec<Message> {
        let mut messages = Vec::new();
        let is_one_frame = |a: &Arc<MediaPacket>, b: &Arc<MediaPacket>| {
            let is_alike = (a.source, a.stream, a.format) == (b.source, b.stream, b.format);
            let is_audio = a.kind() == TrackKind::Audio;
            is_alike && (a.timestamp == b.timestamp || (is_audio && batch.is_past))
        };
        for frame in batch.packets.chunk_by(is_one_frame) {
            if frame[0].kind() == TrackKind::Audio && !batch.is_past {
                for packet in frame {
                    messages.push(self.encode_audio(packet, batch.generation, now));
                }
                continue;
            }
            let mut rest = frame;
            while !rest.is_empty() {
                let (stream, is_keyframe) = (rest[0].stream, rest[0].starts_keyframe());
                let mut bytes = self.header(stream, batch, now);
                let written = packet::write_run(rest, now, MESSAGE_FULL, &mut bytes);
                rest = &rest[written..];
                let class = Class::Frame {
                    stream,
                    is_keyframe,
                    is_past: batch.is_past,
                };
                messages.push(Message { class, bytes });
            }
        }
        messages
    }

    /// A packet of audio behind the one before it, which may have been lost.
    fn encode_audio(
        &mut self,
        packet: &Arc<MediaPacket>,
        generation: u32,
        now: Instant,
    ) -> Message {
        let batch = Batch {
            generation,
            is_past: false,
            packets: Arc::from([]),
        };
        let mut bytes = self.header(StreamId::AUDIO, &batch, now);
        let before = self.audio.replace(Arc::clone(packet));
        let before = before.filter(|before| {
            let is_alike = (before.source, before.format) == (packet.source, packet.format);
            is_alike && before.sequence.checked_add(1) == Some(packet.sequence)
        });
        let run: Vec<_> = before.into_iter().chain([Arc::clone(packet)]).collect();
        packet::write_run(&run, now, usize::MAX, &mut bytes);
        Message {
            class: Class::Audio,
            bytes,
        }
    }

    fn header(&mut self, stream: StreamId, batch: &Batch, now: Instant) -> Vec<u8> {
        let mut bytes = vec![VERSION, if batch.is_past { PAST } else { MEDIA }];
        write_varint(self.subscription.into(), &mut bytes);
        write_varint(batch.generation.into(), &mut bytes);
        let number = self.numbers[stream.index()].next(batch.generation);
        write_varint(number.into(), &mut bytes);
        write_signed(MediaTime::of(now, self.epoch).0, &mut bytes);
        bytes
    }
}
