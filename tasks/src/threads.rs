//! Threads of our own.

use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::{Cause, Ended, Name, Outcome, panic_message};

/// Threads with names, whose ends can be awaited.
#[derive(Debug)]
pub struct Threads {
    running: Vec<JoinHandle<()>>,
    report: UnboundedSender<Ended>,
    /// No bound of its own: one message a thread.
    ends: UnboundedReceiver<Ended>,
}

impl Default for Threads {
    fn default() -> Self {
        let (report, ends) = mpsc::unbounded_channel();
        Self {
            running: Vec::new(),
            report,
            ends,
        }
    }
}

impl Threads {
    /// Starts a thread.
    ///
    /// # Errors
    /// The system's.
    pub fn spawn<O: Outcome>(
        &mut self,
        name: impl Into<Name>,
        body: impl FnOnce() -> O + Send + 'static,
    ) -> io::Result<()> {
        let name = name.into();
        let report = self.report.clone();
        let thread = Builder::new().name(name.to_string()).spawn(move || {
            // Nothing of the body is used after a panic.
            let cause = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(outcome) => outcome.cause(),
                Err(panic) => Cause::Panicked(panic_message(&*panic).to_owned()),
            };
            // The owner may have gone without waiting.
            let _ = report.send(Ended { name, cause });
        })?;
        self.running.push(thread);
        Ok(())
    }

    /// The next end; never, when nothing runs. Safe to cancel.
    pub async fn ended(&mut self) -> Ended {
        match self.ends.recv().await {
            Some(ended) => ended,
            None => pending().await,
        }
    }

    /// Waits until all have ended, as they were asked to. Failures that [`Threads::ended`] has not
    /// given are logged. Blocks: call it off the async runtime.
    ///
    /// # Errors
    /// The first failure.
    pub fn join(mut self) -> Result<(), Ended> {
        for thread in self.running {
            // It reports by itself how it ended.
            let _ = thread.join();
        }
        let mut outcome = Ok(());
        while let Ok(ended) = self.ends.try_recv() {
            if ended.is_failure() {
                ended.log();
                outcome = outcome.and(Err(ended));
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panics() {
        panic!("on purpose");
    }

    #[tokio::test]
    async fn every_end_has_its_name_and_cause() {
        let mut threads = Threads::default();
        threads.spawn("panics", panics).unwrap();
        assert_eq!(
            threads.ended().await.to_string(),
            "panics panicked: on purpose"
        );
        threads
            .spawn("fails", || Err::<(), _>(io::Error::other("no poller")))
            .unwrap();
        assert_eq!(threads.ended().await.to_string(), "fails failed: no poller");
        threads.spawn("returns", || ()).unwrap();
        assert_eq!(threads.ended().await.to_string(), "returns returned");
        assert_eq!(threads.join(), Ok(()), "each end is told once");
    }

    #[test]
    fn joining_finds_failures_that_nobody_awaited() {
        let mut threads = Threads::default();
        threads.spawn("returns", || ()).unwrap();
        threads.spawn("panics", panics).unwrap();
        let failure = threads.join().unwrap_err();
        assert_eq!(failure.to_string(), "panics panicked: on purpose");
    }
}
