//! The compiled filter: what it looks for, and how it judges one message.

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::alphabet::WILD;
use crate::flood::Fingerprint;
use crate::fold::{Folded, LATIN, PUNCTUATION, Reading};
use crate::links::{LinkPolicy, Links};
use crate::terms::{
    ALLOWED_TERMS_MAX, Action, List, OPERATOR_TERMS_MAX, Pattern, Purpose, ROOM_TERMS_MAX, Shape,
    TERM_CHARS_MAX, Term, TermError, TermId, spell,
};
use crate::verdict::{Reason, Verdict};
use crate::verify::{Evidence, verify};

/// Places in one message that are looked at closely. Only a message made to hit many terms at once
/// has more; it is held.
pub const CANDIDATES_MAX: usize = 2_000;
/// Matches of one message that are kept until the allowed terms are known; more add nothing.
const HITS_MAX: usize = 64;
/// Allowed stretches of one message that are kept; what only later ones would excuse is judged.
const EXCUSES_MAX: usize = 64;
/// Letters of a masked word such as "f**k": fewer say too little.
const MASKED_LETTERS_MIN: usize = 4;
/// Longer words are not compared with masked terms.
const MASKED_LETTERS_MAX: usize = 24;

/// Up to so many folded bytes of terms, about 500 ordinary ones, the automaton is one table: twice
/// as fast, at about 512 bytes a byte, 8 MiB at most. Larger lists get the compact form, which takes
/// a fifteenth of that.
const TABLE_BYTES_MAX: usize = 16_384;

const BUILT_IN: &str = include_str!("../data/terms.txt");
const ALLOWED: &str = include_str!("../data/allowed.txt");

/// What a room looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterConfig {
    /// Whether the few strong terms that come with this crate are blocked, too. Words of which they
    /// are a harmless part are allowed in any case.
    pub built_in: bool,
    /// Blocked in all rooms; up to [`OPERATOR_TERMS_MAX`].
    pub operator_terms: Vec<Term>,
    /// Blocked in this room; up to [`ROOM_TERMS_MAX`].
    pub room_terms: Vec<Term>,
    /// Words in which a blocked term is fine; up to [`ALLOWED_TERMS_MAX`]. Written as for
    /// [`Term::parse`].
    pub allowed: Vec<String>,
    pub links: LinkPolicy,
    /// Hosts, with their subdomains, that may be linked to.
    pub hosts: Vec<String>,
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self {
            built_in: true,
            operator_terms: Vec::new(),
            room_terms: Vec::new(),
            allowed: Vec::new(),
            links: LinkPolicy::Allow,
            hosts: Vec::new(),
        }
    }
}

/// A place where a blocked term stands.
#[derive(Debug, Clone, Copy)]
struct Hit {
    start: usize,
    end: usize,
    exact: bool,
    verdict: Verdict,
}

impl Hit {
    /// Whether an allowed term from `from` to `to` makes it harmless. Who blocks an allowed term
    /// itself means it.
    fn is_excused(&self, (from, to): (usize, usize)) -> bool {
        let around = from <= self.start && self.end <= to;
        around && !(self.exact && (from, to) == (self.start, self.end))
    }
}

/// Buffers that messages are judged in; one a thread is enough for all filters.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    main: Folded,
    other: Folded,
    hits: Vec<Hit>,
    excuses: Vec<(usize, usize)>,
    host: String,
}

impl Scratch {
    /// The fingerprint of the message that was judged last, for [`crate::Flood`].
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.main.bytes, &self.main.origins)
    }
}

/// A room's compiled terms and rules. It is made once a change of settings and shared by reference.
#[derive(Debug)]
pub struct Filter {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
    /// Positions among `patterns` of Latin words by their first letter, for masked words.
    latin: Vec<Vec<u32>>,
    texts: [Vec<String>; 3],
    links: Links,
}

impl Filter {
    /// Compiles a room's settings: milliseconds for the largest lists.
    pub fn new(config: &FilterConfig) -> Result<Self, TermError> {
        let mut folded = Folded::default();
        let mut patterns = Vec::new();
        let built_in: Vec<Term> = match config.built_in {
            true => lines(BUILT_IN)
                .map(|line| Term::parse(line, Action::Block))
                .collect(),
            false => Vec::new(),
        };
        let lists = [
            (List::BuiltIn, &built_in, usize::MAX),
            (List::Operator, &config.operator_terms, OPERATOR_TERMS_MAX),
            (List::Room, &config.room_terms, ROOM_TERMS_MAX),
        ];
        for (list, terms, max) in lists {
            if terms.len() > max {
                return Err(TermError::TooMany { max });
            }
            for (index, term) in terms.iter().enumerate() {
                let id = TermId { list, index };
                let purpose = Purpose::Block(id, term.action);
                let pattern = compile(&term.text, term.shape, purpose, index, &mut folded)?;
                patterns.push(pattern);
                patterns.extend(Pattern::apart(&term.text, term.shape, purpose, &mut folded));
                patterns.extend(Pattern::keys(&term.text, id, &mut folded));
            }
        }
        if config.allowed.len() > ALLOWED_TERMS_MAX {
            return Err(TermError::TooMany {
                max: ALLOWED_TERMS_MAX,
            });
        }
        let allowed = config.allowed.iter().map(String::as_str);
        for (index, text) in allowed.chain(lines(ALLOWED)).enumerate() {
            let term = Term::parse(text, Action::Hold);
            patterns.push(compile(
                &term.text,
                term.shape,
                Purpose::Allow,
                index,
                &mut folded,
            )?);
        }
        let total: usize = patterns.iter().map(|pattern| pattern.bytes.len()).sum();
        let small = total <= TABLE_BYTES_MAX;
        let kind = small.then_some(AhoCorasickKind::DFA);
        let kind = kind.unwrap_or(AhoCorasickKind::ContiguousNFA);
        let automaton = AhoCorasick::builder()
            .kind(Some(kind))
            .build(patterns.iter().map(|pattern| &pattern.bytes))
            .map_err(|_| TermError::TooLarge)?;
        let mut latin = vec![Vec::new(); 26];
        for (at, pattern) in patterns.iter().enumerate() {
            let blocks = matches!(pattern.purpose, Purpose::Block(..));
            let length = pattern.spelled().map_or(0, Iterator::count);
            if blocks && (MASKED_LETTERS_MIN..=MASKED_LETTERS_MAX).contains(&length) {
                latin[(pattern.bytes[0] - b'a') as usize % 26].push(at as u32);
            }
        }
        let texts = lists.map(|(_, terms, _)| terms.iter().map(|t| t.text.clone()).collect());
        let links = Links::new(config.links, &config.hosts)?;
        Ok(Self {
            automaton,
            patterns,
            latin,
            texts,
            links,
        })
    }

    /// The text of a term, for a moderator to see.
    pub fn term(&self, id: TermId) -> Option<&str> {
        self.texts[id.list as usize]
            .get(id.index)
            .map(String::as_str)
    }

    /// Bytes of memory that the automaton and the terms take, about.
    pub fn memory_usage(&self) -> usize {
        let pattern = |p: &Pattern| 5 * p.bytes.len() + size_of::<Pattern>();
        let texts = self
            .texts
            .iter()
            .flatten()
            .map(|t| t.len() + size_of::<String>());
        let patterns = self.patterns.iter().map(pattern);
        self.automaton.memory_usage() + patterns.sum::<usize>() + texts.sum::<usize>()
    }

    /// Judges what [`crate::sanitise`] left of a message. The same text gets the same verdict, and
    /// `scratch` stops growing at the longest text.
    pub fn judge(&self, text: &str, scratch: &mut Scratch) -> Verdict {
        let mut verdict = self.links.judge(text, &mut scratch.host);
        let mut budget = CANDIDATES_MAX;
        let mut main = std::mem::take(&mut scratch.main);
        main.fold(text, Reading::Letters);
        verdict = verdict.worse(self.search(&main, scratch, &mut budget));
        let mut other = std::mem::take(&mut scratch.other);
        if main.mixed && verdict.severity() < 2 {
            other.fold(text, Reading::Separators);
            verdict = verdict.worse(self.search(&other, scratch, &mut budget));
        }
        if main.masked && verdict.severity() == 0 {
            other.fold(text, Reading::Masks);
            verdict = self.masked(&other);
        }
        (scratch.main, scratch.other) = (main, other);
        verdict
    }

    fn search(&self, text: &Folded, scratch: &mut Scratch, budget: &mut usize) -> Verdict {
        scratch.hits.clear();
        scratch.excuses.clear();
        let mut verdict = Verdict::Clean;
        for found in self.automaton.find_overlapping_iter(&text.bytes) {
            if *budget == 0 {
                verdict = Verdict::Suspected(Reason::TooManyCandidates);
                break;
            }
            *budget -= 1;
            let Some(pattern) = self.patterns.get(found.pattern().as_usize()) else {
                continue;
            };
            let Some(evidence) = verify(pattern, text, found.start()) else {
                continue;
            };
            let verdict = match pattern.purpose {
                Purpose::Allow => {
                    if scratch.excuses.len() < EXCUSES_MAX {
                        scratch.excuses.push((found.start(), found.end()));
                    }
                    continue;
                }
                Purpose::Block(id, Action::Block) if evidence > Evidence::Weak => {
                    Verdict::Blocked(Reason::Term(id))
                }
                Purpose::Block(id, _) | Purpose::Keys(id) => Verdict::Suspected(Reason::Term(id)),
            };
            if scratch.hits.len() < HITS_MAX {
                let (start, end) = (found.start(), found.end());
                let exact = evidence == Evidence::Exact;
                scratch.hits.push(Hit {
                    start,
                    end,
                    exact,
                    verdict,
                });
            }
        }
        for hit in &scratch.hits {
            let excused = scratch.excuses.iter().any(|range| hit.is_excused(*range));
            if !excused {
                verdict = verdict.worse(hit.verdict);
            }
        }
        verdict
    }

    /// Words with masks, letter by letter against Latin terms of their length.
    fn masked(&self, text: &Folded) -> Verdict {
        let mut start = 0;
        while start < text.bytes.len() {
            let inside = |n: &usize| {
                let origin = text.origins[*n];
                origin.is(LATIN) && (*n == start || origin.gap < PUNCTUATION)
            };
            let end = (start..text.bytes.len()).take_while(inside).count() + start;
            if text.bytes[start..end].contains(&WILD)
                && let Some(id) = self.unmask(&text.bytes[start..end], text, start..end)
            {
                return Verdict::Suspected(Reason::Term(id));
            }
            start = end.max(start + 1);
        }
        Verdict::Clean
    }

    fn unmask(&self, word: &[u8], text: &Folded, range: std::ops::Range<usize>) -> Option<TermId> {
        let mut letters = [0; MASKED_LETTERS_MAX];
        let mut length = 0;
        for byte in spell(word, &text.origins[range]) {
            *letters.get_mut(length)? = byte;
            length += 1;
        }
        let letters = &letters[..length];
        let hidden = letters.iter().filter(|byte| **byte == WILD).count();
        let first = letters.first().filter(|b| b.is_ascii_lowercase())?;
        if hidden * 2 > length {
            return None;
        }
        let fits = |pattern: &&Pattern| {
            let spelled = pattern.spelled().into_iter().flatten();
            let same = letters
                .iter()
                .zip(spelled)
                .take_while(|(a, b)| **a == WILD || *a == b);
            let known = pattern.spelled().map_or(0, Iterator::count);
            let open = matches!(pattern.shape, Shape::Prefix | Shape::Anywhere);
            same.count() == known && (known == length || (known < length && open))
        };
        let candidates = &self.latin[(first - b'a') as usize];
        let found = candidates
            .iter()
            .map(|at| &self.patterns[*at as usize])
            .find(fits)?;
        match found.purpose {
            Purpose::Block(id, _) => Some(id),
            Purpose::Keys(_) | Purpose::Allow => None,
        }
    }
}

fn compile(
    text: &str,
    shape: Shape,
    purpose: Purpose,
    index: usize,
    folded: &mut Folded,
) -> Result<Pattern, TermError> {
    // Counted only as far as needed.
    if text.chars().nth(TERM_CHARS_MAX).is_some() {
        return Err(TermError::TooLong { index });
    }
    Pattern::new(text, shape, purpose, folded).ok_or(TermError::NoLetters { index })
}

/// The terms of a list that comes with this crate.
fn lines(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
}

#[cfg(test)]
mod tests;
