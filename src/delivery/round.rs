//! A round: the new events that the fan-out writes to the live subscribers together.
//!
//! The bytes are encoded once for each group of subscribers. A subscriber that lacks only some of the events
//! receives the end of the same bytes.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    event::{Audience, Batch, Frame, Framing, Topic},
    event_log::Entry,
    matching::Selection,
};

/// The encoded events of a round for one group of live clients, which have the same matchers and rights. In
/// log order.
#[derive(Debug)]
pub(crate) struct Round {
    /// When the oldest of the events was appended to the log, or when the round began if that was earlier.
    arrived: Instant,
    /// For each event: its position in the log, and the offset in `bytes` where it ends.
    events: Vec<(u64, usize)>,
    bytes: Bytes,
}

/// Collects the events of a [`Round`].
#[derive(Debug)]
pub(crate) struct RoundBuilder {
    arrived: Instant,
    events: Vec<(u64, usize)>,
    batch: Batch,
}

/// Adds an event to a batch for subscribers with this selection. If they want to know for which topics they
/// receive it, adds those of `topics`, which are some or all topics of the event.
pub(crate) fn push_event<'a>(
    batch: &mut Batch,
    frame: &Frame,
    (topics, is_private): (impl IntoIterator<Item = &'a Topic>, bool),
    selection: &Selection,
) {
    if selection.names_topics() {
        let topics = selection.named(topics, is_private);
        batch.push(&frame.with_topics(&topics));
    } else {
        batch.push(frame);
    }
}

impl RoundBuilder {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            arrived: now,
            events: Vec::new(),
            batch: Batch::new(Framing::Chunked),
        }
    }

    /// Adds an event for a group with this selection. Events must be added in log order. Adding the last event
    /// again has no effect: the router may find a group more than once for the same event.
    pub(crate) fn push(&mut self, entry: &Entry, selection: &Selection) {
        let seq = entry.position;
        if self.events.last().is_some_and(|(last, _)| *last == seq) {
            return;
        }
        self.arrived = self.arrived.min(entry.appended);
        let Audience { topics, private } = &*entry.audience;
        push_event(&mut self.batch, &entry.frame, (topics, *private), selection);
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
    /// When the oldest of the events was appended to the log, or when the round began if that was earlier.
    pub(crate) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// Returns how many events of the round a client lacks if it has every event before position `cursor`,
    /// and the offset at which their bytes begin.
    pub(crate) fn lacked(&self, cursor: u64) -> (usize, usize) {
        let has = self.events.partition_point(|(seq, _)| *seq < cursor);
        (self.events.len() - has, self.end_of_first(has))
    }

    pub(crate) fn bytes_from(&self, start: usize) -> &[u8] {
        &self.bytes[start..]
    }

    /// Number of events in the round.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The log position after the last event; 0 for an empty round.
    pub(crate) fn next(&self) -> u64 {
        self.events.last().map_or(0, |(seq, _)| seq + 1)
    }

    fn end_of_first(&self, events: usize) -> usize {
        events.checked_sub(1).map_or(0, |last| self.events[last].1)
    }

    /// Returns what a client must still receive if it has only the bytes of the round before `offset`.
    /// `offset` must be less than the length of the bytes.
    pub(crate) fn left_after(&self, offset: usize) -> Remainder {
        let whole = self.events.partition_point(|(_, end)| *end <= offset);
        let (seq, end) = self.events[whole];
        if offset == self.end_of_first(whole) {
            return Remainder {
                rest: Bytes::new(),
                cursor: seq,
                taken: whole,
            };
        }
        // Copy a small rest, because a slice would keep the bytes of the whole round in memory. Share a large
        // rest.
        let rest = offset..end;
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

/// What a client must still receive after its socket accepted only a part of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remainder {
    /// The unsent bytes of the event that was written in part. Empty if the write ended between two events.
    pub(crate) rest: Bytes,
    /// The log position from which the client must read after it has received `rest`.
    pub(crate) cursor: u64,
    /// Number of events of the round before `cursor`, including those that the client had before this round.
    pub(crate) taken: usize,
}
