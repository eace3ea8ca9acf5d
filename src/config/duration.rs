//! Reads and writes the durations of the config, each within its bounds.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer, de::Error};
use toml::Value;

use super::value::{OFF, refused};

fn between<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: (&str, &str),
) -> Result<Duration, D::Error> {
    let found = Value::deserialize(deserializer)?;
    duration_of(&found, bounds, "")
}

/// Parses a duration from `min` to `max`, both included. If the caller also allows another value, `or` names
/// it for the error message, such as `"off", or `. Otherwise `or` is empty.
fn duration_of<E: Error>(found: &Value, (min, max): (&str, &str), or: &str) -> Result<Duration, E> {
    let parse = |text: &str| humantime::parse_duration(text);
    let bounds = || Some(parse(min).ok()?..=parse(max).ok()?);
    found
        .as_str()
        .and_then(|text| parse(text).ok())
        .filter(|duration| bounds().is_some_and(|bounds| bounds.contains(duration)))
        .ok_or_else(|| {
            refused(
                found,
                format_args!("{or}a duration from {min} to {max}, such as \"250ms\" or \"1m 30s\""),
            )
        })
}

/// Reads and writes a setting whose value is a duration from one second to ten years, or `off`.
pub(super) mod optional_duration {
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let found = Value::deserialize(deserializer)?;
        if found.as_str() == Some(OFF) {
            return Ok(None);
        }
        duration_of(&found, ("1s", "3650days"), "\"off\", or ").map(Some)
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => humantime_serde::serialize(duration, serializer),
            None => serializer.serialize_str(OFF),
        }
    }
}

/// Defines a module for `#[serde(with)]` that reads and writes a duration between two bounds, both included.
macro_rules! duration_between {
    ($name:ident, $min:literal, $max:literal) => {
        pub(super) mod $name {
            use std::time::Duration;

            pub(in crate::config) use humantime_serde::serialize;
            use serde::Deserializer;

            pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Duration, D::Error> {
                super::between(deserializer, ($min, $max))
            }
        }
    };
}

duration_between!(interval, "1ms", "24h");
duration_between!(timeout, "100ms", "1h");
duration_between!(drain_timeout, "0s", "1h");
duration_between!(retry, "1ms", "1h");
duration_between!(expiring, "0s", "1h");
duration_between!(sync_interval, "1ms", "1m");
duration_between!(idempotency_window, "1s", "7days");
duration_between!(revocation_ttl, "1s", "3650days");
