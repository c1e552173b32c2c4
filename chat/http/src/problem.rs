//! Refusals of the chat, as problem details.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use lightstick_chat::NoRoom;
use lightstick_chat::archive::ArchiveError;
use lightstick_chat::core::refusal::{Code as Refused, Refusal};
use lightstick_signaling::token::TokenError;
pub(crate) use lightstick_signaling::{Code, ProblemBody};

/// `Retry-After` where no better time is known.
pub(crate) const AGAIN: Duration = Duration::from_secs(5);

/// A problem that the chat's errors can become.
#[derive(Debug)]
pub(crate) struct Problem(lightstick_signaling::Problem);

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(lightstick_signaling::Problem::new(code, detail))
    }

    /// Sets `Retry-After`.
    pub(crate) fn retry_after(self, after: Duration) -> Self {
        Self(self.0.retry_after(after))
    }

    pub(crate) fn chat_off() -> Self {
        Self::new(Code::ChatOff, "[chat] enabled is false")
    }

    pub(crate) fn code(&self) -> Code {
        self.0.code()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl From<lightstick_signaling::Problem> for Problem {
    fn from(problem: lightstick_signaling::Problem) -> Self {
        Self(problem)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self(error.into())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = Code::Chat(refusal.code);
        let comes_again = code.status().is_server_error();
        let problem = Self::new(code, refusal.text());
        match refusal.retry_after.or(comes_again.then_some(AGAIN)) {
            Some(after) => problem.retry_after(after),
            None => problem,
        }
    }
}

impl From<NoRoom> for Problem {
    fn from(error: NoRoom) -> Self {
        let code = match error {
            NoRoom::TooMany | NoRoom::TooManyOfAddress => Code::RoomsFull,
            NoRoom::NotOpen | NoRoom::Closing => Code::Chat(Refused::Closing),
        };
        Self::new(code, error.to_string()).retry_after(AGAIN)
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        // What a database says about itself is not for everybody.
        tracing::warn!(%error, "the chat archive did not answer a request");
        let detail = match error {
            ArchiveError::Timeout => "the database did not answer in time",
            ArchiveError::Closed => "the archive is closed",
            ArchiveError::Append(_) => "the record could not be written",
            ArchiveError::Database(_) => "the database has failed",
        };
        Self::new(Code::ChatArchive, detail).retry_after(AGAIN)
    }
}
