//! One receiver of webhooks: its own task, queue and clock, so that it holds up nobody else.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lightstick_chat_archive::{Archive, DeadLetterRecord, Record};
use reqwest::{Client, StatusCode, Url, header};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::DeliveryConfig;
use super::payload::Notice;
use super::sign::Secret;
use super::unix_ms;
use crate::stats::PlaneStats;

/// How long what is on its way may still take when the server stops.
const LAST_WITHIN: Duration = Duration::from_secs(1);
/// Longest text about a failure, in bytes.
const ERROR_BYTES_MAX: usize = 500;

/// A notice on its way to one receiver.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) notice: Notice,
    pub(super) tries: u32,
    pub(super) last_error: String,
    /// A retry: the dead letter to delete once it is delivered.
    pub(super) letter: Option<String>,
}

/// What all tasks of a receiver share.
#[derive(Debug)]
pub(super) struct Target {
    /// As it is configured.
    pub(super) name: String,
    pub(super) url: Url,
    pub(super) secret: Secret,
    /// Tells dead letters of one notice apart.
    pub(super) index: usize,
    /// It has said 410: nothing is sent to it until the next start.
    pub(super) gone: AtomicBool,
}

#[derive(Debug)]
enum Outcome {
    Taken,
    Gone,
    Failed(String, Option<Duration>),
}

pub(super) struct Endpoint {
    pub(super) target: Arc<Target>,
    pub(super) client: Client,
    pub(super) config: DeliveryConfig,
    pub(super) archive: Archive,
    pub(super) stats: Arc<PlaneStats>,
    running: JoinSet<Outcome>,
    on_their_way: HashMap<Id, Delivery>,
    /// To be tried again, by the time and a number of its own.
    later: BTreeMap<(Instant, u64), Delivery>,
    next: u64,
}

impl Endpoint {
    pub(super) fn new(
        target: Arc<Target>,
        client: Client,
        config: DeliveryConfig,
        archive: Archive,
        stats: Arc<PlaneStats>,
    ) -> Self {
        Self {
            target,
            client,
            config,
            archive,
            stats,
            running: JoinSet::new(),
            on_their_way: HashMap::new(),
            later: BTreeMap::new(),
            next: 0,
        }
    }

    /// Delivers until `end`; what is left then becomes dead letters.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Delivery>, end: CancellationToken) {
        loop {
            let free = self.running.len() < self.config.at_once_max;
            let due = self.later.keys().next().map(|(at, _)| *at);
            let due = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.running.join_next_with_id() => self.ended(ended).await,
                () = due, if free => {
                    if let Some((_, delivery)) = self.later.pop_first() {
                        self.start(delivery);
                    }
                }
                delivery = inbox.recv(), if free && self.later.len() < self.config.queue_max => {
                    match delivery {
                        Some(delivery) => self.start(delivery),
                        None => break,
                    }
                }
                () = end.cancelled() => break,
            }
        }
        let deadline = Instant::now() + LAST_WITHIN;
        while let Ok(Some(ended)) =
            tokio::time::timeout_at(deadline, self.running.join_next_with_id()).await
        {
            self.ended(ended).await;
        }
        self.running.shutdown().await;
        inbox.close();
        let mut left: Vec<_> = self.on_their_way.drain().map(|(_, left)| left).collect();
        left.extend(std::mem::take(&mut self.later).into_values());
        while let Some(delivery) = inbox.recv().await {
            left.push(delivery);
        }
        for mut delivery in left {
            if delivery.last_error.is_empty() {
                delivery.last_error = "the server stopped".to_owned();
            }
            self.bury(delivery).await;
        }
    }

    fn start(&mut self, mut delivery: Delivery) {
        if self.target.gone.load(Ordering::Relaxed) {
            self.stats.webhooks_waiting.sub(1);
            self.stats.webhooks_dropped.add(1);
            return;
        }
        delivery.tries += 1;
        let attempt = attempt(
            self.client.clone(),
            Arc::clone(&self.target),
            delivery.notice.clone(),
            self.config.timeout,
        );
        let task = self.running.spawn(attempt);
        self.on_their_way.insert(task.id(), delivery);
    }

    async fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => {
                tracing::error!(%error, "a webhook task panicked");
                let failed = Outcome::Failed("internal".to_owned(), None);
                (error.id(), failed)
            }
        };
        let Some(mut delivery) = self.on_their_way.remove(&id) else {
            return;
        };
        match outcome {
            Outcome::Taken => {
                self.stats.webhooks_waiting.sub(1);
                self.stats.webhooks_delivered.add(1);
                if let Some(letter) = &delivery.letter
                    && let Err(error) = self.archive.remove_dead_letter(letter).await
                {
                    tracing::warn!(%error, "a delivered dead letter could not be deleted");
                }
            }
            Outcome::Gone => {
                self.stats.webhooks_failed.add(1);
                tracing::warn!(
                    webhook = self.target.index,
                    "a webhook answered 410; no more events are sent to it"
                );
                self.target.gone.store(true, Ordering::Relaxed);
                delivery.last_error = "410 Gone".to_owned();
                self.bury(delivery).await;
            }
            Outcome::Failed(error, after) => {
                self.stats.webhooks_failed.add(1);
                delivery.last_error = error;
                if delivery.tries >= self.config.tries {
                    return self.bury(delivery).await;
                }
                let wait = wait(&self.config, delivery.tries, after, fastrand::f64());
                self.next += 1;
                let at = Instant::now() + wait;
                self.later.insert((at, self.next), delivery);
            }
        }
    }

    /// Nobody has taken it: the archive keeps it.
    async fn bury(&self, delivery: Delivery) {
        let Delivery {
            notice,
            tries,
            last_error,
            letter,
        } = delivery;
        self.stats.webhooks_waiting.sub(1);
        self.stats.webhooks_dead.add(1);
        let id = letter.unwrap_or_else(|| format!("{}~{}", notice.id, self.target.index));
        let record = DeadLetterRecord {
            id,
            url: self.target.name.clone(),
            event: notice.event.to_string(),
            user: notice.user.map(|user| user.to_string()),
            body: notice.body.to_vec(),
            attempts: tries,
            last_error,
            at_ms: unix_ms(),
        };
        if let Err(error) = self.archive.append(vec![Record::DeadLetter(record)]).await {
            self.stats.webhooks_lost.add(1);
            tracing::error!(%error, "a webhook event was not delivered and could not be stored");
        }
    }
}

/// How long to wait after a try: twice as long each time, by chance up to half of it less, so that
/// what failed together does not come together.
fn wait(config: &DeliveryConfig, tries: u32, after: Option<Duration>, chance: f64) -> Duration {
    let longest = config.retry_wait_max;
    let doubled = 1_u32
        .checked_shl(tries.saturating_sub(1))
        .unwrap_or(u32::MAX);
    let wait = config.retry_wait.saturating_mul(doubled);
    let wait = wait.min(longest).mul_f64(1.0 - chance / 2.0);
    wait.max(after.unwrap_or_default()).min(longest)
}

async fn attempt(client: Client, target: Arc<Target>, notice: Notice, within: Duration) -> Outcome {
    let request = super::signed(
        &client,
        &target.url,
        &target.secret,
        &notice.id,
        notice.body,
    );
    match request.timeout(within).send().await {
        Ok(response) => match response.status() {
            status if status.is_success() => Outcome::Taken,
            StatusCode::GONE => Outcome::Gone,
            status => {
                let after = response.headers().get(header::RETRY_AFTER);
                let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
                Outcome::Failed(status.to_string(), after.map(Duration::from_secs))
            }
        },
        Err(error) => Outcome::Failed(described(error), None),
    }
}

/// What went wrong, without the URL, which may hold a secret.
fn described(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let fits = (0..=ERROR_BYTES_MAX.min(text.len())).rev();
    let mut fits = fits.filter(|at| text.is_char_boundary(*at));
    text.truncate(fits.next().unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let config = DeliveryConfig::default();
        let seconds = |tries, after, chance| wait(&config, tries, after, chance).as_secs_f64();
        let asked = |seconds| Some(Duration::from_secs(seconds));
        for (tries, after, chance, expected) in [
            (1, None, 0.0, 5.0),
            (1, None, 1.0, 2.5),
            (3, None, 0.0, 20.0),
            (7, None, 0.0, 300.0),
            (200, None, 0.0, 300.0),
            (1, asked(60), 0.0, 60.0),
            (1, asked(100_000), 0.0, 300.0),
            (3, asked(1), 0.0, 20.0),
        ] {
            assert_eq!(seconds(tries, after, chance), expected, "{tries} {after:?}");
        }
    }
}
