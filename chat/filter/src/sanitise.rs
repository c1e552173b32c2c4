//! The text as a room shows it: in NFC, on one line, without what cannot be seen or misleads.

use std::borrow::Cow;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::properties::{
    can_be_emoji, is_brahmic, is_emoji, is_pictograph, is_unspaced, joins_cursively, takes_joiners,
    takes_variation,
};
use crate::table::{TABLE, is_blank, is_invisible};

const JOINER: char = '\u{200D}';
const NON_JOINER: char = '\u{200C}';
/// Where a line may break between words that are written without spaces, as in Khmer.
const BREAK: char = '\u{200B}';
const ISOLATE_END: char = '\u{2069}';
const FLAG: char = '🏴';
const TAG_END: char = '\u{E007F}';
/// A subdivision, such as "gbeng": a region's two letters, and up to three of letters and digits.
const SUBDIVISION_CHARS: std::ops::RangeInclusive<usize> = 3..=5;
/// Isolates within each other; what is deeper loses its direction.
const ISOLATES_MAX: usize = 8;
/// How much longer a text may come than it is shown: a decomposed syllable of Hangul takes three
/// times its bytes.
const DECOMPOSED: usize = 4;
/// Marks on one letter of a Brahmic script, where vowels and conjoined consonants are marks.
const BRAHMIC_MARKS_MAX: usize = 8;

/// How much text a message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimits {
    /// Bytes of UTF-8 as they are shown. A text that comes decomposed may have four times as many.
    pub bytes_max: usize,
    /// Code points as they are shown.
    pub chars_max: usize,
    /// Combining marks on one letter; the rest is taken out. Thai needs 2, Hebrew up to 4; Brahmic
    /// scripts, which write vowels so, have 8.
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
/// Takes out controls, bidirectional embeddings and overrides, fillers, tags outside of flags, and
/// joiners outside of emoji and of the scripts that need them; closes the isolates that are open at
/// the end; runs of spaces and line breaks become one space. The result is in NFC, shows something,
/// is within the limits, and stays as it is when it is sanitised again.
pub fn sanitise<'a>(text: &'a str, limits: &TextLimits) -> Result<Cow<'a, str>, TextError> {
    if text.len() > limits.bytes_max.saturating_mul(DECOMPOSED) {
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
        let emoji_style = c == '\u{FE0F}' && can_be_emoji(before);
        if !(emoji_style || table.get(c).is_plain()) || (c == ' ' && before == ' ') {
            return false;
        }
        before = c;
    }
    before != ' '
}

/// All steps but those that change single characters' form.
fn strip(text: &str) -> String {
    let mut out = Stripped::new(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            _ if is_blank(c) => out.blank(),
            JOINER | NON_JOINER => out.joiner(c),
            BREAK => out.breaks = out.before.is_some_and(is_unspaced),
            // Marks of direction: left-to-right, right-to-left, Arabic letter.
            '\u{200E}' | '\u{200F}' | '\u{61C}' => out.direction(c),
            '\u{2066}'..='\u{2068}' => out.isolate(c),
            ISOLATE_END => out.end_isolate(),
            _ if is_invisible(c) => {
                if out.before.is_some_and(|before| takes_variation(before, c)) {
                    out.kept.push(c);
                    out.before = Some(c);
                    (out.joiner, out.breaks) = (None, false);
                }
            }
            _ if out.before.is_none() && is_combining_mark(c) => {}
            _ => out.visible(c),
        }
        if c == FLAG
            && let Some(tags) = subdivision(rest.as_str())
        {
            out.kept.push_str(tags);
            rest = rest.as_str()[tags.len()..].chars();
        }
    }
    out.finish()
}

/// The tags of a flag at the beginning of a text: UTS 51, `emoji_tag_sequence`.
fn subdivision(text: &str) -> Option<&str> {
    let (tags, _) = text.split_once(TAG_END)?;
    let ascii = |tag: char| char::from_u32((tag as u32).checked_sub(0xE0000)?);
    let count = tags.chars().count();
    let plain = tags.chars().enumerate().all(|(at, tag)| {
        ascii(tag).is_some_and(|c| c.is_ascii_lowercase() || at >= 2 && c.is_ascii_digit())
    });
    let fits = SUBDIVISION_CHARS.contains(&count) && plain;
    fits.then(|| &text[..tags.len() + TAG_END.len_utf8()])
}

/// What is left of a text so far.
struct Stripped {
    kept: String,
    /// What was kept last; none after a space or a direction, and at the start.
    before: Option<char>,
    /// Under all marks, whose order NFC may change.
    base: char,
    /// Waits for what it joins.
    joiner: Option<char>,
    /// A place to break the line waits for the next word.
    breaks: bool,
    space: bool,
    /// Where the isolates begin that are open.
    isolates: Vec<usize>,
    /// Deeper ones, which are not kept.
    too_deep: usize,
}

impl Stripped {
    fn new(capacity: usize) -> Self {
        Self {
            kept: String::with_capacity(capacity),
            before: None,
            base: ' ',
            joiner: None,
            breaks: false,
            space: false,
            isolates: Vec::new(),
            too_deep: 0,
        }
    }

    fn blank(&mut self) {
        self.space = true;
        self.apart();
    }

    /// What comes now stands on nothing.
    fn apart(&mut self) {
        (self.before, self.base) = (None, ' ');
        (self.joiner, self.breaks) = (None, false);
    }

    fn push_space(&mut self) {
        if std::mem::take(&mut self.space) && !self.kept.is_empty() {
            self.kept.push(' ');
        }
    }

    fn joiner(&mut self, joiner: char) {
        if matches!(self.before, Some(JOINER | NON_JOINER)) {
            return;
        }
        // Spelling, also at the end of a word: Malayalam's chillus, Persian's initial forms.
        if self.before.is_some() && takes_joiners(self.base) {
            self.kept.push(joiner);
            self.before = Some(joiner);
        } else if joiner == JOINER {
            self.joiner = Some(joiner);
        }
    }

    fn visible(&mut self, c: char) {
        self.push_space();
        let joins = match self.before {
            Some(before) => is_joined_emoji(before, c),
            // A final form by itself.
            None => joins_cursively(c),
        };
        if let Some(joiner) = self.joiner.take()
            && joins
        {
            self.kept.push(joiner);
        }
        if std::mem::take(&mut self.breaks) && is_unspaced(c) && !is_combining_mark(c) {
            self.kept.push(BREAK);
        }
        self.kept.push(c);
        self.before = Some(c);
        if !is_combining_mark(c) {
            self.base = c;
        }
    }

    fn direction(&mut self, mark: char) {
        // Of a run, one of each and two in all: as much as dates and amounts are written with.
        let is_mark = |c: &char| matches!(c, '\u{200E}' | '\u{200F}' | '\u{61C}');
        let mut run = self.kept.chars().rev().take_while(is_mark);
        let (last, before) = (run.next(), run.next());
        if self.space || last.is_none_or(|last| last != mark && before.is_none()) {
            self.push_space();
            self.kept.push(mark);
        }
        self.apart();
    }

    fn isolate(&mut self, opener: char) {
        self.apart();
        if self.isolates.len() == ISOLATES_MAX {
            self.too_deep += 1;
            return;
        }
        self.push_space();
        self.isolates.push(self.kept.len());
        self.kept.push(opener);
    }

    fn end_isolate(&mut self) {
        self.apart();
        if self.too_deep > 0 {
            self.too_deep -= 1;
        } else if let Some(start) = self.isolates.pop() {
            self.close(start);
        }
    }

    /// Ends an isolate; one that shows nothing goes.
    fn close(&mut self, start: usize) {
        if shows_something(&self.kept[start..]) {
            self.push_space();
            self.kept.push(ISOLATE_END);
            return;
        }
        self.kept.truncate(start);
        if self.kept.ends_with(' ') {
            self.kept.pop();
            self.space = true;
        }
    }

    fn finish(mut self) -> String {
        self.space = false;
        while let Some(start) = self.isolates.pop() {
            self.close(start);
            self.space = false;
        }
        match shows_something(&self.kept) {
            true => self.kept,
            false => String::new(),
        }
    }
}

fn shows_something(text: &str) -> bool {
    text.chars().any(|c| !is_blank(c) && !is_invisible(c))
}

/// Whether a joiner between these two is of an emoji: UTS 51, `emoji_zwj_sequence`.
fn is_joined_emoji(before: char, after: char) -> bool {
    (is_emoji(before) || matches!(before, '\u{FE0F}' | TAG_END)) && is_pictograph(after)
}

/// NFC, and no more marks on one letter than allowed.
fn compose(text: &str, limits: &TextLimits) -> Result<String, TextError> {
    let mut shown = String::with_capacity(text.len());
    let (mut marks, mut dropped) = (0, 0);
    for c in text.nfc() {
        if is_combining_mark(c) && !is_invisible(c) {
            marks += 1;
            let max = match is_brahmic(c) {
                true => BRAHMIC_MARKS_MAX.max(limits.marks_max),
                false => limits.marks_max.max(1),
            };
            if marks > max {
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
        check("abc\u{202D}def\u{202C}\u{2069}\u{202A}", "abcdef");
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
    fn flags_are_all_that_tags_spell() {
        let tags = |text: &str| -> String {
            let tag = |c: char| char::from_u32(0xE0000 + c as u32).unwrap();
            text.chars().map(tag).chain([TAG_END]).collect()
        };
        for flag in ["gbeng", "gbsct", "gbwls", "ustx", "fr75"] {
            let text = format!("go 🏴{} go", tags(flag));
            check(&text, &text);
        }
        for (hidden, shown) in [
            (format!("🏴{}", tags("ignore the above")), "🏴"),
            (format!("🏴{}", tags("GBENG")), "🏴"),
            (format!("🏴{}", tags("gb")), "🏴"),
            (format!("🏴{}", tags("12eng")), "🏴"),
            (format!("👍{}", tags("gbeng")), "👍"),
            (
                format!("🏴{0}{0}", tags("gbeng")),
                &*format!("🏴{}", tags("gbeng")),
            ),
            (format!("hi{}", tags("gbeng")), "hi"),
            ("🏴\u{E0067}\u{E0062}\u{E0065}x".into(), "🏴x"),
        ] {
            check(&hidden, shown);
        }
    }

    #[test]
    fn directions_end_with_the_text() {
        check("\u{200F}שלום!\u{200F}", "\u{200F}שלום!\u{200F}");
        check(
            "a\u{200E}\u{200E}\u{200F}\u{200E}\u{61C}b",
            "a\u{200E}\u{200F}b",
        );
        check("\u{2068}שלום\u{2069} hi", "\u{2068}שלום\u{2069} hi");
        check("hi \u{2067}שלום", "hi \u{2067}שלום\u{2069}");
        check("\u{2067}a\u{2066}b", "\u{2067}a\u{2066}b\u{2069}\u{2069}");
        check("a\u{2069}\u{2069}b", "ab");
        check("a \u{2066} \u{2069} b\u{2066}", "a b");
        check("a\u{2066}\u{2067}\u{200E}\u{2069}\u{2069}b", "ab");
        let deep = "\u{2067}".repeat(100);
        let kept = "\u{2067}".repeat(ISOLATES_MAX);
        let ends = "\u{2069}".repeat(ISOLATES_MAX);
        check(&format!("{deep}x"), &format!("{kept}x{ends}"));
        check(
            &format!("{deep}x{}y", "\u{2069}".repeat(100)),
            &format!("{kept}x{ends}y"),
        );
    }

    #[test]
    fn scripts_keep_what_spells_them() {
        for text in [
            // Malayalam: a chillu at the end. Persian: an initial form by itself, a plural.
            "അവന\u{D4D}\u{200D}",
            "ه\u{200D} کتاب\u{200C}ها",
            "\u{200D}ه",
            // Bengali ya-phalaa, Sinhala, Marathi's eyelash.
            "র\u{200D}\u{9CD}য\u{9BE}ব",
            "ශ\u{DCA}\u{200D}\u{DBB}ී",
            "द\u{930}\u{94D}\u{200D}या",
            // Mongolian with a variant and a vowel separator.
            "ᠭ\u{180B}ᠠ ᠬ\u{180E}ᠠ",
            // Khmer, with places to break the line.
            "មនុស្ស\u{200B}ទាំង\u{200B}អស់",
            // Five marks on one letter.
            "မျှော့",
        ] {
            check(text, text);
        }
        check("a\u{200B}b ក\u{200B} \u{200B}ខ", "ab ក ខ");
        check("ക\u{200D}\u{200D}\u{200C}ക", "ക\u{200D}ക");
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
        // Decomposed, a syllable takes nine bytes.
        assert!(sanitise("\u{1112}\u{1161}\u{11AB}".repeat(4).as_str(), &limits).is_ok());
        let long = "\u{1112}\u{1161}\u{11AB}".repeat(5);
        assert_eq!(sanitise(&long, &limits), Err(TextError::TooLong));
        for nothing in [
            "",
            "   ",
            "\u{200B}\u{3164}\u{2800}",
            "\u{301}",
            "\u{200D}",
            "\u{200E}",
            "\u{2067}\u{200F}\u{2069}",
            "\u{2067} \u{2066}",
            "\u{E0067}\u{E007F}",
            "\u{FE0F}",
        ] {
            assert_eq!(
                sanitise(nothing, &limits),
                Err(TextError::Empty),
                "{nothing:?}"
            );
        }
    }
}
