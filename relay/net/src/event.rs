//! What goes in and out of the transport.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lightstick_types::NodeIdentity;

use crate::tls::Refusal;

/// One connection to another node. Never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This node: the other one is a parent.
    Outgoing,
    /// The other node: it is a child.
    Incoming,
}

/// The node at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What its certificate says.
    pub identity: NodeIdentity,
    pub address: SocketAddr,
}

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// In order, and not lost while the link is up: [`crate::MESSAGE_BYTES_MAX`] at most.
    Control,
    /// On a stream of its own, whole or not at all.
    Frame,
    /// In one datagram, or not at all.
    Datagram,
}

/// How urgent a frame is: what waits leaves by priority, and what has to be dropped is of the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Catching up on the past.
    pub const LOWEST: Self = Self(0);
    pub const HIGHEST: Self = Self(6);

    /// One of the seven, 6 the highest. More is 6.
    #[must_use]
    pub const fn new(priority: u8) -> Self {
        if priority > Self::HIGHEST.0 {
            Self::HIGHEST
        } else {
            Self(priority)
        }
    }

    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A frame's place among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub priority: Priority,
    /// It is not begun after this, and given up when not delivered by then.
    pub deadline: Instant,
    /// Frames of one layer have the same number. `None`: nothing takes this frame's place.
    pub stream: Option<u64>,
    /// It needs no earlier frame of its stream: when the link is behind, they are given up.
    pub is_keyframe: bool,
}

/// The bytes of a message, in two pieces so that a header needs no copy of what follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    pub head: Bytes,
    pub body: Bytes,
}

impl Payload {
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In one piece, copied where it is of two.
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.body.is_empty() {
            self.head
        } else if self.head.is_empty() {
            self.body
        } else {
            [&self.head[..], &self.body[..]].concat().into()
        }
    }
}

impl From<Bytes> for Payload {
    fn from(head: Bytes) -> Self {
        let body = Bytes::new();
        Self { head, body }
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    Control(Payload),
    Frame(Frame, Payload),
    Datagram(Payload),
}

/// What the transport is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayCommand {
    /// Sends a message. It is dropped and counted where it cannot be.
    Send { link: LinkId, message: Outgoing },
    /// Closes a link. [`RelayEvent::LinkDown`] follows.
    Close { link: LinkId, reason: CloseReason },
}

/// What the transport tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayEvent {
    /// A link is up: both nodes have checked each other's certificate.
    LinkUp {
        link: LinkId,
        peer: Peer,
        direction: Direction,
    },
    /// A whole message.
    Message {
        link: LinkId,
        channel: Channel,
        bytes: Bytes,
    },
    /// How long the path will take for frames that have not left yet. Told about ten times a second while
    /// there are some, and once more when there are none.
    Backlog { link: LinkId, age: Duration },
    /// A link that was up is down. Nothing of it follows.
    LinkDown { link: LinkId, reason: DownReason },
}

/// Why a node closes a link, as the other end is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("the node stops")]
    Shutdown,
    #[error("the node has too many links")]
    TooManyLinks,
    #[error("the peer does not read")]
    PeerDoesNotRead,
    #[error("a message or frame is too large")]
    Oversized,
    #[error("too many unfinished frames")]
    UnfinishedFrames,
    #[error("what was sent is not of this protocol")]
    Protocol,
    /// What is above the transport closes it.
    #[error("{text}")]
    Application {
        /// [`CloseReason::APPLICATION`] or more.
        code: u32,
        text: Box<str>,
    },
    /// A code that this version does not know.
    #[error("closed with the unknown code {0}")]
    Unknown(u64),
}

impl CloseReason {
    /// The first code that is not the transport's own.
    pub const APPLICATION: u32 = 0x100;

    /// Of a text, in bytes: the peer gets no more, and no more of the peer's is kept.
    const TEXT_MAX: usize = 200;

    /// A reason of what is above the transport. Its code is raised to [`Self::APPLICATION`].
    #[must_use]
    pub fn application(code: u32, text: &str) -> Self {
        let code = code.max(Self::APPLICATION);
        let text = text[..text.floor_char_boundary(Self::TEXT_MAX)].into();
        Self::Application { code, text }
    }

    pub(crate) fn code(&self) -> u64 {
        match self {
            Self::Shutdown => 0,
            Self::TooManyLinks => 1,
            Self::PeerDoesNotRead => 2,
            Self::Oversized => 3,
            Self::UnfinishedFrames => 4,
            Self::Protocol => 5,
            Self::Application { code, .. } => u64::from(*code),
            Self::Unknown(code) => *code,
        }
    }

    /// What a peer has said.
    pub(crate) fn decode(code: u64, text: &[u8]) -> Self {
        if let Ok(code) = u32::try_from(code)
            && code >= Self::APPLICATION
        {
            return Self::application(code, &String::from_utf8_lossy(text));
        }
        let known = [
            Self::Shutdown,
            Self::TooManyLinks,
            Self::PeerDoesNotRead,
            Self::Oversized,
            Self::UnfinishedFrames,
            Self::Protocol,
        ];
        let known = known.into_iter().find(|reason| reason.code() == code);
        known.unwrap_or(Self::Unknown(code))
    }
}

/// Why a link, or an attempt to make one, ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    #[error("{0}")]
    ClosedHere(CloseReason),
    #[error("closed by the peer: {0}")]
    ClosedByPeer(CloseReason),
    /// The peer's certificate was not accepted.
    #[error("refused the peer: {0}")]
    Refused(Refusal),
    /// The peer did not accept this node's certificate.
    #[error("refused by the peer: {0}")]
    RefusedByPeer(Refusal),
    #[error("nothing was heard of the peer")]
    TimedOut,
    /// The peer does not know the link: it has restarted.
    #[error("the peer has restarted")]
    Reset,
    #[error("{0}")]
    Transport(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_round_trip() {
        for code in (0..8).chain([0xff, 0x100, 0xffff_ffff, 0x1_0000_0000]) {
            assert_eq!(CloseReason::decode(code, b"text").code(), code);
        }
        assert_eq!(CloseReason::decode(5, b""), CloseReason::Protocol);
        assert_eq!(CloseReason::decode(6, b""), CloseReason::Unknown(6));
        let long = "\u{ac00}".repeat(100);
        let reason = CloseReason::decode(0x100, long.as_bytes());
        assert_eq!(reason.to_string().len(), 198, "cut between characters");
    }
}
