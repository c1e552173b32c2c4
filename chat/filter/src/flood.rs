//! Near-duplicates: the same text by many people, or one person with small changes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::fold::Origin;

/// Bins of a fingerprint, one byte each.
const BINS: usize = 32;
/// Folded bytes that are hashed together: a syllable and a part of the next.
const SHINGLE: usize = 4;
/// Texts that are looked at together.
const LANES: usize = 32;
/// Messages of a room that are remembered, whatever the settings say: about 16 KiB.
pub const WINDOW_MAX: usize = 256;

/// When a message counts as a part of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodSettings {
    /// Messages that are remembered, up to [`WINDOW_MAX`]. The oldest makes room.
    pub window: usize,
    pub age_max: Duration,
    /// Share of the text that has to be the same, in per cent.
    pub similar_percent: u8,
    /// So many people with one text are a flood.
    pub authors: usize,
    /// So many times one text by one person are a flood.
    pub copies: usize,
    /// Shorter texts of many people are cheers. In letters and jamo, repeats not counted.
    pub crowd_symbols_min: usize,
    /// Shorter texts of one person are reactions.
    pub repeat_symbols_min: usize,
}

impl Default for FloodSettings {
    fn default() -> Self {
        Self {
            window: WINDOW_MAX,
            age_max: Duration::from_secs(30),
            similar_percent: 60,
            authors: 5,
            copies: 3,
            crowd_symbols_min: 30,
            repeat_symbols_min: 16,
        }
    }
}

/// What a message looks like, whatever its spaces, case, disguises and small changes.
///
/// A minimum hash of all its four-symbol pieces for each of 32 classes of them (one-permutation
/// MinHash): the share of equal bins estimates the share of equal pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// 0 is an empty bin.
    bins: [u8; BINS],
    /// A bit for each bin that is not.
    filled: u32,
    symbols: u16,
}

impl Fingerprint {
    pub(crate) fn of(bytes: &[u8], origins: &[Origin]) -> Self {
        let mut least = [u32::MAX; BINS];
        for piece in bytes.windows(SHINGLE) {
            let piece = piece
                .iter()
                .fold(0, |all, byte| all << 8 | u32::from(*byte));
            let hash = (u64::from(piece).wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let hash = hash ^ hash >> 32;
            let bin = (hash & 31) as usize;
            least[bin] = least[bin].min((hash >> 8) as u32 >> 1);
        }
        let (mut bins, mut filled) = ([0; BINS], 0);
        for (at, hash) in least.into_iter().enumerate() {
            let is_filled = hash != u32::MAX;
            bins[at] = u8::from(is_filled) * (hash as u8).max(1);
            filled |= u32::from(is_filled) << at;
        }
        let symbols = origins.len().min(u16::MAX as usize) as u16;
        Self {
            bins,
            filled,
            symbols,
        }
    }

    /// How much of two texts is the same, 0 to 100; texts shorter than a piece have nothing.
    pub fn similarity(&self, other: &Self) -> u8 {
        let pairs = self.bins.iter().zip(&other.bins);
        let equal = pairs.filter(|(a, b)| a == b).count();
        similarity(equal as u8, self.filled | other.filled)
    }
}

/// Of two texts with so many equal bins, those that are empty in both included, and with these that
/// are not empty in both.
fn similarity(equal: u8, filled: u32) -> u8 {
    let any = filled.count_ones();
    let same = u32::from(equal) + any - BINS as u32;
    (same * 100).checked_div(any).unwrap_or(0) as u8
}

/// What a message is to the messages before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flooding {
    /// Nothing out of the ordinary.
    No,
    /// Its author has written it, or nearly, so many times within the window, this one included.
    Repeat { copies: usize },
    /// So many people have written it, or nearly, within the window, this one included.
    Crowd { authors: usize },
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    author: u64,
    /// Of its fingerprint; its bins are in [`Ring`].
    filled: u32,
}

/// Fingerprints, each bin of all of them side by side: one text is compared with all others in
/// vectors.
#[derive(Debug)]
struct Ring {
    bins: Box<[[u8; WINDOW_MAX]; BINS]>,
    /// Bins of the text in question that are equal, by slot.
    equal: [u8; WINDOW_MAX],
    /// The slot of the next.
    next: usize,
}

impl Ring {
    fn new() -> Self {
        Self {
            bins: Box::new([[0; WINDOW_MAX]; BINS]),
            equal: [0; WINDOW_MAX],
            next: 0,
        }
    }

    fn compare(&mut self, print: &Fingerprint) {
        self.equal = [0; WINDOW_MAX];
        for (bin, known) in print.bins.iter().zip(self.bins.iter()) {
            for (equal, known) in self.equal.iter_mut().zip(known) {
                *equal += u8::from(bin == known);
            }
        }
    }

    /// Those of the last comparison with so many equal bins: how many came since, and how many are
    /// equal. Some may be of texts that are forgotten.
    fn at_least(&self, equal_min: u8) -> impl Iterator<Item = (usize, u8)> {
        let chunks = self.equal.chunks_exact(LANES).enumerate();
        // Nearly all have nothing, which one look at each tells.
        let some = chunks.filter(move |(_, chunk)| {
            chunk
                .iter()
                .fold(false, |any, equal| any | (*equal >= equal_min))
        });
        some.flat_map(|(at, chunk)| {
            let slots = at * LANES..;
            slots.zip(chunk.iter().copied())
        })
        .filter(move |(_, equal)| *equal >= equal_min)
        .map(|(slot, equal)| ((self.next + WINDOW_MAX - 1 - slot) % WINDOW_MAX, equal))
    }

    fn push(&mut self, print: &Fingerprint) {
        for (bin, known) in print.bins.iter().zip(self.bins.iter_mut()) {
            known[self.next] = *bin;
        }
        self.next = (self.next + 1) % WINDOW_MAX;
    }
}

/// The last messages of one room.
#[derive(Debug)]
pub struct Flood {
    settings: FloodSettings,
    /// Oldest first.
    seen: VecDeque<Seen>,
    ring: Ring,
    /// Authors of one text; kept for its room in memory.
    authors: Vec<u64>,
}

impl Flood {
    /// Takes its memory at once; it does not grow.
    pub fn new(settings: FloodSettings) -> Self {
        let window = settings.window.clamp(1, WINDOW_MAX);
        let settings = FloodSettings { window, ..settings };
        let (seen, authors) = (VecDeque::with_capacity(window), Vec::with_capacity(window));
        Self {
            settings,
            seen,
            ring: Ring::new(),
            authors,
        }
    }

    /// Takes in a message by `author` (any number that tells people apart) and says whether it is a
    /// part of a flood. What is too short to be one is not remembered. A clock that goes back makes
    /// nothing older.
    pub fn check(&mut self, author: u64, print: Fingerprint, now: Instant) -> Flooding {
        let settings = self.settings;
        let symbols = usize::from(print.symbols);
        if symbols
            < settings
                .repeat_symbols_min
                .min(settings.crowd_symbols_min)
                .max(SHINGLE)
        {
            return Flooding::No;
        }
        let old = |seen: &Seen| now.saturating_duration_since(seen.at) > settings.age_max;
        while self.seen.front().is_some_and(old) {
            self.seen.pop_front();
        }
        self.authors.clear();
        self.authors.push(author);
        let mut copies = 1;
        self.ring.compare(&print);
        // The share of all bins is no less than that of the filled ones: most need no closer look.
        let percent = settings.similar_percent;
        let equal_min = (BINS * usize::from(percent)).div_ceil(100) as u8;
        for (since, equal) in self.ring.at_least(equal_min) {
            let Some(seen) = self.seen.iter().nth_back(since) else {
                continue;
            };
            if similarity(equal, print.filled | seen.filled) < percent {
                continue;
            }
            copies += usize::from(seen.author == author);
            if !self.authors.contains(&seen.author) {
                self.authors.push(seen.author);
            }
        }
        if self.seen.len() >= settings.window {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen {
            at: now,
            author,
            filled: print.filled,
        });
        self.ring.push(&print);
        let authors = self.authors.len();
        if copies >= settings.copies && symbols >= settings.repeat_symbols_min {
            Flooding::Repeat { copies }
        } else if authors >= settings.authors && symbols >= settings.crowd_symbols_min {
            Flooding::Crowd { authors }
        } else {
            Flooding::No
        }
    }
}

#[cfg(test)]
mod tests;
