//! The error of a log that cannot be used. Its text tells the operator where the log is, what is wrong, and
//! often what to do.

use std::path::Path;

use thiserror::Error;

use super::redis_url::RedisUrl;

/// The log is unavailable, so a request failed. If the request was to append an event, the event may be in
/// the log nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log is temporarily unavailable")]
pub struct LogUnavailable;

/// Why a log cannot be used. The text names the log and the reason, and often says what to do.
#[derive(Debug, Error)]
#[error("the log in {location} {reason}")]
pub struct LogError {
    /// Where the log is: its path or URL, then the config key in parentheses, as in `events.redb (log.path)`.
    location: String,
    reason: String,
}

impl LogError {
    pub(super) fn in_file(path: &Path, reason: String) -> Self {
        let location = format!("{} (log.path)", path.display());
        Self { location, reason }
    }

    pub(super) fn not_a_file(path: &Path) -> Self {
        Self::in_file(
            path,
            "is not a regular file: choose another path".to_owned(),
        )
    }

    pub(super) fn damaged(path: &Path, what: &impl ToString) -> Self {
        Self::in_file(path, damaged(&what.to_string()))
    }

    pub(super) fn in_redis(url: &RedisUrl, reason: String) -> Self {
        let location = format!("{url} (log.url)");
        Self { location, reason }
    }
}

/// The part of the error text for a damaged log file: what is damaged, and what the operator can do.
pub(super) fn damaged(what: &str) -> String {
    format!("is damaged: {what}. Put a backup in its place, or move it away to start a new log")
}
