//! What is wrong with a configuration, in words that say what to write instead.

use std::time::Duration;

use figment::Figment;
use figment::error::Kind;
use lightstick_types::duration;

/// What a type's name means to whoever writes the file.
fn in_words(wanted: &str) -> &str {
    match wanted {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "f64" => "a number",
        "a sequence" => "a list, such as [\"...\"]",
        wanted => wanted,
    }
}

/// Settings that hold a secret, alone or within a URL, by their own names.
const SECRETS: [&str; 6] = [
    "secret",
    "credential",
    "username",
    "node_key",
    "url",
    "urls",
];

/// A wrong value that is a secret: nothing of it may be shown.
fn explain_secret(kind: &Kind) -> &'static str {
    match kind {
        // Digits of an environment variable are taken for a number.
        Kind::InvalidType(..) => {
            "it is not a string: put it in double quotes, in the environment too ('\"0123\"')"
        }
        _ => "invalid value",
    }
}

/// A parser's message without the line of the file that it quotes: there may be a secret in it.
fn without_quotation(text: &str) -> String {
    let own = text.lines().filter(|line| !line.contains('|'));
    own.collect::<Vec<_>>().join(": ")
}

/// Every error of a configuration on a line of its own.
pub(super) fn explain(figment: &Figment, errors: figment::Error) -> String {
    let mut lines = vec!["invalid configuration:".to_owned()];
    for error in errors {
        let place = error.path.join(".");
        let source = error.metadata.as_ref().and_then(|m| m.source.as_ref());
        let from = source.map_or_else(String::new, |source| format!(" ({source})"));
        let at = if place.is_empty() {
            String::new()
        } else {
            format!("in [{place}]: ")
        };
        let secret = error.path.iter().any(|key| SECRETS.contains(&key.as_str()));
        let what = match &error.kind {
            kind if secret => explain_secret(kind).to_owned(),
            Kind::UnknownField(_, known) => renamed(figment, &place).unwrap_or_else(|| {
                format!(
                    "unknown setting; the settings here are: {}",
                    known.join(", ")
                )
            }),
            Kind::UnknownVariant(found, known) => {
                format!("unknown value {found:?}: write one of {}", known.join(", "))
            }
            Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => {
                format!("found {found}: write {}", in_words(wanted))
            }
            Kind::Message(text) => match figment
                .find_value(&place)
                .ok()
                .and_then(|v| v.into_string())
            {
                Some(value) => format!("{text}: {value:?}"),
                None => without_quotation(text),
            },
            kind => kind.to_string(),
        };
        lines.push(format!("  {at}{what}{from}"));
    }
    lines.join("\n")
}

/// Keys of former versions, whose values were numbers: what they are now, and the unit of the number.
const RENAMED: [(&str, &str, Duration); 15] = [
    ("chat.idle_seconds", "idle_timeout", SECOND),
    ("chat.hello_seconds", "hello_timeout", SECOND),
    ("chat.room.tick_ms", "tick", MILLISECOND),
    ("chat.room.urgent_ms", "urgent_wait", MILLISECOND),
    ("chat.room.rate_seconds", "rate_window", SECOND),
    ("chat.room.held_seconds", "held_timeout", SECOND),
    ("chat.room.review_ms", "review_timeout", MILLISECOND),
    ("chat.archive.batch_wait_ms", "batch_wait", MILLISECOND),
    (
        "chat.archive.database_timeout_ms",
        "database_timeout",
        MILLISECOND,
    ),
    (
        "chat.archive.retry_wait_max_ms",
        "retry_wait_max",
        MILLISECOND,
    ),
    ("chat.archive.retain_days", "retain", DAY),
    ("chat.archive.retain_audit_days", "retain_audit", DAY),
    ("chat.delivery.timeout_ms", "timeout", MILLISECOND),
    ("chat.delivery.retry_ms", "retry_wait", MILLISECOND),
    ("chat.delivery.retry_max_ms", "retry_wait_max", MILLISECOND),
];
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// What to write in place of a key of a former version.
fn renamed(figment: &Figment, place: &str) -> Option<String> {
    let (_, new, unit) = RENAMED.iter().find(|(old, ..)| *old == place)?;
    // Numbers of a file are signed, those of the environment are not.
    let value = figment.find_value(place).ok();
    let count = value.and_then(|value| value.deserialize::<u32>().ok());
    let value = count.and_then(|count| unit.checked_mul(count));
    Some(match value.map(duration::format) {
        Some(value) => format!("it is now {new}: write {new} = \"{value}\""),
        None => format!("it is now {new}, a duration such as \"30s\""),
    })
}
