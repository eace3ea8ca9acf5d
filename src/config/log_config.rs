//! The settings of both logs: the one that operators read, and that of the events.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::value::{self, Choice};
use crate::event_log::{LogKind, LogSync, RedisSettings, RedisUrl};

/// Two logs: the one that operators read, and that of the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogConfig {
    /// The least important level that is logged.
    #[serde(
        deserialize_with = "value::level",
        serialize_with = "value::write_level"
    )]
    pub level: log::LevelFilter,
    /// Where events live.
    #[serde(
        deserialize_with = "value::choice",
        serialize_with = "value::write_choice"
    )]
    pub kind: LogPlace,
    /// The file of a log that is in one.
    #[serde(deserialize_with = "value::file")]
    pub path: PathBuf,
    /// Whether an event is safe from a crash before it is acknowledged.
    #[serde(
        deserialize_with = "value::choice",
        serialize_with = "value::write_choice"
    )]
    pub sync: SyncPolicy,
    /// How long after that it is safe at the latest, otherwise.
    #[serde(with = "value::sync_interval")]
    pub sync_interval: Duration,
    /// Where the Redis is of a log that is in one. Its password is not written back.
    #[serde(with = "value::redis_url")]
    pub url: RedisUrl,
    /// What the names of the log's keys begin with there.
    #[serde(deserialize_with = "value::prefix")]
    pub prefix: String,
    /// How many events are kept there.
    #[serde(deserialize_with = "value::number::<_, 1, 1_000_000_000>")]
    pub history: usize,
    /// How old an event may be there; `None`, written `"off"`: of any age.
    #[serde(with = "value::optional_duration")]
    pub history_age: Option<Duration>,
}

/// Where events live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPlace {
    /// In memory alone.
    Memory,
    /// In a file, too.
    File,
    /// In Redis, with others.
    Redis,
}

impl Choice for LogPlace {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("memory", Self::Memory),
        ("file", Self::File),
        ("redis", Self::Redis),
    ];
}

/// When an event that is appended to a file is safe from a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it is acknowledged.
    Always,
    /// Some time after it was acknowledged.
    Interval,
}

impl Choice for SyncPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("interval", Self::Interval)];
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: log::LevelFilter::Info,
            kind: LogPlace::Memory,
            path: "events.redb".into(),
            sync: SyncPolicy::Always,
            sync_interval: Duration::from_millis(100),
            url: RedisUrl::parse("redis://127.0.0.1:6379/0").expect("this is a URL"),
            prefix: "broadcaster".to_owned(),
            history: 100_000,
            history_age: None,
        }
    }
}

impl LogConfig {
    /// Where the events' log lives.
    pub(super) fn place(&self) -> LogKind {
        match self.kind {
            LogPlace::Memory => LogKind::Memory,
            LogPlace::File => LogKind::File {
                path: self.path.clone(),
                sync: match self.sync {
                    SyncPolicy::Always => LogSync::Always,
                    SyncPolicy::Interval => LogSync::Within(self.sync_interval),
                },
            },
            LogPlace::Redis => LogKind::Redis(RedisSettings {
                url: self.url.clone(),
                prefix: self.prefix.clone(),
                events: self.history,
                age: self.history_age,
            }),
        }
    }
}
