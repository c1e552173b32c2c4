//! Why a link ends, as a number and a text that the carrier gives to the other end.

use std::fmt;

use crate::hello::{VERSIONS, Versions};

/// Why a link is closed. The closing end says it in the connection's close: [`code`](Self::code) is the
/// application's error code, the text its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// There is no common version; these are spoken by the end that closes.
    Version(Versions),
    /// The other end is this very node.
    Itself,
    /// A node of this name is linked already, and alive.
    NameInUse,
    /// Another node with this id is linked already.
    IdInUse,
    /// The hello says something else than the certificate.
    Identity,
    /// A node of this role is no parent, or not of such a child.
    Role,
    /// This node has as many links as it may.
    TooManyLinks,
    /// This node is about to leave.
    Draining,
    /// No hello came in time.
    HelloTimeout,
    /// Nothing was heard for too long.
    Silent,
    /// A message that cannot be read.
    Malformed,
    /// A message that does not fit what was said before.
    Protocol,
    /// More messages in a time than a node may send.
    Flooded,
    /// More rooms than may be announced.
    TooManyRooms,
    /// A new link of the same node has taken its place.
    Replaced,
    /// The time to leave that was announced before has passed.
    Drained,
    /// The peer does not read what is sent to it. Said by carriers.
    Backlog,
    /// The node has ended. Said by carriers.
    Shutdown,
    /// A code of a later version.
    Other(u32),
}

/// Reasons in the order of their codes, but for [`CloseReason::Other`].
const REASONS: [CloseReason; 18] = [
    CloseReason::Version(VERSIONS),
    CloseReason::Itself,
    CloseReason::NameInUse,
    CloseReason::IdInUse,
    CloseReason::Identity,
    CloseReason::Role,
    CloseReason::TooManyLinks,
    CloseReason::Draining,
    CloseReason::HelloTimeout,
    CloseReason::Silent,
    CloseReason::Malformed,
    CloseReason::Protocol,
    CloseReason::Flooded,
    CloseReason::TooManyRooms,
    CloseReason::Replaced,
    CloseReason::Drained,
    CloseReason::Backlog,
    CloseReason::Shutdown,
];
/// The code of the first.
const FIRST_CODE: u32 = 0x100;

impl CloseReason {
    /// How many there are, one for all of later versions included.
    pub const COUNT: usize = REASONS.len() + 1;

    /// A number below [`COUNT`](Self::COUNT), for counters.
    #[must_use]
    pub fn index(self) -> usize {
        let same = |other: &Self| std::mem::discriminant(other) == std::mem::discriminant(&self);
        REASONS.iter().position(same).unwrap_or(REASONS.len())
    }

    /// What counters and logs call the reason with this index.
    #[must_use]
    pub fn name(index: usize) -> &'static str {
        const NAMES: [&str; CloseReason::COUNT] = [
            "version",
            "itself",
            "name_in_use",
            "id_in_use",
            "identity",
            "role",
            "too_many_links",
            "draining",
            "hello_timeout",
            "silent",
            "malformed",
            "protocol",
            "flooded",
            "too_many_rooms",
            "replaced",
            "drained",
            "backlog",
            "shutdown",
            "other",
        ];
        NAMES.get(index).copied().unwrap_or("other")
    }

    /// The application's error code.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Other(code) => code,
            reason => FIRST_CODE + reason.index() as u32,
        }
    }

    /// Reads what [`code`](Self::code) and the text of the other end say.
    #[must_use]
    pub fn decode(code: u32, text: &[u8]) -> Self {
        let index = code.checked_sub(FIRST_CODE).map(|index| index as usize);
        match index.and_then(|index| REASONS.get(index)) {
            Some(Self::Version(_)) => read_versions(text).map_or(Self::Other(code), Self::Version),
            Some(reason) => *reason,
            None => Self::Other(code),
        }
    }
}

/// The two numbers of a text that ends with `MIN-MAX`.
fn read_versions(text: &[u8]) -> Option<Versions> {
    let text = std::str::from_utf8(text).ok()?;
    let (min, max) = text.rsplit(' ').next()?.split_once('-')?;
    let (min, max) = (min.parse().ok()?, max.parse().ok()?);
    (min <= max).then_some(Versions { min, max })
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Version(Versions { min, max }) => {
                return write!(
                    f,
                    "no common version of the protocol; supported: {min}-{max}"
                );
            }
            Self::Other(code) => return write!(f, "an unknown reason, code {code:#x}"),
            Self::Itself => "a node cannot be linked to itself",
            Self::NameInUse => "a node of this name is linked already",
            Self::IdInUse => "a node with this id is linked already",
            Self::Identity => "the hello does not fit the certificate",
            Self::Role => "nodes of these roles are not linked in this direction",
            Self::TooManyLinks => "this node has too many links",
            Self::Draining => "this node is draining",
            Self::HelloTimeout => "no hello in time",
            Self::Silent => "nothing was heard for too long",
            Self::Malformed => "a message could not be read",
            Self::Protocol => "a message out of place",
            Self::Flooded => "too many messages",
            Self::TooManyRooms => "too many rooms",
            Self::Replaced => "replaced by a new link of this node",
            Self::Drained => "this node has been drained",
            Self::Backlog => "the peer does not read",
            Self::Shutdown => "the node has ended",
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_back_from_their_codes() {
        let version = CloseReason::Version(Versions { min: 3, max: 17 });
        let other = CloseReason::Other(7);
        for reason in REASONS.into_iter().chain([version, other]) {
            let text = reason.to_string();
            assert_eq!(CloseReason::decode(reason.code(), text.as_bytes()), reason);
        }
        for (index, reason) in REASONS.iter().enumerate() {
            assert_eq!(reason.index(), index);
            let debug = format!("{reason:?}").to_lowercase();
            let name = CloseReason::name(index).replace('_', "");
            assert!(debug.starts_with(&name), "{debug} {name}");
        }
        assert_eq!(CloseReason::name(other.index()), "other");
    }

    #[test]
    fn a_version_refusal_without_versions_is_of_another_kind() {
        for text in [&b""[..], b"1", b"9-1", b"-", b"\xff", b"1-99999"] {
            assert_eq!(CloseReason::decode(0x100, text), CloseReason::Other(0x100));
        }
    }
}
