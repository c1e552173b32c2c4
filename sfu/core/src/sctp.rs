//! What of a peer's SCTP reaches the stack (RFC 9260).
//!
//! The stack keeps a record for each stream that data comes in on and for each association that is
//! asked for, and sorts the pieces of messages that are not whole at every further piece. Its own
//! bounds are far above what a chat needs, and a peer chooses what it sends. So packets are looked
//! at before, and those beyond what a client of ours ever sends are refused: to the peer they are
//! lost on the way, and its congestion control makes it slow down.

use std::time::{Duration, Instant};

use lightstick_types::rate::{Bucket, Limit};

/// Streams that data may come in on: peers number theirs from 0 and reuse them, and a client of
/// ours opens three.
pub const STREAMS_MAX: u16 = 64;
/// Associations that a peer may request. One is the rule; the rest is for a peer that restarts.
pub const ASSOCIATIONS_MAX: usize = 4;
/// Pieces of data: a client of ours sends a few requests in a second, the longest of four pieces.
pub const DATA: Limit = Limit {
    every: Duration::from_millis(5),
    burst: 512,
};
/// Shortest piece that others follow, in bytes: stacks cut messages to the length of a packet.
pub const PIECE_BYTES_MIN: usize = 256;
/// Pieces that end a message which they do not begin. Each beginning earns one, and so does time,
/// for what is sent twice.
const ENDS: Limit = Limit {
    every: Duration::from_secs(1),
    burst: 64,
};

const HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;
const DATA_HEADER: usize = 16;
const CHUNK_DATA: u8 = 0;
const CHUNK_INIT: u8 = 1;
const BEGINS: u8 = 2;
const FINISHES: u8 = 1;

/// Looks at the packets of one peer.
#[derive(Debug, Default)]
pub struct Guard {
    /// Initiate tags of the associations that were asked for.
    tags: Vec<u32>,
    data: Bucket,
    ends: Bucket,
    /// Ends that beginnings have earned.
    ends_earned: u32,
}

impl Guard {
    /// Whether a packet may go to the stack. One that is broken may: the stack refuses it.
    pub fn admits(&mut self, packet: &[u8], now: Instant) -> bool {
        let mut rest = packet.get(HEADER..).unwrap_or_default();
        while let [kind, flags, high, low, ..] = *rest {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some(chunk) = rest.get(..length).filter(|_| length >= CHUNK_HEADER) else {
                break;
            };
            let admitted = match kind {
                CHUNK_DATA => self.admits_data(flags, chunk, now),
                CHUNK_INIT => self.admits_init(chunk),
                _ => true,
            };
            if !admitted {
                return false;
            }
            // Chunks are padded to four bytes (RFC 9260 section 3.2).
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        true
    }

    fn admits_data(&mut self, flags: u8, chunk: &[u8], now: Instant) -> bool {
        if chunk.len() < DATA_HEADER {
            return true;
        }
        let stream = u16::from_be_bytes([chunk[8], chunk[9]]);
        if stream >= STREAMS_MAX || !self.data.take(now, DATA) {
            return false;
        }
        let (begins, finishes) = (flags & BEGINS != 0, flags & FINISHES != 0);
        match (begins, finishes) {
            (true, true) => true,
            (true, false) if chunk.len() - DATA_HEADER >= PIECE_BYTES_MIN => {
                self.ends_earned = (self.ends_earned + 1).min(ENDS.burst);
                true
            }
            (_, false) => chunk.len() - DATA_HEADER >= PIECE_BYTES_MIN,
            (false, true) if self.ends_earned > 0 => {
                self.ends_earned -= 1;
                true
            }
            (false, true) => self.ends.take(now, ENDS),
        }
    }

    fn admits_init(&mut self, chunk: &[u8]) -> bool {
        let Some(&[a, b, c, d]) = chunk.get(4..8) else {
            return true;
        };
        let tag = u32::from_be_bytes([a, b, c, d]);
        if self.tags.contains(&tag) {
            return true;
        }
        let room = self.tags.len() < ASSOCIATIONS_MAX;
        if room {
            self.tags.push(tag);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u8 = BEGINS | FINISHES;

    fn chunk(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        let mut chunk = vec![kind, flags];
        chunk.extend_from_slice(&((body.len() + CHUNK_HEADER) as u16).to_be_bytes());
        chunk.extend_from_slice(body);
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        chunk
    }

    fn data(flags: u8, stream: u16, payload: usize) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend_from_slice(&stream.to_be_bytes());
        body.extend_from_slice(&[0; 6]);
        body.resize(body.len() + payload, 7);
        chunk(CHUNK_DATA, flags, &body)
    }

    fn init(tag: u32) -> Vec<u8> {
        let mut body = tag.to_be_bytes().to_vec();
        body.extend_from_slice(&[0; 12]);
        chunk(CHUNK_INIT, 0, &body)
    }

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; HEADER], chunks.concat()].concat()
    }

    #[track_caller]
    fn check(guard: &mut Guard, now: Instant, chunks: &[Vec<u8>], admitted: bool) {
        assert_eq!(guard.admits(&packet(chunks), now), admitted, "{chunks:?}");
    }

    #[test]
    fn streams_and_associations_are_few() {
        let now = Instant::now();
        let mut guard = Guard::default();
        check(&mut guard, now, &[data(WHOLE, STREAMS_MAX - 1, 3)], true);
        check(&mut guard, now, &[data(WHOLE, STREAMS_MAX, 3)], false);
        // However deep in the packet, and behind chunks of odd length.
        let deep = [data(WHOLE, 0, 3), chunk(3, 0, &[1]), data(WHOLE, 65_535, 9)];
        check(&mut guard, now, &deep, false);
        for tag in 1..=4 {
            check(&mut guard, now, &[init(tag)], true);
        }
        check(&mut guard, now, &[init(5)], false);
        check(&mut guard, now, &[init(1)], true);
    }

    #[test]
    fn a_flood_is_cut_to_the_rate() {
        let start = Instant::now();
        let mut guard = Guard::default();
        let many = packet(&vec![data(WHOLE, 1, 20); 8]);
        let mut passed = 0;
        for ms in 0..10_000 {
            passed += usize::from(guard.admits(&many, start + Duration::from_millis(ms)));
        }
        // What was taken for a packet that is refused at last is not given back.
        let pieces = 10_000 / DATA.every.as_millis() as usize + DATA.burst as usize;
        assert!(
            passed * 8 <= pieces && passed * 8 >= DATA.burst as usize,
            "{passed}"
        );
    }

    #[test]
    fn whole_messages_of_any_length_pass() {
        let start = Instant::now();
        let mut guard = Guard::default();
        for n in 0..1_000 {
            let now = start + Duration::from_millis(n * 50);
            check(&mut guard, now, &[data(BEGINS, 2, 1_100)], true);
            check(&mut guard, now, &[data(0, 2, 1_100)], true);
            check(&mut guard, now, &[data(FINISHES, 2, 1)], true);
        }
    }

    #[test]
    fn crumbs_are_refused() {
        let start = Instant::now();
        let mut guard = Guard::default();
        check(&mut guard, start, &[data(BEGINS, 0, 1)], false);
        check(&mut guard, start, &[data(0, 0, 255)], false);
        let ends = (0..1_000)
            .map(|n| start + Duration::from_millis(n * 5))
            .filter(|now| guard.admits(&packet(&[data(FINISHES, 0, 1)]), *now));
        assert_eq!(ends.count(), 64 + 4);
    }

    #[test]
    fn what_is_broken_is_left_to_the_stack() {
        let now = Instant::now();
        let mut guard = Guard::default();
        for bytes in [&[][..], &[0; 11], &[0; 12], &[0; 14], &[0; 16], &[255; 40]] {
            assert!(guard.admits(bytes, now), "{bytes:?}");
        }
        let mut short = packet(&[data(WHOLE, 99, 4)]);
        short.truncate(HEADER + 12);
        assert!(guard.admits(&short, now));
        assert!(guard.admits(&packet(&[chunk(CHUNK_INIT, 0, &[1])]), now));
    }
}
