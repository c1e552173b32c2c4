//! The review hook: somebody outside who is asked about each message before it is shown.
//!
//! Requests run beside each other, so a slow one delays no other message. The room does not wait
//! longer than its budget, whatever happens here.

use std::sync::Arc;
use std::time::Duration;

use lightstick_chat_core::room::Reviewed;
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::command::ReviewRequest;
use crate::stats::PlaneStats;
use crate::webhook::{ReviewConfig, Secret, body, new_id, signed};

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum HookAnswer {
    Allow,
    Modify {
        text: String,
    },
    Deny {
        #[serde(default)]
        reason: String,
    },
}

/// Who is asked, and how long it may take.
#[derive(Clone)]
pub(crate) struct Reviewer {
    client: Client,
    url: Url,
    secret: Secret,
    budget: Duration,
    at_once_max: usize,
    stats: Arc<PlaneStats>,
}

impl Reviewer {
    /// `None` where nobody is to be asked.
    pub(crate) fn new(
        config: &ReviewConfig,
        budget: Duration,
        client: Client,
        stats: Arc<PlaneStats>,
    ) -> Option<Self> {
        Some(Self {
            client,
            // Both were held against their form with the rest of the settings.
            url: Url::parse(&config.url).ok()?,
            secret: Secret::parse(&config.secret).ok()?,
            budget,
            at_once_max: config.at_once_max,
            stats,
        })
    }

    /// Asks about all that comes, until nobody can come any more.
    pub(crate) async fn run(self, mut requests: mpsc::Receiver<ReviewRequest>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a review task panicked");
                    }
                }
                request = requests.recv(), if running.len() < self.at_once_max => match request {
                    Some(request) => {
                        let reviewer = self.clone();
                        running.spawn(async move { reviewer.review(request).await });
                    }
                    None => break,
                },
            }
        }
    }

    async fn review(self, request: ReviewRequest) {
        let left = self.budget.saturating_sub(request.asked.elapsed());
        let asked = tokio::time::timeout(left, self.ask(&request));
        let reviewed = asked.await.ok().flatten().unwrap_or(Reviewed::Failed);
        let count = match &reviewed {
            Reviewed::Allow => &self.stats.reviews_allowed,
            Reviewed::Modify(_) => &self.stats.reviews_modified,
            Reviewed::Deny(_) => &self.stats.reviews_denied,
            Reviewed::Failed => &self.stats.reviews_failed,
        };
        count.add(1);
        request.answer(reviewed).await;
    }

    async fn ask(&self, request: &ReviewRequest) -> Option<Reviewed> {
        let message = &request.review.message;
        let data = json!({"room": request.room, "message": message});
        let body = body("message.review", message.at_ms, &data);
        let id = new_id("rev");
        let request = signed(&self.client, &self.url, &self.secret, &id, body);
        let response = request.send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let answer = read(response).await?;
        Some(match serde_json::from_slice(&answer).ok()? {
            HookAnswer::Allow => Reviewed::Allow,
            HookAnswer::Modify { text } => Reviewed::Modify(text),
            HookAnswer::Deny { reason } => Reviewed::Deny(reason),
        })
    }
}

/// An answer, if it is not too long.
async fn read(mut response: Response) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
            return None;
        }
        answer.extend_from_slice(&chunk);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_table() {
        let read = |json: &str| serde_json::from_str::<HookAnswer>(json);
        assert!(matches!(
            read(r#"{"verdict":"allow"}"#),
            Ok(HookAnswer::Allow)
        ));
        assert!(matches!(
            read(r#"{"verdict":"allow","text":"x"}"#),
            Ok(HookAnswer::Allow)
        ));
        assert!(
            matches!(read(r#"{"verdict":"modify","text":"x"}"#), Ok(HookAnswer::Modify { text }) if text == "x")
        );
        assert!(
            matches!(read(r#"{"verdict":"deny"}"#), Ok(HookAnswer::Deny { reason }) if reason.is_empty())
        );
        for bad in [
            "",
            "{}",
            r#"{"verdict":"modify"}"#,
            r#"{"verdict":"maybe"}"#,
            "[]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
