//! Datagrams from anybody, and the TCP stream that stands for them.

use lightstick_sfu_core::demux::{FrameTooLong, Frames, Kind, RtpView, classify};
use lightstick_sfu_core::ice::stun::{self, Class, Message};

/// A datagram from an unknown address: what it is, and what its header says.
pub fn demux(datagram: &[u8]) {
    let kind = classify(datagram);
    assert!(kind == Kind::Junk || datagram.len() >= 8);
    if Message::parse(datagram).is_ok() {
        assert_eq!(kind, Kind::Stun);
    }
    match RtpView::parse(datagram) {
        Ok(view) => {
            assert_eq!(kind, Kind::Rtp);
            assert!(view.header_len >= 12);
            assert_eq!(view.payload(), view.header_len..datagram.len());
            if let Ok(media) = view.media(datagram) {
                assert_eq!(media.start, view.header_len);
                assert!(media.end <= datagram.len());
                assert_eq!(view.padded, media.end < datagram.len());
            }
        }
        Err(_) => {
            // Only what is cut within its header looks like RTP and is not.
            assert!(kind != Kind::Rtp || datagram[0] & 0x1f != 0 || datagram[1] & 0x60 == 0x40);
        }
    }
}

/// The password of the corpus' authentic messages.
const PASSWORD: &str = "password";

/// A message of a connectivity check, and what would be answered.
pub fn stun(datagram: &[u8]) {
    let Ok(message) = Message::parse(datagram) else {
        return;
    };
    // Any loss at the end is noticed.
    assert!(Message::parse(&datagram[..datagram.len() - 1]).is_err());
    if let Some(name) = message.username {
        assert!(datagram.windows(name.len()).any(|window| window == name));
    }
    if let Some(recipient) = message.recipient() {
        assert!(!recipient.contains(':'));
    }
    // Only the password makes a message authentic, and no bit of what it covers may change.
    assert!(!message.verify("another"));
    if message.verify(PASSWORD) {
        let mut changed = datagram.to_vec();
        changed[8] ^= 1;
        assert!(Message::parse(&changed).is_ok_and(|changed| !changed.verify(PASSWORD)));
    }
    let source = "[2001:db8::1]:7700".parse().expect("an address");
    for reply in [
        stun::success(&message, source, PASSWORD),
        stun::refusal(&message, 420, "Unknown Attribute", PASSWORD),
    ] {
        let read = Message::parse(&reply).expect("a reply of ours is sound");
        assert!(read.verify(PASSWORD) && read.unknown().is_empty());
        assert_eq!(read.transaction, message.transaction);
        assert_eq!(read.error.is_some(), read.class == Class::Error);
        assert!(reply.len() <= 124, "{}", reply.len());
    }
}

/// A TCP stream: the first byte is the limit, the second one the size of reads. The frames are the
/// same however the stream is cut, and together with their lengths they are the stream.
pub fn tcp_deframer(data: &[u8]) {
    let &[limit, step, ref stream @ ..] = data else {
        return;
    };
    let frame_max = usize::from(limit) * 16;
    let whole = deframe(stream, frame_max, stream.len().max(1));
    let cut = deframe(stream, frame_max, usize::from(step) + 1);
    assert_eq!(whole, cut);
    let (frames, refused) = whole;
    let mut rest = stream;
    let mut frames = frames.iter();
    // The plainest reading of RFC 4571 that there is.
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*length));
        if len > frame_max {
            assert_eq!(
                refused,
                Some(FrameTooLong {
                    len,
                    max: frame_max
                })
            );
            break;
        }
        let Some((frame, after)) = after.split_at_checked(len) else {
            break;
        };
        if len > 0 {
            assert_eq!(frames.next().map(Vec::as_slice), Some(frame));
        }
        rest = after;
    }
    assert_eq!(frames.next(), None);
}

fn deframe(stream: &[u8], frame_max: usize, step: usize) -> (Vec<Vec<u8>>, Option<FrameTooLong>) {
    let (mut all, mut carried) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(step) {
        carried.extend_from_slice(chunk);
        let mut frames = Frames::new(&carried, frame_max);
        for frame in &mut frames {
            match frame {
                Ok(frame) => all.push(frame.to_vec()),
                Err(refused) => return (all, Some(refused)),
            }
        }
        carried = frames.rest().to_vec();
        assert!(carried.len() < frame_max + 2);
    }
    (all, None)
}
