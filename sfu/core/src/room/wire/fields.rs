//! Numbers of fixed length in a message, and payloads.

use bytes::{Buf, Bytes};

/// A payload of less than one part in so many of its message is copied: it would keep all of that.
const PART: usize = 32;

/// Why a message was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("another version")]
    Version,
    #[error("the message is too short")]
    Truncated,
    #[error("bytes after the end")]
    Trailing,
    #[error("a time that cannot be")]
    Time,
    #[error("a field with a value that it cannot have")]
    Value,
    #[error("a payload that is not of its codec")]
    Payload,
}

pub(super) struct Reader {
    /// What is left of the message.
    rest: Bytes,
    /// Bytes of the whole message.
    whole: usize,
}

impl Reader {
    pub(super) fn new(message: Bytes) -> Self {
        let whole = message.len();
        Self {
            rest: message,
            whole,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<Bytes, WireError> {
        if len > self.rest.len() {
            return Err(WireError::Truncated);
        }
        let bytes = self.rest.split_to(len);
        match len < self.whole / PART {
            true => Ok(Bytes::copy_from_slice(&bytes)),
            false => Ok(bytes),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let array = *self.rest.first_chunk().ok_or(WireError::Truncated)?;
        self.rest.advance(N);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, WireError> {
        self.array().map(i64::from_be_bytes)
    }
}
