//! The text as a room shows it: in NFC, on one line, without what cannot be seen or misleads.

use std::borrow::Cow;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::table::{TABLE, is_blank, is_invisible};

const JOINER: char = '\u{200D}';
const NON_JOINER: char = '\u{200C}';

/// How much text a message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimits {
    /// Bytes of UTF-8, as they come and as they are shown.
    pub bytes_max: usize,
    /// Code points as they are shown.
    pub chars_max: usize,
    /// Combining marks on one letter; the rest is taken out. Thai needs 2, Hebrew up to 4.
    pub marks_max: usize,
    /// How many marks may be taken out before the message is refused.
    pub marks_dropped_max: usize,
}

impl Default for TextLimits {
    fn default() -> Self {
        Self {
            bytes_max: 2_000,
            chars_max: 500,
            marks_max: 4,
            marks_dropped_max: 16,
        }
    }
}

/// Why a text cannot be a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextError {
    /// Nothing is left that can be seen.
    #[error("the text is empty")]
    Empty,
    /// More than [`TextLimits::bytes_max`] or [`TextLimits::chars_max`].
    #[error("the text is too long")]
    TooLong,
    /// More combining marks than letters can carry.
    #[error("the text has too many combining marks")]
    Zalgo,
}

/// Makes what the room shows of what a client sent.
///
/// Takes out controls, bidirectional overrides, fillers, tags and joiners outside of emoji and of
/// the scripts that need them; runs of spaces and line breaks become one space. The result is in
/// NFC, not empty, within the limits, and stays as it is when it is sanitised again.
pub fn sanitise<'a>(text: &'a str, limits: &TextLimits) -> Result<Cow<'a, str>, TextError> {
    if text.len() > limits.bytes_max {
        return Err(TextError::TooLong);
    }
    let shown = match is_clean(text) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(compose(&strip(text), limits)?),
    };
    if shown.is_empty() {
        return Err(TextError::Empty);
    }
    if shown.len() > limits.bytes_max || shown.chars().count() > limits.chars_max {
        return Err(TextError::TooLong);
    }
    Ok(shown)
}

/// Whether nothing has to change. Says no to some texts that would not.
fn is_clean(text: &str) -> bool {
    let table = &*TABLE;
    let mut before = ' ';
    for c in text.chars() {
        let emoji_style = c == '\u{FE0F}' && is_emoji(before);
        if !(emoji_style || table.get(c).is_plain()) || (c == ' ' && before == ' ') {
            return false;
        }
        before = c;
    }
    before != ' '
}

/// All steps but those that change single characters' form.
fn strip(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // What was kept last; none after a space, and at the start.
    let mut before = None;
    // Under all marks, whose order NFC may change.
    let mut base = ' ';
    let mut joiner = None;
    let mut space = false;
    for c in text.chars() {
        if is_blank(c) {
            space = true;
            (before, joiner) = (None, None);
        } else if c == JOINER || c == NON_JOINER {
            joiner = Some(c);
        } else if is_invisible(c) {
            if before.is_some_and(|base| is_variation(base, c)) {
                kept.push(c);
                (before, joiner) = (Some(c), None);
            }
        } else if before.is_some() || !is_combining_mark(c) {
            if space && !kept.is_empty() {
                kept.push(' ');
            }
            space = false;
            if let (Some(joiner), Some(before)) = (joiner.take(), before)
                && joins(before, base, joiner, c)
            {
                kept.push(joiner);
            }
            kept.push(c);
            before = Some(c);
            if !is_combining_mark(c) {
                base = c;
            }
        }
    }
    kept
}

/// NFC, and no more marks on one letter than allowed.
fn compose(text: &str, limits: &TextLimits) -> Result<String, TextError> {
    let mut shown = String::with_capacity(text.len());
    let (mut marks, mut dropped) = (0, 0);
    for c in text.nfc() {
        if is_combining_mark(c) && !is_invisible(c) {
            marks += 1;
            if marks > limits.marks_max.max(1) {
                dropped += 1;
                continue;
            }
        } else if !is_invisible(c) {
            marks = 0;
        }
        shown.push(c);
    }
    if dropped > limits.marks_dropped_max {
        return Err(TextError::Zalgo);
    }
    Ok(shown)
}

/// Variation selectors that choose between text and emoji, and those of ideographs in names.
fn is_variation(base: char, selector: char) -> bool {
    match selector {
        '\u{FE0E}' | '\u{FE0F}' => is_emoji(base) || matches!(base, '0'..='9' | '#' | '*'),
        '\u{E0100}'..='\u{E01EF}' => {
            matches!(base, '\u{3400}'..='\u{9FFF}' | '\u{20000}'..='\u{2F7FF}')
        }
        _ => false,
    }
}

/// Whether a joiner between these two is spelling: in emoji sequences, Persian, Indic scripts.
fn joins(before: char, base: char, joiner: char, after: char) -> bool {
    let emoji = joiner == JOINER && (is_emoji(before) || before == '\u{FE0F}') && is_emoji(after);
    let script = |c: char| match c {
        '\u{600}'..='\u{6FF}' | '\u{750}'..='\u{77F}' => 1,
        '\u{900}'..='\u{DFF}' => 2,
        _ => 0,
    };
    let letter = after.is_alphabetic() && !is_combining_mark(after);
    emoji || (letter && script(base) != 0 && script(base) == script(after))
}

/// Symbols that are drawn as pictures, or may be.
pub(crate) fn is_emoji(c: char) -> bool {
    matches!(c, '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '〰' | '〽' | '㊗' | '㊙'
        | '\u{2190}'..='\u{21FF}' | '\u{2300}'..='\u{23FF}' | '\u{25A0}'..='\u{27BF}'
        | '\u{2900}'..='\u{297F}' | '\u{2B00}'..='\u{2BFF}' | '\u{1F000}'..='\u{1FAFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = sanitise(text, &TextLimits::default());
        assert_eq!(shown.as_deref(), Ok(expected), "{text:?}");
        let again = sanitise(expected, &TextLimits::default());
        assert_eq!(again.as_deref(), Ok(expected), "again {text:?}");
    }

    #[test]
    fn ordinary_text_is_borrowed() {
        for text in [
            "hello",
            "오늘 무대 최고!",
            "❤️ 사랑해 ❤",
            "ありがとう",
            "Привет",
            "1 + 1",
        ] {
            let shown = sanitise(text, &TextLimits::default());
            assert!(
                matches!(shown, Ok(Cow::Borrowed(same)) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn what_misleads_is_taken_out() {
        check("abc\u{202E}def\u{2066}\u{2069}", "abcdef");
        check("a\0b\u{7}c\u{9B}d", "abcd");
        check("시\u{3164}발\u{115F}\u{1160}\u{FFA0}!", "시발!");
        check("x\u{E0041}\u{E007F}y\u{FEFF}\u{200B}\u{2060}z", "xyz");
        check("a\u{AD}b\u{34F}c\u{FE00}d\u{FE0F}e", "abcde");
        check("  one\r\n\n two\u{3000}three\u{2028} \t", "one two three");
        check("a\u{FDD0}\u{FFFF}\u{10FFFF}b", "ab");
    }

    #[test]
    fn joiners_stay_where_they_spell() {
        check("👩‍❤️‍👩 👨‍👩‍👧 🏳️‍🌈 👍🏽", "👩‍❤️‍👩 👨‍👩‍👧 🏳️‍🌈 👍🏽");
        check("#️⃣ 1️⃣", "#️⃣ 1️⃣");
        check("می\u{200C}خواهم क्\u{200D}ष", "می\u{200C}خواهم क्\u{200D}ष");
        check("葛\u{E0100}城", "葛\u{E0100}城");
        check("f\u{200D}u\u{200C}c\u{200D}\u{200D}k", "fuck");
        check("👍\u{200D}\u{200D}\u{200D} a\u{200D}", "👍 a");
    }

    #[test]
    fn text_is_composed() {
        check("e\u{301}", "é");
        check("\u{1112}\u{1161}\u{11AB}", "한");
        check("ㄱ\u{200B}ㅏ", "ㄱㅏ");
        check("\u{212B}\u{958}", "Å\u{915}\u{93C}");
    }

    #[test]
    fn marks_pile_up_to_a_limit() {
        let some: String = std::iter::once('h').chain(['\u{302}'; 9]).collect();
        let kept: String = "ĥ".chars().chain(['\u{302}'; 4]).collect();
        check(&some, &kept);
        check("ที่นี่ น้ำ", "ที่นี่ น้ำ");
        check("\u{301}\u{301}a \u{301}b", "a b");
        let zalgo: String = ["z", &"\u{337}\u{352}\u{33F}".repeat(9)].concat();
        assert_eq!(
            sanitise(&zalgo, &TextLimits::default()),
            Err(TextError::Zalgo)
        );
    }

    #[test]
    fn limits_hold() {
        let limits = TextLimits {
            bytes_max: 12,
            chars_max: 4,
            ..TextLimits::default()
        };
        assert!(sanitise("가나다라", &limits).is_ok());
        assert_eq!(sanitise("abcde", &limits), Err(TextError::TooLong));
        assert_eq!(sanitise("가나다라마", &limits), Err(TextError::TooLong));
        // Grows in NFC: three code points for one.
        assert_eq!(
            sanitise("\u{FB2C}\u{FB2C}", &limits),
            Err(TextError::TooLong)
        );
        for nothing in ["", "   ", "\u{200B}\u{3164}\u{2800}", "\u{301}", "\u{200D}"] {
            assert_eq!(
                sanitise(nothing, &limits),
                Err(TextError::Empty),
                "{nothing:?}"
            );
        }
    }
}
