//! Redundant audio, RFC 2198: older blocks before the newest one.

use super::{PayloadInfo, opus};

/// The newest block of a RED payload: what a receiver without RED should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Primary {
    /// Payload type of the block, as the sender numbers it.
    pub payload_type: u8,
    /// Where its bytes begin in the payload. They go on to its end.
    pub start: u16,
}

impl Primary {
    /// Its bytes, out of the payload that it was found in.
    #[must_use]
    #[inline]
    pub fn of(self, payload: &[u8]) -> Option<&[u8]> {
        payload.get(usize::from(self.start)..)
    }
}

/// Finds the newest block. `None` when the headers do not fit the payload, or the block is empty.
#[must_use]
pub fn primary(payload: &[u8]) -> Option<Primary> {
    let mut at = 0;
    let mut redundant = 0;
    // RFC 2198 section 3: the F bit says whether another block header follows.
    while let [first, rest @ ..] = payload.get(at..)? {
        if first & 0x80 == 0 {
            let start = at + 1 + redundant;
            return (start < payload.len())
                .then(|| u16::try_from(start).ok())
                .flatten()
                .map(|start| Primary {
                    payload_type: first & 0x7f,
                    start,
                });
        }
        let [_, high, low, ..] = *rest else {
            return None;
        };
        redundant += usize::from(high & 0x03) << 8 | usize::from(low);
        at += 4;
    }
    None
}

/// A RED payload is one whose newest block can be found.
pub(super) fn inspect(payload: &[u8]) -> Option<PayloadInfo> {
    primary(payload).map(|_| opus::audio())
}
