//! What fans write.

/// A text that is like no other: what many write alike is taken for a flood.
pub(crate) fn text(seed: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "do", "fi", "ga", "hu", "jo", "ki", "la", "me", "no", "pu", "ra", "si", "to", "ve",
        "zu",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    let words = (0..random.usize(3..8)).map(|_| {
        let syllables = 2..random.usize(4..6);
        let word = syllables.map(|_| SYLLABLES[random.usize(..SYLLABLES.len())]);
        word.collect::<String>()
    });
    let words: Vec<String> = words.collect();
    words.join(" ")
}
