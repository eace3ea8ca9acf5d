//! Where a log can live.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{error::LogError, redis_url::RedisUrl};

/// Where a log lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogKind {
    /// In memory alone: it is gone with the process.
    #[default]
    Memory,
    /// In a file, too, from which the next process goes on.
    File {
        /// The file. Its folder has to be there.
        path: PathBuf,
        /// When what is appended is safe.
        sync: LogSync,
    },
    /// In Redis, where any number of processes share it.
    Redis(RedisSettings),
}

/// When what is appended is safe from a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSync {
    /// Before it is acknowledged.
    Always,
    /// So long after it was acknowledged, at most.
    Within(Duration),
}

/// How a log in Redis is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Where Redis is.
    pub url: RedisUrl,
    /// What the names of its keys begin with: those who share it share a log.
    pub prefix: String,
    /// How many events it keeps, about.
    pub events: usize,
    /// How old an event may be that it keeps, to the second; `None`: of any age.
    pub age: Option<Duration>,
}

impl LogKind {
    /// Looks whether there is a place for it, without opening or making anything.
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
