//! A room's limits.

use std::time::Duration;

use lightstick_chat_proto::Settings;
use lightstick_types::duration;
use serde::{Deserialize, Serialize};

use crate::screen::{FilterSettings, Screen};

/// Limits of every room. All are explicit; none can be switched off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomConfig {
    /// Between two batches of messages: 100 to 200 milliseconds read well.
    #[serde(with = "duration")]
    pub tick: Duration,
    /// How long a deletion, or anything else that is never left out, waits to be batched.
    #[serde(with = "duration")]
    pub urgent_wait: Duration,
    /// What everything that is shown may take of each viewer's link, in bits per second. What is
    /// never left out counts, and is sent even so.
    pub viewer_bitrate: u32,
    /// Messages that a newcomer finds.
    pub snapshot_messages: usize,
    /// Entries that are kept for those who come back.
    pub history_entries: usize,
    /// Longest message, in characters.
    pub text_chars_max: usize,
    /// Messages of one user within `rate_window`.
    pub messages_per_user: u32,
    /// The same of a moderator or the artist.
    pub messages_per_moderator: u32,
    /// The same of a bot.
    pub messages_per_bot: u32,
    /// How many users those without a token at one address count for (an IPv6 /64 is one address):
    /// in these limits, in slow mode and in polls. More than 1 for halls and carriers that bring
    /// many people behind one address.
    pub guests_per_address: u32,
    /// The span of these limits.
    #[serde(with = "duration")]
    pub rate_window: Duration,
    /// Reactions of one client a second; what is above counts no more.
    pub reactions_per_second: u32,
    /// Rooms of up to so many say who is there.
    pub names_max: usize,
    /// Messages that wait for a moderator. The oldest are denied when there are more.
    pub held_max: usize,
    /// How long a message waits for a moderator before it is denied.
    #[serde(with = "duration")]
    pub held_timeout: Duration,
    /// Users banned, timed out or shadowed in one room. More are refused.
    pub sanctions_max: usize,
    /// Open appeals. More are refused.
    pub appeals_max: usize,
    /// Accepted messages of one tick that are never left out. More are refused until they are sent.
    pub urgent_max: usize,
    /// How long the review hook may take for one message.
    #[serde(with = "duration")]
    pub review_timeout: Duration,
    /// Messages that wait for the review hook. More pass without.
    pub reviews_max: usize,
    /// Whether a message that was not reviewed in time is held rather than shown.
    pub review_late_holds: bool,
    /// Hosts that emotes may be loaded from, beside this server. They learn who watches.
    pub emote_hosts: Vec<String>,
    /// What is filtered in all rooms.
    pub filter: FilterSettings,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(200),
            urgent_wait: Duration::from_millis(40),
            viewer_bitrate: 16_000,
            snapshot_messages: 50,
            history_entries: 1_000,
            text_chars_max: 500,
            messages_per_user: 20,
            messages_per_moderator: 100,
            messages_per_bot: 60,
            guests_per_address: 1,
            rate_window: Duration::from_secs(30),
            reactions_per_second: 40,
            names_max: 50,
            held_max: 500,
            held_timeout: Duration::from_secs(600),
            sanctions_max: 50_000,
            appeals_max: 500,
            urgent_max: 200,
            review_timeout: Duration::from_millis(800),
            reviews_max: 1_000,
            review_late_holds: false,
            emote_hosts: Vec::new(),
            filter: FilterSettings::default(),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {range}")]
pub struct RoomConfigError {
    pub name: &'static str,
    pub range: &'static str,
}

impl RoomConfig {
    /// Checks every limit.
    ///
    /// # Errors
    /// [`RoomConfigError`] for the first that cannot work.
    pub fn validate(&self) -> Result<(), RoomConfigError> {
        let check = |good, name, range| match good {
            true => Ok(()),
            false => Err(RoomConfigError { name, range }),
        };
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        check((ms(50)..=s(1)).contains(&self.tick), "tick", "50ms to 1s")?;
        check(
            (ms(10)..=self.tick).contains(&self.urgent_wait),
            "urgent_wait",
            "10ms to tick",
        )?;
        check(
            (4_000..=1_000_000).contains(&self.viewer_bitrate),
            "viewer_bitrate",
            "4000 to 1000000",
        )?;
        check(
            (1..=200).contains(&self.snapshot_messages),
            "snapshot_messages",
            "1 to 200",
        )?;
        check(
            (100..=100_000).contains(&self.history_entries),
            "history_entries",
            "100 to 100000",
        )?;
        check(
            (1..=1_000).contains(&self.text_chars_max),
            "text_chars_max",
            "1 to 1000",
        )?;
        check(self.messages_per_user > 0, "messages_per_user", "1 or more")?;
        check(
            self.messages_per_moderator > 0,
            "messages_per_moderator",
            "1 or more",
        )?;
        check(self.messages_per_bot > 0, "messages_per_bot", "1 or more")?;
        check(
            (1..=10_000).contains(&self.guests_per_address),
            "guests_per_address",
            "1 to 10000",
        )?;
        check(
            (s(1)..=s(3_600)).contains(&self.rate_window),
            "rate_window",
            "1s to 1h",
        )?;
        check(
            self.reactions_per_second > 0,
            "reactions_per_second",
            "1 or more",
        )?;
        check(self.names_max <= 200, "names_max", "0 to 200")?;
        check(
            (1..=10_000).contains(&self.held_max),
            "held_max",
            "1 to 10000",
        )?;
        check(
            (s(1)..=s(86_400)).contains(&self.held_timeout),
            "held_timeout",
            "1s to 1d",
        )?;
        check(self.sanctions_max > 0, "sanctions_max", "1 or more")?;
        check(
            (1..=10_000).contains(&self.appeals_max),
            "appeals_max",
            "1 to 10000",
        )?;
        check(
            (1..=10_000).contains(&self.urgent_max),
            "urgent_max",
            "1 to 10000",
        )?;
        check(
            (ms(10)..=s(10)).contains(&self.review_timeout),
            "review_timeout",
            "10ms to 10s",
        )?;
        check(
            self.emote_hosts.iter().all(|host| is_host(host)),
            "emote_hosts",
            "names of hosts, with a port where it is needed",
        )?;
        let compiled = Screen::new(&self.filter, &Settings::default());
        check(
            compiled.is_ok(),
            "filter",
            "terms of 1 to 100 characters, host names, and 500 of each at most",
        )
    }

    /// Bytes a second that may be shown.
    pub(crate) fn bytes_per_second(&self) -> f64 {
        f64::from(self.viewer_bitrate) / 8.0
    }
}

/// A name that can stand in a page's policy as it is.
fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    !host.is_empty() && host.bytes().all(allowed)
}
