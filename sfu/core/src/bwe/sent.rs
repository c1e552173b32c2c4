//! What was sent: a ring by transport-wide sequence number.

use super::Micros;

/// Packets that are remembered; the oldest makes room. At 5 Mbit/s that is two seconds, several
/// times what a feedback takes to come back.
pub(super) const REMEMBERED: usize = 1_024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Unknown,
    /// Reported missing. A packet that comes late may yet be reported as received.
    Lost,
    Received,
}

/// Eight bytes, so that a viewer's ring is 8 KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Low bits of the time of sending, in microseconds: unique for 71 minutes.
    at: u32,
    bytes: u16,
    fate: Fate,
}

/// What the ring takes, beside the estimator itself.
#[cfg(test)]
pub(super) const BYTES: usize = size_of::<[Entry; REMEMBERED]>();

/// A packet that a feedback spoke of, for the first time or with better news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Its number without wraps.
    pub(super) index: u64,
    pub(super) sent: Micros,
    pub(super) bytes: u32,
    /// An earlier feedback had called it lost.
    pub(super) was_lost: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    ring: Box<[Entry; REMEMBERED]>,
    /// Number of the next packet, without wraps.
    next: u64,
}

impl Sent {
    pub(super) fn new() -> Self {
        Self {
            ring: Box::new([Entry::default(); REMEMBERED]),
            next: 0,
        }
    }

    /// Number of the next packet, without wraps.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Notes a packet, over the one that is [`REMEMBERED`] older.
    #[inline]
    pub(super) fn push(&mut self, now: Micros, bytes: usize) -> u16 {
        let sequence = self.next as u16;
        self.ring[self.next as usize % REMEMBERED] = Entry {
            at: now as u32,
            bytes: bytes as u16,
            fate: Fate::Unknown,
        };
        self.next += 1;
        sequence
    }

    /// Hears what became of a packet. `None`: it is not remembered, was never sent, or this is
    /// known already.
    pub(super) fn settle(&mut self, now: Micros, sequence: u16, came: bool) -> Option<Settled> {
        let index = self.index_of(sequence)?;
        let entry = &mut self.ring[index as usize % REMEMBERED];
        let before = entry.fate;
        let news = match before {
            Fate::Unknown => true,
            Fate::Lost => came,
            Fate::Received => false,
        };
        if !news {
            return None;
        }
        entry.fate = if came { Fate::Received } else { Fate::Lost };
        Some(Settled {
            index,
            sent: unwrap(now, entry.at),
            bytes: u32::from(entry.bytes),
            was_lost: before == Fate::Lost,
        })
    }

    /// When packet `index` was sent, if it is remembered.
    pub(super) fn sent_at(&self, now: Micros, index: u64) -> Option<Micros> {
        let age = self.next.checked_sub(index)?;
        (1..=REMEMBERED as u64)
            .contains(&age)
            .then(|| unwrap(now, self.ring[index as usize % REMEMBERED].at))
    }

    /// Bits per second that left in the `span` before `now`, as far as it is remembered.
    pub(super) fn rate(&self, now: Micros, span: Micros) -> Option<f64> {
        let (mut bytes, mut oldest) = (0_u64, now);
        let known = self.next.min(REMEMBERED as u64);
        for index in (self.next - known..self.next).rev() {
            let entry = &self.ring[index as usize % REMEMBERED];
            let at = unwrap(now, entry.at);
            if now - at > span {
                oldest = now - span;
                break;
            }
            oldest = at;
            bytes += u64::from(entry.bytes);
        }
        let covered = now - oldest;
        (covered >= span / 2).then(|| bytes as f64 * 8e6 / covered as f64)
    }

    fn index_of(&self, sequence: u16) -> Option<u64> {
        let last = self.next.checked_sub(1)?;
        let back = u64::from((last as u16).wrapping_sub(sequence));
        if back >= REMEMBERED as u64 {
            return None;
        }
        last.checked_sub(back)
    }
}

/// The full time of an event not long before `now`, from its low bits.
fn unwrap(now: Micros, at: u32) -> Micros {
    now - Micros::from((now as u32).wrapping_sub(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_and_old_packets_are_forgotten() {
        let mut sent = Sent::new();
        for n in 0..70_000_i64 {
            assert_eq!(sent.push(n * 1_000, 100), n as u16);
        }
        let now = 70_000_000;
        // 69,999 is 4,463 on the wire; the oldest that is remembered is 68,976.
        assert_eq!(sent.settle(now, 4_463, true).unwrap().sent, 69_999_000);
        assert_eq!(sent.settle(now, 4_464, true), None, "never sent");
        assert_eq!(sent.settle(now, 3_440, true).unwrap().index, 68_976);
        assert_eq!(sent.settle(now, 3_439, true), None, "forgotten");
    }

    #[test]
    fn a_packet_is_news_once_and_better_news_once_more() {
        let mut sent = Sent::new();
        sent.push(5, 1_200);
        assert!(!sent.settle(10, 0, false).unwrap().was_lost);
        assert_eq!(sent.settle(10, 0, false), None);
        assert!(sent.settle(10, 0, true).unwrap().was_lost);
        assert_eq!(sent.settle(10, 0, true), None);
        assert_eq!(sent.settle(10, 0, false), None, "received stays received");
    }

    #[test]
    fn times_outlive_their_low_bits() {
        let mut sent = Sent::new();
        let at = (1 << 32) - 10;
        sent.push(at, 50);
        assert_eq!(sent.settle(at + 100, 0, true).unwrap().sent, at);
    }

    #[test]
    fn the_rate_covers_what_is_remembered() {
        let mut sent = Sent::new();
        assert_eq!(sent.rate(0, 1_000_000), None);
        for n in 0..2_000 {
            sent.push(n * 1_000, 125);
        }
        let rate = sent.rate(2_000_000, 1_000_000).unwrap();
        assert!((990_000.0..1_010_000.0).contains(&rate), "{rate}");
    }
}
