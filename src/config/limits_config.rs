//! Defines the section `[limits]`: limits on what clients may request.

use serde::{Deserialize, Serialize};

use super::value::{self, Choice};
use crate::broadcaster::AtTokenLimit;

/// Section `[limits]`: limits on what clients may request. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// Maximum length of a request body. A longer body returns 413. For `QUERY`, it returns 400, and the
    /// maximum is lower if `matchers` and `pattern` need less.
    #[serde(deserialize_with = "value::number::<_, 1024, 67_108_864>")]
    pub body: usize,
    /// Maximum length of each field of an update (a publish request). A longer field returns 413. In `data`,
    /// a line break counts as 7 bytes, because each further line is sent with the field name `data: `.
    #[serde(deserialize_with = "value::number::<_, 256, 67_108_864>")]
    pub field: usize,
    /// Maximum number of topics of an update. More topics return 413.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub topics: usize,
    /// Maximum number of matchers (topics and patterns) that one subscriber may ask for. More return 400.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub matchers: usize,
    /// Memory for the matchers (topics and patterns) of all subscribers, in bytes. When it is exhausted, new
    /// subscribers receive a `retry:` and are disconnected, or 503 for `QUERY`. Subscribers with only a few
    /// topics are still accepted.
    #[serde(deserialize_with = "value::number::<_, 65_536, 1_099_511_627_776>")]
    pub matcher_bytes: usize,
    /// Maximum length of each topic or pattern that a subscriber asks for or that a token contains. A longer
    /// one returns 400, or 401 if it is in a token.
    #[serde(deserialize_with = "value::number::<_, 16, 4096>")]
    pub pattern: usize,
    /// Maximum number of streams of one server that are open with the same token at the same time.
    #[serde(deserialize_with = "value::number::<_, 1, 10_000_000>")]
    pub subscriptions: usize,
    /// What happens when a token has its maximum number of streams and opens another one. By default, the new
    /// one receives a `retry:` and ends.
    #[serde(
        deserialize_with = "value::choice",
        serialize_with = "value::write_choice"
    )]
    pub subscriptions_policy: AtTokenLimit,
    /// Maximum length of a token. A longer token returns 401.
    #[serde(deserialize_with = "value::number::<_, 256, 65_536>")]
    pub token: usize,
    /// Maximum number of authorization details for Mercure in a token. A token with more returns 401.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub token_details: usize,
    /// Maximum number of topics in each authorization detail for Mercure in a token, and in each list of its
    /// older claim `mercure`. A token with more returns 401.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub token_topics: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            field: 1 << 20,
            topics: 100,
            matchers: 100,
            matcher_bytes: 128 << 20,
            pattern: 1024,
            subscriptions: 1000,
            subscriptions_policy: AtTokenLimit::KeepOldest,
            token: 8192,
            token_details: 20,
            token_topics: 100,
        }
    }
}

impl Choice for AtTokenLimit {
    const WORDS: &'static [(&'static str, Self)] =
        &[("oldest", Self::KeepOldest), ("newest", Self::KeepNewest)];
}
