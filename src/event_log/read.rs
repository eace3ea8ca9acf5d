//! Defines how the log is read and how much it retains.
//!
//! A subscriber's *cursor* is the position of the next event that it needs. Positions increase by one from
//! event to event. A cursor that equals the log's [`next`](super::MemoryLog::next) is at the head.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::event::{Audience, Frame};

/// How much a log retains. If it exceeds any of these bounds, it evicts the oldest events. The newest event
/// is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Maximum number of events, not counting presence events.
    pub events: usize,
    /// Maximum number of presence events, which announce that subscriptions become active or end.
    pub presence: usize,
    /// Memory limit for all events together, in bytes: data, topics, ids and names.
    pub bytes: usize,
    /// Maximum age of an event, checked when the next event is appended. `None` means no limit.
    pub age: Option<Duration>,
    /// Connected subscribers may read this number of the newest events even if the other bounds have evicted
    /// them, so that a slow subscriber receives no gap. The number applies to presence events and to all
    /// other events separately. If `bytes` is exceeded, fewer events are kept.
    pub queue: usize,
}

/// An event in memory, or a hole: an entry without an event, at a point where the log never received some
/// events. Cheap to clone.
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
    /// The position of the first event to read.
    pub(crate) cursor: u64,
    /// Missing presence events before this position are not reported, because the reader already knows that
    /// they are missing, or does not want presence events.
    pub(crate) presence: u64,
}

impl ReadFrom {
    /// Reads all events from this position on, and reports all missing presence events.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn everything(cursor: u64) -> Self {
        let presence = 0;
        Self { cursor, presence }
    }
}

/// Limits of one read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// Maximum size of the accepted events in encoded form, in bytes. A read that accepts only one event may
    /// exceed it.
    pub(crate) bytes: usize,
    /// The read ends when this number of topics was checked, which bounds its CPU time. Topics of events that
    /// the reader does not accept are included. The topics of one event are always checked together, so the
    /// number can be exceeded.
    pub(crate) topics: usize,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// All events from the cursor up to this position, excluding it, were read. The next read continues here.
    Events { end: u64 },
    /// Nothing was read, because the cursor is at the head: the log has no newer event.
    Head,
    /// The events from the cursor up to the position `oldest`, excluding it, are no longer in memory.
    Evicted { oldest: u64 },
    /// Presence events between the cursor and this position may be missing. No other events are missing.
    PresenceEvicted { before: u64 },
    /// The cursor is at a hole: this log never received some events. Reading continues at the next position.
    Missing,
}

/// Positions, size and age of the log in memory at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// All events from this position on are retained, except evicted presence events.
    pub(crate) oldest: u64,
    /// The position that the next appended event will have.
    pub(crate) next: u64,
    /// Number of retained events, including presence events.
    pub(crate) events: usize,
    /// Size of all events in memory, in bytes, including evicted ones that connected subscribers may still
    /// read.
    pub(crate) bytes: usize,
    /// When the oldest retained event was appended, ignoring presence events. `None` if there is none.
    pub(crate) since: Option<Instant>,
}
