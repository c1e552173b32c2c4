//! What was left out of a segment last: it has no place in the output, and what comes late is
//! placed around it.

use std::collections::VecDeque;

/// Runs of packets that are remembered.
const RUNS_MAX: usize = 32;

/// Packets that were left out, in ascending runs. It allocates once.
#[derive(Clone, Debug)]
pub(super) struct Skipped {
    runs: VecDeque<Run>,
    /// Timestamp of the picture that was left out last.
    picture: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    packets: u32,
    /// Numbered pictures that begin in it.
    pictures: u16,
}

impl Run {
    fn end(self) -> u64 {
        self.first + u64::from(self.packets)
    }
}

impl Skipped {
    pub(super) fn new() -> Self {
        Self {
            runs: VecDeque::with_capacity(RUNS_MAX),
            picture: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.picture = None;
    }

    /// Whether the picture with this timestamp is the one that was left out last.
    pub(super) fn is_of(&self, timestamp: u32) -> bool {
        self.picture == Some(timestamp)
    }

    /// Whether the packet was the last one that was left out.
    pub(super) fn ends_with(&self, sequence: u64) -> bool {
        self.runs
            .back()
            .is_some_and(|run| run.end() == sequence + 1)
    }

    /// Notes packets ahead of all others: padding, or a part of the picture at a timestamp. Gives
    /// the sequence number before which nothing can be placed any more, when that has moved.
    pub(super) fn push(
        &mut self,
        first: u64,
        packets: u32,
        pictures: u16,
        picture: Option<u32>,
    ) -> Option<u64> {
        self.picture = picture.or(self.picture);
        if let Some(run) = self.runs.back_mut().filter(|run| run.end() == first) {
            run.packets += packets;
            run.pictures = run.pictures.wrapping_add(pictures);
            return None;
        }
        let full = self.runs.len() == RUNS_MAX;
        let forgotten = if full { self.runs.pop_front() } else { None };
        self.runs.push_back(Run {
            first,
            packets,
            pictures,
        });
        forgotten.map(Run::end)
    }

    /// How many packets and pictures were left out after this packet. `None`: it was left out
    /// itself.
    #[inline]
    pub(super) fn after(&self, sequence: u64) -> Option<(u64, u16)> {
        let (mut packets, mut pictures) = (0, 0_u16);
        for run in self.runs.iter().rev() {
            if run.end() <= sequence {
                break;
            }
            if run.first <= sequence {
                return None;
            }
            packets += u64::from(run.packets);
            pictures = pictures.wrapping_add(run.pictures);
        }
        Some((packets, pictures))
    }
}
