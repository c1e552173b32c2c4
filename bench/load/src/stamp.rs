//! What every synthetic packet carries: when it was sent, and as the how-manieth of its track.

use rustix::time::{ClockId, clock_gettime};

/// A stamp's length on the wire, in bytes.
pub const STAMP_LEN: usize = 18;

/// Bytes of filler that exist; a packet takes a run of them from an offset given by its number.
const FILLER_LEN: usize = 8_192;

/// Highest offset a run starts at. No packet is longer than the rest.
const FILLER_STARTS: u32 = 4_093;

const MAGIC: [u8; 4] = [0xCC, 0xB3, 0xE2, 0x97];
const KEYFRAME: u8 = 1;

static FILLER: [u8; FILLER_LEN] = filler();

/// When a packet was sent and which of its track it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `CLOCK_MONOTONIC` at sending, in microseconds: comparable on one machine only.
    pub sent_us: u64,
    /// Counts the packets of one track of one publisher, from 0, without gaps.
    pub seq: u32,
    /// The packet belongs to a keyframe.
    pub keyframe: bool,
}

/// A stamp as it was found in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub stamp: Stamp,
    /// Every byte behind it is as it was sent.
    pub intact: bool,
}

/// `CLOCK_MONOTONIC`, in microseconds.
#[must_use]
pub fn now_us() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000
}

/// Microseconds since 1970, the clock of the kernel's receive times.
#[must_use]
pub fn epoch_us() -> u64 {
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000
}

impl Stamp {
    /// Appends the stamp and then filler, until `out` has `len` bytes.
    ///
    /// No byte of either is below 0x80: the result can hold no start code of H.264 and needs no
    /// emulation prevention. A `len` too small for the stamp is exceeded.
    pub fn write(self, out: &mut Vec<u8>, len: usize) {
        out.extend_from_slice(&MAGIC);
        out.extend((0..8).map(|i| 0x80 | (self.sent_us >> (7 * i)) as u8));
        out.extend((0..5).map(|i| 0x80 | (u64::from(self.seq) >> (7 * i)) as u8));
        out.push(0x80 | if self.keyframe { KEYFRAME } else { 0 });
        let rest = len.saturating_sub(out.len());
        out.extend_from_slice(run(self.seq, rest));
    }

    /// Reads a stamp from the start of `bytes`; what follows it must be its filler.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Found> {
        let (stamp, rest) = bytes.split_at_checked(STAMP_LEN)?;
        let (magic, stamp) = stamp.split_at(MAGIC.len());
        if magic != MAGIC {
            return None;
        }
        let group = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |sum, b| sum << 7 | u64::from(b & 0x7F))
        };
        let stamp = Self {
            sent_us: group(&stamp[..8]),
            seq: group(&stamp[8..13]) as u32,
            keyframe: stamp[13] & KEYFRAME != 0,
        };
        let intact =
            rest.len() <= FILLER_LEN - FILLER_STARTS as usize && rest == run(stamp.seq, rest.len());
        Some(Found { stamp, intact })
    }
}

fn run(seq: u32, len: usize) -> &'static [u8] {
    let start = (seq % FILLER_STARTS) as usize;
    &FILLER[start..start + len]
}

/// Incompressible bytes, all of them at least 0x80.
const fn filler() -> [u8; FILLER_LEN] {
    let mut bytes = [0; FILLER_LEN];
    let mut x: u32 = 0x9E37_79B9;
    let mut i = 0;
    while i < FILLER_LEN {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = 0x80 | (x >> 11) as u8;
        i += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seq: u32, len: usize) -> (Stamp, Vec<u8>) {
        let stamp = Stamp {
            sent_us: 1_234_567_890_123,
            seq,
            keyframe: seq.is_multiple_of(2),
        };
        let mut out = Vec::new();
        stamp.write(&mut out, len);
        (stamp, out)
    }

    #[test]
    fn round_trips_at_every_length() {
        for (seq, len) in [
            (0, 18),
            (1, 19),
            (4_092, 1_200),
            (u32::MAX, 1_200),
            (7, 4_000),
        ] {
            let (stamp, out) = written(seq, len);
            assert_eq!(out.len(), len);
            let intact = true;
            assert_eq!(Stamp::read(&out), Some(Found { stamp, intact }));
            assert!(out.iter().all(|b| *b >= 0x80));
        }
    }

    #[test]
    fn damage_is_seen() {
        let (_, mut out) = written(9, 300);
        out[200] ^= 1;
        assert!(!Stamp::read(&out).unwrap().intact);
        out[0] ^= 1;
        assert_eq!(Stamp::read(&out), None);
        assert_eq!(Stamp::read(&out[..10]), None);
    }

    #[test]
    fn a_packet_under_another_number_is_damage() {
        let (_, mut out) = written(9, 300);
        out[12] = 0x80 | 10;
        assert!(!Stamp::read(&out).unwrap().intact);
    }
}
