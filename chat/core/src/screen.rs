//! What a text has to pass before anybody is shown it.

use std::time::Instant;

use lightstick_chat_filter::{
    Action, Filter, FilterConfig, Flood, FloodSettings, Flooding, LinkPolicy, Reason, Scratch,
    Term, TermError, TextError, TextLimits, Verdict, sanitise,
};
use lightstick_chat_proto::{PollStart, Settings};
use serde::{Deserialize, Serialize};

use crate::refusal::{Code, Refusal};

/// Longest name, in characters.
pub(crate) const NAME_CHARS_MAX: usize = 50;
/// Longest question or choice of a poll, in characters.
pub(crate) const POLL_CHARS_MAX: usize = 100;
/// One more than a poll may have: it is refused for their number then.
const CHOICES_CLEANED_MAX: usize = 11;
/// Bytes of UTF-8 that a character takes at most.
const CHAR_BYTES: usize = 4;

/// What no room wants to read, and what every room may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterSettings {
    /// Block the few strong terms that come with Lightstick.
    pub built_in_terms: bool,
    /// Terms that are blocked in all rooms: `word`, `word*`, `*word`, `*word*` or `"word"`.
    pub blocked_terms: Vec<String>,
    /// Words in which a blocked term is fine.
    pub allowed_terms: Vec<String>,
    /// Hosts, with their subdomains, that may be linked to where links are off.
    pub link_hosts: Vec<String>,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self {
            built_in_terms: true,
            blocked_terms: Vec::new(),
            allowed_terms: Vec::new(),
            link_hosts: Vec::new(),
        }
    }
}

/// What is thought of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Clean,
    /// A moderator should look at it, for this reason.
    Suspected(String),
    Blocked(Code),
}

/// A token's name as the chat shows it, cleaned as texts are; `None` where nothing of it can be
/// shown.
#[must_use]
pub fn clean_name(name: &str) -> Option<String> {
    let limits = TextLimits {
        chars_max: NAME_CHARS_MAX,
        bytes_max: CHAR_BYTES * NAME_CHARS_MAX,
        ..TextLimits::default()
    };
    // Composing makes some texts longer, at most threefold.
    [NAME_CHARS_MAX, NAME_CHARS_MAX / 3]
        .into_iter()
        .find_map(|chars| {
            let beginning: String = name.chars().take(chars).collect();
            Some(sanitise(&beginning, &limits).ok()?.into_owned())
        })
}

#[derive(Debug)]
pub(crate) struct Screen {
    filter: Filter,
    scratch: Scratch,
    flood: Flood,
}

impl Screen {
    /// Compiles what an operator and a room do not want to read.
    pub(crate) fn new(operator: &FilterSettings, room: &Settings) -> Result<Self, TermError> {
        let links = match room.links_off || room.shield {
            true => LinkPolicy::Block,
            false => LinkPolicy::Allow,
        };
        let block = |terms: &[String]| {
            let terms = terms.iter().map(|term| Term::parse(term, Action::Block));
            terms.collect()
        };
        let filter = Filter::new(&FilterConfig {
            built_in: operator.built_in_terms,
            operator_terms: block(&operator.blocked_terms),
            room_terms: block(&room.blocked_terms),
            allowed: operator.allowed_terms.clone(),
            links,
            hosts: operator.link_hosts.clone(),
        })?;
        Ok(Self {
            filter,
            scratch: Scratch::default(),
            flood: Flood::new(FloodSettings::default()),
        })
    }

    /// Takes other terms and rules. What was said before is remembered.
    pub(crate) fn replace(&mut self, other: Self) {
        self.filter = other.filter;
    }

    /// The text as it will be shown.
    pub(crate) fn clean(&self, text: &str, chars_max: usize) -> Result<String, Refusal> {
        let limits = TextLimits {
            bytes_max: CHAR_BYTES * chars_max,
            chars_max,
            ..TextLimits::default()
        };
        match sanitise(text, &limits) {
            Ok(text) => Ok(text.into_owned()),
            Err(TextError::Empty) => Err(Code::Empty.into()),
            Err(TextError::TooLong) => Err(Code::TooLong.into()),
            Err(TextError::Zalgo) => Err(Code::Characters.into()),
        }
    }

    /// The beginning of a text as it will be shown; empty where nothing of it can be.
    pub(crate) fn cut(&self, text: &str, chars_max: usize) -> String {
        let beginning: String = text.chars().take(chars_max).collect();
        // Composing may make it longer, at most threefold.
        self.clean(&beginning, 3 * chars_max).unwrap_or_default()
    }

    /// A poll as it will be shown.
    pub(crate) fn clean_poll(&self, poll: PollStart) -> Result<PollStart, Refusal> {
        let clean = |text: &String| self.clean(text, POLL_CHARS_MAX);
        let choices = poll.choices.iter().take(CHOICES_CLEANED_MAX).map(clean);
        Ok(PollStart {
            question: clean(&poll.question)?,
            choices: choices.collect::<Result<_, _>>()?,
            seconds: poll.seconds,
        })
    }

    /// What the filter thinks of a text that is clean.
    pub(crate) fn judge(&mut self, now: Instant, author: u64, text: &str) -> Judgement {
        let judged = self.filter.judge(text, &mut self.scratch);
        let print = self.scratch.fingerprint();
        match judged {
            Verdict::Blocked(Reason::Link) => Judgement::Blocked(Code::LinksOff),
            Verdict::Blocked(_) => Judgement::Blocked(Code::Blocked),
            Verdict::Suspected(reason) => Judgement::Suspected(match reason {
                Reason::Term(_) => "term".to_owned(),
                Reason::Link => "link".to_owned(),
                _ => "too_much".to_owned(),
            }),
            Verdict::Clean => match self.flood.check(author, print, now) {
                Flooding::No => Judgement::Clean,
                Flooding::Repeat { .. } | Flooding::Crowd { .. } => Judgement::Blocked(Code::Flood),
            },
        }
    }
}
