//! Entity tags: one strong tag for each ICE session of a WHIP or WHEP session, and what a PATCH
//! may do with the tag it names (RFC 9725 section 4.3, RFC 9110 section 13.1.1).

use std::fmt;

/// The strong entity tag of one ICE session. A restart makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of the ICE session whose local user fragment is `local_ufrag`, the `generation`th
    /// of its WHIP or WHEP session (0 for the one of the POST).
    ///
    /// Characters that an entity tag cannot carry are left out.
    #[must_use]
    pub fn new(generation: u32, local_ufrag: &str) -> Self {
        let ufrag: String = local_ufrag.chars().filter(|c| is_etagc(*c)).collect();
        Self(format!("{generation}-{ufrag}"))
    }
}

impl fmt::Display for EntityTag {
    /// As it stands in the `ETag` header, quotes included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

fn is_etagc(c: char) -> bool {
    c == '!' || ('#'..='~').contains(&c)
}

/// What an `If-Match` header allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It names the present ICE session: candidates may be added.
    Current,
    /// It is `*`: the request restarts ICE.
    Any,
    /// There is none. RFC 9725 section 4.3.1 wants one; published clients trickle without. What
    /// the fragment says must be of the present ICE session.
    Absent,
}

/// Why a PATCH is refused before its body is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// No `If-Match`, and the fragment is not of the present ICE session (HTTP 428).
    #[error("the request needs an If-Match header: the session's ETag, or * to restart ICE")]
    Required,
    /// None of its tags is the present one (HTTP 412).
    #[error("the ETag belongs to an earlier ICE session")]
    Stale,
    /// It is no list of entity tags (HTTP 400).
    #[error("the If-Match header is malformed")]
    Malformed,
}

/// Longest `If-Match` value that is looked at, in bytes.
pub const IF_MATCH_BYTES_MAX: usize = 1_024;

/// Holds an `If-Match` value against the present tag.
///
/// Tags that have become weak (proxies that compress make them so) and tags without quotes count
/// as what they were: there is one tag for each ICE session, and what it lets a client do is to
/// name candidates. `"*"` in quotes counts as `*`: the example in RFC 9725 writes it so, and
/// clients copy it.
///
/// # Errors
/// [`MatchError`].
pub fn if_match(value: Option<&str>, current: &EntityTag) -> Result<Match, MatchError> {
    let Some(value) = value.map(str::trim) else {
        return Ok(Match::Absent);
    };
    if value.len() > IF_MATCH_BYTES_MAX {
        return Err(MatchError::Malformed);
    }
    if matches!(value, "*" | "\"*\"") {
        return Ok(Match::Any);
    }
    if value == current.0 {
        return Ok(Match::Current);
    }
    let mut rest = value;
    let mut found = false;
    loop {
        let opened = rest.strip_prefix("W/").unwrap_or(rest);
        let opened = opened.strip_prefix('"').ok_or(MatchError::Malformed)?;
        let (tag, after) = opened.split_once('"').ok_or(MatchError::Malformed)?;
        if !tag.chars().all(is_etagc) {
            return Err(MatchError::Malformed);
        }
        found |= tag == current.0;
        match after.trim_start().strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.trim().is_empty() => break,
            None => return Err(MatchError::Malformed),
        }
    }
    if found {
        Ok(Match::Current)
    } else {
        Err(MatchError::Stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_table() {
        let tag = EntityTag::new(2, "aB+/");
        assert_eq!(tag.to_string(), "\"2-aB+/\"");
        let long = format!("\"{}\"", "x".repeat(IF_MATCH_BYTES_MAX));
        for (value, expected) in [
            (None, Ok(Match::Absent)),
            (Some("*"), Ok(Match::Any)),
            (Some(" * "), Ok(Match::Any)),
            (Some("\"*\""), Ok(Match::Any)),
            (Some("\"2-aB+/\""), Ok(Match::Current)),
            (Some("\"x\", \"2-aB+/\""), Ok(Match::Current)),
            (Some("\"x\",\"y\" ,\"2-aB+/\" "), Ok(Match::Current)),
            (Some("W/\"2-aB+/\""), Ok(Match::Current)),
            (Some("W/\"1-aB+/\""), Err(MatchError::Stale)),
            (Some("2-aB+/"), Ok(Match::Current)),
            (Some("\"1-aB+/\""), Err(MatchError::Stale)),
            (Some("\"\""), Err(MatchError::Stale)),
            (Some(""), Err(MatchError::Malformed)),
            (Some("1-aB+/"), Err(MatchError::Malformed)),
            (Some("\"2-aB+/"), Err(MatchError::Malformed)),
            (Some("\"x\" \"y\""), Err(MatchError::Malformed)),
            (Some("\"x\","), Err(MatchError::Malformed)),
            (Some("\"a b\""), Err(MatchError::Malformed)),
            (Some(long.as_str()), Err(MatchError::Malformed)),
        ] {
            assert_eq!(if_match(value, &tag), expected, "{value:?}");
        }
    }

    #[test]
    fn a_tag_is_always_well_formed() {
        let tag = EntityTag::new(0, "a\"b c\u{e9}");
        assert_eq!(tag.to_string(), "\"0-abc\"");
        assert_eq!(if_match(Some(&tag.to_string()), &tag), Ok(Match::Current));
    }
}
