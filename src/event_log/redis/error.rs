//! Errors of Redis, and the text that describes them to the operator.

use redis::RedisError;

/// Error: a call to Redis failed, because there was no connection, no response, or an error response. Redis
/// may have executed the call nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// The error text for a Redis server that is a replica, which the log cannot use.
pub(super) const REPLICA: &str = "it is a replica: name the master, or Sentinels that know it";

/// Describes a Redis error for the operator. Adds what to do about errors that the operator can fix.
pub(super) fn reason(err: &RedisError) -> String {
    match err.code() {
        Some("FORMAT") => format!(
            "the log there has the format {}, which this version does not know: use the version \
             that wrote it, or another log.prefix",
            err.detail().unwrap_or_default()
        ),
        Some("READONLY") => REPLICA.to_owned(),
        Some("WRONGTYPE") => {
            "its keys are in use for something else: use another log.prefix".to_owned()
        }
        _ => err.to_string(),
    }
}
