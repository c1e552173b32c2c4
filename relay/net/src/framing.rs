//! Messages on the control stream: each behind its length.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Largest message. A peer that announces a larger one is disconnected.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// What a control stream begins with: what this is, and the version of the framing.
pub const PREAMBLE: [u8; 4] = *b"LSR\x01";

/// Bytes of a length.
const LENGTH: usize = 4;

/// Why what a peer sends on its control stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// It does not begin with [`PREAMBLE`].
    #[error("not a control stream of this protocol")]
    Preamble,
    /// A message of more than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes")]
    Oversized(usize),
}

/// The bytes before a message of a length. `None`: it is too large.
#[must_use]
pub fn header(length: usize) -> Option<Bytes> {
    (length <= MESSAGE_BYTES_MAX).then(|| {
        let mut header = BytesMut::with_capacity(LENGTH);
        header.put_u32(length as u32);
        header.freeze()
    })
}

/// Finds messages in what arrives. It holds less than a message and what [`MessageReader::push`] was
/// given last.
#[derive(Debug, Default)]
pub struct MessageReader {
    buffer: BytesMut,
    begun: bool,
}

impl MessageReader {
    /// Adds what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads the preamble. Whether it is there.
    ///
    /// # Errors
    /// What arrived is not of this protocol.
    pub fn begin(&mut self) -> Result<bool, FramingError> {
        if !self.begun {
            let arrived = self.buffer.len().min(PREAMBLE.len());
            if self.buffer[..arrived] != PREAMBLE[..arrived] {
                return Err(FramingError::Preamble);
            }
            if arrived == PREAMBLE.len() {
                self.buffer.advance(PREAMBLE.len());
                self.begun = true;
            }
        }
        Ok(self.begun)
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// What arrived is not of this protocol. Nothing after it can be read.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, FramingError> {
        if !self.begin()? {
            return Ok(None);
        }
        let Some(length) = self.buffer.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(FramingError::Oversized(length));
        }
        if self.buffer.len() - LENGTH < length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(messages: &[&[u8]]) -> Vec<u8> {
        let mut stream = PREAMBLE.to_vec();
        for message in messages {
            stream.extend_from_slice(&header(message.len()).unwrap());
            stream.extend_from_slice(message);
        }
        stream
    }

    #[test]
    fn messages_in_any_pieces() {
        let largest = vec![7; MESSAGE_BYTES_MAX];
        let messages: [&[u8]; 4] = [b"one", b"", &largest, b"four"];
        let stream = stream(&messages);
        for size in [1, 3, 1_000, stream.len()] {
            let mut reader = MessageReader::default();
            let mut read = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(piece);
                while let Some(message) = reader.next_message().unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(read, messages, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_control_stream() {
        let mut reader = MessageReader::default();
        reader.push(b"LS");
        assert_eq!(reader.next_message(), Ok(None));
        reader.push(b"R\x02");
        assert_eq!(reader.next_message(), Err(FramingError::Preamble));
        let mut reader = MessageReader::default();
        reader.push(&stream(&[]));
        reader.push(&u32::MAX.to_be_bytes());
        assert_eq!(
            reader.next_message(),
            Err(FramingError::Oversized(0xffff_ffff))
        );
        assert_eq!(header(MESSAGE_BYTES_MAX + 1), None);
    }
}
