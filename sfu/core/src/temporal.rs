//! Which temporal layers of a stream one viewer gets.
//!
//! The pictures of a stream with temporal layers depend on pictures of their own and of lower
//! layers only. So the upper layers can be left out at any picture, and come back where the stream
//! says that they may.

use crate::codec::{PayloadInfo, SwitchUp, TEMPORAL_LAYERS};
use crate::packet::MediaPacket;

/// The highest temporal layer there can be: a cap of this leaves nothing out.
pub const ALL: u8 = TEMPORAL_LAYERS as u8 - 1;

/// Leaves out the pictures of temporal layers above a cap, always whole.
#[derive(Clone, Debug)]
pub struct TemporalGate {
    /// Highest layer that passes, from the picture that starts at `since` on; `before` until then.
    level: u8,
    before: u8,
    since: u64,
    /// The highest packet so far, and the timestamp of its picture.
    highest: u64,
    timestamp: u32,
}

impl TemporalGate {
    /// A gate at `start`, the first packet of a keyframe: from there any cap may hold at once.
    #[must_use]
    pub fn new(start: &MediaPacket, cap: u8) -> Self {
        Self {
            level: cap,
            before: cap,
            since: start.sequence,
            highest: start.sequence,
            timestamp: start.timestamp,
        }
    }

    /// Whether the viewer gets this packet. The cap takes hold where a picture starts that is ahead
    /// of all others: downwards at the next one, upwards where the stream may be switched up. Late
    /// packets go by what held at their place.
    #[inline]
    pub fn passes(&mut self, packet: &MediaPacket, cap: u8) -> bool {
        if packet.sequence > self.highest {
            self.highest = packet.sequence;
            if packet.timestamp != self.timestamp {
                self.timestamp = packet.timestamp;
                if self.level != cap && packet.info.starts_frame {
                    self.turn(packet, cap);
                }
            }
        }
        let level = if packet.sequence < self.since {
            self.before
        } else {
            self.level
        };
        packet.info.temporal_id <= level
    }

    /// Hears that a picture is left out whatever its layer: what depends on it is of its layer or
    /// above, and stays out too until the stream may be switched up.
    pub fn leave_out(&mut self, packet: &MediaPacket) {
        let below = packet.info.temporal_id.saturating_sub(1);
        if below < self.level && !packet.info.discardable {
            (self.before, self.level, self.since) = (self.level, below, packet.sequence);
        }
    }

    fn turn(&mut self, packet: &MediaPacket, cap: u8) {
        let PayloadInfo {
            temporal_id,
            switch_up,
            keyframe,
            ..
        } = packet.info;
        let level = if cap < self.level || keyframe {
            cap
        } else {
            match switch_up {
                // One by one: a picture of a layer that is entered may refer to the layers below.
                SwitchUp::Itself if temporal_id == self.level + 1 => temporal_id,
                SwitchUp::Above if temporal_id <= self.level => cap,
                _ => return,
            }
        };
        (self.before, self.level, self.since) = (self.level, level, packet.sequence);
    }
}

#[cfg(test)]
mod tests;
