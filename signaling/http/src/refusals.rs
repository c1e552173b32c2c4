//! Refusals in the log: a few of each kind, the rest as a number. Whoever sends nonsense must not
//! decide how much is written; the metrics count every one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, Uri};

use crate::extract::room_name;
use crate::problem::{Code, Problem};

/// Lines of one code in a span of [`SPAN`].
const LINES_MAX: u32 = 3;
const SPAN: Duration = Duration::from_secs(10);

/// The one place where refusals are logged.
pub(crate) struct RefusalLog(Box<[Mutex<Lines>]>);

#[derive(Default)]
struct Lines {
    since: Option<Instant>,
    written: u32,
    suppressed: u64,
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self(Code::ALL.iter().map(|_| Mutex::default()).collect())
    }
}

impl RefusalLog {
    /// Logs a refusal, or counts it for the next line of its code.
    pub(crate) fn log(&self, method: &Method, uri: &Uri, problem: &Problem) {
        let lines = self.0[problem.code.index()].lock();
        let taken = lines
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now());
        let Some(suppressed) = taken else { return };
        // Of the path, nothing that is a secret: the session's id is one.
        let mut parts = uri.path().split('/').skip(1);
        let resource = parts.next().unwrap_or_default();
        let room = match resource {
            "whip" | "whep" | "chat" => parts.next().and_then(|room| room_name(room).ok()),
            _ => None,
        };
        let room = room.as_ref().map(tracing::field::display);
        let (code, detail) = (problem.code.as_str(), &*problem.detail);
        tracing::info!(%method, resource, room, code, detail, suppressed, "refused");
    }
}

impl Lines {
    /// Whether a line may be written; if so, how many were not since the last.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let over = |since: Instant| now.saturating_duration_since(since) >= SPAN;
        if self.since.is_none_or(over) {
            self.since = Some(now);
            self.written = 0;
        }
        if self.written == LINES_MAX {
            self.suppressed += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_then_a_number() {
        let start = Instant::now();
        let mut lines = Lines::default();
        let written = |lines: &mut Lines, at| -> Vec<u64> {
            let taken = (0..1_000).filter_map(|_| lines.take(at));
            taken.collect()
        };
        assert_eq!(written(&mut lines, start), [0, 0, 0]);
        assert!(written(&mut lines, start + SPAN / 2).is_empty());
        assert_eq!(written(&mut lines, start + SPAN), [1_997, 0, 0]);
        let back = written(&mut lines, start);
        assert!(back.is_empty(), "a clock that goes back");
    }
}
