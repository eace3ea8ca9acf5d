//! Defines how the log is read and how much it retains.
//!
//! A subscriber's *cursor* is the position of the next event that it needs. Positions increase by one from
//! event to event. A cursor that equals the log's [`next`](super::MemoryLog::next) is at the head.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::event::{Audience, Frame};

/// How much a log retains. Beyond any bound, the oldest events are evicted. The newest is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Maximum number of events, without presence events.
    pub events: usize,
    /// Maximum number of presence events, which are about active subscriptions.
    pub presence: usize,
    /// Memory limit for all events together, in bytes: data, topics, ids and names.
    pub bytes: usize,
    /// Maximum age of an event, checked when the next event is appended. `None` means no limit.
    pub age: Option<Duration>,
    /// Number of the newest events that connected subscribers may read even if the other bounds have evicted
    /// them. Counted separately for presence events and all others. `bytes` takes precedence.
    pub queue: usize,
}

/// An event in memory, or a hole where events are missing. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) position: u64,
    pub(crate) frame: Frame,
    pub(crate) appended: Instant,
    pub(crate) audience: Arc<Audience>,
    /// Memory used by the entry and its content, in bytes.
    pub(crate) bytes: usize,
}

impl Entry {
    pub(super) fn is_hole(&self) -> bool {
        self.frame.len() == 0
    }
}

/// Where a reader starts to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadFrom {
    /// The position of the first event.
    pub(crate) cursor: u64,
    /// Missing presence events before this position are not reported, because the reader knows that they are
    /// missing, or does not want them.
    pub(crate) presence: u64,
}

impl ReadFrom {
    /// Reads everything from this position on.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn everything(cursor: u64) -> Self {
        let presence = 0;
        Self { cursor, presence }
    }
}

/// Limits of one read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// Approximate maximum size of the accepted events as encoded, in bytes. At least one event is accepted.
    pub(crate) bytes: usize,
    /// Approximate maximum number of topics to check, including those of events that are not accepted. All
    /// topics of at least one event are checked.
    pub(crate) topics: usize,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Every event before this position was checked.
    Events { end: u64 },
    /// Nothing to read: the cursor is at the head.
    Head,
    /// The event at the cursor and all others before this position are no longer in memory.
    Evicted { oldest: u64 },
    /// Presence events before this position may be missing. No other events are.
    PresenceEvicted { before: u64 },
    /// The cursor is at a hole: this log never received some events. Reading continues at the next position.
    Missing,
}

/// What a log holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Events are retained from this position on.
    pub(crate) oldest: u64,
    /// The position of the next event.
    pub(crate) next: u64,
    /// Number of retained events.
    pub(crate) events: usize,
    /// Size of all events in memory, in bytes.
    pub(crate) bytes: usize,
    /// When the oldest retained event was appended.
    pub(crate) since: Option<Instant>,
}
