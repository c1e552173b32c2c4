//! Why a request is refused.

use std::time::Duration;

use lightstick_chat_proto as proto;
pub use lightstick_chat_wire::RefusalCode as Code;

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
