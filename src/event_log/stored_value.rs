//! Current values of topics as a file or Redis has them.

use crate::event::{Event, EventId, Topic};

/// A topic and the position of its public or private value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicValue {
    pub(super) topic: Topic,
    pub(super) is_private: bool,
    pub(super) position: u64,
}

/// A value that a file or Redis has: an event, and the topics of which it is the current value.
#[derive(Debug)]
pub(super) struct StoredValue {
    pub(super) id: EventId,
    pub(super) event: Event,
    pub(super) topics: Vec<Topic>,
}

/// All values in Redis.
#[derive(Debug, Default)]
pub(super) struct LoadedValues {
    /// In the order of their ids.
    pub(super) values: Vec<StoredValue>,
    /// Whether Redis has dropped values at a limit.
    pub(super) has_dropped: bool,
    /// Whether the values in Redis may be outdated, or some may be missing, because of a loss.
    pub(super) is_uncertain: bool,
}
