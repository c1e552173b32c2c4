//! What must hold for any term: every way to take Hangul apart, and every single disguise.

use lightstick_chat_filter::{
    Action, Filter, FilterConfig, Scratch, Shape, Term, TextLimits, Verdict, sanitise,
};

fn filter(term: &str) -> Filter {
    let term = Term {
        text: term.to_owned(),
        shape: Shape::Auto,
        action: Action::Block,
    };
    let config = FilterConfig {
        built_in: false,
        room_terms: vec![term],
        ..FilterConfig::default()
    };
    Filter::new(&config).expect("a usable term")
}

const INITIALS: &str = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ";
const VOWELS: &str = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ";
const FINALS: &str = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ";

/// Initial, vowel and final as the jamo that a keyboard types.
fn jamo(syllable: char) -> String {
    let index = syllable as usize - 0xAC00;
    let initial = INITIALS.chars().nth(index / 588);
    let vowel = VOWELS.chars().nth(index / 28 % 21);
    let last = (index % 28)
        .checked_sub(1)
        .and_then(|n| FINALS.chars().nth(n));
    [initial, vowel, last].into_iter().flatten().collect()
}

fn conjoining(syllable: char) -> String {
    let index = syllable as u32 - 0xAC00;
    let last = (!index.is_multiple_of(28)).then_some(0x11A7 + index % 28);
    let parts = [
        Some(0x1100 + index / 588),
        Some(0x1161 + index / 28 % 21),
        last,
    ];
    parts
        .into_iter()
        .flatten()
        .filter_map(char::from_u32)
        .collect()
}

#[test]
fn every_syllable_is_found_in_parts() {
    let mut scratch = Scratch::default();
    for syllable in '가'..='힣' {
        // A second syllable, so that no part of it can be taken for an abbreviation.
        let term = format!("{syllable}줅");
        let filter = filter(&term);
        let parts = format!("{}{}", jamo(syllable), jamo('줅'));
        let half = format!("{}줅", jamo(syllable));
        for text in [&term, &parts, &half, &format!("{}줅", conjoining(syllable))] {
            let verdict = filter.judge(text, &mut scratch);
            assert!(
                matches!(verdict, Verdict::Blocked(_)),
                "{text} for {term}: {verdict:?}"
            );
        }
        let verdict = filter.judge(&format!("{syllable}줄"), &mut scratch);
        assert_eq!(verdict, Verdict::Clean, "{term}");
    }
}

fn between(text: &str, separator: &str) -> String {
    let letters: Vec<String> = text.chars().map(String::from).collect();
    letters.join(separator)
}

#[test]
fn every_disguise_of_a_random_word_is_found() {
    let mut random = fastrand::Rng::with_seed(0x11);
    let mut scratch = Scratch::default();
    for round in 0..600 {
        let length = random.usize(4..9);
        let korean = round % 2 == 0;
        let mut letter = || match korean {
            true => random.char('가'..='힣'),
            false => random.lowercase(),
        };
        let word: String = (0..length).map(|_| letter()).collect();
        let filter = filter(&word);
        let wide = |c: char| match c {
            'a'..='z' => char::from_u32(c as u32 + 0xFEE0).unwrap_or(c),
            other => other,
        };
        let disguises = [
            word.to_uppercase(),
            word.chars().map(wide).collect(),
            between(&word, "."),
            between(&word, "-"),
            between(&word, " "),
            between(&word, "💜"),
            between(&word, "\u{200B}"),
            between(&word, "\u{3164}"),
            between(&word, "\u{301}"),
            format!("({word})!!"),
            format!("oh {word}"),
            format!("{word}, {word}"),
            word.chars()
                .flat_map(|c| {
                    if c.is_ascii() { c.to_string() } else { jamo(c) }
                        .chars()
                        .collect::<Vec<_>>()
                })
                .collect(),
        ];
        for text in disguises {
            let shown = sanitise(&text, &TextLimits::default()).expect("a usable text");
            let verdict = filter.judge(&shown, &mut scratch);
            assert_ne!(verdict, Verdict::Clean, "{shown} for {word}");
        }
    }
}

#[test]
fn words_that_hold_a_short_word_are_clean() {
    let mut random = fastrand::Rng::with_seed(0x12);
    let mut scratch = Scratch::default();
    for _ in 0..2_000 {
        // No letter twice, and none that the words around have: nothing matches but the word itself.
        let word: String = (0..random.usize(3..6))
            .map(|n| char::from(b"bdfgm"[n]))
            .collect();
        let filter = filter(&word);
        let around = ["ra", "ke", "vu", "co"][random.usize(..4)];
        for text in [
            format!("{around}{word}"),
            format!("{word}{around}"),
            format!("{around}{word}{around}"),
        ] {
            assert_eq!(
                filter.judge(&text, &mut scratch),
                Verdict::Clean,
                "{text} for {word}"
            );
        }
    }
}
