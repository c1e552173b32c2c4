//! Threads and tasks by name, and how they ended.
//!
//! Whoever starts something that is to run for as long as the process holds it in [`Tasks`] or
//! [`Threads`] and passes [`Ended`] on to the process's supervisor: an end that nobody asked for is
//! a fault, whether it was a panic, an error or a plain return.

mod tasks;
mod threads;

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;

pub use tasks::Tasks;
pub use threads::Threads;

/// What something is called in logs and in the reason for being not ready.
pub type Name = Cow<'static, str>;

/// A thread or a task has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {cause}")]
pub struct Ended {
    /// Which.
    pub name: Name,
    /// How.
    pub cause: Cause,
}

/// How a thread or a task ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It returned.
    #[error("returned")]
    Returned,
    /// It was aborted.
    #[error("was aborted")]
    Aborted,
    /// It returned an error: the error with all of its sources.
    #[error("failed: {0}")]
    Failed(String),
    /// It panicked: the panic's message.
    #[error("panicked: {0}")]
    Panicked(String),
}

impl Ended {
    /// Whether it is a fault even where the end was asked for.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self.cause, Cause::Failed(_) | Cause::Panicked(_))
    }

    /// Writes the line of the log about an unexpected end.
    pub fn log(&self) {
        tracing::error!(name = %self.name, cause = %self.cause, "a thread or task ended unexpectedly");
    }
}

/// What a thread or a task returns.
pub trait Outcome {
    /// How it ended.
    fn cause(self) -> Cause;
}

impl Outcome for () {
    fn cause(self) -> Cause {
        Cause::Returned
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> Outcome for Result<(), E> {
    fn cause(self) -> Cause {
        match self {
            Ok(()) => Cause::Returned,
            Err(error) => {
                let error = error.into();
                let mut text = error.to_string();
                let mut source = error.source();
                while let Some(error) = source {
                    text = format!("{text}: {error}");
                    source = error.source();
                }
                Cause::Failed(text)
            }
        }
    }
}

/// Nothing: it was stopped before it returned.
impl<O: Outcome> Outcome for Option<O> {
    fn cause(self) -> Cause {
        self.map_or(Cause::Returned, O::cause)
    }
}

/// A panic's message.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text")
}
