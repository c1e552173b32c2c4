//! Numbers in a message, and payloads.

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

    /// A number of seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(WireError::Value);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Value)
    }

    pub(super) fn varint32(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.varint()?).map_err(|_| WireError::Value)
    }

    /// A number that may be negative: its sign is the lowest bit.
    pub(super) fn signed(&mut self) -> Result<i64, WireError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(super) fn end(&self) -> Result<(), WireError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(WireError::Trailing),
        }
    }
}

pub(super) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn write_signed(value: i64, out: &mut Vec<u8>) {
    write_varint(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}
