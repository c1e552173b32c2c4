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
    pub max: usize,
}

/// Cuts what a TCP stream has brought into its whole frames, without a copy.
///
/// What [`rest`](Self::rest) is at the end belongs in front of what the stream brings next: one
/// unfinished frame, so fewer than `frame_max` + 2 bytes. Frames of no bytes are skipped: they keep
/// a connection open and mean nothing else (RFC 4571 section 2).
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    frame_max: usize,
}

impl<'a> Frames<'a> {
    /// The frames in `bytes`, each of up to `frame_max` bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8], frame_max: usize) -> Self {
        let rest = bytes;
        Self { rest, frame_max }
    }

    /// What has not been given out.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Frames<'a> {
    /// A frame that is too long is refused by its length alone, now and from then on.
    type Item = Result<&'a [u8], FrameTooLong>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (length, after) = self.rest.split_first_chunk::<LENGTH>()?;
            let len = usize::from(u16::from_be_bytes(*length));
            if len > self.frame_max {
                let max = self.frame_max;
                return Some(Err(FrameTooLong { len, max }));
            }
            let (frame, rest) = after.split_at_checked(len)?;
            self.rest = rest;
            if len > 0 {
                return Some(Ok(frame));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"\0\x05first\0\0\0\0\0\x02ab\0\x01c";

    #[test]
    fn frames_come_whole_however_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let (mut all, mut carried) = (Vec::new(), Vec::new());
            for chunk in STREAM.chunks(size) {
                carried.extend_from_slice(chunk);
                let mut frames = Frames::new(&carried, 5);
                for frame in &mut frames {
                    all.push(frame.unwrap().to_vec());
                }
                let rest = frames.rest().to_vec();
                assert!(rest.len() < LENGTH + 5);
                carried = rest;
            }
            assert_eq!(all, [&b"first"[..], b"ab", b"c"], "pushes of {size}");
            assert!(carried.is_empty());
        }
    }

    #[test]
    fn a_frame_above_the_limit_ends_the_stream() {
        // It is refused by its length alone, after the good frame before it.
        let mut frames = Frames::new(b"\0\x04good\0\x05", 4);
        assert_eq!(frames.next(), Some(Ok(&b"good"[..])));
        let refused = Some(Err(FrameTooLong { len: 5, max: 4 }));
        assert_eq!(frames.next(), refused);
        assert_eq!(frames.next(), refused);
    }
}
