//! What a relay counts.

use crate::close::CloseReason;

macro_rules! counts {
    ($($name:ident $text:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($name,)*
        }

        impl Count {
            /// All of them, in order.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// What metrics call it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

counts! {
    LinksUp "links_up",
    Suspected "suspected",
    Recovered "recovered",
    // A room is fed by another link than before.
    Failovers "failovers",
    FramesIn "frames_in",
    FramesOut "frames_out",
    AudioIn "audio_in",
    AudioOut "audio_out",
    // Frames and datagrams that cannot be read.
    DropMalformed "drop_malformed",
    // Of a subscription that has ended.
    DropLate "drop_late",
    // Of no subscription at all.
    DropUnknown "drop_unknown",
    // Layers that a full link has no room for, and what follows up to their next keyframe.
    DropFull "drop_full",
    // Announcements of a way that leads through this node.
    DropLoop "drop_loop",
    // Of a show, older than what is known.
    DropOldShow "drop_old_show",
    // Chat beyond what a link may carry, or of or for a node that is not known.
    DropChat "drop_chat",
    // Rooms asked for beyond the bound.
    DropWant "drop_want",
    // Subscriptions that are refused, by us and by others.
    RefusedByUs "subscriptions_refused",
    RefusedByOthers "subscriptions_refused_by_others",
    // Rooms that are not announced on a link because it has too many.
    LeftOut "announcements_left_out",
}

/// Counts since they were last taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; Count::ALL.len()],
    closed: [u64; CloseReason::COUNT],
    closed_by_peers: [u64; CloseReason::COUNT],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: [0; Count::ALL.len()],
            closed: [0; CloseReason::COUNT],
            closed_by_peers: [0; CloseReason::COUNT],
        }
    }
}

impl Tally {
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// Links that this node has closed for this reason.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason.index()]
    }

    /// Links that other nodes have closed for this reason.
    #[must_use]
    pub fn closed_by_peers(&self, reason: CloseReason) -> u64 {
        self.closed_by_peers[reason.index()]
    }

    /// Adds what was counted elsewhere, or later.
    pub fn merge(&mut self, other: &Self) {
        let sums = [
            (&mut self.counts[..], &other.counts[..]),
            (&mut self.closed[..], &other.closed[..]),
            (&mut self.closed_by_peers[..], &other.closed_by_peers[..]),
        ];
        for (sum, other) in sums {
            sum.iter_mut()
                .zip(other)
                .for_each(|(sum, other)| *sum += other);
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, count: Count) {
        self.counts[count as usize] += 1;
    }

    pub(crate) fn add_closed(&mut self, reason: CloseReason) {
        self.closed[reason.index()] += 1;
    }

    pub(crate) fn add_closed_by_peer(&mut self, reason: CloseReason) {
        self.closed_by_peers[reason.index()] += 1;
    }
}
