//! The transport-wide feedback that a viewer's browser sends: which packets came, and when.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1. What is read here is the
//! feedback control information: what follows the two SSRCs of an RTCP transport feedback packet
//! with FMT 15.

use thiserror::Error;

/// Most packets that one feedback may speak of. Run lengths let a few bytes claim 65,535 of them;
/// an honest receiver reports several times a second, and nobody remembers more than this.
pub const PACKETS_MAX: u16 = 8_192;

/// Base sequence number, status count, reference time and feedback packet count.
const HEADER_LEN: usize = 8;

/// Why a feedback was not read. Nothing of such a feedback is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FeedbackError {
    /// Shorter than its fixed header.
    #[error("the header is cut short")]
    Header,
    /// It speaks of no packet at all.
    #[error("it reports no packets")]
    Empty,
    /// It speaks of more than [`PACKETS_MAX`].
    #[error("it reports {0} packets, more than {PACKETS_MAX}")]
    TooMany(u16),
    /// The chunks end before every packet has its status.
    #[error("its chunks are cut short")]
    Chunks,
    /// A status that the draft reserves: how long its delta is cannot be known.
    #[error("a packet has a reserved status")]
    Reserved,
    /// The deltas end before every packet that came has one.
    #[error("its receive deltas are cut short")]
    Deltas,
}

/// A feedback whose every part is there, so that reading on cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Transport-wide sequence number of the first packet it speaks of.
    pub base_sequence: u16,
    /// How many packets it speaks of.
    pub packet_count: u16,
    /// The receiver's clock in steps of 64 ms, 24 bits, from an origin of its own.
    pub reference_time: u32,
    /// Counts the feedbacks of one receiver, and wraps.
    pub number: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// What a feedback says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketStatus {
    /// Transport-wide sequence number.
    pub sequence: u16,
    /// When it came, in steps of 250 us from the reference time; `None`: it has not come.
    pub arrival: Option<i32>,
}

impl<'a> Feedback<'a> {
    /// Reads a feedback and checks that it is whole. Bytes behind the last delta are padding.
    pub fn parse(fci: &'a [u8]) -> Result<Self, FeedbackError> {
        let (&[b0, b1, c0, c1, r0, r1, r2, number], rest) = fci
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(FeedbackError::Header)?;
        let packet_count = u16::from_be_bytes([c0, c1]);
        if packet_count == 0 {
            return Err(FeedbackError::Empty);
        }
        if packet_count > PACKETS_MAX {
            return Err(FeedbackError::TooMany(packet_count));
        }
        let (mut at, mut left, mut deltas_len) = (0, packet_count, 0);
        while left > 0 {
            let chunk = rest
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map(|chunk| Chunk::read(*chunk, left))
                .ok_or(FeedbackError::Chunks)?;
            at += 2;
            left -= chunk.left;
            deltas_len += chunk.deltas_len()?;
        }
        let (chunks, rest) = rest.split_at(at);
        let deltas = rest.get(..deltas_len).ok_or(FeedbackError::Deltas)?;
        Ok(Self {
            base_sequence: u16::from_be_bytes([b0, b1]),
            packet_count,
            reference_time: u32::from_be_bytes([0, r0, r1, r2]),
            number,
            chunks,
            deltas,
        })
    }

    /// The packets it speaks of, in the order of their sequence numbers.
    pub fn packets(&self) -> impl Iterator<Item = PacketStatus> + 'a {
        Packets {
            sequence: self.base_sequence,
            left: self.packet_count,
            chunk: Chunk::default(),
            chunks: self.chunks,
            deltas: self.deltas,
            time: 0,
        }
    }
}

/// A packet's status symbol, section 3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    NotReceived,
    SmallDelta,
    LargeDelta,
    Reserved,
}

impl Symbol {
    fn of(bits: u16) -> Self {
        match bits & 0b11 {
            0 => Self::NotReceived,
            1 => Self::SmallDelta,
            2 => Self::LargeDelta,
            _ => Self::Reserved,
        }
    }

    fn delta_len(self) -> Result<usize, FeedbackError> {
        match self {
            Self::NotReceived => Ok(0),
            Self::SmallDelta => Ok(1),
            Self::LargeDelta => Ok(2),
            Self::Reserved => Err(FeedbackError::Reserved),
        }
    }
}

/// What is left of a packet chunk, section 3.1.2.
#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    /// The symbols that are left, the next one topmost; of a run, its symbol.
    bits: u16,
    /// Bits of a symbol; 0 for a run.
    width: u8,
    left: u16,
}

impl Chunk {
    /// The last chunk may have room for more packets than the feedback speaks of: `limit`.
    fn read(bytes: [u8; 2], limit: u16) -> Self {
        let chunk = u16::from_be_bytes(bytes);
        let (bits, width, left) = match chunk >> 14 {
            // A run length chunk, section 3.1.3.
            0 | 1 => (chunk >> 13, 0, chunk & 0x1fff),
            // Status vectors of 14 symbols of one bit or 7 of two, section 3.1.4.
            2 => (chunk << 2, 1, 14),
            _ => (chunk << 2, 2, 7),
        };
        Self {
            bits,
            width,
            left: left.min(limit),
        }
    }

    fn next(&mut self) -> Option<Symbol> {
        self.left = self.left.checked_sub(1)?;
        let symbol = match self.width {
            0 => Symbol::of(self.bits),
            1 => Symbol::of(self.bits >> 15),
            _ => Symbol::of(self.bits >> 14),
        };
        self.bits <<= self.width;
        Some(symbol)
    }

    /// The bytes that the deltas of its packets take.
    fn deltas_len(mut self) -> Result<usize, FeedbackError> {
        if self.width == 0 {
            return Ok(usize::from(self.left) * Symbol::of(self.bits).delta_len()?);
        }
        let mut sum = 0;
        while let Some(symbol) = self.next() {
            sum += symbol.delta_len()?;
        }
        Ok(sum)
    }
}

#[derive(Clone, Debug)]
struct Packets<'a> {
    sequence: u16,
    left: u16,
    chunk: Chunk,
    chunks: &'a [u8],
    deltas: &'a [u8],
    /// Sum of the deltas so far: each is relative to the packet before, section 3.1.5.
    time: i32,
}

impl Iterator for Packets<'_> {
    type Item = PacketStatus;

    fn next(&mut self) -> Option<PacketStatus> {
        if self.left == 0 {
            return None;
        }
        // A chunk may be empty: a run of no packets.
        let symbol = loop {
            if let Some(symbol) = self.chunk.next() {
                break symbol;
            }
            let (chunk, rest) = self.chunks.split_first_chunk()?;
            self.chunk = Chunk::read(*chunk, self.left);
            self.chunks = rest;
        };
        let delta = match symbol {
            Symbol::SmallDelta => {
                let (&[delta], rest) = self.deltas.split_first_chunk()?;
                self.deltas = rest;
                Some(i32::from(delta))
            }
            Symbol::LargeDelta => {
                let (delta, rest) = self.deltas.split_first_chunk()?;
                self.deltas = rest;
                Some(i32::from(i16::from_be_bytes(*delta)))
            }
            Symbol::NotReceived | Symbol::Reserved => None,
        };
        let arrival = delta.map(|delta| {
            self.time += delta;
            self.time
        });
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.left -= 1;
        Some(PacketStatus { sequence, arrival })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fci: &[u8], want: &[(u16, Option<i32>)]) {
        let feedback = Feedback::parse(fci).unwrap();
        let got: Vec<_> = feedback
            .packets()
            .map(|packet| (packet.sequence, packet.arrival))
            .collect();
        assert_eq!(got, want, "{fci:02x?}");
    }

    #[test]
    fn every_kind_of_chunk_and_delta() {
        // A run of two with small deltas, and padding.
        check(
            &[0, 5, 0, 2, 0, 0, 1, 0, 0x20, 2, 4, 8, 0, 0],
            &[(5, Some(4)), (6, Some(12))],
        );
        // One-bit vector: came, missing, came; the sequence wraps.
        check(
            &[0xff, 0xff, 0, 3, 0, 0, 1, 0, 0b1010_1000, 0, 4, 8],
            &[(65_535, Some(4)), (0, None), (1, Some(12))],
        );
        // Two-bit vector: large negative, missing, small.
        check(
            &[0, 0, 0, 3, 0, 0, 1, 0, 0b1110_0001, 0, 0xff, 0xfe, 3],
            &[(0, Some(-2)), (1, None), (2, Some(1))],
        );
        // A run of none before a run of missing packets that is longer than the count.
        check(
            &[0, 9, 0, 2, 0, 0, 1, 0, 0x20, 0, 0x1f, 0xff],
            &[(9, None), (10, None)],
        );
    }

    #[test]
    fn header_fields() {
        let fci = [0x12, 0x34, 0, 1, 0xab, 0xcd, 0xef, 0x77, 0, 1];
        let feedback = Feedback::parse(&fci).unwrap();
        assert_eq!(feedback.base_sequence, 0x1234);
        assert_eq!(feedback.reference_time, 0x00ab_cdef);
        assert_eq!(feedback.number, 0x77);
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        let check = |fci: &[u8], want| assert_eq!(Feedback::parse(fci), Err(want), "{fci:02x?}");
        check(&[0; 7], FeedbackError::Header);
        check(&[0; 12], FeedbackError::Empty);
        check(
            &[0, 0, 0xff, 0xff, 0, 0, 0, 0, 0x1f, 0xff],
            FeedbackError::TooMany(65_535),
        );
        check(&[0, 0, 0, 1, 0, 0, 0, 0], FeedbackError::Chunks);
        check(&[0, 0, 0, 1, 0, 0, 0, 0, 0x20], FeedbackError::Chunks);
        check(
            &[0, 0, 0, 8, 0, 0, 0, 0, 0xc0, 0, 0x20],
            FeedbackError::Chunks,
        );
        check(
            &[0, 0, 0, 1, 0, 0, 0, 0, 0x60, 1, 1, 1],
            FeedbackError::Reserved,
        );
        check(
            &[0, 0, 0, 1, 0, 0, 0, 0, 0xf0, 0, 1, 1],
            FeedbackError::Reserved,
        );
        check(&[0, 0, 0, 1, 0, 0, 0, 0, 0x40, 1, 1], FeedbackError::Deltas);
        check(
            &[0, 0, 0x20, 0, 0, 0, 0, 0, 0x3f, 0xff, 0x20, 1],
            FeedbackError::Deltas,
        );
    }

    #[test]
    fn symbols_behind_the_last_packet_are_padding() {
        // The reserved symbol stands in the vector's unused part.
        check(&[0, 0, 0, 1, 0, 0, 0, 0, 0xdf, 0xff, 7], &[(0, Some(7))]);
    }
}
