//! What a text has to pass before anybody is shown it.

use std::time::Instant;

use lightstick_chat_proto::Settings;

use crate::refusal::{Code, Refusal};

/// What is thought of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Clean,
    /// A moderator should look at it, for this reason.
    Suspected(String),
    Blocked(Code),
}

#[derive(Debug, Default)]
pub(crate) struct Screen {}

impl Screen {
    pub(crate) fn new(_settings: &Settings) -> Self {
        Self {}
    }

    /// The text as it will be shown.
    pub(crate) fn clean(&self, text: &str, chars_max: usize) -> Result<String, Refusal> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Code::Empty.into());
        }
        if text.chars().count() > chars_max {
            return Err(Code::TooLong.into());
        }
        if text.chars().any(char::is_control) {
            return Err(Code::Characters.into());
        }
        Ok(text.to_owned())
    }

    pub(crate) fn judge(&mut self, _now: Instant, _user: &str, _text: &str) -> Verdict {
        Verdict::Clean
    }
}
