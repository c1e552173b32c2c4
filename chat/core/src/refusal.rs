//! Why a request is refused: codes that integrators and pages may rely on.

use std::time::Duration;

use lightstick_chat_proto as proto;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Code {
    /// The frame is not what the protocol says.
    #[error("the request cannot be read")]
    Malformed,
    /// No text is left of the message.
    #[error("the message is empty")]
    Empty,
    #[error("the message is too long")]
    TooLong,
    /// Characters that hide or mangle text.
    #[error("the message has characters that are not allowed")]
    Characters,
    /// More messages than one user may write.
    #[error("too many messages")]
    RateLimited,
    /// Slow mode is on.
    #[error("this room is in slow mode")]
    SlowMode,
    /// Timed out by a moderator.
    #[error("timed out by a moderator")]
    TimedOut,
    /// Banned from writing here.
    #[error("banned from writing here")]
    Banned,
    /// The token does not allow it.
    #[error("not allowed to write here")]
    ReadOnly,
    /// Only members may write.
    #[error("only members may write now")]
    MembersOnly,
    /// Only emotes may be written.
    #[error("only emotes may be written now")]
    EmoteOnly,
    /// This text was written already.
    #[error("this message was already sent")]
    NotUnique,
    #[error("links are not allowed here")]
    LinksOff,
    /// Nobody but moderators writes.
    #[error("the chat is muted")]
    Muted,
    /// A blocked term, or what looks like one.
    #[error("the message was blocked")]
    Blocked,
    /// The same text again and again.
    #[error("too many similar messages")]
    Flood,
    /// Denied by a reviewer.
    #[error("the message was denied")]
    Denied,
    /// Only moderators may do this.
    #[error("only moderators may do this")]
    NotModerator,
    /// Not against somebody of this role.
    #[error("not allowed against a user of this role")]
    RoleTooHigh,
    /// No such message, user, poll or appeal.
    #[error("not found")]
    NotFound,
    /// A value out of its range.
    #[error("a value is out of its range")]
    OutOfRange,
    /// A command that is not known or lacks something.
    #[error("the command is unknown or incomplete")]
    BadCommand,
    /// Nothing that could be appealed, or it was already.
    #[error("there is nothing to appeal, or it has been appealed already")]
    NoAppeal,
    /// The room holds as much as it may.
    #[error("the limit of this room is reached")]
    Full,
    /// What must not be lost cannot be kept now.
    #[error("this cannot be stored now")]
    NotKept,
    /// The room is closing.
    #[error("the room is closing")]
    Closing,
    /// A request with this key is being worked on.
    #[error("a request with this key is already in progress")]
    InProgress,
    /// The key was used for another request.
    #[error("this key was used for another request")]
    KeyReused,
}

impl Code {
    /// As it stands in frames and problem details.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Characters => "characters",
            Self::RateLimited => "rate_limited",
            Self::SlowMode => "slow_mode",
            Self::TimedOut => "timed_out",
            Self::Banned => "banned",
            Self::ReadOnly => "read_only",
            Self::MembersOnly => "members_only",
            Self::EmoteOnly => "emote_only",
            Self::NotUnique => "not_unique",
            Self::LinksOff => "links_off",
            Self::Muted => "muted",
            Self::Blocked => "blocked",
            Self::Flood => "flood",
            Self::Denied => "denied",
            Self::NotModerator => "not_moderator",
            Self::RoleTooHigh => "role_too_high",
            Self::NotFound => "not_found",
            Self::OutOfRange => "out_of_range",
            Self::BadCommand => "bad_command",
            Self::NoAppeal => "no_appeal",
            Self::Full => "full",
            Self::NotKept => "not_kept",
            Self::Closing => "closing",
            Self::InProgress => "in_progress",
            Self::KeyReused => "key_reused",
        }
    }
}

/// A refusal, and when it is worth trying again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// More about it, for people.
    pub detail: Option<String>,
    /// When to try again; `None`: not again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// To be tried again after a while.
    #[must_use]
    pub fn later(code: Code, after: Duration) -> Self {
        Self {
            code,
            detail: None,
            retry_after: Some(after),
        }
    }

    /// With more about it.
    #[must_use]
    pub fn because(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: Some(detail.into()),
            retry_after: None,
        }
    }

    /// What a person may read.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.code),
            None => self.code.to_string(),
        }
    }

    pub(crate) fn part(&self, nonce: u64) -> proto::part::Part {
        let ms = self.retry_after.map_or(0, |after| after.as_millis().max(1));
        proto::part::Part::Refusal(proto::Refusal {
            nonce,
            code: self.code.as_str().to_owned(),
            detail: self.text(),
            retry_after_ms: u32::try_from(ms).unwrap_or(u32::MAX),
        })
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self {
            code,
            detail: None,
            retry_after: None,
        }
    }
}
