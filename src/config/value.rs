//! Decides which values are allowed for each kind of setting. Every error contains the values that are
//! allowed and the value found, except that of a Redis URL, which may contain a password. The caller adds the
//! source and the key.

use std::{fmt, path::PathBuf, str::FromStr};

use log::LevelFilter;
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use toml::Value;

use super::error::found as shown;
use crate::{event::Topic, event_log::RedisUrl, matching::HubUrl};

/// Maximum length of `ticker.message`, in bytes.
const MAX_MESSAGE_BYTES: usize = 65_536;

/// Maximum length of a path, in bytes. Linux refuses a longer path.
const MAX_PATH_BYTES: usize = 4096;

pub(super) fn refused<E: Error>(found: &Value, allowed: impl fmt::Display) -> E {
    E::custom(format!("found {}, allowed is {allowed}", shown(found)))
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

pub(super) fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    path(deserializer, "folder")
}

pub(super) fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    path(deserializer, "file")
}

fn path<'de, D: Deserializer<'de>>(deserializer: D, what: &str) -> Result<PathBuf, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_str()
        .filter(|path| (1..=MAX_PATH_BYTES).contains(&path.len()) && !path.contains('\0'))
        .map(PathBuf::from)
        .ok_or_else(|| {
            refused(
                &found,
                format_args!("the path of a {what}, at most {MAX_PATH_BYTES} bytes long"),
            )
        })
}

/// Reads the prefix of the keys in Redis. Braces are not allowed: in a Redis Cluster, they would determine
/// where a key is stored.
pub(super) fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = Value::deserialize(deserializer)?;
    let is_good = |text: &&str| {
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'{' && b != b'}';
        (1..=128).contains(&text.len()) && text.bytes().all(is_plain)
    };
    let prefix = found.as_str().filter(is_good).map(str::to_owned);
    prefix.ok_or_else(|| {
        refused(
            &found,
            "at most 128 visible ASCII characters without { and }",
        )
    })
}

/// Reads and writes the URL of Redis. It may contain a password, so error messages do not show the value
/// found.
pub(super) mod redis_url {
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<RedisUrl, D::Error> {
        let found = Value::deserialize(deserializer)?;
        let url = found.as_str().map(RedisUrl::parse);
        match url {
            Some(Ok(url)) => Ok(url),
            _ => Err(D::Error::custom(
                "found a value that is not shown, because it may contain a password, allowed is a URL of \
                 Redis, such as \"redis://localhost:6379/0\", \"rediss://...\" for TLS, or \
                 \"redis+sentinel://host1,host2/0/master\"",
            )),
        }
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        url: &RedisUrl,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(url)
    }
}

pub(super) fn message<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = Value::deserialize(deserializer)?;
    match found.as_str() {
        Some(message) if message.len() <= MAX_MESSAGE_BYTES => Ok(message.to_owned()),
        _ => Err(refused(
            &found,
            format_args!("a text of at most {MAX_MESSAGE_BYTES} bytes"),
        )),
    }
}

/// The word that means `None` in the config. For most settings, the feature is then switched off, or there is
/// no limit.
pub(super) const OFF: &str = "off";

/// Reads a text that satisfies `is_good`, or `off`, which gives `None`. `allowed` describes the good texts in
/// the error message.
pub(super) fn text_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
    is_good: impl Fn(&str) -> bool,
    allowed: &str,
) -> Result<Option<String>, D::Error> {
    let found = Value::deserialize(deserializer)?;
    match found.as_str() {
        Some(OFF) => Ok(None),
        Some(text) if is_good(text) => Ok(Some(text.to_owned())),
        _ => Err(refused(&found, format_args!("\"{OFF}\", or {allowed}"))),
    }
}

pub(super) fn write_or_off<S: Serializer>(
    text: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_deref().unwrap_or(OFF))
}

pub(super) mod optional_hub_url {
    use super::*;

    const AUTO: &str = "auto";

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<HubUrl>, D::Error> {
        let found = Value::deserialize(deserializer)?;
        let text = found.as_str();
        if text == Some(AUTO) {
            return Ok(None);
        }
        let url = text.and_then(|text| HubUrl::parse(text).ok());
        url.map(Some).ok_or_else(|| {
            refused(
                &found,
                "\"auto\", or an http or https URL with a path, such as \
                 \"https://example.org/.well-known/mercure\"",
            )
        })
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        url: &Option<HubUrl>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.as_ref().map_or(AUTO, HubUrl::as_str))
    }
}

/// Reads and writes a list of URLs of the hub.
pub(super) mod hub_urls {
    use super::*;

    /// Maximum number of URLs. A longer list is refused.
    const MAX_URLS: usize = 100;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<HubUrl>, D::Error> {
        let found = Value::deserialize(deserializer)?;
        let urls = found.as_array().filter(|list| list.len() <= MAX_URLS);
        let url = |url: &Value| HubUrl::parse(url.as_str()?).ok();
        let urls = urls.and_then(|list| list.iter().map(url).collect::<Option<_>>());
        urls.ok_or_else(|| {
            refused(
                &found,
                format_args!(
                    "a list of at most {MAX_URLS} http or https URLs with a path, such as \
                     [\"https://example.org/.well-known/mercure\"]"
                ),
            )
        })
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        urls: &[HubUrl],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(urls.iter().map(HubUrl::as_str))
    }
}

/// Reads and writes a setting whose value is a topic.
pub(super) mod topic {
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Topic, D::Error> {
        let found = Value::deserialize(deserializer)?;
        let topic = found.as_str().map(Topic::parse);
        match topic {
            Some(Ok(topic)) => Ok(topic),
            _ => Err(refused(
                &found,
                format_args!(
                    "a text of at most {} bytes, not \"*\", without control characters",
                    Topic::MAX_BYTES
                ),
            )),
        }
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        topic: &Topic,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(topic.as_str())
    }
}

/// A setting whose value is one of several words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

pub(super) fn choice<'de, D: Deserializer<'de>, C: Choice>(deserializer: D) -> Result<C, D::Error> {
    let found = Value::deserialize(deserializer)?;
    let chosen = C::WORDS
        .iter()
        .find(|(word, _)| found.as_str() == Some(word));
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<_> = C::WORDS
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let (last, others) = words.split_last().expect("there are words");
        refused(&found, format_args!("{} or {last}", others.join(", ")))
    })
}

pub(super) fn write_choice<S: Serializer, C: Choice>(
    chosen: &C,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let word = C::WORDS.iter().find(|(_, choice)| choice == chosen);
    serializer.serialize_str(word.expect("every choice has a word").0)
}

/// Reads and writes a setting whose value is the path of a file, or `off`.
pub(super) mod optional_file {
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let is_path =
            |path: &str| (1..=MAX_PATH_BYTES).contains(&path.len()) && !path.contains('\0');
        let allowed = "the path of a file, at most 4096 bytes long";
        let path = text_or_off(deserializer, is_path, allowed)?;
        Ok(path.map(PathBuf::from))
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let path = path
            .as_deref()
            .map(|path| path.to_string_lossy().into_owned());
        write_or_off(&path, serializer)
    }
}

/// Reads and writes a setting whose value is the name of a cookie (RFC 6265, section 4.1.1), or `off`.
pub(super) mod cookie {
    pub(in crate::config) use super::write_or_off as serialize;
    use super::*;

    fn is_name(text: &str) -> bool {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        (1..=128).contains(&text.len()) && text.bytes().all(is_token)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let allowed = "the name of a cookie, at most 128 letters, digits and !#$%&'*+-.^_`|~";
        text_or_off(deserializer, is_name, allowed)
    }
}

/// Reads and writes a setting whose value is that of a Content-Security-Policy header, or `off`.
pub(super) mod content_security_policy {
    pub(in crate::config) use super::write_or_off as serialize;
    use super::*;

    /// Maximum length of a Content-Security-Policy, in bytes.
    const MAX_BYTES: usize = 4096;

    fn is_policy(text: &str) -> bool {
        let is_good = |b: u8| b.is_ascii_graphic() || b == b' ';
        (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(is_good)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let allowed = "a Content-Security-Policy of at most 4096 visible ASCII characters";
        text_or_off(deserializer, is_policy, allowed)
    }
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
