//! Whether a term that the automaton found is meant: the rules against finding "ass" in "class".

use crate::alphabet::{LAUGHTER, TEARS, is_vowel};
use crate::fold::{
    ALIKE, APOSTROPHE, DRAWN, Folded, HANGUL, LATIN, LEET, LONE, MORE, Origin, PUNCTUATION, SPACE,
    UNIT,
};
use crate::terms::{Pattern, Purpose, Shape};

/// The first byte of hiragana.
const KANA: u8 = 0xE3;
/// Shorter Latin terms come about too easily where words meet.
const UNITS_MIN: usize = 4;

/// How sure it is that the term is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Evidence {
    /// It may be something else.
    Weak,
    /// Written so that a filter overlooks it.
    Disguised,
    Exact,
}

/// What stands between the letters of a match that is not in the term.
#[derive(Default)]
struct Pieces {
    spaces: usize,
    marks: usize,
    single: usize,
    longer: usize,
    units: usize,
}

impl Pieces {
    fn close(&mut self) {
        match self.units {
            0 => {}
            1 => self.single += 1,
            _ => self.longer += 1,
        }
        self.units = 0;
    }
}

/// Judges `pattern` at `at`, where its bytes stand in `text`.
pub(crate) fn verify(pattern: &Pattern, text: &Folded, at: usize) -> Option<Evidence> {
    let end = at + pattern.bytes.len();
    let found = text.origins.get(at..end)?;
    let first = found.first()?;
    let mut evidence = Evidence::Exact;
    if !first.is(UNIT) {
        return None;
    }
    if let Some(next) = text.origins.get(end)
        && !next.is(UNIT)
    {
        // "새낔ㅋ": laughter has slipped under the last syllable.
        let last = text.origins.get(end + 1).is_none_or(|o| o.is(UNIT));
        if !(last && LAUGHTER.contains(&text.bytes[end]) && next.gap == 0) {
            return None;
        }
        evidence = Evidence::Disguised;
    }
    if pattern.abbreviation && !abbreviation(text, at, end) {
        return None;
    }
    let mut pieces = Pieces::default();
    let (mut leet, mut letters, mut alike, mut lone) = (0, 0, true, true);
    let mut cut_by_chance = false;
    let mut other_kana = None;
    for (n, (term, here)) in pattern.origins.iter().zip(found).enumerate() {
        if here.is(MORE) {
            continue;
        }
        evidence = evidence.min(repeats(n, pattern.bytes[n], *term, *here, pattern.purpose)?);
        evidence = evidence.min(literal(*term, *here)?);
        if n > 0 && here.gap >= APOSTROPHE && term.gap == 0 {
            evidence = evidence.min(Evidence::Disguised);
            pieces.close();
            match here.gap {
                SPACE => pieces.spaces += 1,
                PUNCTUATION => pieces.marks += 1,
                _ => {}
            }
        }
        if here.is(UNIT) {
            pieces.units += 1;
        }
        if here.is(HANGUL) && term.is(UNIT) != here.is(UNIT) {
            // Syllables are cut elsewhere: on purpose where jamo stand alone, by chance perhaps else.
            let lone = here.is(LONE);
            cut_by_chance |= !lone;
            evidence = evidence.min(if lone {
                Evidence::Disguised
            } else {
                Evidence::Weak
            });
        }
        if pattern.bytes[n] == KANA && !here.is(LATIN) {
            // "サーバから" changes its kana in the middle, and so means nothing else.
            let other = term.is(ALIKE) != here.is(ALIKE);
            if *other_kana.get_or_insert(other) != other {
                return None;
            }
        }
        letters += usize::from(term.run);
        // "a55" may be a seat; nobody means "a$$" otherwise.
        let digit = here.literal.is_ascii_digit() && here.literal != term.literal;
        leet += usize::from(term.run) * usize::from(digit);
        alike &= here.is(ALIKE) && here.is(LATIN) && !term.is(ALIKE);
        lone &= here.is(LONE);
    }
    pieces.close();
    if leet * 5 > letters * 3 {
        return None;
    }
    if alike {
        // A word of another script as a whole, which only looks like the term.
        evidence = Evidence::Weak;
    }
    let starts = starts_word(text, at);
    let ends = ends_word(text, end, pattern);
    if pattern.purpose == Purpose::Allow && (evidence < Evidence::Disguised || leet > 0) {
        return None;
    }
    if cut_by_chance && !(starts && ends) {
        // "십알" is one word; "밥오늘" is rice, and today.
        return None;
    }
    let open = matches!(pattern.shape, Shape::Prefix | Shape::Anywhere);
    if pieces.spaces > 0 {
        evidence = evidence.min(across_spaces(
            pattern,
            text,
            at,
            end,
            &pieces,
            (starts, ends),
        )?);
    } else if pieces.marks > 0 {
        evidence = evidence.min(across_marks(starts, ends, open, first.is(LATIN), &pieces)?);
    } else if text.separated {
        // The other reading has looked at whole words already, and better.
        return None;
    } else {
        let fits = match pattern.shape {
            Shape::Word => starts && ends,
            Shape::Prefix => starts,
            Shape::Suffix => ends,
            Shape::Anywhere | Shape::Auto => true,
        };
        // A phrase whose words run together is hardly by chance, but it has to be those words.
        let phrase = pattern.origins.iter().skip(1).any(|o| o.gap == SPACE);
        if !fits || (phrase && evidence == Evidence::Weak) {
            return None;
        }
        if found.iter().any(|o| o.is(DRAWN)) && !lone {
            // "다시이발" is "again", and then a haircut.
            let drawn = found.iter().any(|o| o.is(DRAWN) && o.run > 2);
            if !starts && !drawn {
                return None;
            }
        }
        if first.is(HANGUL) && !starts && pattern.units <= 2 && !pattern.abbreviation && !lone {
            evidence = Evidence::Weak.min(evidence);
        }
    }
    Some(evidence)
}

/// Jamo that stand alone, and are no part of a longer abbreviation. Consonants may have laughter or
/// tears around them.
fn abbreviation(text: &Folded, at: usize, end: usize) -> bool {
    let alone = |n: usize| text.origins[n].is(LONE);
    let vowels = is_vowel(text.bytes[at]);
    let other = |n: usize| {
        let byte = text.bytes[n];
        let mood = LAUGHTER.contains(&byte) || (!vowels && TEARS.contains(&byte));
        alone(n) && !mood
    };
    let before = at > 0 && text.origins[at].gap == 0 && other(at - 1);
    let after = text.origins.get(end).is_some_and(|o| o.gap == 0) && other(end);
    (at..end).all(alone) && !before && !after
}

/// Whether a symbol stands there as often as the term has it, or so often that it is drawn out.
fn repeats(n: usize, byte: u8, term: Origin, here: Origin, purpose: Purpose) -> Option<Evidence> {
    if here.run == term.run {
        return Some(Evidence::Exact);
    }
    if here.run < term.run || term.literal.is_ascii_digit() {
        return None;
    }
    if here.is(DRAWN) && here.run - term.run == 1 {
        return Some(Evidence::Weak);
    }
    if here.is(HANGUL) || here.run > 2 || purpose == Purpose::Allow {
        return Some(Evidence::Disguised);
    }
    // Twice for once. Words have such pairs: "loose" is not "lose". But no word starts with one, and
    // few letters are never doubled.
    let vowel = b"aeiou".contains(&byte);
    let never = b"aijhkquvwxyz".contains(&byte) && here.literal != b'l';
    let start = n == 0 && !vowel && here.literal != b'l';
    (never || start).then_some(Evidence::Weak)
}

/// Whether the letter there can pass for the term's.
fn literal(term: Origin, here: Origin) -> Option<Evidence> {
    if term.literal == here.literal {
        return Some(Evidence::Exact);
    }
    if term.literal.is_ascii_digit() {
        return None;
    }
    match (term.literal, here.literal) {
        (b'i' | b'l' | b'I', b'I') | (b'I', b'i' | b'l') => Some(Evidence::Exact),
        (b'i', b'l') | (b'l', b'i') => Some(Evidence::Weak),
        _ if here.is(LEET) => Some(Evidence::Disguised),
        _ => Some(Evidence::Exact),
    }
}

/// Whether a symbol goes on with the word of the one before it. Of a Cyrillic word some letters look
/// Latin and some do not; it is one word for all that.
fn joined(text: &Folded, n: usize) -> bool {
    let (Some(here), Some(before)) = (text.origins.get(n), n.checked_sub(1)) else {
        return false;
    };
    let before = text.origins[before];
    let script = |o: Origin| o.flags & (LATIN | HANGUL);
    let mixed = |a: Origin, b: Origin| a.is(ALIKE) && !b.is(HANGUL);
    let same = script(before) == script(*here) || mixed(before, *here) || mixed(*here, before);
    here.gap < PUNCTUATION && same
}

fn starts_word(text: &Folded, at: usize) -> bool {
    // Digits before a word are not a part of it: "4ever".
    let mut start = at;
    while joined(text, start) && text.origins[start - 1].is(LEET) {
        start -= 1;
    }
    !joined(text, start)
}

fn ends_word(text: &Folded, end: usize, pattern: &Pattern) -> bool {
    let boundary = |mut n: usize| {
        while joined(text, n) && text.origins[n].is(LEET) {
            n += 1;
        }
        !joined(text, n)
    };
    // The plural of a Latin word: "idiots", but not "godless" for "go die".
    let plural = || {
        let one = |o: &Origin| o.gap == 0 && o.run == 1 && o.is(LATIN);
        let s = text.bytes.get(end) == Some(&b's') && text.origins.get(end).is_some_and(one);
        s && pattern.units > 2 && boundary(end + 1)
    };
    boundary(end) || plural()
}

/// "f u c k" is meant; "pen is" is not; "f uck" may be.
fn across_spaces(
    pattern: &Pattern,
    text: &Folded,
    at: usize,
    end: usize,
    pieces: &Pieces,
    (starts, ends): (bool, bool),
) -> Option<Evidence> {
    let prefix = pattern.shape == Shape::Prefix;
    if !starts || !(ends || prefix) || pieces.single == 0 {
        return None;
    }
    // "same as -s", "put a": short words, and the article.
    if pieces.longer > 0
        && (pattern.origins[0].is(LATIN) && pattern.units < UNITS_MIN || article(pattern, text, at))
    {
        return None;
    }
    if pieces.longer > 0 || !ends {
        return Some(Evidence::Weak);
    }
    // In a longer row of single letters the term may be a part of another word.
    let single = |n: usize| {
        let next = text.origins.get(n + 1);
        text.origins[n].is(LATIN)
            && text.origins[n].gap == SPACE
            && next.is_none_or(|o| o.gap == SPACE)
    };
    let row = (at > 0 && single(at - 1)) || (end < text.origins.len() && single(end));
    match (row, pattern.units) {
        (true, 0..=3) => None,
        (true, _) => Some(Evidence::Weak),
        (false, _) => Some(Evidence::Disguised),
    }
}

/// Whether an "a" or a last "I" of the match is a word of its own.
fn article(pattern: &Pattern, text: &Folded, at: usize) -> bool {
    let end = at + pattern.bytes.len();
    let free = |n: usize| text.origins.get(n).is_none_or(|o| o.gap >= PUNCTUATION);
    (at..end).any(|n| {
        let word = text.bytes[n] == b'a' || (text.bytes[n] == b'i' && n + 1 == end);
        word && free(n) && free(n + 1)
    })
}

/// "f.u.c.k" and "시.발" are meant; "class.hit" is not.
fn across_marks(
    starts: bool,
    ends: bool,
    open: bool,
    latin: bool,
    pieces: &Pieces,
) -> Option<Evidence> {
    if !starts || !(ends || open) {
        return None;
    }
    if pieces.longer == 0 && (ends || latin) {
        return Some(Evidence::Disguised);
    }
    Some(Evidence::Weak)
}
