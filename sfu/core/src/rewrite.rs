//! Renumbering: a viewer sees one stream with continuous sequence numbers, timestamps and
//! VP8 picture ids, whatever sources and layers it is made of.

mod skipped;

use std::time::{Duration, Instant};

use crate::packet::MediaPacket;
use skipped::Skipped;

/// Values for the VP8 payload descriptor, RFC 7741 section 4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Rewrite {
    /// Fits the width that the descriptor has on the wire.
    pub picture_id: Option<u16>,
    /// `TL0PICIDX`.
    pub tl0_pic_idx: Option<u8>,
}

/// How a packet leaves for one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Sequence number, roll-overs counted.
    pub sequence: u64,
    pub timestamp: u32,
    /// When that was, as far as this viewer is told.
    pub sampled_at: Instant,
    /// For VP8, what to write into the descriptor; none when it may stay as it is.
    pub vp8: Option<Vp8Rewrite>,
    /// Nothing but the number is sent: it was kept free for a packet that turned out to be left out.
    pub empty: bool,
}

/// Highest first sequence number: far below 2^15, so that neither the receiver's roll-over guess
/// (RFC 3711 section 3.3.1) nor ours can go wrong at the start.
const FIRST_SEQUENCE: u64 = 1;

/// A gap of more than this in a source is a jump of its numbering, not a loss.
const JUMP_MAX: u64 = 3_000;

/// Renumbers the packets of one viewer's track.
#[derive(Clone, Debug)]
pub struct Rewriter {
    clock_rate: u32,
    /// The highest packet sent so far.
    last: Option<Last>,
    /// What to subtract from the present segment; `None` before its first packet.
    segment: Option<Segment>,
    /// What was left out of the present segment: each packet before it stands one higher than
    /// `sequence_offset` says.
    skipped: Skipped,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    timestamp: u32,
    sampled_at: Instant,
    picture_id: u16,
    tl0_pic_idx: u8,
}

#[derive(Clone, Debug)]
struct Segment {
    /// First input sequence number of the segment: older packets belong to nobody any more.
    first_in: u64,
    /// Highest input sequence number seen.
    highest_in: u64,
    /// output = input + this, wrapping, for packets after the last one that was left out.
    sequence_offset: u64,
    timestamp_offset: u32,
    /// As `sequence_offset`, of pictures.
    picture_id_offset: u16,
    tl0_offset: u8,
}

impl Rewriter {
    /// A rewriter for a track with the given RTP clock, in hertz.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            last: None,
            segment: None,
            skipped: Skipped::new(),
        }
    }

    /// Ends the present segment: the next packet may come from anywhere and will follow on.
    pub fn cut(&mut self) {
        self.segment = None;
        self.skipped.clear();
    }

    /// Leaves out a packet of the present segment: padding, or a part of a picture that is left out
    /// whole. Ahead of all others it leaves no gap in the output, nor among the picture ids. For an
    /// older one a number is kept free already: that comes back, to be sent [`empty`](Rewritten::empty).
    pub fn skip(&mut self, packet: &MediaPacket) -> Option<Rewritten> {
        let segment = self.segment.as_mut()?;
        let sequence = packet.sequence;
        if sequence <= segment.highest_in {
            let rewritten = self.rewrite(packet)?;
            return Some(Rewritten {
                vp8: None,
                empty: true,
                ..rewritten
            });
        }
        if sequence - segment.highest_in > JUMP_MAX {
            return None;
        }
        let picture = (!packet.payload.is_empty()).then_some(packet.timestamp);
        let same_picture = picture.is_some_and(|timestamp| self.skipped.is_of(timestamp));
        // What is missing within a picture belongs to it. Elsewhere a gap stays a gap.
        let first = if same_picture && self.skipped.ends_with(segment.highest_in) {
            segment.highest_in + 1
        } else {
            sequence
        };
        let numbered = packet.info.vp8.is_some_and(|vp8| vp8.picture_id.is_some());
        let (packets, pictures) = (sequence - first + 1, u16::from(numbered && !same_picture));
        segment.highest_in = sequence;
        segment.sequence_offset = segment.sequence_offset.wrapping_sub(packets);
        segment.picture_id_offset = segment.picture_id_offset.wrapping_sub(pictures);
        if let Some(first_in) = self.skipped.push(first, packets as u32, pictures, picture) {
            segment.first_in = first_in;
        }
        None
    }

    /// Leaves out a packet of a picture on which nothing depends, as [`skip`](Self::skip) does. Such
    /// a picture may be of the lowest temporal layer, whose index then closes up too: a decoder
    /// would wait for the missing one.
    pub fn leave_out(&mut self, packet: &MediaPacket) {
        let ahead = !self.is_late(packet.sequence);
        self.skip(packet);
        if let Some(segment) = &mut self.segment
            && ahead
            && packet.info.starts_frame
            && let Some(descriptor) = packet.info.vp8
            && descriptor.temporal.is_none_or(|(id, _)| id == 0)
        {
            segment.tl0_offset = segment.tl0_offset.wrapping_sub(1);
        }
    }

    /// Whether a later packet of its segment was taken before.
    #[must_use]
    pub fn is_late(&self, sequence: u64) -> bool {
        self.segment
            .as_ref()
            .is_some_and(|segment| sequence <= segment.highest_in)
    }

    /// Whether a packet is so far from its segment that its source must have jumped: nothing of
    /// it can be rewritten before a [`cut`](Self::cut).
    #[must_use]
    pub fn jumps(&self, sequence: u64) -> bool {
        self.segment
            .as_ref()
            .is_some_and(|segment| sequence.abs_diff(segment.highest_in) > JUMP_MAX)
    }

    /// Renumbers a packet. `None` for one that is older than its segment or was left out of it, or
    /// that jumps so far that it cannot belong to it; the caller counts it as dropped.
    pub fn rewrite(&mut self, packet: &MediaPacket) -> Option<Rewritten> {
        self.rewrite_at(packet, packet.timestamp)
    }

    /// Renumbers a packet that counts as sampled at another RTP timestamp of its source.
    pub fn rewrite_at(&mut self, packet: &MediaPacket, timestamp: u32) -> Option<Rewritten> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => none.insert(self.last.map_or_else(
                || Segment::first(packet),
                |last| Segment::following(last, packet, self.clock_rate),
            )),
        };
        if packet.sequence < segment.first_in
            || packet.sequence.abs_diff(segment.highest_in) > JUMP_MAX
        {
            return None;
        }
        let (skipped_after, pictures_after) = self.skipped.after(packet.sequence)?;
        segment.highest_in = segment.highest_in.max(packet.sequence);
        let sequence = packet
            .sequence
            .wrapping_add(segment.sequence_offset)
            .wrapping_add(skipped_after);
        let sampled_at = moved(packet, timestamp, self.clock_rate);
        let timestamp = timestamp.wrapping_add(segment.timestamp_offset);
        let picture_id_offset = segment.picture_id_offset.wrapping_add(pictures_after);
        let vp8 = packet.info.vp8.map(|descriptor| Vp8Rewrite {
            picture_id: descriptor.picture_id.map(|id| {
                let mask = if id.u15 { 0x7fff } else { 0x7f };
                id.value.wrapping_add(picture_id_offset) & mask
            }),
            tl0_pic_idx: descriptor
                .tl0_pic_idx
                .map(|(value, _)| value.wrapping_add(segment.tl0_offset)),
        });
        if self.last.is_none_or(|last| sequence > last.sequence) {
            let before = self.last;
            self.last = Some(Last {
                sequence,
                timestamp,
                sampled_at,
                picture_id: vp8
                    .and_then(|v| v.picture_id)
                    .or(before.map(|l| l.picture_id))
                    .unwrap_or_default(),
                tl0_pic_idx: vp8
                    .and_then(|v| v.tl0_pic_idx)
                    .or(before.map(|l| l.tl0_pic_idx))
                    .unwrap_or_default(),
            });
        }
        let untouched = picture_id_offset == 0 && segment.tl0_offset == 0;
        Some(Rewritten {
            sequence,
            timestamp,
            sampled_at,
            vp8: if untouched { None } else { vp8 },
            empty: false,
        })
    }
}

impl Segment {
    fn first(packet: &MediaPacket) -> Self {
        Self {
            first_in: packet.sequence,
            highest_in: packet.sequence,
            sequence_offset: FIRST_SEQUENCE.wrapping_sub(packet.sequence),
            timestamp_offset: 0,
            picture_id_offset: 0,
            tl0_offset: 0,
        }
    }

    fn following(last: Last, packet: &MediaPacket, clock_rate: u32) -> Self {
        // At least one tick on: two pictures must not share a timestamp.
        let gap = packet.sampled_at.saturating_duration_since(last.sampled_at);
        let ticks = ticks(gap, clock_rate).max(1);
        let timestamp = last.timestamp.wrapping_add(ticks);
        let vp8 = packet.info.vp8;
        Self {
            first_in: packet.sequence,
            highest_in: packet.sequence,
            sequence_offset: (last.sequence + 1).wrapping_sub(packet.sequence),
            timestamp_offset: timestamp.wrapping_sub(packet.timestamp),
            picture_id_offset: vp8.and_then(|d| d.picture_id).map_or(0, |id| {
                last.picture_id.wrapping_add(1).wrapping_sub(id.value)
            }),
            tl0_offset: vp8.and_then(|d| d.tl0_pic_idx).map_or(0, |(value, _)| {
                last.tl0_pic_idx.wrapping_add(1).wrapping_sub(value)
            }),
        }
    }
}

/// When a packet counts as sampled that goes by another timestamp than its own: the next segment's
/// distance is told from it.
fn moved(packet: &MediaPacket, timestamp: u32, clock_rate: u32) -> Instant {
    let ticks = timestamp.wrapping_sub(packet.timestamp).cast_signed();
    if ticks == 0 {
        return packet.sampled_at;
    }
    let by =
        Duration::from_secs_f64(f64::from(ticks.unsigned_abs()) / f64::from(clock_rate.max(1)));
    if ticks > 0 {
        packet.sampled_at + by
    } else {
        packet
            .sampled_at
            .checked_sub(by)
            .unwrap_or(packet.sampled_at)
    }
}

fn ticks(gap: Duration, clock_rate: u32) -> u32 {
    let ticks = gap.as_nanos() * u128::from(clock_rate) / 1_000_000_000;
    // A pause of hours wraps, as the RTP timestamp itself does.
    (ticks & u128::from(u32::MAX)) as u32
}
