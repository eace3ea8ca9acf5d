//! Section `[log]`: where the event log is stored.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    duration,
    value::{self, Choice},
};
use crate::event_log::{LogKind, RedisSettings, RedisUrl};

/// Section `[log]`: the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogConfig {
    /// Where events are stored.
    #[serde(
        deserialize_with = "value::choice",
        serialize_with = "value::write_choice"
    )]
    pub kind: LogKindName,
    /// The log file. Used if `kind` is `file`.
    #[serde(deserialize_with = "value::file")]
    pub path: PathBuf,
    /// Whether events are synced to the disk before or after they are acknowledged. Used if `kind` is `file`.
    #[serde(
        deserialize_with = "value::choice",
        serialize_with = "value::write_choice"
    )]
    pub sync: SyncPolicy,
    /// With [`SyncPolicy::Interval`]: maximum time from the acknowledgement of an event to its sync. A crash
    /// can lose the events that were acknowledged within this time before it, even if only the process
    /// crashes and the machine continues. While the disk fails, up to 8 MiB of acknowledged events are only
    /// in memory.
    #[serde(with = "duration::sync_interval")]
    pub sync_interval: Duration,
    /// The URL of Redis or of its Sentinels. Used if `kind` is `redis`. When the config is printed, `***`
    /// replaces the password.
    #[serde(with = "value::redis_url")]
    pub url: RedisUrl,
    /// Prefix of the log's keys in Redis. Servers with the same prefix share a log.
    #[serde(deserialize_with = "value::prefix")]
    pub prefix: String,
    /// Approximate maximum number of events in Redis. When it is exceeded, the oldest events are evicted.
    #[serde(deserialize_with = "value::number::<_, 1, 1_000_000_000>")]
    pub history: usize,
    /// Maximum age of an event in Redis. `None`, written `"off"`: unlimited.
    #[serde(with = "duration::optional_duration")]
    pub history_age: Option<Duration>,
}

/// Where events are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKindName {
    /// Only in memory: a restart loses the events.
    Memory,
    /// In a file, and the newest events also in memory. A restart continues with the events in the file.
    File,
    /// In Redis, and the newest events also in memory. Several servers can share the events.
    Redis,
}

impl Choice for LogKindName {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("memory", Self::Memory),
        ("file", Self::File),
        ("redis", Self::Redis),
    ];
}

/// When an event is synced to the disk, if the log is a file. A crash cannot lose a synced event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// The event is synced before it is acknowledged and delivered.
    Always,
    /// The event is acknowledged first and synced at most `log.sync_interval` later. A crash of the machine
    /// or of only the process before the sync can lose it.
    Interval,
}

impl Choice for SyncPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("interval", Self::Interval)];
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            kind: LogKindName::Memory,
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
    /// The log kind with its settings.
    pub(super) fn log_kind(&self) -> LogKind {
        match self.kind {
            LogKindName::Memory => LogKind::Memory,
            LogKindName::File => LogKind::File {
                path: self.path.clone(),
                sync_interval: match self.sync {
                    SyncPolicy::Always => None,
                    SyncPolicy::Interval => Some(self.sync_interval),
                },
            },
            LogKindName::Redis => LogKind::Redis(RedisSettings {
                url: self.url.clone(),
                prefix: self.prefix.clone(),
                events: self.history,
                age: self.history_age,
            }),
        }
    }
}
