//! The control stream of another node.

use lightstick_relay::framing::{FramingError, MESSAGE_BYTES_MAX, MessageReader, PREAMBLE, header};

/// The first byte says in which pieces the rest arrives. What is read does not depend on them, and is
/// what was written.
pub fn relay_control(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let (whole, end) = read(stream, stream.len());
    let (pieces, end_of_pieces) = read(stream, usize::from(size));
    assert_eq!((&whole, end), (&pieces, end_of_pieces));
    let mut written = PREAMBLE.to_vec();
    for message in &whole {
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        written.extend(header(message.len()).expect("it is not too large"));
        written.extend_from_slice(message);
    }
    if !whole.is_empty() {
        assert!(stream.starts_with(&written));
    }
}

fn read(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut reader = MessageReader::default();
    let mut messages = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        reader.push(piece);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_gets_past_the_checks() {
        let file = include_bytes!("../corpus/relay_control/messages");
        assert_eq!(read(&file[1..], 3).0.len(), 3);
    }
}
