//! Defines how the log is read and how much it retains.
//!
//! A subscriber's *cursor* is the position of the next event that it needs. Positions increase by one from
//! event to event. A cursor that equals the log's [`next`](super::MemoryLog::next) is at the head.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::event::{Audience, Frame};

/// How much a log retains in memory, and in a file if it has one. If it exceeds a limit for the number,
/// memory or age of events, it evicts the oldest events. The newest event is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Maximum number of events, not counting presence events.
    pub events: usize,
    /// Maximum number of presence events, which announce that subscriptions become active or end.
    pub presence: usize,
    /// Memory limit for all events together, in bytes: data, topics, ids, names, and overhead.
    pub bytes: usize,
    /// Maximum age of an event, checked when the next event is appended. `None` means no limit.
    pub age: Option<Duration>,
    /// Number of the newest events that connected subscribers may read even after their eviction. A slow
    /// subscriber then receives no gap. Presence events and other events are counted separately. If `bytes`
    /// is exceeded, fewer evicted events are kept.
    pub queue: usize,
    /// Limits of the current values of topics, which are kept after their eviction.
    pub values: ValueRetention,
}

/// How many current values of topics a log retains: the newest event of each topic. Beyond a limit, the value
/// that was updated least recently is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueRetention {
    /// Maximum number of topics with a value. 0: no values are retained.
    pub topics: usize,
    /// Memory limit for all values together, in bytes. An event that is also in the history counts in full.
    pub bytes: usize,
}

impl Default for ValueRetention {
    fn default() -> Self {
        Self {
            topics: 10_000,
            bytes: 16 << 20,
        }
    }
}

/// An event in memory, or a hole: an entry without an event, which marks that events may be missing at its
/// position. Cheap to clone.
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
    /// The position at which the read starts.
    pub(crate) cursor: u64,
    /// Missing presence events before this position are not reported: the reader already knows that they are
    /// missing, or does not want presence events (`u64::MAX`).
    pub(crate) presence: u64,
}

impl ReadFrom {
    /// Starts at `cursor`, and reports all missing presence events from `cursor` on.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn everything(cursor: u64) -> Self {
        let presence = 0;
        Self { cursor, presence }
    }
}

/// Limits of one read. The next read continues where this one ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// Maximum size of the accepted events in encoded form, in bytes. Exceeded only if the first accepted
    /// event is larger.
    pub(crate) bytes: usize,
    /// The read ends when this number of topics was matched, which bounds its CPU time. Includes the topics
    /// of events that the reader does not accept. The topics of one event are matched together, so the number
    /// can be exceeded.
    pub(crate) topics: usize,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// All events from the cursor up to the position `end`, excluding it, were read. The next read must start
    /// at `end`.
    Events { end: u64 },
    /// Nothing was read, because the cursor is at the head: the log has no newer event.
    Head,
    /// Nothing was read, because events from the cursor up to the position `oldest`, excluding it, are no
    /// longer in memory.
    Evicted { oldest: u64 },
    /// Nothing was read, because presence events between the cursor and the position `before` may be missing.
    /// No other events are missing. To continue in memory, set [`ReadFrom::presence`] to `before`.
    PresenceEvicted { before: u64 },
    /// Nothing was read, because the cursor is at a hole: an entry without an event, which marks that events
    /// may be missing. The next read must start one position later.
    Missing,
}

/// Number and memory of the current values of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValuesExtent {
    pub(crate) topics: usize,
    /// Memory of the values and their events, in bytes. An event that is still in the history is counted
    /// there too.
    pub(crate) bytes: usize,
}

/// Which values a subscriber reads next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValuesCursor {
    /// The position from which on values are read.
    pub(crate) from: u64,
    /// How often all values had been replaced when the read began.
    pub(crate) generation: u64,
}

/// The result of reading the current values of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValuesRead {
    /// There may be more values. The next read must start at the position `from`.
    More { from: u64 },
    /// There are no more values. `is_complete`: none was missing or outdated because of a limit or a loss.
    End { is_complete: bool },
}

/// Positions, size and age of the log in memory at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// All events from this position on are retained, except evicted presence events.
    pub(crate) oldest: u64,
    /// The position that the next appended event will have.
    pub(crate) next: u64,
    /// Number of retained events, including presence events. A hole (an entry which marks that events may be
    /// missing) counts as one event.
    pub(crate) events: usize,
    /// Memory of all events, in bytes, including evicted ones that connected subscribers may still read.
    pub(crate) bytes: usize,
    /// The current values of topics.
    pub(crate) values: ValuesExtent,
    /// When the oldest retained event that is not a presence event was appended. `None` if there is none.
    pub(crate) since: Option<Instant>,
}
