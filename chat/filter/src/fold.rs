//! Text as the matcher sees it: symbols of the common alphabet, with what they were made of.
//!
//! Case, width, accents, lookalikes and repeats are gone; separators are gone too, but each symbol
//! remembers what stood before it, so that the rules of `verify` can tell a word from an evasion.

use unicode_normalization::char::compose;

use crate::alphabet::{self, SILENT, VOWEL_I, WILD};
use crate::table::{Entry, Kind, TABLE, Table};

/// Nothing between this symbol and the one before it.
pub(crate) const JOINED: u8 = 0;
/// An apostrophe: still the same word.
pub(crate) const APOSTROPHE: u8 = 1;
/// Punctuation, a symbol, an emoji: a new word, perhaps.
pub(crate) const PUNCTUATION: u8 = 2;
/// Space, or the start of the text.
pub(crate) const SPACE: u8 = 3;

/// A letter, a syllable or a jamo of its own starts here.
pub(crate) const UNIT: u8 = 1;
/// A jamo outside of a syllable.
pub(crate) const LONE: u8 = 2;
/// A digit or a symbol in the place of a letter.
pub(crate) const LEET: u8 = 4;
/// A letter of another script that looks Latin, or katakana that is read as hiragana.
pub(crate) const ALIKE: u8 = 8;
/// Not the first byte of its symbol.
pub(crate) const MORE: u8 = 16;
pub(crate) const HANGUL: u8 = 32;
pub(crate) const LATIN: u8 = 64;
/// Syllables ran together into this one, as in a drawn-out vowel.
pub(crate) const DRAWN: u8 = 128;

/// What one byte of folded text was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The letter, digit or symbol itself; `I` where it may be an `i` or an `l`.
    pub(crate) literal: u8,
    /// How often the symbol stood there.
    pub(crate) run: u8,
    pub(crate) flags: u8,
    /// What stood before it.
    pub(crate) gap: u8,
}

impl Origin {
    pub(crate) fn is(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// How digits, symbols and masks inside words are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As the letters they look like.
    Letters,
    Separators,
    /// As letters, and a mask as a letter that nobody knows.
    Masks,
}

/// Folded text. Both vectors are of one length and keep their room between messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) origins: Vec<Origin>,
    /// A digit or symbol stands between two letters: `Reading::Separators` may read otherwise.
    pub(crate) mixed: bool,
    /// A mask stands right behind a letter.
    pub(crate) masked: bool,
    /// Folded with `Reading::Separators`.
    pub(crate) separated: bool,
    gap: u8,
    leet_after_letter: bool,
}

impl Folded {
    pub(crate) fn fold(&mut self, text: &str, reading: Reading) {
        let table = &*TABLE;
        self.bytes.clear();
        self.origins.clear();
        self.gap = SPACE;
        self.separated = reading == Reading::Separators;
        self.mixed = false;
        self.masked = false;
        self.leet_after_letter = false;
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let entry = table.get(c);
            match entry.kind() {
                Kind::Syllable => self.syllable(c),
                Kind::Latin(letter) => {
                    if matches!(letter, b'I' | b'l') && self.is_stroke(rest.as_str(), table) {
                        self.jamo_vowel();
                    } else {
                        self.latin(letter, letter, alike(entry));
                    }
                }
                Kind::Space => self.separate(SPACE),
                Kind::Ignored => {}
                Kind::Mark => self.separate(PUNCTUATION),
                Kind::Apostrophe => self.separate(APOSTROPHE),
                Kind::Mask => self.mask(reading),
                Kind::Digit(digit) => self.leet(digit, rest.as_str(), reading, table),
                Kind::Leet(symbol) => self.leet(symbol, rest.as_str(), reading, table),
                Kind::Jamo(position) => {
                    let position = position as usize;
                    let next = rest.clone().next().map(|c| table.get(c).kind());
                    match next {
                        Some(Kind::Jamo(next)) if self.is_silent(position, next as usize) => {
                            if self.draw(alphabet::jamo(next as usize)) {
                                rest.next();
                            }
                        }
                        _ => self.jamo(position),
                    }
                }
                Kind::Sequence(at) => {
                    for byte in table.sequence(at) {
                        match byte {
                            b'0'..=b'9' => self.latin(digit_letter(*byte), *byte, LEET),
                            _ => self.latin(*byte, *byte, alike(entry)),
                        }
                    }
                }
                Kind::Letter(mark @ ('\u{3099}' | '\u{309A}')) => self.voice(mark),
                Kind::Letter(letter) => self.letter(letter, alike(entry)),
            }
        }
    }

    fn separate(&mut self, gap: u8) {
        self.gap = self.gap.max(gap);
        if gap != JOINED {
            self.leet_after_letter = false;
        }
    }

    fn push(&mut self, byte: u8, literal: u8, flags: u8) {
        let gap = std::mem::replace(&mut self.gap, JOINED);
        self.bytes.push(byte);
        self.origins.push(Origin {
            literal,
            run: 1,
            flags,
            gap,
        });
    }

    /// Counts one more of the last symbol, if nothing stands between.
    fn repeat(&mut self, byte: u8, literal: u8, flags: u8) -> bool {
        if self.gap != JOINED || self.bytes.last() != Some(&byte) {
            return false;
        }
        let Some(last) = self.origins.last_mut() else {
            return false;
        };
        // An i and an l share a byte, but "il" is no repeat.
        let same = byte != b'i' || literal == last.literal;
        if !same || last.is(MORE) {
            return false;
        }
        last.run = last.run.saturating_add(1);
        last.flags |= flags & LEET;
        true
    }

    fn latin(&mut self, letter: u8, literal: u8, flags: u8) {
        let byte = match letter {
            b'I' | b'l' => b'i',
            _ => letter,
        };
        if flags & LEET == 0 && std::mem::take(&mut self.leet_after_letter) && self.gap == JOINED {
            self.mixed = true;
        }
        if !self.repeat(byte, literal, flags) {
            self.push(byte, literal, flags | LATIN | UNIT);
        }
    }

    fn letter(&mut self, letter: char, flags: u8) {
        let mut buffer = [0; 4];
        let bytes = letter.encode_utf8(&mut buffer).as_bytes();
        let start = self.bytes.len().saturating_sub(bytes.len());
        if self.gap == JOINED && self.bytes[start..] == *bytes && !self.bytes.is_empty() {
            let first = &mut self.origins[start];
            first.run = first.run.saturating_add(1);
            return;
        }
        for (n, byte) in bytes.iter().enumerate() {
            self.push(*byte, *byte, if n == 0 { UNIT | flags } else { MORE });
        }
    }

    /// A sound mark on the kana before it, which half-width text writes by itself.
    fn voice(&mut self, mark: char) {
        let start = self.bytes.len().saturating_sub(3);
        let last = std::str::from_utf8(&self.bytes[start..]).ok();
        let voiced = last.and_then(|kana| compose(kana.chars().next()?, mark));
        if let Some(voiced) = voiced.filter(|c| c.len_utf8() == 3) {
            voiced.encode_utf8(&mut self.bytes[start..]);
            for (origin, byte) in self.origins[start..].iter_mut().zip(&self.bytes[start..]) {
                origin.literal = *byte;
            }
        }
    }

    fn leet(&mut self, symbol: u8, rest: &str, reading: Reading, table: &Table) {
        if reading == Reading::Separators {
            return self.separate(PUNCTUATION);
        }
        if matches!(symbol, b'1' | b'!' | b'|') && self.is_stroke(rest, table) {
            // Read as a vowel here, and left out in the other reading.
            self.mixed = true;
            return self.jamo_vowel();
        }
        let after = self.gap == JOINED && !self.bytes.is_empty();
        let digit = symbol.is_ascii_digit();
        if !digit {
            let next = rest.chars().next().map(|c| table.get(c).kind());
            let before_letter = matches!(next, Some(Kind::Latin(_) | Kind::Leet(_)));
            let spells = match symbol {
                b'@' => before_letter,
                b'$' | b'c' | b'e' | b'y' => before_letter || (after && self.ends_in(LATIN)),
                _ => before_letter && after && self.ends_in(LATIN),
            };
            if !spells {
                if after && next.is_some() {
                    self.separate(PUNCTUATION);
                } else {
                    self.gap = self.gap.max(PUNCTUATION);
                }
                return;
            }
        }
        if after && self.ends_in(HANGUL) {
            // Syllables around a digit: "1" in the middle of a word is left out in the other reading.
            let next = rest.chars().find(|c| !c.is_ascii_digit());
            let kind = next.map(|c| table.get(c).kind());
            self.mixed |= matches!(kind, Some(Kind::Syllable | Kind::Jamo(_)));
        }
        let leet_after_letter = self.leet_after_letter || (after && self.ends_in(LATIN));
        self.latin(digit_letter(symbol), symbol, LEET);
        self.leet_after_letter = leet_after_letter;
    }

    fn ends_in(&self, flag: u8) -> bool {
        self.origins.last().is_some_and(|last| last.is(flag))
    }

    fn mask(&mut self, reading: Reading) {
        let after = self.gap == JOINED && self.ends_in(LATIN);
        self.masked |= after;
        if reading == Reading::Masks && after {
            self.push(WILD, b'*', LATIN | UNIT);
        } else {
            self.separate(PUNCTUATION);
        }
    }

    /// Whether a stroke here is a vowel: right behind a lone consonant, with more Hangul to come.
    fn is_stroke(&self, rest: &str, table: &Table) -> bool {
        let lone = self.gap == JOINED
            && self.ends_in(LONE)
            && self
                .bytes
                .last()
                .is_some_and(|b| alphabet::is_consonant(*b));
        lone && rest
            .chars()
            .next()
            .is_some_and(|c| matches!(table.get(c).kind(), Kind::Syllable | Kind::Jamo(_)))
    }

    fn jamo_vowel(&mut self) {
        self.push(alphabet::vowel(VOWEL_I)[0], 0, UNIT | LONE | HANGUL);
    }

    fn jamo(&mut self, position: usize) {
        let bytes = alphabet::jamo(position);
        if let [byte] = bytes {
            // A consonant behind a vowel may end one syllable, and the same begin the next.
            let before = self.bytes.iter().rev().skip(1).take(2);
            let open = !before.into_iter().any(|b| alphabet::is_vowel(*b));
            let repeats = match alphabet::is_vowel(*byte) {
                true => self.ends_in(HANGUL),
                false => self.ends_in(LONE) && open,
            };
            if repeats && self.repeat(*byte, 0, 0) {
                return;
            }
        }
        // Both halves of a cluster can start something; the second half of a vowel cannot.
        let consonants = bytes.iter().all(|b| alphabet::is_consonant(*b));
        for (n, byte) in bytes.iter().enumerate() {
            let unit = if n == 0 || consonants { UNIT } else { 0 };
            self.push(*byte, 0, unit | LONE | HANGUL);
        }
    }

    /// Whether a lone jamo is the silent consonant of a syllable that is typed apart, behind another.
    fn is_silent(&self, position: usize, next: usize) -> bool {
        let joined = self.gap == JOINED && self.ends_in(HANGUL);
        let vowel = alphabet::jamo(next);
        let before = self.bytes.last().copied().unwrap_or(0);
        joined
            && alphabet::jamo(position) == [SILENT]
            && alphabet::is_vowel(vowel[0])
            && (alphabet::is_consonant(before) || vowel == [alphabet::held(before)])
    }

    /// Draws out the last vowel, if this one is how that goes on: "바아", "벼어".
    fn draw(&mut self, vowel: &[u8]) -> bool {
        let before = self.bytes.last().copied().unwrap_or(0);
        match self.origins.last_mut() {
            Some(last) if alphabet::is_vowel(before) && vowel == [alphabet::held(before)] => {
                last.run = last.run.saturating_add(1);
                last.flags |= DRAWN;
                true
            }
            _ => false,
        }
    }

    fn syllable(&mut self, c: char) {
        let (initial, vowel, last) = alphabet::syllable(c);
        let vowel = alphabet::vowel(vowel);
        let joined = self.gap == JOINED && self.ends_in(HANGUL);
        let before = self.bytes.last().copied().unwrap_or(0);
        let mut vowel_flags = HANGUL;
        if initial == SILENT && self.gap < SPACE && self.draw(vowel) {
            // The vowel before goes on; it is counted.
        } else {
            if initial == SILENT && joined && alphabet::is_consonant(before) {
                // "십알" sounds like "시발".
                vowel_flags |= UNIT;
            } else {
                self.push(initial, 0, UNIT | HANGUL);
            }
            self.push(vowel[0], 0, vowel_flags);
            for byte in &vowel[1..] {
                self.push(*byte, 0, HANGUL);
            }
        }
        for byte in alphabet::finals(last) {
            self.push(*byte, 0, HANGUL);
        }
    }
}

fn alike(entry: Entry) -> u8 {
    if entry.is_alike() { ALIKE } else { 0 }
}

/// The letter that a digit or a symbol looks like.
fn digit_letter(symbol: u8) -> u8 {
    match symbol {
        b'0' => b'o',
        b'1' | b'!' | b'|' => b'i',
        b'2' => b'z',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' => b't',
        b'8' => b'b',
        b'c' | b'e' | b'y' => symbol,
        _ => b'g',
    }
}
