//! The alphabet that text is compared in: one byte a Latin letter or basic jamo.
//!
//! Bytes from 0x80 on are the UTF-8 of letters of all other scripts, so a pattern cannot match
//! across the middle of one.

/// Vowels: 1 to 14. Compound vowels are written as two, so that typing one apart changes nothing.
const VOWELS: [&[u8]; 21] = [
    &[1],
    &[2],
    &[3],
    &[4],
    &[5],
    &[6],
    &[7],
    &[8],
    &[9],
    &[9, 1],
    &[9, 2],
    &[9, 14],
    &[10],
    &[11],
    &[11, 5],
    &[11, 6],
    &[11, 14],
    &[12],
    &[13],
    &[13, 14],
    &[14],
];
/// The vowel that a stroke such as `1` or `l` beside a consonant stands for.
pub(crate) const VOWEL_I: usize = 20;
/// Stands for one letter that a mask such as `*` hides.
pub(crate) const WILD: u8 = 15;

/// Final consonants 1 to 27 of a syllable; clusters are written as two.
const FINALS: [&[u8]; 27] = [
    b"A", b"B", b"AJ", b"C", b"CM", b"CS", b"D", b"F", b"FA", b"FG", b"FH", b"FJ", b"FQ", b"FR",
    b"FS", b"G", b"H", b"HJ", b"J", b"K", b"L", b"M", b"O", b"P", b"Q", b"R", b"S",
];
/// Consonants in the order of U+3131, as the bytes `A` to `S` in the order of initials.
const COMPATIBILITY: [&[u8]; 30] = [
    b"A", b"B", b"AJ", b"C", b"CM", b"CS", b"D", b"E", b"F", b"FA", b"FG", b"FH", b"FJ", b"FQ",
    b"FR", b"FS", b"G", b"H", b"I", b"HJ", b"J", b"K", b"L", b"M", b"N", b"O", b"P", b"Q", b"R",
    b"S",
];
/// Initials 0 to 18 as positions from U+3131 on.
const INITIALS: [u8; 19] = [
    0, 1, 3, 6, 7, 8, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
];
/// Finals 1 to 27 as positions from U+3131 on.
const FINAL_POSITIONS: [u8; 27] = [
    0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 25, 26, 27, 28,
    29,
];
/// The consonant without a sound, when it begins a syllable.
pub(crate) const SILENT: u8 = b'L';
/// Consonants of laughter; they hang on to the last syllable of anything.
pub(crate) const LAUGHTER: [u8; 2] = [b'P', b'S'];
/// Vowels of tears and of a line, as people put around abbreviations.
pub(crate) const TEARS: [u8; 3] = [11, 12, 13];

pub(crate) fn is_vowel(byte: u8) -> bool {
    (1..=14).contains(&byte)
}

pub(crate) fn is_consonant(byte: u8) -> bool {
    (b'A'..=b'S').contains(&byte)
}

/// What is heard while a vowel is held: that of 벼 is 어.
pub(crate) fn held(vowel: u8) -> u8 {
    match vowel {
        3 => 1,
        4 => 2,
        7 => 5,
        8 => 6,
        10 => 9,
        12 => 11,
        other => other,
    }
}

/// Initial, vowel and final of a precomposed syllable; 0 is no final.
pub(crate) fn syllable(c: char) -> (u8, usize, usize) {
    let index = (c as usize).saturating_sub(0xAC00);
    let initial = (index / 588).min(18) as u8;
    (b'A' + initial, index / 28 % 21, index % 28)
}

pub(crate) fn vowel(index: usize) -> &'static [u8] {
    VOWELS[index % VOWELS.len()]
}

/// The consonants of final 1 to 27; nothing for 0.
pub(crate) fn finals(index: usize) -> &'static [u8] {
    match index {
        0 => &[],
        _ => FINALS[(index - 1) % FINALS.len()],
    }
}

/// The bytes of a jamo by its position from U+3131 on.
pub(crate) fn jamo(position: usize) -> &'static [u8] {
    match COMPATIBILITY.get(position) {
        Some(bytes) => bytes,
        None => vowel(position - COMPATIBILITY.len()),
    }
}

/// The position, from U+3131 on, of a jamo in any of its encodings.
pub(crate) fn jamo_position(c: char) -> Option<usize> {
    let c = c as usize;
    Some(match c {
        0x1100..=0x1112 => INITIALS[c - 0x1100] as usize,
        0x1161..=0x1175 => 30 + c - 0x1161,
        0x11A8..=0x11C2 => FINAL_POSITIONS[c - 0x11A8] as usize,
        0x3131..=0x3163 => c - 0x3131,
        0xFFA1..=0xFFBE => c - 0xFFA1,
        0xFFC2..=0xFFC7 => 30 + c - 0xFFC2,
        0xFFCA..=0xFFCF => 36 + c - 0xFFCA,
        0xFFD2..=0xFFD7 => 42 + c - 0xFFD2,
        0xFFDA..=0xFFDC => 48 + c - 0xFFDA,
        _ => return None,
    })
}

/// What the keys of a jamo type on a keyboard that was left in Latin (the two-set layout).
pub(crate) fn keys(c: char) -> Option<String> {
    const INITIAL: [&str; 19] = [
        "r", "r", "s", "e", "e", "f", "a", "q", "q", "t", "t", "d", "w", "w", "c", "z", "x", "v",
        "g",
    ];
    const VOWEL: [&str; 21] = [
        "k", "o", "i", "o", "j", "p", "u", "p", "h", "hk", "ho", "hl", "y", "n", "nj", "np", "nl",
        "b", "m", "ml", "l",
    ];
    const FINAL: [&str; 28] = [
        "", "r", "r", "rt", "s", "sw", "sg", "e", "f", "fr", "fa", "fq", "ft", "fx", "fv", "fg",
        "a", "q", "qt", "t", "t", "d", "w", "c", "z", "x", "v", "g",
    ];
    if !('가'..='힣').contains(&c) {
        return None;
    }
    let (initial, vowel, last) = syllable(c);
    Some(
        [
            INITIAL[(initial - b'A') as usize],
            VOWEL[vowel],
            FINAL[last],
        ]
        .concat(),
    )
}
