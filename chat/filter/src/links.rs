//! Links: URLs, bare domains, and the ways to write a full stop that a filter might overlook.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::terms::TermError;
use crate::verdict::{Reason, Verdict};

/// Hosts that a room may allow.
pub const HOSTS_MAX: usize = 200;
/// Bytes of a host name (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// What happens to links whose host is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LinkPolicy {
    /// They are not looked for.
    #[default]
    Allow,
    /// A moderator looks at the message.
    Hold,
    /// The message is refused. A link with a disguised full stop is held.
    Block,
}

/// Ends of host names that are believed without a scheme or a path. The most used ones, and those
/// that spam uses; country codes that are words of their own need a path.
const DOMAINS: &[&str] = &[
    "app",
    "art",
    "asia",
    "biz",
    "blog",
    "br",
    "bz",
    "ca",
    "cc",
    "ch",
    "click",
    "cloud",
    "club",
    "cn",
    "co",
    "com",
    "cz",
    "de",
    "dev",
    "edu",
    "es",
    "eu",
    "fm",
    "fr",
    "fun",
    "fyi",
    "gg",
    "gl",
    "gle",
    "gov",
    "hk",
    "icu",
    "id",
    "info",
    "ink",
    "int",
    "io",
    "jp",
    "kr",
    "link",
    "live",
    "lol",
    "ltd",
    "ly",
    "me",
    "men",
    "mil",
    "mobi",
    "moe",
    "mx",
    "name",
    "net",
    "news",
    "nl",
    "one",
    "online",
    "onion",
    "org",
    "page",
    "ph",
    "pl",
    "pro",
    "pt",
    "pw",
    "ru",
    "sh",
    "shop",
    "site",
    "space",
    "store",
    "stream",
    "su",
    "tech",
    "th",
    "tk",
    "tl",
    "to",
    "top",
    "tv",
    "tw",
    "ua",
    "uk",
    "us",
    "vip",
    "vn",
    "wiki",
    "win",
    "world",
    "ws",
    "wtf",
    "xn--3e0b707e",
    "xxx",
    "xyz",
    "zip",
    "zone",
    "한국",
];
/// Of these, the ones that are words, or that people write after a full stop without a space.
const WORDS: &[&str] = &[
    "art", "ch", "click", "club", "cloud", "es", "fun", "id", "ink", "int", "link", "live", "lol",
    "ltd", "me", "men", "name", "news", "one", "online", "page", "pro", "sh", "shop", "site",
    "space", "store", "stream", "tech", "th", "to", "top", "us", "win", "world", "ws", "wtf",
    "zone", "zip",
];
/// Believed even where the full stop is disguised or has spaces around it.
const CERTAIN: &[&str] = &["com", "co", "gg", "io", "kr", "net", "org", "ru", "xyz"];

/// What every link has one of: full stops that browsers take for one (UTS 46), or words for it.
static TRIGGERS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let triggers = [
        ".", "。", "．", "｡", "//", "dot", "닷컴", "닷넷", "쩜컴", "점컴",
    ];
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(triggers);
    automaton.expect("ten short patterns compile")
});
/// Positions among the triggers.
const SLASHES: usize = 4;
const DOT: usize = 5;

pub(crate) fn prepare() {
    LazyLock::force(&TRIGGERS);
}

#[derive(Debug)]
pub(crate) struct Links {
    policy: LinkPolicy,
    hosts: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    None,
    Plain,
    Disguised,
}

impl Links {
    pub(crate) fn new(policy: LinkPolicy, hosts: &[String]) -> Result<Self, TermError> {
        let mut checked = Vec::with_capacity(hosts.len().min(HOSTS_MAX));
        for (index, host) in hosts.iter().enumerate() {
            let host = host.trim().trim_start_matches("*.").to_lowercase();
            let plain = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
            let usable = host.contains('.') && host.chars().all(plain);
            if !usable || host.len() > HOST_BYTES_MAX || index >= HOSTS_MAX {
                return Err(TermError::Host { index });
            }
            checked.push(host);
        }
        Ok(Self {
            policy,
            hosts: checked,
        })
    }

    pub(crate) fn judge(&self, text: &str, host: &mut String) -> Verdict {
        if self.policy == LinkPolicy::Allow {
            return Verdict::Clean;
        }
        match (self.find(text, host), self.policy) {
            (Found::None, _) => Verdict::Clean,
            (Found::Plain, LinkPolicy::Block) => Verdict::Blocked(Reason::Link),
            _ => Verdict::Suspected(Reason::Link),
        }
    }

    fn find(&self, text: &str, buffer: &mut String) -> Found {
        for stop in TRIGGERS.find_iter(text) {
            let (before, after) = (&text[..stop.start()], &text[stop.end()..]);
            let found = match stop.pattern().as_usize() {
                SLASHES => self.scheme(before, after, buffer),
                DOT => spelled(before, after),
                n if n < SLASHES => self.full_stop(text, stop.range(), buffer),
                _ => hangul(before),
            };
            if found != Found::None {
                return found;
            }
        }
        Found::None
    }

    /// What stands behind `://`: any host is a link there, under whatever scheme.
    fn scheme(&self, before: &str, after: &str, buffer: &mut String) -> Found {
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '\\'));
        let authority = &after[..end.unwrap_or(after.len())];
        // A name before an @ is a user, not the host.
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let name = host.split(':').next().unwrap_or(host);
        let scheme = before.trim_end_matches([' ', ']', ')']).ends_with(':');
        let named = name.chars().any(|c| is_stop(c) || c == '[') || name == "localhost";
        match scheme && (named || host.starts_with('[')) && !self.is_allowed(name, buffer) {
            true => Found::Plain,
            false => Found::None,
        }
    }

    /// The name around a full stop, if it is the last one of a host's.
    fn full_stop(&self, text: &str, stop: Range<usize>, buffer: &mut String) -> Found {
        let before = text[..stop.start].trim_end_matches(around);
        let mut after = &text[stop.end..];
        let spaced = before.len() < stop.start;
        if spaced {
            after = after.trim_start_matches(around);
        }
        let (left, right) = (label_before(before), label_after(after));
        if left.is_empty() || right.is_empty() {
            return Found::None;
        }
        if spaced {
            return disguised(left, right);
        }
        let tail = &after[right.len()..];
        let more = tail
            .strip_prefix(is_stop)
            .is_some_and(|rest| !label_after(rest).is_empty());
        if more {
            return Found::None;
        }
        let start = name_start(before);
        if text[..start].ends_with("//") {
            return Found::None;
        }
        let path = tail.starts_with('/') && !tail[1..].starts_with(char::is_whitespace);
        let port = tail.starts_with(':') && tail[1..].starts_with(|c: char| c.is_ascii_digit());
        let name = &text[start..stop.end + right.len()];
        let address = is_address(name);
        let web = name
            .get(..4)
            .is_some_and(|w| w.eq_ignore_ascii_case("www."));
        let domain = listed(DOMAINS, right);
        let link = match path || port || web {
            true => (domain || address || web) && tail != "/",
            false => domain && !listed(WORDS, right),
        };
        match link && !self.is_allowed(name, buffer) {
            true => Found::Plain,
            false => Found::None,
        }
    }

    /// Whether a host, or one that it is a part of, is on the list. `buffer` takes its lower case.
    fn is_allowed(&self, name: &str, buffer: &mut String) -> bool {
        if name.len() > HOST_BYTES_MAX || self.hosts.is_empty() {
            return false;
        }
        buffer.clear();
        buffer.extend(name.chars().flat_map(char::to_lowercase));
        let name = buffer.trim_end_matches('.');
        self.hosts.iter().any(|host| {
            let rest = name.strip_suffix(host.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

/// An IPv4 address, or a version: without a path or a port nobody can tell.
fn is_address(name: &str) -> bool {
    let number = |s: &str| (1..=3).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    name.split('.').count() == 4 && name.split('.').all(number)
}

fn listed(list: &[&str], label: &str) -> bool {
    list.iter().any(|domain| domain.eq_ignore_ascii_case(label))
}

/// What may stand around a disguised full stop.
fn around(c: char) -> bool {
    matches!(c, ' ' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>')
}

fn disguised(left: &str, right: &str) -> Found {
    let name = left.len() > 1 && left.bytes().any(|b| b.is_ascii_alphanumeric());
    match name && listed(CERTAIN, right) {
        true => Found::Disguised,
        false => Found::None,
    }
}

/// "dot" with spaces or brackets on both sides.
fn spelled(before: &str, after: &str) -> Found {
    let (left, right) = (
        before.trim_end_matches(around),
        after.trim_start_matches(around),
    );
    if left.len() == before.len() || right.len() == after.len() {
        return Found::None;
    }
    disguised(label_before(left), label_after(right))
}

/// "닷컴" behind a Latin name.
fn hangul(before: &str) -> Found {
    let left = label_before(before.trim_end_matches(' '));
    match left.len() > 1 && left.is_ascii() {
        true => Found::Disguised,
        false => Found::None,
    }
}

fn is_label(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

/// The label at the start. A Latin one ends where a Hangul particle is attached: "evil.com에서".
fn label_after(text: &str) -> &str {
    let latin = text.starts_with(|c: char| c.is_ascii());
    let inside = |c: char| is_label(c) && (c.is_ascii() || !latin);
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    &text[..end]
}

fn label_before(text: &str) -> &str {
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        if !is_label(c) {
            break;
        }
        start = at;
    }
    &text[start..]
}

/// Where the host name that ends here starts. What is longer than a host name is cut, and then no
/// allowed one.
fn name_start(text: &str) -> usize {
    let mut start = text.len();
    for (at, c) in text.char_indices().rev().take(HOST_BYTES_MAX + 1) {
        if !is_label(c) && !is_stop(c) {
            break;
        }
        start = at;
    }
    start
}

fn is_stop(c: char) -> bool {
    matches!(c, '.' | '。' | '．' | '｡')
}

#[cfg(test)]
mod tests;
