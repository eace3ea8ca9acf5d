//! The event log, the one source of truth: nothing reaches a subscriber that is not in it.
//!
//! A subscriber's place is a *cursor*: where the next event is that it is to get. Places count up by
//! one, from event to event. A cursor that equals the log's [`next`](MemoryLog::next) is at the head.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::event::{Audience, Frame};

/// How much a log retains: beyond a bound the oldest event is evicted; the newest is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Number of events, without presence events.
    pub events: usize,
    /// Number of presence events: those that tell of active subscriptions.
    pub presence: usize,
    /// Memory that all events take together, in bytes: data, topics, ids and names.
    pub bytes: usize,
    /// How old an event may be when the next one comes; `None`: of any age.
    pub age: Option<Duration>,
    /// Number of the newest events that connected subscribers may read even if the other bounds have evicted them.
    /// `bytes` takes precedence.
    pub queue: usize,
}

/// One event that is retained, or a hole where events are missing. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: u64,
    pub(crate) frame: Frame,
    pub(crate) appended: Instant,
    pub(crate) audience: Arc<Audience>,
    /// Size of all that it holds, in bytes of memory.
    pub(crate) bytes: usize,
}

impl Entry {
    pub(super) fn is_hole(&self) -> bool {
        self.frame.len() == 0
    }
}

/// What is read from a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadFrom {
    /// The place of the first event.
    pub(crate) cursor: u64,
    /// Missing presence events before this place are not reported: the reader knows, or does not want them.
    pub(crate) presence: u64,
}

impl ReadFrom {
    /// Everything from this place on.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn everything(cursor: u64) -> Self {
        let presence = 0;
        Self { cursor, presence }
    }
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// Size of the encoded events that are taken, in bytes, about; at least one is taken.
    pub(crate) bytes: usize,
    /// How many topics of events are looked at, about, whether these are taken or not; those of one
    /// event at least.
    pub(crate) topics: usize,
}

/// What the log has for a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Every event before this place was looked at.
    Events { end: u64 },
    /// Nothing: the cursor is at the head.
    Head,
    /// The event at the cursor is no longer retained, nor are the others before this one.
    Evicted { oldest: u64 },
    /// Presence events before this place may be missing; no other events are.
    PresenceEvicted { before: u64 },
    /// That events are missing, which this log never got. The cursor after it is the next.
    Missing,
}

/// What a log holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The place from which on events are retained.
    pub(crate) oldest: u64,
    /// The place that the next event will get.
    pub(crate) next: u64,
    /// How many events are retained.
    pub(crate) events: usize,
    /// Size of all that is in memory, in bytes.
    pub(crate) bytes: usize,
    /// When the oldest event retained was appended.
    pub(crate) since: Option<Instant>,
}
