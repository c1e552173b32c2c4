//! What each code point means: to a reader (`sanitise`) and to the matcher (`fold`).
//!
//! The table is made once a process from the data of two crates: compatibility forms of Unicode's
//! normalisation, and the skeletons of UTS 39. A look-up is then one load a code point.

use std::sync::LazyLock;

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::alphabet;

/// What a code point is to the matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Leaves no trace: invisible, or a mark on top of a letter.
    Ignored,
    Space,
    /// Punctuation, symbols, emoji.
    Mark,
    /// Inside a word, such as in "it's".
    Apostrophe,
    /// May hide a letter.
    Mask,
    /// A Latin letter, or what looks like one. `I` stands for an `i` or an `l`.
    Latin(u8),
    Digit(u8),
    /// Punctuation that looks like a letter.
    Leet(u8),
    /// Looks like several Latin letters: a position among `Table::sequences`.
    Sequence(u16),
    /// A jamo of its own, by its position from U+3131 on.
    Jamo(u8),
    Syllable,
    /// A letter of any other script, folded.
    Letter(char),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry(u32);

const PAYLOAD: u32 = 0x1F_FFFF;
/// May be shown as it is, whatever stands around it.
const PLAIN: u32 = 1 << 21;
/// A letter of another script that looks Latin, or katakana that is folded to hiragana.
const ALIKE: u32 = 1 << 22;
const KIND_SHIFT: u32 = 24;

impl Entry {
    fn new(kind: Kind, plain: bool, alike: bool) -> Self {
        let (tag, payload) = match kind {
            Kind::Ignored => (0, 0),
            Kind::Space => (1, 0),
            Kind::Mark => (2, 0),
            Kind::Apostrophe => (3, 0),
            Kind::Mask => (4, 0),
            Kind::Latin(byte) => (5, u32::from(byte)),
            Kind::Digit(byte) => (6, u32::from(byte)),
            Kind::Leet(byte) => (7, u32::from(byte)),
            Kind::Sequence(at) => (8, u32::from(at)),
            Kind::Jamo(at) => (9, u32::from(at)),
            Kind::Syllable => (10, 0),
            Kind::Letter(c) => (11, c as u32),
        };
        let plain = if plain { PLAIN } else { 0 };
        let alike = if alike { ALIKE } else { 0 };
        Self(tag << KIND_SHIFT | payload | plain | alike)
    }

    #[inline]
    pub(crate) fn kind(self) -> Kind {
        let payload = self.0 & PAYLOAD;
        match self.0 >> KIND_SHIFT {
            0 => Kind::Ignored,
            1 => Kind::Space,
            2 => Kind::Mark,
            3 => Kind::Apostrophe,
            4 => Kind::Mask,
            5 => Kind::Latin(payload as u8),
            6 => Kind::Digit(payload as u8),
            7 => Kind::Leet(payload as u8),
            8 => Kind::Sequence(payload as u16),
            9 => Kind::Jamo(payload as u8),
            10 => Kind::Syllable,
            _ => Kind::Letter(char::from_u32(payload).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }

    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.0 & PLAIN != 0
    }

    #[inline]
    pub(crate) fn is_alike(self) -> bool {
        self.0 & ALIKE != 0
    }
}

/// Above this, code points are ideographs, tags or unassigned; none needs a row.
const ROWS: usize = 0x2_0000;

pub(crate) struct Table {
    rows: Box<[Entry]>,
    sequences: Vec<Box<[u8]>>,
}

pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(Table::build);

impl Table {
    #[inline]
    pub(crate) fn get(&self, c: char) -> Entry {
        match self.rows.get(c as usize) {
            Some(entry) => *entry,
            None => beyond(c),
        }
    }

    pub(crate) fn sequence(&self, at: u16) -> &[u8] {
        self.sequences.get(at as usize).map_or(&[], |s| s)
    }

    fn build() -> Self {
        let mut table = Self {
            rows: Box::new([]),
            sequences: Vec::new(),
        };
        let rows = (0..ROWS as u32)
            .map(|code| match char::from_u32(code) {
                Some(c) => table.row(c),
                None => Entry::new(Kind::Ignored, false, false),
            })
            .collect();
        table.rows = rows;
        table
    }

    fn row(&mut self, c: char) -> Entry {
        let plain = is_plain(c);
        let simple = |kind| Entry::new(kind, plain, false);
        if is_invisible(c) || is_diacritic(c) {
            return simple(Kind::Ignored);
        }
        if is_blank(c) {
            return simple(Kind::Space);
        }
        if let Some(position) = alphabet::jamo_position(c) {
            return simple(Kind::Jamo(position as u8));
        }
        match c {
            '\0'..='\x7F' => return simple(ascii(c as u8)),
            '가'..='힣' => return simple(Kind::Syllable),
            // Ideographs without a compatibility form, and private use.
            '\u{3400}'..='\u{9FFF}' | '\u{E000}'..='\u{F8FF}' => return simple(Kind::Letter(c)),
            '¡' => return simple(Kind::Leet(b'!')),
            '¢' => return simple(Kind::Leet(b'c')),
            '€' => return simple(Kind::Leet(b'e')),
            '¥' => return simple(Kind::Leet(b'y')),
            // Stress and tone marks, which count as letters for Unicode.
            '\u{2B9}'..='\u{2BB}' | '\u{2BD}'..='\u{2DF}' => return simple(Kind::Mark),
            '’' | '‘' | 'ʼ' | '＇' => return simple(Kind::Apostrophe),
            _ => {}
        }
        let (latin, alike) = match latin_forms(c) {
            Some(found) => found,
            None if c.is_alphanumeric() || is_combining_mark(c) => {
                let letter = folded(c);
                return Entry::new(Kind::Letter(letter), plain, is_katakana(c));
            }
            None => return simple(Kind::Mark),
        };
        match latin.as_bytes() {
            [one] => Entry::new(ascii_alike(*one, alike), plain, alike),
            many => {
                let at = self.sequences.len() as u16;
                self.sequences.push(many.into());
                Entry::new(Kind::Sequence(at), plain, alike)
            }
        }
    }
}

fn beyond(c: char) -> Entry {
    match c {
        '\u{E0000}'..='\u{E0FFF}' => Entry::new(Kind::Ignored, false, false),
        // Compatibility ideographs, which NFC replaces.
        '\u{2F800}'..='\u{2FA1F}' => Entry::new(Kind::Letter(c), false, false),
        _ if (c as u32) & 0xFFFE == 0xFFFE => Entry::new(Kind::Ignored, false, false),
        _ => Entry::new(Kind::Letter(c), true, false),
    }
}

fn ascii(byte: u8) -> Kind {
    match byte {
        b'I' => Kind::Latin(b'I'),
        b'a'..=b'z' | b'A'..=b'Z' => Kind::Latin(byte.to_ascii_lowercase()),
        b'0'..=b'9' => Kind::Digit(byte),
        b'@' | b'$' | b'!' | b'|' => Kind::Leet(byte),
        b'*' | b'#' => Kind::Mask,
        b'\'' | b'`' => Kind::Apostrophe,
        b' ' | b'\t' | b'\n' | b'\r' => Kind::Space,
        b'!'..=b'~' => Kind::Mark,
        _ => Kind::Ignored,
    }
}

/// As `ascii`, but of a lookalike. Skeletons write `l` for all that is a stroke.
fn ascii_alike(byte: u8, alike: bool) -> Kind {
    match byte {
        b'l' if alike => Kind::Latin(b'I'),
        _ => ascii(byte),
    }
}

/// The ASCII that a code point is a form of (`false`) or looks like (`true`).
fn latin_forms(c: char) -> Option<(String, bool)> {
    if let Some(letter) = enclosed(c) {
        return Some((letter.to_string(), false));
    }
    let form: String = c.nfkd().filter(|c| !is_diacritic(*c)).collect();
    if form.is_ascii() {
        if form.len() == 1 {
            return Some((form, false));
        }
        // Brackets around a letter, and full stops behind it.
        let letters: String = form.chars().filter(char::is_ascii_alphanumeric).collect();
        return (!letters.is_empty()).then(|| (letters.to_ascii_lowercase(), false));
    }
    let mut chars = form.chars();
    let (Some(only), None) = (chars.next(), chars.next()) else {
        return None;
    };
    if !only.is_alphabetic() {
        return None;
    }
    // Both cases take the same way, so that they fold to the same.
    let lower = single(only.to_lowercase()).unwrap_or(only);
    let upper = single(lower.to_uppercase()).unwrap_or(lower);
    let found = supplement(lower)
        .map(String::from)
        .or_else(|| skeleton(lower))
        .or_else(|| skeleton(upper))?;
    Some((found, true))
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

fn skeleton(c: char) -> Option<String> {
    let mut buffer = [0; 4];
    let text = c.encode_utf8(&mut buffer);
    let found: String = unicode_security::confusable_detection::skeleton(text)
        .filter(|c| !is_diacritic(*c))
        .map(|c| supplement(c).map_or(c, |letter| letter.chars().next().unwrap_or(c)))
        .collect();
    match found.as_str() {
        // UTS 39 writes an m so.
        "rn" => Some("m".into()),
        _ if found.len() <= 3 && found.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            (!found.is_empty()).then(|| found.to_ascii_lowercase())
        }
        _ => None,
    }
}

/// Lookalikes that chats use and UTS 39 leaves out, because a careful reader can tell them apart.
fn supplement(c: char) -> Option<&'static str> {
    Some(match c {
        'ᴀ' | 'α' | 'ɑ' | 'д' | 'λ' | 'ʌ' => "a",
        'ʙ' | 'в' | 'ь' | 'ъ' | 'β' | 'ƅ' => "b",
        'ᴄ' | 'с' | 'ς' => "c",
        'ᴅ' | 'ԁ' | 'ð' | 'đ' => "d",
        'ᴇ' | 'є' | 'ε' | 'ɛ' | 'з' | 'э' | 'ə' => "e",
        'ꜰ' | 'ƒ' | 'ғ' => "f",
        'ɢ' => "g",
        'ʜ' | 'н' | 'ħ' | 'һ' => "h",
        'ɪ' | 'ι' | 'ı' => "i",
        'ᴊ' => "j",
        'ᴋ' | 'к' | 'κ' | 'ĸ' => "k",
        'ʟ' | 'ł' => "l",
        'ᴍ' | 'м' | 'ʍ' => "m",
        'ɴ' | 'и' | 'й' | 'п' | 'η' | 'ŋ' => "n",
        'ᴏ' | 'σ' | 'θ' | 'ө' => "o",
        'ᴘ' | 'ρ' => "p",
        'ʀ' | 'г' | 'я' => "r",
        'ꜱ' | 'ѕ' => "s",
        'ᴛ' | 'т' | 'τ' | 'ŧ' => "t",
        'ᴜ' | 'υ' | 'μ' | 'ц' => "u",
        'ᴠ' | 'ν' => "v",
        'ᴡ' | 'ω' | 'ш' | 'щ' => "w",
        'х' | 'χ' | 'ж' => "x",
        'ʏ' | 'у' | 'ү' | 'γ' | 'ч' => "y",
        'ᴢ' => "z",
        _ => return None,
    })
}

/// Letters in squares and circles that Unicode gives no decomposition.
fn enclosed(c: char) -> Option<char> {
    let start = match c {
        '\u{1F150}'..='\u{1F169}' => 0x1F150,
        '\u{1F170}'..='\u{1F189}' => 0x1F170,
        _ => return None,
    };
    char::from_u32(c as u32 - start + 'a' as u32)
}

fn is_katakana(c: char) -> bool {
    matches!(c, 'ァ'..='ヶ' | '\u{FF66}'..='\u{FF9D}')
}

/// Case and width taken away; katakana becomes hiragana.
fn folded(c: char) -> char {
    let c = single(c.nfkc()).unwrap_or(c);
    let c = single(c.to_lowercase()).unwrap_or(c);
    match c {
        'ァ'..='ヶ' => char::from_u32(c as u32 - 0x60).unwrap_or(c),
        _ => c,
    }
}

/// Marks that may stand on any letter and do not make it another one for a reader of slurs. Marks
/// of a script of its own, such as Thai vowels, are letters here.
fn is_diacritic(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{483}'..='\u{489}' | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}' | '\u{FE20}'..='\u{FE2F}')
}

/// Spaces of every width. The blank of Braille is none for Unicode, but for the eye.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

/// What shows nothing and takes no room, or directs how others are shown: controls, bidirectional
/// overrides, joiners, variation selectors, fillers, tags, and code points that are no characters.
pub(crate) fn is_invisible(c: char) -> bool {
    if is_blank(c) {
        return false;
    }
    matches!(c,
        '\0'..='\x1F' | '\x7F'..='\u{9F}' | '\u{AD}' | '\u{34F}' | '\u{61C}'
        | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FDD0}'..='\u{FDEF}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFC}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
        || (c as u32) & 0xFFFE == 0xFFFE
}

/// Whether any text of such characters is in NFC, and holds nothing to take out.
fn is_plain(c: char) -> bool {
    let stays = !is_invisible(c) && (!is_blank(c) || c == ' ');
    stays
        && !is_combining_mark(c)
        && canonical_combining_class(c) == 0
        && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes
}
