//! The log kinds and their settings.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{error::LogError, redis_url::RedisUrl};

/// Where a log is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogKind {
    /// Only in memory. The log is lost when the process ends.
    #[default]
    Memory,
    /// In a file and in memory. A restarted server continues with the events in the file.
    File {
        /// The path of the file. Its folder must exist.
        path: PathBuf,
        /// Maximum time from the acknowledgement of an event to its sync to disk, unless the file cannot be
        /// written. Until then, the event is only in the memory of the process. So a crash of the process
        /// can lose it, even if the machine continues. While the file cannot be written, up to 8 MiB of
        /// acknowledged events are only in memory. `None`: each event is synced to disk before it is
        /// acknowledged.
        sync_interval: Option<Duration>,
    },
    /// In Redis, with the newest events also in memory. Any number of processes can share the log.
    Redis(RedisSettings),
}

/// Settings of a log in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// URL of the Redis server, or of the Sentinels that know it.
    pub url: RedisUrl,
    /// Prefix of all Redis keys of the log. Servers with the same prefix share one log.
    pub prefix: String,
    /// Approximate maximum number of events in Redis, not counting presence events (those about active
    /// subscriptions). When it is exceeded, the oldest events are evicted.
    pub events: usize,
    /// Approximate maximum age of an event in Redis. Eviction is usually late by at most a thousandth of this
    /// age, or by a few seconds if that is longer. The newest event is kept. `None`: no limit.
    pub age: Option<Duration>,
}

impl LogKind {
    /// Fails if the folder of the log file does not exist, or if something other than a regular file is at
    /// the path of the log file. Does not open or create the file. Always succeeds for a log in memory or in
    /// Redis.
    pub fn check(&self) -> Result<(), LogError> {
        let Self::File { path, .. } = self else {
            return Ok(());
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if folder.is_dir() {
            return match path.metadata() {
                Ok(metadata) if !metadata.is_file() => Err(LogError::not_a_file(path)),
                _ => Ok(()),
            };
        }
        let reason = format!(
            "cannot be opened: the folder {} does not exist",
            folder.display()
        );
        Err(LogError::in_file(path, reason))
    }
}
