//! Webhooks: what happens in rooms, told to the integrator's servers.
//!
//! One task reads the rooms' events and puts each into the queue of every receiver that wants it.
//! A receiver has a task of its own, so one that hangs fills its own queue only. Where events go
//! is the operator's choice alone, and redirects are not followed: nobody else decides what this
//! server connects to.

mod config;
mod endpoint;
mod payload;
mod sign;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lightstick_chat_archive::{Archive, ArchiveError, DeadLetter};
use lightstick_tasks::Tasks;
use reqwest::{Client, RequestBuilder, Url, header, redirect};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::command::Happened;
use crate::stats::PlaneStats;
pub(crate) use config::validate;
pub use config::{DeliveryConfig, HookConfigError, ReviewConfig, WebhookConfig};
use endpoint::{Delivery, Endpoint, Target};
use payload::Notice;
pub(crate) use payload::{body, new_id};
pub(crate) use sign::Secret;

/// How long a connection may take to come up.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Connections that are kept for each receiver.
const IDLE_MAX: usize = 8;

/// The way to all receivers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Webhooks {
    receivers: Arc<[Receiver]>,
    stats: Arc<PlaneStats>,
}

struct Receiver {
    target: Arc<Target>,
    /// Which events it wants; empty: all.
    events: HashSet<String>,
    queue: mpsc::Sender<Delivery>,
}

/// Why a dead letter is not tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// There is none of this id.
    #[error("no dead letter has this id")]
    NotFound,
    /// What it said was erased with its user.
    #[error("the user's data was erased")]
    Erased,
    /// No webhook of the configuration has its URL, or it has said that it is gone.
    #[error("no webhook is configured for its URL")]
    NoReceiver,
    /// As many events wait for its receiver as may.
    #[error("too many events are queued for its receiver")]
    Busy,
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The client that all hooks share.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .pool_max_idle_per_host(IDLE_MAX)
        .user_agent(concat!("lightstick/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A request with the headers of the Standard Webhooks specification.
pub(crate) fn signed(
    client: &Client,
    url: &Url,
    secret: &Secret,
    id: &str,
    body: Bytes,
) -> RequestBuilder {
    let now = unix_ms() / 1_000;
    client
        .post(url.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", secret.sign(id, now, &body))
        .body(body)
}

pub(crate) fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    unix.map_or(0, |since| since.as_millis() as u64)
}

impl Webhooks {
    /// Starts the tasks. They end when `events` does; `end` is theirs.
    pub(crate) fn start(
        webhooks: &[WebhookConfig],
        delivery: &DeliveryConfig,
        client: &Client,
        archive: &Archive,
        stats: &Arc<PlaneStats>,
        mut events: mpsc::Receiver<Happened>,
        tasks: &mut Tasks,
    ) -> Self {
        let end = CancellationToken::new();
        let mut receivers = Vec::new();
        for (index, config) in webhooks.iter().enumerate() {
            // Both were held against their form with the rest of the settings.
            let (Ok(url), Ok(secret)) = (Url::parse(&config.url), Secret::parse(&config.secret))
            else {
                continue;
            };
            let target = Arc::new(Target {
                name: config.url.clone(),
                url,
                secret,
                index,
                gone: AtomicBool::new(false),
            });
            let (queue, inbox) = mpsc::channel(delivery.queue_max);
            let endpoint = Endpoint::new(
                Arc::clone(&target),
                client.clone(),
                delivery.clone(),
                archive.clone(),
                Arc::clone(stats),
            );
            tasks.spawn(format!("webhook-{index}"), endpoint.run(inbox, end.clone()));
            receivers.push(Receiver {
                target,
                events: config.events.iter().cloned().collect(),
                queue,
            });
        }
        let all = Self {
            receivers: receivers.into(),
            stats: Arc::clone(stats),
        };
        let webhooks = all.clone();
        tasks.spawn("webhooks", async move {
            while let Some(happened) = events.recv().await {
                for notice in payload::notices(happened) {
                    webhooks.tell(&notice);
                }
            }
            end.cancel();
        });
        all
    }

    fn tell(&self, notice: &Notice) {
        for receiver in self.receivers.iter() {
            if receiver.events.is_empty() || receiver.events.contains(&*notice.event) {
                self.send(receiver, notice.clone(), None);
            }
        }
    }

    /// Whether there was a place in its queue.
    fn send(&self, receiver: &Receiver, notice: Notice, letter: Option<String>) -> bool {
        let delivery = Delivery {
            notice,
            tries: 0,
            last_error: String::new(),
            letter,
        };
        self.stats.webhooks_waiting.add(1);
        let gone = receiver.target.gone.load(Ordering::Relaxed);
        let sent = !gone && receiver.queue.try_send(delivery).is_ok();
        if !sent {
            self.stats.webhooks_waiting.sub(1);
            self.stats.webhooks_dropped.add(1);
        }
        sent
    }

    /// Tries a dead letter again, from the first try on. It goes from the archive when it is taken.
    pub(crate) fn retry(&self, letter: DeadLetter) -> Result<(), RetryError> {
        let body = letter.body.ok_or(RetryError::Erased)?;
        let mut receivers = self.receivers.iter();
        let receiver = receivers
            .find(|receiver| {
                receiver.target.name == letter.url && !receiver.target.gone.load(Ordering::Relaxed)
            })
            .ok_or(RetryError::NoReceiver)?;
        let id = letter.id.split('~').next().unwrap_or_default();
        let notice = Notice {
            id: id.into(),
            event: letter.event.into(),
            // It was written down with its letter, and is erased with it.
            user: user_of(&body).map(Arc::from),
            body: body.into(),
        };
        match self.send(receiver, notice, Some(letter.id)) {
            true => Ok(()),
            false => Err(RetryError::Busy),
        }
    }
}

/// Whose data a body holds.
fn user_of(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let data = &body["data"];
    let author = &data["message"]["author"]["user"];
    author
        .as_str()
        .or_else(|| data["user"].as_str())
        .map(str::to_owned)
}
