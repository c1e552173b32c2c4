//! What is thought of a message.

use crate::terms::TermId;

/// What a filter thinks of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Clean,
    /// A moderator should look at it first.
    Suspected(Reason),
    /// Must not be shown.
    Blocked(Reason),
}

/// Why a message is not clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// This term; [`Filter::term`](crate::Filter::term) has its text.
    Term(TermId),
    /// A link to a host that is not allowed.
    Link,
    /// More places look like terms than are looked at: [`CANDIDATES_MAX`](crate::CANDIDATES_MAX).
    TooManyCandidates,
}

impl Verdict {
    pub(crate) fn severity(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Suspected(_) => 1,
            Self::Blocked(_) => 2,
        }
    }

    pub(crate) fn worse(self, other: Self) -> Self {
        if other.severity() > self.severity() {
            other
        } else {
            self
        }
    }
}
