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
    /// In memory and in a file. The next process continues with the events in the file.
    File {
        /// The path of the file. Its folder must exist.
        path: PathBuf,
        /// When an appended event survives a crash of the machine.
        sync: LogSync,
    },
    /// In Redis. Any number of processes can share the log.
    Redis(RedisSettings),
}

/// When an appended event survives a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSync {
    /// Before it is acknowledged.
    Always,
    /// At most this long after it was acknowledged.
    Within(Duration),
}

/// Settings of a log in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Address of Redis.
    pub url: RedisUrl,
    /// Prefix of the names of its keys. Servers with the same prefix share a log.
    pub prefix: String,
    /// Approximate maximum number of events in Redis. Beyond it, the oldest are evicted.
    pub events: usize,
    /// Maximum age of an event in Redis, with a precision of one second. `None` means no limit.
    pub age: Option<Duration>,
}

impl LogKind {
    /// Checks that the folder of a log file exists and that the path is not something other than a file.
    /// Opens and creates nothing. Other log kinds always pass.
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
        let reason = format!("has no place: {} is not there", folder.display());
        Err(LogError::in_file(path, reason))
    }
}
