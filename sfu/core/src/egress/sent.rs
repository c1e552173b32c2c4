//! Which packets of a stream a viewer was sent, so that lost ones can be sent again.

use std::time::Duration;

use lightstick_types::Layer;

use crate::packet::MediaPacket;
use crate::rewrite::{Rewritten, Vp8Rewrite};

/// How one packet was sent: where it is kept, and what was changed in it. There are hundreds for
/// each viewer, so fields are as small as they can be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// Low bits of the publisher's sequence number.
    source_sequence: u32,
    source: u32,
    /// Sent timestamp less the publisher's.
    timestamp_offset: u32,
    /// When it was sent again last, in milliseconds of the session, plus one; 0: never.
    resent_ms: u32,
    sequence: u16,
    picture_id: u16,
    tl0_pic_idx: u8,
    layer: u8,
    flags: u8,
}

/// Something was sent with this number.
const USED: u8 = 1;
/// Its VP8 descriptor was rewritten.
const VP8: u8 = 2;
const PICTURE_ID: u8 = 4;
const TL0_PIC_IDX: u8 = 8;

impl Entry {
    fn new(packet: &MediaPacket, rewritten: &Rewritten) -> Self {
        let vp8 = rewritten.vp8;
        let picture_id = vp8.and_then(|vp8| vp8.picture_id);
        let tl0_pic_idx = vp8.and_then(|vp8| vp8.tl0_pic_idx);
        let flag = |set, flag| if set { flag } else { 0 };
        Self {
            source_sequence: packet.sequence as u32,
            source: packet.source,
            timestamp_offset: rewritten.timestamp.wrapping_sub(packet.timestamp),
            resent_ms: 0,
            sequence: rewritten.sequence as u16,
            picture_id: picture_id.unwrap_or_default(),
            tl0_pic_idx: tl0_pic_idx.unwrap_or_default(),
            layer: packet.layer.index() as u8,
            flags: USED
                | flag(vp8.is_some(), VP8)
                | flag(picture_id.is_some(), PICTURE_ID)
                | flag(tl0_pic_idx.is_some(), TL0_PIC_IDX),
        }
    }

    /// The packet's layer.
    pub(super) fn layer(&self) -> Layer {
        Layer::ALL[usize::from(self.layer)]
    }

    /// The publisher's sequence number, given the highest one of the layer.
    pub(super) fn source_sequence(&self, highest: u64) -> u64 {
        let back = (highest as u32).wrapping_sub(self.source_sequence);
        highest.saturating_sub(back.into())
    }

    /// Whether `packet` is the one that was sent.
    pub(super) fn is_of(&self, packet: &MediaPacket) -> bool {
        packet.source == self.source && packet.sequence as u32 == self.source_sequence
    }

    /// The numbers that the packet was sent with.
    pub(super) fn rewritten(&self, packet: &MediaPacket) -> Rewritten {
        let vp8 = Vp8Rewrite {
            picture_id: (self.flags & PICTURE_ID != 0).then_some(self.picture_id),
            tl0_pic_idx: (self.flags & TL0_PIC_IDX != 0).then_some(self.tl0_pic_idx),
        };
        Rewritten {
            sequence: self.sequence.into(),
            timestamp: packet.timestamp.wrapping_add(self.timestamp_offset),
            vp8: (self.flags & VP8 != 0).then_some(vp8),
            empty: false,
        }
    }
}

/// The last packets of one stream. It allocates once.
#[derive(Debug)]
pub(super) struct SentLog {
    entries: Box<[Entry]>,
}

impl SentLog {
    /// A log of the last `packets`, rounded up to a power of two.
    pub(super) fn new(packets: usize) -> Self {
        Self {
            entries: vec![Entry::default(); packets.next_power_of_two()].into_boxed_slice(),
        }
    }

    #[inline]
    pub(super) fn note(&mut self, packet: &MediaPacket, rewritten: &Rewritten) {
        let slot = self.slot(rewritten.sequence as u16);
        self.entries[slot] = Entry::new(packet, rewritten);
    }

    /// A packet that a viewer misses. `None`: it is too long ago, or was sent again less than
    /// `apart` before `now` (since the session's start) and may still arrive.
    pub(super) fn take(&mut self, sequence: u16, now: Duration, apart: Duration) -> Option<&Entry> {
        let slot = self.slot(sequence);
        let entry = &mut self.entries[slot];
        // Wraps after 49 days, and then at worst sends a packet too soon.
        let now = (now.as_millis() as u32).wrapping_add(1);
        let since = u128::from(now.wrapping_sub(entry.resent_ms));
        let soon = entry.resent_ms != 0 && since < apart.as_millis();
        if entry.flags & USED == 0 || entry.sequence != sequence || soon {
            return None;
        }
        entry.resent_ms = now.max(1);
        Some(entry)
    }

    /// A packet that was sent, whether or not it is missed.
    pub(super) fn get(&self, sequence: u16) -> Option<&Entry> {
        let entry = &self.entries[self.slot(sequence)];
        (entry.flags & USED != 0 && entry.sequence == sequence).then_some(entry)
    }

    fn slot(&self, sequence: u16) -> usize {
        usize::from(sequence) & (self.entries.len() - 1)
    }
}
