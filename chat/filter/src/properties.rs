//! Questions about code points that Unicode's property files answer.

use icu_properties::props::{
    Emoji, EmojiModifier, ExtendedPictographic, IndicSyllabicCategory, JoiningType, LineBreak,
    RegionalIndicator, Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Where Brahmic scripts begin: below, the property of syllables speaks of digits and dashes.
const BRAHMIC_FROM: char = '\u{900}';

/// A symbol that is drawn as a picture, or may be, and what makes up flags.
pub(crate) fn is_emoji(c: char) -> bool {
    is_pictograph(c)
        || CodePointSetData::new::<EmojiModifier>().contains(c)
        || CodePointSetData::new::<RegionalIndicator>().contains(c)
}

/// A symbol of its own that is drawn as a picture, or may be. Places for symbols of later versions
/// of Unicode count.
pub(crate) fn is_pictograph(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

/// Whether there is a choice between text and emoji: keycaps' digits too.
pub(crate) fn can_be_emoji(c: char) -> bool {
    CodePointSetData::new::<Emoji>().contains(c) || is_pictograph(c)
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

/// A letter that takes another form beside others.
pub(crate) fn joins_cursively(c: char) -> bool {
    let joining = CodePointMapData::<JoiningType>::new().get(c);
    matches!(
        joining,
        JoiningType::DualJoining | JoiningType::RightJoining | JoiningType::LeftJoining
    )
}

/// A letter or sign of a script that is written in syllables, as most of India's and its
/// neighbours' are.
fn is_syllabic(c: char) -> bool {
    let category = CodePointMapData::<IndicSyllabicCategory>::new().get(c);
    c >= BRAHMIC_FROM && category != IndicSyllabicCategory::Other
}

/// Whether a joiner behind a letter is spelling.
pub(crate) fn takes_joiners(base: char) -> bool {
    joins_cursively(base) || is_syllabic(base)
}

/// A mark that is a part of a syllable. Thai and Lao stack few marks, and those high.
pub(crate) fn is_brahmic(mark: char) -> bool {
    is_syllabic(mark)
        && !matches!(
            script(mark),
            Script::Thai | Script::Lao | Script::Inherited | Script::Common
        )
}

/// A letter or sign of a script that puts no spaces between words: those of South-East Asia.
pub(crate) fn is_unspaced(c: char) -> bool {
    CodePointMapData::<LineBreak>::new().get(c) == LineBreak::ComplexContext
        || matches!(
            script(c),
            Script::Balinese
                | Script::Batak
                | Script::Buginese
                | Script::Cham
                | Script::Javanese
                | Script::Khmer
                | Script::Lao
                | Script::Myanmar
                | Script::Sundanese
                | Script::TaiTham
                | Script::Thai
                | Script::Tibetan
        )
}

/// Whether a variation selector directly behind a character chooses a form of it: of emoji, of
/// ideographs in names, of scripts that are spelt so.
pub(crate) fn takes_variation(base: char, selector: char) -> bool {
    match selector {
        '\u{FE0E}' | '\u{FE0F}' => can_be_emoji(base),
        '\u{FE00}'..='\u{FE02}' => matches!(
            script(base),
            Script::Han | Script::Myanmar | Script::PhagsPa
        ),
        '\u{180B}'..='\u{180F}' => script(base) == Script::Mongolian,
        '\u{E0100}'..='\u{E01EF}' => script(base) == Script::Han,
        _ => false,
    }
}

/// Whether a word is nothing but emoji and other symbols.
#[must_use]
pub fn is_emoji_word(word: &str) -> bool {
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        let fine = match c {
            // Keycaps: UTS 51, `emoji_keycap_sequence`.
            '0'..='9' | '#' | '*' => {
                chars.next_if_eq(&'\u{FE0F}');
                chars.next_if_eq(&'\u{20E3}').is_some()
            }
            '\u{200D}' | '\u{FE0E}' | '\u{FE0F}' | '\u{2190}'..='\u{2BFF}' => true,
            '\u{3030}'..='\u{303D}' | '\u{E0020}'..='\u{E007F}' => true,
            c => is_emoji(c),
        };
        if !fine {
            return false;
        }
    }
    true
}
