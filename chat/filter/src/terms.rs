//! Blocked and allowed terms: how they are written, and what is made of them once.

use thiserror::Error;

use crate::alphabet;
use crate::fold::{Folded, HANGUL, LATIN, LEET, LONE, MORE, Origin, PUNCTUATION, Reading, UNIT};

/// Terms that a room may block.
pub const ROOM_TERMS_MAX: usize = 500;
/// Terms that an operator may block in all rooms.
pub const OPERATOR_TERMS_MAX: usize = 500;
/// Terms that a room and its operator may allow, together.
pub const ALLOWED_TERMS_MAX: usize = 500;
/// Code points of one term.
pub const TERM_CHARS_MAX: usize = 100;

/// Up to so many letters a Latin term is a whole word unless it says otherwise.
const WORD_LETTERS_MAX: usize = 6;
/// From so many letters on, what the keys of a Hangul term type in Latin is looked for, too.
const KEYS_MIN: usize = 5;

/// What happens to a message with a term in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// A moderator looks at it before it is shown.
    Hold,
    /// It is refused. Where it is not quite certain that the term is meant, it is held.
    #[default]
    Block,
}

/// Where in a word a term counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Shape {
    /// `Word` for terms of up to six Latin letters, else `Anywhere`.
    #[default]
    Auto,
    /// Only as a whole word, or in the plural.
    Word,
    /// At the start of words.
    Prefix,
    /// At the end of words, or of their plural.
    Suffix,
    /// In the middle of words, too; in Hangul at the edges of syllables.
    Anywhere,
}

/// One term that a room or an operator blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// A word or a phrase, 1 to [`TERM_CHARS_MAX`] code points. Bare initial consonants, such as
    /// `ㅅㅂ`, match where they are written as such.
    pub text: String,
    /// Where in a word it counts.
    pub shape: Shape,
    pub action: Action,
}

impl Term {
    /// Reads a term as people write it: `word*` for all words that start so, `*word` for those that
    /// end so, `*word*` for anywhere, `"word"` for whole words only.
    pub fn parse(text: &str, action: Action) -> Self {
        let text = text.trim();
        let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
        let (bare, shape) = match (text.starts_with('*'), text.ends_with('*')) {
            _ if quoted => (text.trim_matches('"'), Shape::Word),
            (true, true) => (text.trim_matches('*'), Shape::Anywhere),
            (true, false) => (text.trim_start_matches('*'), Shape::Suffix),
            (false, true) => (text.trim_end_matches('*'), Shape::Prefix),
            (false, false) => (text, Shape::Auto),
        };
        let text = bare.to_owned();
        Self {
            text,
            shape,
            action,
        }
    }
}

/// Which list a term is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// The few that come with this crate.
    BuiltIn,
    Operator,
    Room,
}

/// A term of a filter: its list, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TermId {
    pub list: List,
    /// The place in that list, from 0 on.
    pub index: usize,
}

/// Why a list of terms cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TermError {
    /// More than a list may hold: [`ROOM_TERMS_MAX`], [`OPERATOR_TERMS_MAX`], [`ALLOWED_TERMS_MAX`].
    #[error("more than {max} terms")]
    TooMany {
        /// How many that list may hold.
        max: usize,
    },
    /// More code points than [`TERM_CHARS_MAX`].
    #[error("term {index} is longer than {TERM_CHARS_MAX} characters")]
    TooLong {
        /// Its place in the list.
        index: usize,
    },
    /// No letter or digit, so nothing to look for.
    #[error("term {index} has no letters")]
    NoLetters {
        /// Its place in the list.
        index: usize,
    },
    /// Too many allowed hosts, or one that is not a host name.
    #[error("allowed host {index} is not usable")]
    Host {
        /// Its place in the list.
        index: usize,
    },
    /// Together the terms are too large to compile.
    #[error("the terms are too large together")]
    TooLarge,
}

/// What a pattern of the automaton is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Block(TermId, Action),
    /// As above, but the Latin keys of it: never more than a suspicion.
    Keys(TermId),
    Allow,
}

/// A term, folded.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) purpose: Purpose,
    pub(crate) shape: Shape,
    pub(crate) bytes: Box<[u8]>,
    pub(crate) origins: Box<[Origin]>,
    /// All consonants, or all vowels, each of its own: an abbreviation.
    pub(crate) abbreviation: bool,
    /// Letters of Latin, or syllables and jamo.
    pub(crate) units: usize,
}

impl Pattern {
    pub(crate) fn new(
        text: &str,
        shape: Shape,
        purpose: Purpose,
        folded: &mut Folded,
    ) -> Option<Self> {
        folded.fold(text, Reading::Letters);
        let (bytes, origins) = (&folded.bytes, &folded.origins);
        let first = origins.first()?;
        let latin = origins.iter().all(|o| o.is(LATIN));
        let units = origins.iter().filter(|o| o.is(UNIT)).count();
        let abbreviation = origins.iter().all(|o| o.is(LONE))
            && (bytes.iter().all(|b| alphabet::is_consonant(*b))
                || bytes.iter().all(|b| alphabet::is_vowel(*b)));
        let shape = match shape {
            Shape::Auto if latin && units <= WORD_LETTERS_MAX => Shape::Word,
            // Other scripts that put spaces between words, as far as they are not folded to Latin.
            Shape::Auto if !first.is(HANGUL) && spaced_script(text) => Shape::Word,
            Shape::Auto => Shape::Anywhere,
            given => given,
        };
        let (bytes, origins) = (bytes[..].into(), origins[..].into());
        Some(Self {
            purpose,
            shape,
            bytes,
            origins,
            abbreviation,
            units,
        })
    }

    /// The same term typed on the wrong keyboard layout.
    pub(crate) fn keys(text: &str, id: TermId, folded: &mut Folded) -> Option<Self> {
        let typed: Option<String> = text.chars().map(alphabet::keys).collect();
        let typed = typed.filter(|typed| typed.len() >= KEYS_MIN)?;
        Self::new(&typed, Shape::Prefix, Purpose::Keys(id), folded)
    }

    /// The same term letter by letter, where that folds to something else: in "a s s" nothing is
    /// doubled, and in "바.아.보" nothing drawn out.
    pub(crate) fn apart(
        text: &str,
        shape: Shape,
        purpose: Purpose,
        folded: &mut Folded,
    ) -> Option<Self> {
        let whole = Self::new(text, shape, purpose, folded)?;
        if !text.chars().all(|c| c.is_alphanumeric() || c == ' ') {
            return None;
        }
        let mut bytes = Vec::new();
        let mut origins: Vec<Origin> = Vec::new();
        for word in text.split(' ') {
            let letters: String = word.chars().flat_map(|c| [c, ' ']).collect();
            folded.fold(&letters, Reading::Letters);
            let start = origins.len();
            bytes.extend_from_slice(&folded.bytes);
            origins.extend_from_slice(&folded.origins);
            // The spaces inside are ours, those between words are the term's.
            for origin in origins.iter_mut().skip(start + 1) {
                origin.gap = 0;
            }
        }
        if bytes[..] == whole.bytes[..] {
            return None;
        }
        let units = origins.iter().filter(|o| o.is(UNIT)).count();
        Some(Self {
            bytes: bytes.into(),
            origins: origins.into(),
            units,
            ..whole
        })
    }

    /// Letters with their repeats, for comparison with masked words; none if not all are Latin.
    pub(crate) fn spelled(&self) -> Option<impl Iterator<Item = u8>> {
        let plain = |o: &Origin| o.is(LATIN) && !o.is(LEET) && !o.is(MORE) && o.gap != PUNCTUATION;
        let latin = self.origins.iter().all(plain);
        latin.then(|| spell(&self.bytes, &self.origins))
    }
}

/// Each symbol as often as it stood there.
pub(crate) fn spell(bytes: &[u8], origins: &[Origin]) -> impl Iterator<Item = u8> {
    let symbols = bytes.iter().zip(origins);
    symbols.flat_map(|(byte, origin)| std::iter::repeat_n(*byte, origin.run as usize))
}

/// Cyrillic, Greek, Armenian, Hebrew, Arabic.
fn spaced_script(text: &str) -> bool {
    text.chars().any(|c| matches!(c, '\u{370}'..='\u{6FF}'))
}
