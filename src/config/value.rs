//! What each kind of setting may be. Every refusal says what was found and what is allowed; file
//! and key are added by whoever knows them.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use log::LevelFilter;
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use toml::Value;

fn refused<E: Error>(found: &Value, allowed: impl fmt::Display) -> E {
    // A file can hold anything: what is repeated of it is bounded.
    let found: String = found.to_string().chars().take(80).collect();
    E::custom(format!("found {found}, allowed is {allowed}"))
}

pub(super) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_bool()
        .ok_or_else(|| refused(&found, "true or false"))
}

pub(super) fn number<'de, D: Deserializer<'de>, const MIN: usize, const MAX: usize>(
    deserializer: D,
) -> Result<usize, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_integer()
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| (MIN..=MAX).contains(number))
        .ok_or_else(|| refused(&found, format_args!("a whole number from {MIN} to {MAX}")))
}

pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let found = Value::deserialize(deserializer)?;
    match found.as_str() {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err(refused(&found, "the path of a folder")),
    }
}

pub(super) fn message<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = Value::deserialize(deserializer)?;
    match found.as_str() {
        Some(message) if message.len() <= 65_536 => Ok(message.to_owned()),
        _ => Err(refused(&found, "a text of at most 65536 bytes")),
    }
}

pub(super) fn bind_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_str()
        .filter(|address| {
            address.rsplit_once(':').is_some_and(|(host, port)| {
                let bracketed = host.starts_with('[') && host.ends_with(']');
                !host.is_empty()
                    && (bracketed || !host.contains(':'))
                    && port.parse::<u16>().is_ok()
            })
        })
        .map(str::to_owned)
        .ok_or_else(|| {
            refused(
                &found,
                "a host and a port, such as \"127.0.0.1:3000\" or \"[::]:3000\"",
            )
        })
}

pub(super) fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_array()
        .and_then(|origins| {
            origins
                .iter()
                .map(|origin| origin.as_str().filter(|text| is_origin(text)))
                .map(|origin| origin.map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        })
        .ok_or_else(|| {
            refused(
                &found,
                "a list of \"*\", \"null\" or origins such as \"https://example.org:8443\", \
                 without a path",
            )
        })
}

/// Whether a browser could send this as `Origin`, or it stands for all.
fn is_origin(text: &str) -> bool {
    let serialized = || {
        let (scheme, host) = text.split_once("://")?;
        let scheme_is_good = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        let host_is_good = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"/?#@*\\".contains(&b));
        (scheme_is_good && host_is_good).then_some(())
    };
    text == "*" || text == "null" || serialized().is_some()
}

pub(super) fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LevelFilter, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_str()
        .and_then(|level| LevelFilter::from_str(level).ok())
        .ok_or_else(|| {
            refused(
                &found,
                "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
            )
        })
}

pub(super) fn write_level<S: Serializer>(
    level: &LevelFilter,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&level.as_str().to_ascii_lowercase())
}

fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
    min: Duration,
    max: Duration,
) -> Result<Duration, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_str()
        .and_then(|text| humantime::parse_duration(text).ok())
        .filter(|duration| (min..=max).contains(duration))
        .ok_or_else(|| {
            let (min, max) = (
                humantime::format_duration(min),
                humantime::format_duration(max),
            );
            refused(
                &found,
                format_args!("a duration from {min} to {max}, such as \"250ms\" or \"2s\""),
            )
        })
}

/// A module for `#[serde(with)]`: a duration between two bounds, in milliseconds.
macro_rules! duration_between {
    ($name:ident, $min_ms:expr, $max_ms:expr) => {
        pub(super) mod $name {
            use std::time::Duration;

            pub(in crate::config) use humantime_serde::serialize;
            use serde::Deserializer;

            pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Duration, D::Error> {
                let (min, max) = (
                    Duration::from_millis($min_ms),
                    Duration::from_millis($max_ms),
                );
                super::duration(deserializer, min, max)
            }
        }
    };
}

const HOUR_IN_MS: u64 = 3_600_000;

duration_between!(interval, 1, 24 * super::HOUR_IN_MS);
duration_between!(timeout, 100, super::HOUR_IN_MS);
duration_between!(drain_timeout, 0, super::HOUR_IN_MS);
duration_between!(retry, 1, super::HOUR_IN_MS);
