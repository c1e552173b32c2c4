//! On which channel something leaves, how urgent it is, and what stands before its payload.

use bytes::Bytes;
use lightstick_types::{Layer, StreamId, TrackKind};

use crate::fields::{Reader, WireError};
use crate::limits::{DATAGRAM_MAX, FRAME_MAX};
use crate::message::SubscriptionId;

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// On the one stream that is ordered and lossless. The carrier keeps the bounds of messages, and
    /// closes the link with [`CloseReason::Backlog`](crate::CloseReason::Backlog) rather than lose one.
    Control,
    /// As the whole of a unidirectional stream.
    Frame,
    /// In a datagram, which may be lost.
    Datagram,
}

/// What goes first where a link is full, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Control,
    Audio,
    /// Keyframes of the lowest layer that crosses the link.
    BaseKeyframe,
    Base,
    Chat,
    Mid,
    High,
    /// The past, which somebody begins with.
    CatchUp,
}

/// What a message of a hop to one below is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It must arrive, in order.
    Control,
    /// Packets of one frame of one stream.
    Frame {
        stream: StreamId,
        /// It begins a keyframe. Where a frame is more than one message, only the first does.
        is_keyframe: bool,
        /// It is of what a hop begins with.
        is_past: bool,
    },
    /// Audio that is of use only soon.
    Audio,
}

/// Frames of one stream of one subscription.
///
/// A keyframe supersedes the frames of its flow that were sent before it and are not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub subscription: SubscriptionId,
    pub stream: StreamId,
}

/// The head of a frame stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) flow: Flow,
    pub(crate) is_keyframe: bool,
    pub(crate) is_past: bool,
}

const KEYFRAME: u8 = 0x80;
const PAST: u8 = 0x40;
const FLAGS: u8 = KEYFRAME | PAST;

impl FrameHead {
    pub(crate) fn encode(&self) -> Bytes {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags = flag(self.is_keyframe, KEYFRAME) | flag(self.is_past, PAST);
        let mut out = Vec::with_capacity(5);
        out.extend_from_slice(&self.flow.subscription.0.to_be_bytes());
        out.push(self.flow.stream.index() as u8 | flags);
        out.into()
    }

    /// The head, and the payload as a part of the message.
    pub(crate) fn decode(message: Bytes) -> Result<(Self, Bytes), WireError> {
        let mut reader = Reader::new(message);
        let subscription = SubscriptionId(reader.u32()?);
        let byte = reader.u8()?;
        let stream = StreamId::all().nth(usize::from(byte & !FLAGS));
        let flow = Flow {
            subscription,
            stream: stream.ok_or(WireError::Value)?,
        };
        let head = Self {
            flow,
            is_keyframe: byte & KEYFRAME != 0,
            is_past: byte & PAST != 0,
        };
        Ok((head, reader.rest(FRAME_MAX)?))
    }

    pub(crate) fn class(&self) -> Class {
        Class::Frame {
            stream: self.flow.stream,
            is_keyframe: self.is_keyframe,
            is_past: self.is_past,
        }
    }
}

/// The content of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Datagram {
    Heartbeat(Heartbeat),
    Audio {
        subscription: SubscriptionId,
        payload: Bytes,
    },
}

/// Shows that its sender is alive, and measures the round trip without comparing clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// From 1 on.
    pub(crate) number: u32,
    /// The last that the sender has heard; 0: none.
    pub(crate) echo: u32,
    /// How long ago it has heard that, in microseconds.
    pub(crate) held_us: u32,
}

const HEARTBEAT: u8 = 0;
const AUDIO: u8 = 1;
/// Bytes before the payload of an audio datagram.
pub(crate) const AUDIO_HEAD: usize = 5;

pub(crate) fn audio_head(subscription: SubscriptionId) -> Bytes {
    let mut out = Vec::with_capacity(AUDIO_HEAD);
    out.push(AUDIO);
    out.extend_from_slice(&subscription.0.to_be_bytes());
    out.into()
}

impl Heartbeat {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(13);
        out.push(HEARTBEAT);
        for field in [self.number, self.echo, self.held_us] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.into()
    }
}

impl Datagram {
    pub(crate) fn decode(message: Bytes) -> Result<Self, WireError> {
        if message.len() > DATAGRAM_MAX {
            return Err(WireError::TooLong);
        }
        let mut reader = Reader::new(message);
        let datagram = match reader.u8()? {
            HEARTBEAT => Self::Heartbeat(Heartbeat {
                number: reader.u32()?,
                echo: reader.u32()?,
                held_us: reader.u32()?,
            }),
            AUDIO => Self::Audio {
                subscription: SubscriptionId(reader.u32()?),
                payload: reader.rest(DATAGRAM_MAX)?,
            },
            _ => return Err(WireError::Kind),
        };
        reader.end()?;
        Ok(datagram)
    }
}

/// The priority of a frame of the present, when `base` is the lowest layer of its track on the link.
pub(crate) fn frame_priority(stream: StreamId, is_keyframe: bool, base: Layer) -> Priority {
    match (stream.track.kind(), stream.layer) {
        (TrackKind::Audio, _) => Priority::Audio,
        (_, layer) if layer <= base && is_keyframe => Priority::BaseKeyframe,
        (_, layer) if layer <= base => Priority::Base,
        (_, Layer::High) => Priority::High,
        (_, Layer::Low | Layer::Medium) => Priority::Mid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_with_their_heads() {
        for stream in StreamId::all() {
            for (is_keyframe, is_past) in [(false, false), (true, false), (false, true)] {
                let head = FrameHead {
                    flow: Flow {
                        subscription: SubscriptionId(70_000),
                        stream,
                    },
                    is_keyframe,
                    is_past,
                };
                let message = [&head.encode()[..], b"media"].concat();
                let read = FrameHead::decode(message.into());
                assert_eq!(read, Ok((head, Bytes::from_static(b"media"))));
            }
        }
    }

    #[test]
    fn datagrams_come_back() {
        let heartbeat = Heartbeat {
            number: 9,
            echo: 7,
            held_us: 100_000,
        };
        let read = Datagram::decode(heartbeat.encode());
        assert_eq!(read, Ok(Datagram::Heartbeat(heartbeat)));
        let message = [&audio_head(SubscriptionId(3))[..], b"opus"].concat();
        let audio = Datagram::Audio {
            subscription: SubscriptionId(3),
            payload: Bytes::from_static(b"opus"),
        };
        assert_eq!(Datagram::decode(message.into()), Ok(audio));
    }

    #[test]
    fn wrong_heads_are_refused() {
        for (frame, error) in [
            (&[0, 0, 0, 1][..], WireError::Truncated),
            (&[0, 0, 0, 1, 13], WireError::Value),
            (&[0, 0, 0, 1, 0x3f], WireError::Value),
        ] {
            let read = FrameHead::decode(Bytes::copy_from_slice(frame));
            assert_eq!(read, Err(error));
        }
        let long = vec![AUDIO; DATAGRAM_MAX + 1];
        for (datagram, error) in [
            (&[][..], WireError::Truncated),
            (&[2], WireError::Kind),
            (&[0, 0, 0, 0, 1], WireError::Truncated),
            (&[0; 14], WireError::Trailing),
            (&long, WireError::TooLong),
        ] {
            let read = Datagram::decode(Bytes::copy_from_slice(datagram));
            assert_eq!(read, Err(error));
        }
    }

    #[test]
    fn the_lowest_layer_on_a_link_is_its_base() {
        use Priority::{Base, BaseKeyframe, High, Mid};
        let video = lightstick_types::TrackId::FIRST_VIDEO;
        for (layer, base, usual, keyframe) in [
            (Layer::Low, Layer::Low, Base, BaseKeyframe),
            (Layer::Medium, Layer::Low, Mid, Mid),
            (Layer::High, Layer::Low, High, High),
            (Layer::High, Layer::High, Base, BaseKeyframe),
            (Layer::Medium, Layer::Medium, Base, BaseKeyframe),
        ] {
            assert_eq!(frame_priority(video.layer(layer), false, base), usual);
            assert_eq!(frame_priority(video.layer(layer), true, base), keyframe);
        }
        assert_eq!(
            frame_priority(StreamId::AUDIO, false, Layer::High),
            Priority::Audio
        );
    }
}
