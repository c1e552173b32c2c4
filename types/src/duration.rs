//! Durations as settings and flags write them: a number with its unit, such as `500ms`, `1s` or `30m`.
//!
//! For a field: `#[serde(with = "lightstick_types::duration")]`, or `lightstick_types::duration::option`.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with a unit, or negative.
    #[error("not a duration: write a number and a unit (ms, s, m, h or d), such as \"30s\"")]
    Malformed,
    /// More than can be counted, or finer than a nanosecond.
    #[error("this duration is too long, or finer than a nanosecond")]
    OutOfRange,
}

/// Reads a duration. Several parts add up (`1h 30m`), and a part may have a fraction (`1.5s`).
///
/// # Errors
/// [`DurationError`] for everything else, a number without a unit included; `0` needs none.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => DurationError::OutOfRange,
        _ => DurationError::Malformed,
    })
}

/// Writes a duration in the largest unit that divides it, so that [`parse`] gives the same again.
#[must_use]
pub fn format(duration: Duration) -> String {
    const UNITS: [(&str, u128); 6] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    let nanos = duration.as_nanos();
    let divides = |(_, unit): &&(&str, u128)| nanos != 0 && nanos.is_multiple_of(*unit);
    match UNITS.iter().find(divides) {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None if nanos == 0 => "0s".to_owned(),
        None => format!("{nanos}ns"),
    }
}

/// For serde.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// For serde.
///
/// # Errors
/// What [`parse`] refuses. A bare number is told how to write itself, as a number of seconds.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Text)
}

struct Text;

impl Text {
    fn bare<E: Error>(seconds: Option<Duration>) -> E {
        seconds.map_or_else(
            || E::custom(DurationError::Malformed),
            |seconds| {
                let written = format(seconds);
                E::custom(format_args!("a duration needs a unit: write \"{written}\""))
            },
        )
    }
}

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Duration, E> {
        Err(Self::bare(Some(Duration::from_secs(number))))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
        Err(Self::bare(
            u64::try_from(number).ok().map(Duration::from_secs),
        ))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Duration, E> {
        Err(Self::bare(Duration::try_from_secs_f64(number).ok()))
    }
}

/// The same for a setting that may be absent.
pub mod option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Present(#[serde(with = "super")] Duration);

    /// For serde.
    ///
    /// # Errors
    /// Those of the serializer.
    // The signature is serde's.
    #[allow(clippy::ref_option)]
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// For serde.
    ///
    /// # Errors
    /// What [`super::parse`] refuses.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let present = Option::<Present>::deserialize(deserializer)?;
        Ok(present.map(|Present(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Settings {
        #[serde(with = "super")]
        wait: Duration,
        #[serde(with = "super::option", default)]
        delay: Option<Duration>,
    }

    #[test]
    fn accepted_forms() {
        for (text, millis) in [
            ("500ms", 500),
            ("1s", 1_000),
            ("1.5s", 1_500),
            ("0.01s", 10),
            ("90 s", 90_000),
            ("30m", 1_800_000),
            ("1h 30m", 5_400_000),
            ("12h", 43_200_000),
            ("90d", 7_776_000_000),
            ("0s", 0),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refused_forms() {
        for text in [
            "", " ", "1", "30", "s", "-1s", "+1s", "1x", "1 0", "1e3s", "NaN", "inf", "1,5s", "٣s",
        ] {
            assert_eq!(parse(text), Err(DurationError::Malformed), "{text:?}");
        }
        for text in ["99999999999999999999s", "18446744073709551615d", "0.1ns"] {
            assert_eq!(parse(text), Err(DurationError::OutOfRange), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1500ns"),
            (10_000_000, "10ms"),
            (1_500_000_000, "1500ms"),
            (90_000_000_000, "90s"),
            (5_400_000_000_000, "90m"),
            (21_600_000_000_000, "6h"),
            (31_536_000_000_000_000, "365d"),
        ] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(format(duration), text);
            assert_eq!(parse(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn settings_are_texts_and_numbers_are_told_their_unit() {
        let settings = Settings {
            wait: Duration::from_secs(90),
            delay: Some(Duration::from_millis(20)),
        };
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(json, r#"{"wait":"90s","delay":"20ms"}"#);
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        let absent: Settings = serde_json::from_str(r#"{"wait":"1s","delay":null}"#).unwrap();
        assert_eq!(absent.delay, None);
        for (json, says) in [
            (r#"{"wait":30}"#, r#"write "30s""#),
            (r#"{"wait":0}"#, r#"write "0s""#),
            (r#"{"wait":0.01}"#, r#"write "10ms""#),
            (r#"{"wait":300.0}"#, r#"write "5m""#),
            (r#"{"wait":"1s","delay":40.95}"#, r#"write "40950ms""#),
            (r#"{"wait":-1}"#, "not a duration"),
            (r#"{"wait":-0.5}"#, "not a duration"),
            (r#"{"wait":1e300}"#, "not a duration"),
            (r#"{"wait":"soon"}"#, "not a duration"),
            (r#"{"wait":true}"#, r#"a duration such as "30s""#),
            (r#"{"wait":["1s"]}"#, r#"a duration such as "30s""#),
        ] {
            let error = serde_json::from_str::<Settings>(json).unwrap_err();
            assert!(error.to_string().contains(says), "{json}: {error}");
        }
    }
}
