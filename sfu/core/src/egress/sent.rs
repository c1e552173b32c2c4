//! Which packets of a stream a viewer was sent, so that lost ones can be sent again.

use std::time::Duration;

use lightstick_types::{SourceId, StreamId};

use crate::packet::MediaPacket;
use crate::rewrite::{Rewritten, Vp8Rewrite};

/// How one packet was sent. There are hundreds for each viewer, so fields are as small as they can
/// be.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Low bits of the publisher's sequence number.
    source_sequence: u32,
    /// Sent timestamp less the publisher's.
    timestamp_offset: u32,
    sequence: u16,
    picture_id: u16,
    /// When it was sent again last, in milliseconds of the session, modulo 2^16; 0: never.
    resent_ms: u16,
    tl0_pic_idx: u8,
    /// [`USED`] and the like, and the number of its origin.
    flags: u8,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// Something was sent with this number.
const USED: u8 = 0x80;
/// Its VP8 descriptor was rewritten.
const VP8: u8 = 0x40;
const PICTURE_ID: u8 = 0x20;
const TL0_PIC_IDX: u8 = 0x10;
const ORIGIN: u8 = 0x07;

/// Where a run of packets came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    source: SourceId,
    stream: StreamId,
}

/// A packet that was sent: where it is kept, and the numbers it had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    entry: Entry,
    origin: Origin,
}

impl Sent {
    /// The stream that the packet was of.
    pub(super) fn stream(&self) -> StreamId {
        self.origin.stream
    }

    /// The publisher's sequence number, given the highest one of the stream.
    pub(super) fn source_sequence(&self, highest: u64) -> u64 {
        let back = (highest as u32).wrapping_sub(self.entry.source_sequence);
        highest.saturating_sub(back.into())
    }

    /// Whether `packet` is the one that was sent.
    pub(super) fn is_of(&self, packet: &MediaPacket) -> bool {
        packet.source == self.origin.source && packet.sequence as u32 == self.entry.source_sequence
    }

    /// The numbers that the packet was sent with.
    pub(super) fn rewritten(&self, packet: &MediaPacket) -> Rewritten {
        let entry = &self.entry;
        let vp8 = Vp8Rewrite {
            picture_id: (entry.flags & PICTURE_ID != 0).then_some(entry.picture_id),
            tl0_pic_idx: (entry.flags & TL0_PIC_IDX != 0).then_some(entry.tl0_pic_idx),
        };
        Rewritten {
            sequence: entry.sequence.into(),
            timestamp: packet.timestamp.wrapping_add(entry.timestamp_offset),
            sampled_at: packet.sampled_at,
            vp8: (entry.flags & VP8 != 0).then_some(vp8),
            empty: false,
        }
    }
}

/// The last packets of one stream. It allocates once.
#[derive(Debug)]
pub(super) struct SentLog {
    entries: Box<[Entry]>,
    /// The last origins. A viewer changes its stream a few times a minute; what came from further
    /// back is not sent again.
    origins: [Option<Origin>; ORIGIN as usize + 1],
    origin: u8,
}

impl SentLog {
    /// A log of the last `packets`, rounded up to a power of two.
    pub(super) fn new(packets: usize) -> Self {
        Self {
            entries: vec![Entry::default(); packets.next_power_of_two()].into_boxed_slice(),
            origins: Default::default(),
            origin: 0,
        }
    }

    #[inline]
    pub(super) fn note(&mut self, packet: &MediaPacket, rewritten: &Rewritten) {
        let sequence = rewritten.sequence as u16;
        let origin = Origin {
            source: packet.source,
            stream: packet.stream,
        };
        if self.origins[usize::from(self.origin)] != Some(origin) {
            self.begin(origin);
        }
        let vp8 = rewritten.vp8;
        let picture_id = vp8.and_then(|vp8| vp8.picture_id);
        let tl0_pic_idx = vp8.and_then(|vp8| vp8.tl0_pic_idx);
        let flag = |set, flag| if set { flag } else { 0 };
        let slot = self.slot(sequence);
        self.entries[slot] = Entry {
            source_sequence: packet.sequence as u32,
            timestamp_offset: rewritten.timestamp.wrapping_sub(packet.timestamp),
            sequence,
            picture_id: picture_id.unwrap_or_default(),
            resent_ms: 0,
            tl0_pic_idx: tl0_pic_idx.unwrap_or_default(),
            flags: USED
                | flag(vp8.is_some(), VP8)
                | flag(picture_id.is_some(), PICTURE_ID)
                | flag(tl0_pic_idx.is_some(), TL0_PIC_IDX)
                | self.origin,
        };
    }

    /// Gives an origin a place, and forgets what came from the one that had it.
    #[cold]
    fn begin(&mut self, origin: Origin) {
        self.origin = (self.origin + 1) & ORIGIN;
        self.origins[usize::from(self.origin)] = Some(origin);
        for entry in &mut self.entries {
            if entry.flags & ORIGIN == self.origin {
                entry.flags = 0;
            }
        }
    }

    /// A packet that a viewer misses. `None`: it is too long ago, or was sent again less than
    /// `apart` before `now` (since the session's start) and may still arrive.
    pub(super) fn take(&mut self, sequence: u16, now: Duration, apart: Duration) -> Option<Sent> {
        let sent = self.get(sequence)?;
        // Wraps after 65 seconds, and then at worst keeps one packet back for once.
        let now = (now.as_millis() as u16).max(1);
        let since = now.wrapping_sub(sent.entry.resent_ms);
        if sent.entry.resent_ms != 0 && u128::from(since) < apart.as_millis() {
            return None;
        }
        let slot = self.slot(sequence);
        self.entries[slot].resent_ms = now;
        Some(sent)
    }

    /// A packet that was sent, whether or not it is missed.
    pub(super) fn get(&self, sequence: u16) -> Option<Sent> {
        let entry = self.entries[self.slot(sequence)];
        if entry.flags & USED == 0 || entry.sequence != sequence {
            return None;
        }
        let origin = self.origins[usize::from(entry.flags & ORIGIN)]?;
        Some(Sent { entry, origin })
    }

    fn slot(&self, sequence: u16) -> usize {
        usize::from(sequence) & (self.entries.len() - 1)
    }
}
