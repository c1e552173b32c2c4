//! Frames: encoded once, sent to many.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use lightstick_chat_proto::{Part, ServerFrame, part};
use prost::Message as _;

/// Longest frame, in bytes: what every WebRTC stack takes in one message of a data channel without
/// fragmenting it for long.
pub const FRAME_BYTES_MAX: usize = 15 * 1024;
/// What stands before and after the parts of a frame in JSON.
const JSON_HEAD: &[u8] = b"{\"parts\":[";
const JSON_TAIL: &[u8] = b"]}";

/// Parts in order, encoded. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Frame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    proto: Bytes,
    /// Made for the first who wants it: most rooms have nobody who reads JSON.
    json: OnceLock<Bytes>,
}

impl Frame {
    /// A frame of these parts.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = part::Part>) -> Self {
        let parts = parts.into_iter().map(|part| Part { part: Some(part) });
        let frame = ServerFrame {
            parts: parts.collect(),
        };
        Self::encoded(frame.encode_to_vec().into())
    }

    /// A frame whose bytes are there already.
    #[must_use]
    pub fn encoded(proto: Bytes) -> Self {
        Self(Arc::new(Encoded {
            proto,
            json: OnceLock::new(),
        }))
    }

    /// The parts of all frames, in order.
    #[must_use]
    pub fn joined<'a>(frames: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = BytesMut::new();
        for frame in frames {
            all.extend_from_slice(&frame.0.proto);
        }
        Self::encoded(all.freeze())
    }

    /// As protobuf. Two after each other are one frame with the parts of both.
    #[must_use]
    pub fn proto(&self) -> &Bytes {
        &self.0.proto
    }

    /// As the JSON of proto3.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        self.0.json.get_or_init(|| {
            let written = ServerFrame::decode(self.0.proto.clone())
                .ok()
                .and_then(|frame| serde_json::to_vec(&frame).ok());
            debug_assert!(written.is_some(), "our own frame is readable");
            written.map_or_else(|| [JSON_HEAD, JSON_TAIL].concat().into(), Bytes::from)
        })
    }

    /// Length as protobuf, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.proto.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.proto.is_empty()
    }
}

/// One of a client's three ways to hear from its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Reliable and ordered: what must arrive.
    Ctl,
    /// Reliable, in any order: what was chosen to be shown.
    Chat,
    /// Not sent again: counts.
    Fx,
}

impl Channel {
    pub const ALL: [Self; 3] = [Self::Ctl, Self::Chat, Self::Fx];

    /// The label of its data channel.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ctl => "ctl",
            Self::Chat => "chat",
            Self::Fx => "fx",
        }
    }

    /// The channel of a label.
    #[must_use]
    pub fn of(label: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.label() == label)
    }
}

/// What a room shows everybody at once.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    /// What is never left out.
    pub ctl: Option<Frame>,
    /// Messages that were chosen.
    pub chat: Option<Frame>,
    pub fx: Option<Frame>,
    /// How many messages are in `chat`.
    pub messages: u32,
}

impl Tick {
    /// All of it in one frame, for links that have one channel. `None`: it would be too long.
    #[must_use]
    pub fn whole(&self) -> Option<Frame> {
        let frames = [&self.ctl, &self.chat, &self.fx];
        let mut frames = frames.into_iter().flatten();
        let bytes: usize = frames.clone().map(Frame::len).sum();
        match (frames.next(), frames.next()) {
            (Some(only), None) => Some(only.clone()),
            (Some(one), Some(two)) if bytes <= FRAME_BYTES_MAX => {
                Some(Frame::joined([one, two].into_iter().chain(frames)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use lightstick_chat_proto::{Effects, Pong};

    use super::*;

    #[test]
    fn frames_join_byte_by_byte() {
        let one = Frame::new([part::Part::Pong(Pong { number: 1 })]);
        let two = Frame::new([part::Part::Effects(Effects {
            present: 7,
            ..Effects::default()
        })]);
        let both = Frame::joined([&one, &two]);
        assert_eq!(both.len(), one.len() + two.len());
        let read = ServerFrame::decode(both.proto().clone()).unwrap();
        assert_eq!(read.parts.len(), 2);
        assert_eq!(
            both.json().as_ref(),
            br#"{"parts":[{"pong":{"number":"1"}},{"effects":{"present":7}}]}"#,
        );
    }

    #[test]
    fn a_tick_is_one_frame_if_it_fits() {
        let frame = |bytes: usize| Frame::encoded(vec![0; bytes].into());
        let tick = |ctl, chat| Tick {
            ctl,
            chat: Some(frame(chat)),
            fx: Some(frame(2)),
            messages: 1,
        };
        let whole = |tick: Tick| tick.whole().map(|frame| frame.len());
        assert_eq!(whole(tick(None, 5)), Some(7));
        assert_eq!(whole(tick(Some(frame(3)), 5)), Some(10));
        assert_eq!(
            whole(tick(None, FRAME_BYTES_MAX - 2)),
            Some(FRAME_BYTES_MAX)
        );
        assert_eq!(whole(tick(None, FRAME_BYTES_MAX - 1)), None);
        assert_eq!(whole(Tick::default()), None);
    }

    #[test]
    fn labels_name_channels() {
        for channel in Channel::ALL {
            assert_eq!(Channel::of(channel.label()), Some(channel));
        }
        assert_eq!(Channel::of("video"), None);
    }
}
