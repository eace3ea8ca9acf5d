//! Current values of topics as a file or Redis has them.

use crate::event::{Event, EventId, Topic};

/// A topic and the position of its public or private value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicValue {
    pub(super) topic: Topic,
    pub(super) is_private: bool,
    pub(super) position: u64,
}

/// A value that was stored: an event, and the topics of which it is the current value.
#[derive(Debug)]
pub(super) struct StoredValue {
    pub(super) position: u64,
    pub(super) id: EventId,
    pub(super) event: Event,
    pub(super) topics: Vec<Topic>,
}

/// A value that was read from Redis, where it has no position.
#[derive(Debug)]
pub(super) struct LoadedValue {
    pub(super) id: EventId,
    pub(super) event: Event,
    pub(super) topics: Vec<Topic>,
}
