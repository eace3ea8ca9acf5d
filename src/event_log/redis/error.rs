//! What can go wrong with Redis.

use redis::RedisError;

/// Redis is not there, or cannot do it. It may have done it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// What to say of a Redis that is a replica.
pub(super) const REPLICA: &str = "it is a replica: name the master, or Sentinels that know it";

/// What went wrong, without what was sent.
pub(super) fn reason(err: &RedisError) -> String {
    match err.code() {
        Some("FORMAT") => format!(
            "what is there has the format {}, which this version does not know: use the version \
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
