//! A round: the events that the fan-out writes to a group of subscribers together.
//!
//! The bytes are encoded once. A subscriber that lacks only some of the events gets the end of the same
//! bytes.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    event::{Batch, Framing},
    event_log::Entry,
};

/// The events of one round for one group, in log order.
#[derive(Debug)]
pub(crate) struct Round {
    /// When the first event was appended.
    arrived: Instant,
    /// The position of each event in the log, and the offset in `bytes` where it ends.
    events: Vec<(u64, usize)>,
    bytes: Bytes,
}

/// Collects a [`Round`].
#[derive(Debug)]
pub(crate) struct RoundBuilder {
    arrived: Instant,
    events: Vec<(u64, usize)>,
    batch: Batch,
}

impl RoundBuilder {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            arrived: now,
            events: Vec::new(),
            batch: Batch::new(Framing::Chunked),
        }
    }

    /// Adds an event. Events must be added in log order. The event that was added last is ignored.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let seq = entry.position;
        if self.events.last().is_some_and(|(last, _)| *last == seq) {
            return;
        }
        self.arrived = self.arrived.min(entry.appended);
        self.batch.push(&entry.frame);
        self.events.push((seq, self.batch.len()));
    }

    pub(crate) fn finish(self) -> Round {
        Round {
            arrived: self.arrived,
            events: self.events,
            bytes: self.batch.finish(),
        }
    }
}

impl Round {
    /// When the first event was appended.
    pub(crate) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// What a client lacks that has everything before `cursor`: the number of events, and the offset in the
    /// bytes at which they begin.
    pub(crate) fn lacked(&self, cursor: u64) -> (usize, usize) {
        let has = self.events.partition_point(|(seq, _)| *seq < cursor);
        (self.events.len() - has, self.end_of_first(has))
    }

    pub(crate) fn bytes_from(&self, start: usize) -> &[u8] {
        &self.bytes[start..]
    }

    /// Number of events.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The position after the last event; 0 for an empty round.
    pub(crate) fn next(&self) -> u64 {
        self.events.last().map_or(0, |(seq, _)| seq + 1)
    }

    fn end_of_first(&self, events: usize) -> usize {
        events.checked_sub(1).map_or(0, |last| self.events[last].1)
    }

    /// What remains for a client whose socket accepted the bytes only up to offset `position`, which must be
    /// before the end.
    pub(crate) fn left_after(&self, position: usize) -> Remainder {
        let whole = self.events.partition_point(|(_, end)| *end <= position);
        let (seq, end) = self.events[whole];
        if position == self.end_of_first(whole) {
            return Remainder {
                rest: Bytes::new(),
                cursor: seq,
                taken: whole,
            };
        }
        // Copy a small rest, so that it does not keep the whole round in memory. Share a large one.
        let rest = position..end;
        let rest = if rest.len() < self.bytes.len() / 2 {
            Bytes::copy_from_slice(&self.bytes[rest])
        } else {
            self.bytes.slice(rest)
        };
        Remainder {
            rest,
            cursor: seq + 1,
            taken: whole + 1,
        }
    }
}

/// What remains of a round after a partial write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remainder {
    /// The rest of the event that was written in part. Empty if the write ended between two events.
    pub(crate) rest: Bytes,
    /// The position after `rest`, from which the client reads the log.
    pub(crate) cursor: u64,
    /// Number of events of the round before `cursor`, including those that the client had before.
    pub(crate) taken: usize,
}
