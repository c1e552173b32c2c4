//! The nonce of a request, also of one that cannot be read: whoever wrote it learns which it was.

use prost::Message;
use serde_json::Value;

use crate::client_frame::Frame;

/// A request that has a nonce, as far as the nonce.
#[derive(Clone, PartialEq, Message)]
struct Numbered {
    #[prost(fixed64, tag = "1")]
    nonce: u64,
}

/// A `ClientFrame` of which nothing but nonces is looked at.
#[derive(Clone, PartialEq, Message)]
struct NumberedFrame {
    #[prost(message, optional, tag = "2")]
    send: Option<Numbered>,
    #[prost(message, optional, tag = "4")]
    vote: Option<Numbered>,
    #[prost(message, optional, tag = "5")]
    moderate: Option<Numbered>,
    #[prost(message, optional, tag = "7")]
    appeal: Option<Numbered>,
}

/// Of a request; 0: it has none.
#[must_use]
pub fn of(request: &Frame) -> u64 {
    match request {
        Frame::Send(send) => send.nonce,
        Frame::Vote(vote) => vote.nonce,
        Frame::Moderate(moderate) => moderate.nonce,
        Frame::Caption(cue) => cue.nonce,
        Frame::Appeal(appeal) => appeal.nonce,
        Frame::Hello(_) | Frame::React(_) | Frame::Ping(_) => 0,
    }
}

/// Of what should have been a `ClientFrame`, such as one with text that is not UTF-8; 0: none was
/// found.
#[must_use]
pub fn of_protobuf(bytes: &[u8]) -> u64 {
    let mut frame = NumberedFrame::default();
    // What was read before the fault is there.
    let _ = frame.merge(bytes);
    let NumberedFrame {
        send,
        vote,
        moderate,
        appeal,
    } = frame;
    let numbered = send.or(vote).or(moderate).or(appeal);
    numbered.map_or(0, |numbered| numbered.nonce)
}

/// The same of JSON.
#[must_use]
pub fn of_json(text: &str) -> u64 {
    let Ok(Value::Object(frame)) = serde_json::from_str(text) else {
        return 0;
    };
    let nonce = frame.values().find_map(|request| request.get("nonce"));
    match nonce {
        Some(Value::String(digits)) => digits.parse().unwrap_or(0),
        Some(number) => number.as_u64().unwrap_or(0),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientFrame, Send};

    #[test]
    fn an_unreadable_frame_has_its_nonce() {
        let send = Send {
            nonce: 7,
            text: "abc".into(),
            reply_to: 0,
        };
        let frame = Some(Frame::Send(send));
        let whole = ClientFrame { frame }.encode_to_vec();
        let mut broken = whole.clone();
        let text = broken.windows(3).position(|w| w == b"abc").unwrap();
        broken[text] = 0xff;
        assert!(ClientFrame::decode(&*broken).is_err());
        assert_eq!(of_protobuf(&broken), 7);
        assert_eq!(of_protobuf(&whole), 7);
        assert_eq!(of_protobuf(b"\xff\xff"), 0);
        for (text, nonce) in [
            (r#"{"send": {"nonce": "7", "text": 5}}"#, 7),
            (r#"{"vote": {"nonce": 8, "choice": "x"}}"#, 8),
            (r#"{"send": {"text": "x"}}"#, 0),
            ("{", 0),
        ] {
            assert_eq!(of_json(text), nonce, "{text}");
        }
    }
}
