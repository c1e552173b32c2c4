//! Emoji and scripts as people write them: what comes through is what was written, in NFC.

use lightstick_chat_filter::{TextLimits, is_emoji_word, sanitise};
use unicode_normalization::UnicodeNormalization as _;

fn lines(data: &'static str) -> impl Iterator<Item = &'static str> {
    let lines = data.lines();
    lines.filter(|line| !line.starts_with("# ") && !line.is_empty())
}

fn emoji() -> impl Iterator<Item = &'static str> {
    lines(include_str!("data/emoji.txt"))
}

fn check(text: &str, expected: &str) {
    let shown = sanitise(text, &TextLimits::default());
    assert_eq!(
        shown.as_deref(),
        Ok(expected),
        "{text:?} {}",
        text.escape_unicode()
    );
}

#[test]
fn every_emoji_comes_through() {
    let mut count = 0;
    for emoji in emoji() {
        check(emoji, emoji);
        assert!(is_emoji_word(emoji), "{emoji}");
        let sentence = format!("최고 {emoji}{emoji} {emoji}!");
        check(&sentence, &sentence);
        count += 1;
    }
    assert!(count > 5_000, "{count}");
}

#[test]
fn every_script_comes_through_composed_or_not() {
    let mut scripts = std::collections::BTreeSet::new();
    let mut changed = Vec::new();
    for line in lines(include_str!("data/scripts.tsv")) {
        let mut fields = line.splitn(3, '\t').skip(1);
        let (Some(script), Some(text)) = (fields.next(), fields.next()) else {
            panic!("{line}");
        };
        scripts.insert(script);
        let composed: String = text.nfc().collect();
        let decomposed: String = text.nfd().collect();
        for text in [text, &decomposed] {
            let shown = sanitise(text, &TextLimits::default());
            if shown.as_deref() != Ok(&composed) {
                changed.push(format!("{script} {} {shown:?}", text.escape_unicode()));
            }
        }
    }
    assert!(changed.is_empty(), "{changed:#?}");
    assert!(scripts.len() >= 40, "{scripts:?}");
}

#[test]
fn a_long_message_may_come_decomposed() {
    let syllables = "한글".repeat(250);
    let decomposed: String = syllables.nfd().collect();
    assert_eq!(decomposed.len(), 4_500);
    check(&decomposed, &syllables);
}
