//! Numbers, texts and payloads in messages.

use std::str::FromStr;

use bytes::{Buf, Bytes};

/// Why a message was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the message is too short")]
    Truncated,
    #[error("bytes after the end")]
    Trailing,
    #[error("no such kind of message")]
    Kind,
    #[error("a field with a value that it cannot have")]
    Value,
    #[error("a text that is no name")]
    Text,
    #[error("the message, or a part of it, is too long")]
    TooLong,
}

pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(message: Bytes) -> Self {
        Self { rest: message }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let array = *self.rest.first_chunk().ok_or(WireError::Truncated)?;
        self.rest.advance(N);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A name behind its length in one byte.
    pub(crate) fn text<T: FromStr>(&mut self) -> Result<T, WireError> {
        let len = usize::from(self.u8()?);
        if len > self.rest.len() {
            return Err(WireError::Truncated);
        }
        let text = self.rest.split_to(len);
        let text = std::str::from_utf8(&text).map_err(|_| WireError::Text)?;
        text.parse().map_err(|_| WireError::Text)
    }

    /// What is left, at most `len_max` bytes of it: a part of the message, not copied.
    pub(crate) fn rest(&mut self, len_max: usize) -> Result<Bytes, WireError> {
        match self.rest.len() <= len_max {
            true => Ok(std::mem::take(&mut self.rest)),
            false => Err(WireError::TooLong),
        }
    }

    pub(crate) fn skip_rest(&mut self) {
        self.rest.clear();
    }

    pub(crate) fn end(self) -> Result<(), WireError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(WireError::Trailing),
        }
    }
}

/// Appends a name behind its length in one byte; names are shorter than 256 bytes by their types.
pub(crate) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
