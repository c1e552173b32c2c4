//! Ids of rooms, sessions and shards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a room as it stands in URLs: 1 to 64 of `A-Z a-z 0-9 . _ -`, no leading dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(Box<str>);

/// Why a string is no room name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomNameError {
    /// Empty, or longer than [`RoomName::MAX_LEN`] bytes.
    #[error("a room name has 1 to 64 characters")]
    Length,
    /// A character that a URL path segment should not carry.
    #[error("a room name uses only A-Z a-z 0-9 . _ - and does not start with a dot")]
    Character,
}

impl RoomName {
    /// Longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = RoomNameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.is_empty() || s.len() > Self::MAX_LEN {
            return Err(RoomNameError::Length);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if s.starts_with('.') || !s.bytes().all(allowed) {
            return Err(RoomNameError::Character);
        }
        Ok(Self(s.into()))
    }
}

impl TryFrom<String> for RoomName {
    type Error = RoomNameError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<RoomName> for String {
    fn from(name: RoomName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One live room in this process. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

impl RoomId {
    /// The shard that holds the room's publisher, whoever publishes.
    #[must_use]
    pub fn home(self, shards: usize) -> ShardId {
        ShardId((self.0 % shards.max(1) as u64) as u16)
    }
}

/// One core's share of the media plane, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// One signaling + ICE/DTLS lifetime. 128 random bits: the id alone names the session's URL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

/// A node of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Whoever brings a room's media, the same wherever its packets go. Another one means that nothing
/// follows on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    /// Where it is.
    pub node: NodeId,
    /// Which it is there.
    pub number: u32,
}

impl SourceId {
    /// The source with this number at `node`.
    #[must_use]
    pub const fn new(node: NodeId, number: u32) -> Self {
        Self { node, number }
    }
}

/// Why a string is no session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 32 lower-case hexadecimal digits")]
pub struct SessionIdError;

impl SessionId {
    /// A fresh id from the operating system's random source.
    ///
    /// # Panics
    /// If the operating system has no randomness to give: nothing can be served safely then.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(u128::from_be_bytes(bytes))
    }

    /// An id with a chosen value, for tests and simulations.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if s.len() != 32 || !s.bytes().all(hex) {
            return Err(SessionIdError);
        }
        u128::from_str_radix(s, 16)
            .map(Self)
            .map_err(|_| SessionIdError)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    /// The first eight digits: enough to follow one session in a log, too little to act for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", self.0 >> 96)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names() {
        for good in ["a", "idol-2026.11_21", &"x".repeat(64)] {
            assert_eq!(good.parse::<RoomName>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<RoomName>(), Err(RoomNameError::Length));
        assert_eq!(
            "x".repeat(65).parse::<RoomName>(),
            Err(RoomNameError::Length)
        );
        for bad in ["a/b", ".env", "..", "방", "a b", "a?b"] {
            assert_eq!(
                bad.parse::<RoomName>(),
                Err(RoomNameError::Character),
                "{bad}"
            );
        }
    }

    #[test]
    fn session_ids_round_trip_and_hide_in_logs() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(!format!("{id:?}").contains(&id.to_string()));
        assert_eq!("XYZ".parse::<SessionId>(), Err(SessionIdError));
        assert_eq!("A".repeat(32).parse::<SessionId>(), Err(SessionIdError));
    }
}
