//! Datagrams on a TCP stream, each behind 16 bits of length: RFC 4571, as ICE-TCP uses it
//! (RFC 6544 section 3).

/// Bytes of the length in front of each frame.
const LENGTH: usize = 2;

/// The peer announced a frame above the limit. The stream cannot be read on: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, more than {max}")]
pub struct FrameTooLong {
    /// What the peer announced, in bytes.
    pub len: usize,
    /// The limit.
    pub max: usize,
}

/// Cuts one TCP stream into frames.
///
/// After each [`push`](Self::push), call [`poll`](Self::poll) until it has nothing more to give.
/// Then never more than one unfinished frame is held, and memory stays below
/// `frame_max` + 2 bytes + the largest push.
#[derive(Clone, Debug)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// Bytes at the buffer's start that have been given out.
    done: usize,
    frame_max: usize,
}

impl Deframer {
    /// A stream without a byte yet, with frames of up to `frame_max` bytes.
    #[must_use]
    pub fn new(frame_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            done: 0,
            frame_max,
        }
    }

    /// Takes bytes as they came from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done);
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or none until more bytes are pushed. Frames of no bytes are skipped:
    /// they keep a connection open and mean nothing else (RFC 4571 section 2).
    ///
    /// # Errors
    /// [`FrameTooLong`], now and from then on.
    pub fn poll(&mut self) -> Result<Option<&[u8]>, FrameTooLong> {
        loop {
            let rest = &self.buffer[self.done..];
            let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
                return Ok(None);
            };
            let len = usize::from(u16::from_be_bytes(*length));
            if len > self.frame_max {
                let max = self.frame_max;
                return Err(FrameTooLong { len, max });
            }
            if rest.len() < len {
                return Ok(None);
            }
            let start = self.done + LENGTH;
            self.done = start + len;
            if len > 0 {
                return Ok(Some(&self.buffer[start..self.done]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"\0\x05first\0\0\0\0\0\x02ab\0\x01c";

    fn frames(deframer: &mut Deframer) -> Result<Vec<Vec<u8>>, FrameTooLong> {
        let mut frames = Vec::new();
        while let Some(frame) = deframer.poll()? {
            frames.push(frame.to_vec());
        }
        Ok(frames)
    }

    #[test]
    fn frames_come_whole_however_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let mut deframer = Deframer::new(5);
            let mut all = Vec::new();
            for chunk in STREAM.chunks(size) {
                deframer.push(chunk);
                all.extend(frames(&mut deframer).unwrap());
                assert!(deframer.buffer.len() - deframer.done < LENGTH + 5);
            }
            assert_eq!(all, [&b"first"[..], b"ab", b"c"], "pushes of {size}");
        }
    }

    #[test]
    fn an_unfinished_frame_waits() {
        let mut deframer = Deframer::new(1_500);
        deframer.push(b"\0\x04fra");
        assert_eq!(deframer.poll(), Ok(None));
        deframer.push(b"m\0");
        assert_eq!(deframer.poll(), Ok(Some(&b"fram"[..])));
        assert_eq!(deframer.poll(), Ok(None));
    }

    #[test]
    fn a_frame_above_the_limit_ends_the_stream() {
        let mut deframer = Deframer::new(4);
        // It is refused by its length alone, after the good frame before it.
        deframer.push(b"\0\x04good\0\x05");
        assert_eq!(deframer.poll(), Ok(Some(&b"good"[..])));
        let refused = Err(FrameTooLong { len: 5, max: 4 });
        assert_eq!(deframer.poll(), refused);
        deframer.push(b"worse\0\x01x");
        assert_eq!(deframer.poll(), refused);
    }

    #[test]
    fn memory_stays_bounded() {
        let mut deframer = Deframer::new(1_200);
        let mut frame = vec![0x04, 0xb0];
        frame.resize(2 + 1_200, 7);
        let stream: Vec<u8> = frame.iter().copied().cycle().take(1 << 20).collect();
        for chunk in stream.chunks(4_000) {
            deframer.push(chunk);
            frames(&mut deframer).unwrap();
        }
        assert!(deframer.buffer.capacity() <= 16_384);
    }
}
