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
    pub(super) state: ValueState,
}

/// Whether Redis has all values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ValueState {
    /// Whether values were dropped at a limit.
    pub(super) has_dropped: bool,
    /// Values of events up to this id may be missing or outdated, because of a loss. `None`: nothing was lost.
    pub(super) lost_until: Option<EventId>,
}

impl ValueState {
    /// Notes that all values up to now may be missing or outdated.
    pub(super) fn set_lost(&mut self) {
        self.lost_until = Some(EventId {
            epoch: u64::MAX,
            seq: u64::MAX,
        });
    }
}
