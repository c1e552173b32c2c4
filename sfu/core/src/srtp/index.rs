//! Packet indices: each can be used once.

/// A place in a stream that was given out for one packet. Sealing takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct PacketIndex {
    ssrc: u32,
    index: u64,
}

impl PacketIndex {
    /// The stream's SSRC.
    #[inline]
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The sequence number on the wire.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> u16 {
        self.index as u16
    }

    /// Roll-over count and sequence number: 48 bits (RFC 3711 section 3.3.1).
    #[inline]
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }
}

const WORDS: usize = 8;
/// How far behind the highest index one may still be claimed.
const WINDOW: u64 = WORDS as u64 * 64;
const INDEX_MAX: u64 = (1 << 48) - 1;

/// One SSRC's indices under one key. There is no second one: see [`Sealer::stream`].
///
/// [`Sealer::stream`]: super::Sealer::stream
#[derive(Debug)]
pub struct SendStream {
    ssrc: u32,
    /// One more than the highest index that was claimed.
    next: u64,
    /// A bit for each index of the last [`WINDOW`], at `index % WINDOW`.
    claimed: [u64; WORDS],
}

impl SendStream {
    pub(super) fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            next: 0,
            claimed: [0; WORDS],
        }
    }

    /// The stream's SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Claims an index. `None`: it was claimed before, is too old to tell, or does not fit into
    /// 48 bits.
    #[inline]
    pub fn claim(&mut self, index: u64) -> Option<PacketIndex> {
        if index > INDEX_MAX {
            return None;
        }
        if index >= self.next {
            // Almost always by one. Whatever is jumped over can still be claimed.
            let cleared = (index - self.next + 1).min(WINDOW);
            for free in index + 1 - cleared..=index {
                self.claimed[slot(free)] &= !bit(free);
            }
            self.next = index + 1;
        } else if self.next - index > WINDOW || self.claimed[slot(index)] & bit(index) != 0 {
            return None;
        }
        self.claimed[slot(index)] |= bit(index);
        Some(PacketIndex {
            ssrc: self.ssrc,
            index,
        })
    }

    /// Claims the index after the highest one. `None` after 2^48 packets.
    #[inline]
    pub fn claim_next(&mut self) -> Option<PacketIndex> {
        self.claim(self.next)
    }
}

fn slot(index: u64) -> usize {
    (index % WINDOW / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_index_is_given_out_twice() {
        let mut stream = SendStream::new(7);
        let mut given = HashSet::new();
        // A walk with jumps ahead, repeats and steps back, all over the window's edges.
        let mut state = 0x1234_5678_u64;
        let mut at = 0_u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let step = state >> 33;
            at = match step % 16 {
                0 => at + step % 2_000,
                1..=2 => at.saturating_sub(step % 700),
                _ => at + 1,
            };
            if let Some(index) = stream.claim(at) {
                assert_eq!((index.ssrc(), index.index()), (7, at));
                assert!(given.insert(at), "{at} was given out before");
            }
        }
        assert!(given.len() > 50_000, "{}", given.len());
    }

    #[test]
    fn a_late_packet_finds_its_place_free() {
        let mut stream = SendStream::new(1);
        assert!(stream.claim(1).is_some());
        assert!(stream.claim(4).is_some());
        assert!(stream.claim(2).is_some());
        assert!(stream.claim(2).is_none());
        assert_eq!(stream.claim_next().map(|i| i.index()), Some(5));
        assert!(stream.claim(5 + WINDOW).is_some());
        assert!(stream.claim(5).is_none());
        assert!(stream.claim(6).is_some());
    }

    #[test]
    fn the_last_index_is_the_last() {
        let mut stream = SendStream::new(1);
        assert!(stream.claim(INDEX_MAX + 1).is_none());
        assert_eq!(stream.claim(INDEX_MAX).map(|i| i.sequence()), Some(0xFFFF));
        assert!(stream.claim_next().is_none());
    }
}
