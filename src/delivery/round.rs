//! Events that go out to a group of subscribers together, encoded once for all of them.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    event::{Batch, Framing},
    event_log::Entry,
};

/// The next events of a group, in order.
#[derive(Debug)]
pub(crate) struct Round {
    /// When the first event was appended.
    arrived: Instant,
    /// The number of each event, and where in `bytes` it ends.
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

    /// Adds an event, which is younger than any before, or the same as the last.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let seq = entry.place;
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

    /// What a client that has everything before `cursor` lacks: so many events, which are the bytes
    /// from here on.
    pub(crate) fn lacked(&self, cursor: u64) -> (usize, usize) {
        let has = self.events.partition_point(|(seq, _)| *seq < cursor);
        (self.events.len() - has, self.end_of_first(has))
    }

    pub(crate) fn bytes_from(&self, start: usize) -> &[u8] {
        &self.bytes[start..]
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The number after that of the last event.
    pub(crate) fn next(&self) -> u64 {
        self.events.last().map_or(0, |(seq, _)| seq + 1)
    }

    fn end_of_first(&self, events: usize) -> usize {
        events.checked_sub(1).map_or(0, |last| self.events[last].1)
    }

    /// What is left for a client that took everything up to `place`, where something is missing.
    pub(crate) fn left_after(&self, place: usize) -> Left {
        let whole = self.events.partition_point(|(_, end)| *end <= place);
        let (seq, end) = self.events[whole];
        if place == self.end_of_first(whole) {
            return Left {
                rest: Bytes::new(),
                cursor: seq,
                taken: whole,
            };
        }
        // A few bytes are not to keep the whole round in memory, nor a large event to be copied.
        let rest = place..end;
        let rest = if rest.len() < self.bytes.len() / 2 {
            Bytes::copy_from_slice(&self.bytes[rest])
        } else {
            self.bytes.slice(rest)
        };
        Left {
            rest,
            cursor: seq + 1,
            taken: whole + 1,
        }
    }
}

/// What is left of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    /// The rest of the event that was begun.
    pub(crate) rest: Bytes,
    /// The number of the event that comes then: from here on the log is to be read.
    pub(crate) cursor: u64,
    /// How many events of the round need not be read there.
    pub(crate) taken: usize,
}
