//! Settings of webhooks and of the review hook.

use std::fmt;
use std::time::Duration;

use lightstick_types::duration;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::payload::EVENTS;
use super::sign::Secret;

/// Webhooks that may be configured.
const WEBHOOKS_MAX: usize = 16;

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where events are posted to: `https://` or `http://`.
    pub url: String,
    /// `whsec_` and 24 to 64 random bytes in base64: what events are signed with.
    pub secret: String,
    /// Which events; empty: all.
    pub events: Vec<String>,
}

/// How webhooks are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// How long one try may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Tries of one event; what fails the last one becomes a dead letter.
    pub tries: u32,
    /// About how long until the second try; each further wait is twice as long.
    #[serde(with = "duration")]
    pub retry_wait: Duration,
    /// Longest wait between two tries, whatever a receiver asks for.
    #[serde(with = "duration")]
    pub retry_wait_max: Duration,
    /// Events that wait for one receiver, and again so many that are to be tried again. More are dropped and counted.
    pub queue_max: usize,
    /// Events on their way to one receiver at one time.
    pub at_once_max: usize,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            tries: 8,
            retry_wait: Duration::from_secs(5),
            retry_wait_max: Duration::from_secs(300),
            queue_max: 10_000,
            at_once_max: 8,
        }
    }
}

/// Somebody who is asked about each message before it is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReviewConfig {
    /// Where messages are posted to; empty: nobody is asked.
    pub url: String,
    /// `whsec_` and 24 to 64 random bytes in base64: what requests are signed with.
    pub secret: String,
    /// Requests at one time, of all rooms. More wait, and what waits too long is not asked about.
    pub at_once_max: usize,
}

impl Default for ReviewConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret: String::new(),
            at_once_max: 64,
        }
    }
}

/// What cannot work about them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookConfigError {
    /// No URL of HTTP.
    #[error("{0}.url: write it like https://hooks.example.org/chat")]
    Url(&'static str),
    #[error("{0}.secret: write whsec_ and 24 to 64 random bytes in base64")]
    Secret(&'static str),
    #[error("webhooks.events: unknown event {0:?}")]
    Event(String),
    /// A number out of range.
    #[error("{0}")]
    Range(&'static str),
}

// Secrets, and secrets in URLs.
impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReviewConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReviewConfig")
            .field("at_once_max", &self.at_once_max)
            .finish_non_exhaustive()
    }
}

impl WebhookConfig {
    fn validate(&self) -> Result<(), HookConfigError> {
        check("webhooks", &self.url, &self.secret)?;
        match self
            .events
            .iter()
            .find(|event| !EVENTS.contains(&event.as_str()))
        {
            Some(event) => Err(HookConfigError::Event(event.clone())),
            None => Ok(()),
        }
    }
}

impl DeliveryConfig {
    fn validate(&self) -> Result<(), HookConfigError> {
        let range = |good, text| {
            if good {
                Ok(())
            } else {
                Err(HookConfigError::Range(text))
            }
        };
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let times = (ms(100)..=s(60)).contains(&self.timeout);
        range(times, "delivery.timeout: 100ms to 60s")?;
        range((1..=20).contains(&self.tries), "delivery.tries: 1 to 20")?;
        let retry = (ms(1)..=s(3_600)).contains(&self.retry_wait);
        range(retry, "delivery.retry_wait: 1ms to 1h")?;
        let longest = (self.retry_wait..=s(86_400)).contains(&self.retry_wait_max);
        range(longest, "delivery.retry_wait_max: retry_wait to 1d")?;
        let queue = (1..=100_000).contains(&self.queue_max);
        range(queue, "delivery.queue_max: 1 to 100000")?;
        let at_once = (1..=100).contains(&self.at_once_max);
        range(at_once, "delivery.at_once_max: 1 to 100")
    }
}

impl ReviewConfig {
    /// Whether anybody is asked.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }
}

pub(crate) fn validate(
    webhooks: &[WebhookConfig],
    delivery: &DeliveryConfig,
    review: &ReviewConfig,
) -> Result<(), HookConfigError> {
    if webhooks.len() > WEBHOOKS_MAX {
        return Err(HookConfigError::Range("webhooks: at most 16"));
    }
    webhooks.iter().try_for_each(WebhookConfig::validate)?;
    delivery.validate()?;
    if review.is_on() {
        check("review", &review.url, &review.secret)?;
    }
    match (1..=1_000).contains(&review.at_once_max) {
        true => Ok(()),
        false => Err(HookConfigError::Range("review.at_once_max: 1 to 1000")),
    }
}

fn check(which: &'static str, url: &str, secret: &str) -> Result<(), HookConfigError> {
    let sound = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    // Dead letters carry it as it is written.
    if !sound || !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.len() > 2_048 {
        return Err(HookConfigError::Url(which));
    }
    Secret::parse(secret).map_err(|_| HookConfigError::Secret(which))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let good = WebhookConfig {
            url: "https://hooks.example/chat".into(),
            secret: "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".into(),
            events: vec!["message.created".into()],
        };
        let check = |change: fn(&mut WebhookConfig), begins: &str| {
            let mut webhook = good.clone();
            change(&mut webhook);
            let result = validate(
                &[webhook],
                &DeliveryConfig::default(),
                &ReviewConfig::default(),
            );
            let text = result.map_or_else(|error| error.to_string(), |()| "fine".into());
            assert!(text.starts_with(begins), "{text}");
        };
        check(|_| {}, "fine");
        check(|hook| hook.url = "ftp://x".into(), "webhooks.url");
        check(|hook| hook.url = "/x".into(), "webhooks.url");
        check(|hook| hook.secret = "x".into(), "webhooks.secret");
        check(|hook| hook.events.push("dance".into()), "webhooks.events");
        let shown = format!("{good:?}");
        assert!(
            !shown.contains("whsec") && !shown.contains("hooks"),
            "{shown}"
        );
        let review = ReviewConfig {
            url: good.url.clone(),
            ..ReviewConfig::default()
        };
        let refused = validate(&[], &DeliveryConfig::default(), &review);
        assert_eq!(refused, Err(HookConfigError::Secret("review")));
    }
}
