//! Tasks of the async runtime.

use std::collections::HashMap;
use std::future::{Future, pending};

use tokio::task::{Id, JoinError, JoinSet};

use crate::{Cause, Ended, Name, Outcome, panic_message};

/// Tasks with names. Dropping it aborts them.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<Cause>,
    names: HashMap<Id, Name>,
}

impl Tasks {
    /// Starts a task.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&mut self, name: impl Into<Name>, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let task = self.running.spawn(async move { task.await.cause() });
        self.names.insert(task.id(), name.into());
    }

    /// The next end; `None` when nothing runs. Safe to cancel.
    pub async fn next(&mut self) -> Option<Ended> {
        let joined = self.running.join_next_with_id().await?;
        let (id, cause) = match joined {
            Ok((id, cause)) => (id, cause),
            Err(error) => (error.id(), cause_of(error)),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        Some(Ended { name, cause })
    }

    /// The next end; never, when nothing runs. Safe to cancel.
    pub async fn ended(&mut self) -> Ended {
        match self.next().await {
            Some(ended) => ended,
            None => pending().await,
        }
    }

    /// Waits until all have ended, as they were asked to. Failures are logged.
    ///
    /// # Errors
    /// The first failure.
    pub async fn join(&mut self) -> Result<(), Ended> {
        let mut outcome = Ok(());
        while let Some(ended) = self.next().await {
            if ended.is_failure() {
                ended.log();
                outcome = outcome.and(Err(ended));
            }
        }
        outcome
    }

    /// Aborts all and waits until they are gone. Failures are logged.
    ///
    /// # Errors
    /// The first failure.
    pub async fn abort(&mut self) -> Result<(), Ended> {
        self.running.abort_all();
        self.join().await
    }
}

fn cause_of(error: JoinError) -> Cause {
    match error.try_into_panic() {
        Ok(panic) => Cause::Panicked(panic_message(&*panic).to_owned()),
        Err(_) => Cause::Aborted,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[tokio::test]
    async fn every_end_has_its_name_and_cause() {
        let mut tasks = Tasks::default();
        tasks.spawn("returns", async {});
        tasks.spawn("fails", async {
            let source = io::Error::other("the disk is gone");
            Err::<(), _>(io::Error::other(source))
        });
        tasks.spawn("panics", async { assert_eq!(1 + 1, 3, "arithmetic") });
        let mut ends = Vec::new();
        while let Some(ended) = tasks.next().await {
            ends.push((ended.is_failure(), ended.to_string()));
        }
        ends.sort();
        assert_eq!(ends[0], (false, "returns returned".to_owned()));
        assert_eq!(ends[1].1, "fails failed: the disk is gone");
        assert!(
            ends[2].0
                && ends[2].1.starts_with("panics panicked: ")
                && ends[2].1.contains("arithmetic"),
            "{ends:?}"
        );
    }

    #[tokio::test]
    async fn an_abort_is_no_failure() {
        let mut tasks = Tasks::default();
        tasks.spawn("waits", pending::<()>());
        assert_eq!(tasks.abort().await, Ok(()));
        assert!(tasks.next().await.is_none());
    }
}
