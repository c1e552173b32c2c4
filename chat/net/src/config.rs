//! Settings of the chat.

use std::time::Duration;

use lightstick_chat_archive::{ArchiveConfig, ConfigError as ArchiveConfigError};
use lightstick_chat_core::config::{RoomConfig, RoomConfigError};
use lightstick_types::duration;
use serde::{Deserialize, Serialize};

use crate::webhook::{self, DeliveryConfig, HookConfigError, ReviewConfig, WebhookConfig};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// Whether there is a chat at all.
    pub enabled: bool,
    /// Rooms with a chat at one time. More are refused. A quarter is for rooms with a show and for
    /// those who have a token.
    pub rooms_max: usize,
    /// Chats of rooms without a show that are open because somebody without a token came, by
    /// address (an IPv6 /64 counts as one). More are refused.
    pub rooms_per_address_max: usize,
    /// How long a room's chat is kept in memory once nobody is there.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// WebSockets at one time. More are refused.
    pub sockets_max: usize,
    /// WebSockets of one address (an IPv6 /64 counts as one) at one time, whether they have said
    /// hello or not. More are closed.
    pub sockets_per_address_max: usize,
    /// How long a WebSocket may take to say hello.
    #[serde(with = "duration")]
    pub hello_timeout: Duration,
    /// Whether whoever comes without a token may write, as a guest. In development mode they may.
    pub guests_write: bool,
    /// Limits of every room.
    pub room: RoomConfig,
    /// What is kept, and where.
    pub archive: ArchiveConfig,
    /// Who is told what happens. At most 16.
    pub webhooks: Vec<WebhookConfig>,
    /// How they are told.
    pub delivery: DeliveryConfig,
    /// Who is asked about messages; how long it may take stands in `room.review_timeout`.
    pub review: ReviewConfig,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            rooms_max: 1_000,
            rooms_per_address_max: 10,
            idle_timeout: Duration::from_secs(300),
            sockets_max: 20_000,
            sockets_per_address_max: 100,
            hello_timeout: Duration::from_secs(10),
            guests_write: false,
            room: RoomConfig::default(),
            archive: ArchiveConfig::default(),
            webhooks: Vec::new(),
            delivery: DeliveryConfig::default(),
            review: ReviewConfig::default(),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// In `chat` itself.
    #[error("chat.{name} must be {range}")]
    Range {
        name: &'static str,
        range: &'static str,
    },
    /// In `chat.room`.
    #[error("chat.room.{0}")]
    Room(#[from] RoomConfigError),
    /// In `chat.archive`.
    #[error("chat.archive: {0}")]
    Archive(#[from] ArchiveConfigError),
    /// In `chat.webhooks`, `chat.delivery` or `chat.review`.
    #[error("chat.{0}")]
    Hook(#[from] HookConfigError),
}

impl ChatConfig {
    /// Checks all of it.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = |value: usize, name| match value {
            0 => Err(ConfigError::Range {
                name,
                range: "1 or more",
            }),
            _ => Ok(()),
        };
        positive(self.rooms_max, "rooms_max")?;
        positive(self.rooms_per_address_max, "rooms_per_address_max")?;
        positive(self.sockets_max, "sockets_max")?;
        positive(self.sockets_per_address_max, "sockets_per_address_max")?;
        for (name, value, max, range) in [
            ("idle_timeout", self.idle_timeout, 86_400, "1s to 1d"),
            ("hello_timeout", self.hello_timeout, 60, "1s to 60s"),
        ] {
            if !(Duration::from_secs(1)..=Duration::from_secs(max)).contains(&value) {
                return Err(ConfigError::Range { name, range });
            }
        }
        self.room.validate()?;
        self.archive.validate()?;
        webhook::validate(&self.webhooks, &self.delivery, &self.review)?;
        Ok(())
    }
}
