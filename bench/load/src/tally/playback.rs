//! What a player would have shown: frames that stood still because the next one was not there.
//!
//! A frame can be shown once all packets up to its end have come, or from a keyframe that came
//! whole. It is due at the time of its last packet's sending, plus the shortest transit that its
//! viewer has seen, plus what its player holds back for late packets. From then until it can be
//! shown, the picture is frozen. What is passed over for a keyframe was never shown.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Window;

/// What the players hold back: some browsers start with about the first, and grow to the others
/// where packets are sent again.
pub const HELD_BACK: [Duration; 3] = [
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
];
/// From frame to frame, in microseconds and in ticks of the RTP clock: publishers of ours send 30
/// a second.
const FRAME_US: u64 = 33_333;
const FRAME_TICKS: u32 = 3_000;
/// Packets that wait for others. Beyond that, the oldest are forgotten.
const WAITING_MAX: usize = 4_096;

/// One packet of a video.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Of the publisher's packets, the how-manieth.
    pub number: u32,
    /// RTP timestamp of its frame.
    pub rtp_time: u32,
    /// A decoder can start here.
    pub starts_keyframe: bool,
    /// The last of its frame.
    pub ends_frame: bool,
    /// When it was first sent.
    pub sent_us: u64,
    pub at_us: u64,
}

/// Counters of one player, of the measured window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Frames that could be shown.
    pub frames: u64,
    /// Frames that were passed over for a keyframe.
    pub skipped: u64,
    /// Times that the picture froze.
    pub freezes: u64,
    /// How long it was frozen in all, in microseconds.
    pub frozen_us: u64,
    /// The longest time, in microseconds; not cut where the window begins.
    pub longest_us: u64,
}

#[derive(Clone, Debug)]
pub struct Player {
    held_back_us: u64,
    /// The last frame that could be shown; none before the first keyframe.
    last: Option<LastFrame>,
    /// Packets from behind a gap.
    waiting: BTreeMap<u32, Piece>,
    /// The shortest transit of a whole frame.
    transit_us: u64,
    /// Up to here, freezes are counted.
    counted_us: u64,
    /// When the freeze that is counted last began.
    froze_us: u64,
    shown: Shown,
}

#[derive(Clone, Copy, Debug)]
struct LastFrame {
    /// The packet that comes next.
    next: u32,
    rtp_time: u32,
    sent_us: u64,
}

impl Player {
    /// A player that holds back frames for so long.
    #[must_use]
    pub fn new(held_back: Duration) -> Self {
        Self {
            held_back_us: held_back.as_micros() as u64,
            last: None,
            waiting: BTreeMap::new(),
            transit_us: u64::MAX,
            counted_us: 0,
            froze_us: 0,
            shown: Shown::default(),
        }
    }

    /// Starts to count for another window.
    pub fn begin_window(&mut self) {
        self.shown = Shown::default();
    }

    /// Whether it has had a keyframe to start from.
    #[must_use]
    pub fn started(&self) -> bool {
        self.last.is_some()
    }

    /// Takes a packet that has not come before.
    pub fn note(&mut self, piece: Piece, window: Window) {
        match &mut self.last {
            Some(last) if piece.number < last.next => return,
            Some(last) if piece.number == last.next => {
                last.next += 1;
                if piece.ends_frame {
                    self.show(piece, piece.at_us, window);
                }
            }
            _ => {
                self.waiting.insert(piece.number, piece);
                if self.waiting.len() > WAITING_MAX {
                    self.waiting.pop_first();
                }
            }
        }
        self.go_on(piece.at_us, window);
        if self.due_us().is_none_or(|due| due < piece.at_us) {
            self.jump(piece.at_us, window);
        }
    }

    /// What was counted, in a window that has ended.
    #[must_use]
    pub fn shown(&self, window: Window) -> Shown {
        let mut player = self.clone();
        if let Some(due) = player.due_us() {
            player.freeze(due, window.to_us, window);
        }
        player.shown
    }

    /// When the next frame is due.
    fn due_us(&self) -> Option<u64> {
        let last = self.last?;
        Some(last.sent_us + FRAME_US + self.transit_us + self.held_back_us)
    }

    /// Takes what waited for the packets that have come.
    fn go_on(&mut self, at_us: u64, window: Window) {
        while let Some(last) = &mut self.last
            && let Some(piece) = self.waiting.remove(&last.next)
        {
            last.next += 1;
            if piece.ends_frame {
                self.show(piece, at_us, window);
            }
        }
    }

    /// Goes on with the last keyframe that is whole, if there is one.
    fn jump(&mut self, at_us: u64, window: Window) {
        let starts = self.waiting.values().rev();
        let Some(start) = starts.clone().find(|p| p.starts_keyframe).copied() else {
            return;
        };
        let end = (start.number..)
            .map_while(|number| self.waiting.get(&number).copied())
            .take_while(|piece| piece.rtp_time == start.rtp_time)
            .find(|piece| piece.ends_frame);
        let Some(end) = end else {
            return;
        };
        if let Some(last) = self.last {
            let skipped = end.rtp_time.wrapping_sub(last.rtp_time) / FRAME_TICKS;
            if window.holds(at_us) {
                self.shown.skipped += u64::from(skipped.saturating_sub(1));
            }
            self.freeze(self.due_us().unwrap_or(at_us), at_us, window);
        }
        self.waiting = self.waiting.split_off(&(end.number + 1));
        self.last = Some(LastFrame {
            next: end.number + 1,
            rtp_time: end.rtp_time,
            sent_us: end.sent_us,
        });
        self.show(end, at_us, window);
        self.go_on(at_us, window);
    }

    /// The frame that ends with `end` can be shown.
    fn show(&mut self, end: Piece, at_us: u64, window: Window) {
        if let Some(last) = &mut self.last {
            (last.rtp_time, last.sent_us) = (end.rtp_time, end.sent_us);
        }
        self.shown.frames += u64::from(window.holds(at_us));
        let transit = at_us.saturating_sub(end.sent_us);
        self.transit_us = self.transit_us.min(transit);
        let due = end.sent_us + self.transit_us + self.held_back_us;
        self.freeze(due, at_us, window);
    }

    /// The picture stood still from `from_us` to `to_us`, if that is a time at all; or a part of
    /// it was counted before.
    fn freeze(&mut self, from_us: u64, to_us: u64, window: Window) {
        if to_us <= from_us.max(self.counted_us) {
            return;
        }
        let within = |us: u64| us.clamp(window.from_us, window.to_us);
        let new = within(to_us) - within(from_us.max(self.counted_us));
        if from_us > self.counted_us {
            self.froze_us = from_us;
            self.shown.freezes += u64::from(new > 0);
        }
        self.counted_us = to_us;
        self.shown.frozen_us += new;
        if new > 0 {
            self.shown.longest_us = self.shown.longest_us.max(within(to_us) - self.froze_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD_BACK_MS: u64 = 150;
    const TRANSIT_MS: u64 = 50;
    const WINDOW: Window = Window {
        from_us: 1_000_000,
        to_us: 3_000_000,
    };

    /// Ninety frames of two packets, a keyframe every thirty. `late` says by how many milliseconds
    /// a packet comes late, or never. Sorted by arrival.
    fn play(late: impl Fn(u32) -> Option<u64>) -> Shown {
        let mut pieces: Vec<_> = (0..180)
            .filter_map(|number| {
                let frame = number / 2;
                let sent_us = u64::from(frame) * FRAME_US;
                Some(Piece {
                    number,
                    rtp_time: frame * FRAME_TICKS,
                    starts_keyframe: number % 60 == 0,
                    ends_frame: number % 2 == 1,
                    sent_us,
                    at_us: sent_us + 1_000 * (TRANSIT_MS + late(number)?),
                })
            })
            .collect();
        pieces.sort_by_key(|piece| piece.at_us);
        let mut player = Player::new(Duration::from_millis(HELD_BACK_MS));
        for piece in pieces {
            player.note(piece, WINDOW);
        }
        player.shown(WINDOW)
    }

    fn check(late: impl Fn(u32) -> Option<u64>, expected: Shown) {
        let shown = play(late);
        assert_eq!(
            (shown.freezes, shown.skipped),
            (expected.freezes, expected.skipped)
        );
        // To a frame, where what never came has no time of its sending.
        for (us, expected) in [
            (shown.frozen_us, expected.frozen_us),
            (shown.longest_us, expected.longest_us),
        ] {
            assert!(us.abs_diff(expected) <= 1, "{us} {expected}");
        }
    }

    #[test]
    fn what_comes_in_time_freezes_nothing() {
        check(|_| Some(0), Shown::default());
        // Within what is held back, in whatever order.
        check(|n| Some(u64::from(n * 7 % 11) * 14), Shown::default());
        assert_eq!(play(|_| Some(0)).frames, 60);
    }

    #[test]
    fn a_frame_that_comes_late_freezes_until_it_is_there() {
        // Frame 50 is 100 ms beyond what is held back; three more wait for it.
        let late = |n| Some(if n == 101 { 250 } else { 0 });
        let expected = Shown {
            freezes: 1,
            frozen_us: 100_000,
            longest_us: 100_000,
            ..Shown::default()
        };
        check(late, expected);
        // Two that overlap are one.
        let late = |n| Some(if n == 101 || n == 103 { 250 } else { 0 });
        let expected = Shown {
            freezes: 1,
            frozen_us: 100_000 + FRAME_US,
            longest_us: 100_000 + FRAME_US,
            ..Shown::default()
        };
        check(late, expected);
    }

    #[test]
    fn what_never_comes_freezes_until_the_next_keyframe() {
        // Frames 40 to 59 cannot be shown; frame 60 is there after its transit.
        let late = |n| (n != 80).then_some(0);
        let frozen_us = 20 * FRAME_US - HELD_BACK_MS * 1_000;
        let expected = Shown {
            freezes: 1,
            skipped: 20,
            frozen_us,
            longest_us: frozen_us,
            ..Shown::default()
        };
        check(late, expected);
    }

    #[test]
    fn a_keyframe_is_not_jumped_to_while_there_is_time() {
        // The frame before the keyframe comes behind it, and is still shown.
        check(|n| Some(if n == 119 { 120 } else { 0 }), Shown::default());
    }

    #[test]
    fn a_freeze_is_cut_where_the_window_ends() {
        // Nothing from frame 70 on, which would have been shown at 2,533 ms.
        let shown = play(|n| (n < 140).then_some(0));
        let due = 70 * FRAME_US + 1_000 * (TRANSIT_MS + HELD_BACK_MS);
        assert_eq!((shown.freezes, shown.frozen_us), (1, 3_000_000 - due));
        // And what froze before it began does not count.
        let shown = play(|n| Some(if n == 11 { 400 } else { 0 }));
        assert_eq!(shown, play(|_| Some(0)));
    }
}
