//! Holds events that wait to be appended to a store, and counts their memory.

use thiserror::Error;
use tokio::sync::oneshot;

use crate::{
    event::{Event, EventId},
    matching::{MemoryBudget, Reservation},
};

/// The log is unavailable. The events may have been appended nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log cannot be used now")]
pub struct LogUnavailable;

/// Sends a publisher the id of its event when the event is in the log, or an error.
pub(crate) type AckSender = oneshot::Sender<Result<EventId, LogUnavailable>>;

/// The memory of all events that wait to be appended, including those whose publisher has given up.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(MemoryBudget);

/// Approximate queue limit in bytes, including events whose publisher has given up. When it is reached,
/// publishing returns 503.
pub(super) const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Approximate memory of a waiting event in addition to its content, in bytes.
const EVENT_BYTES: usize = 512;

impl Queue {
    /// Counts an event until the returned reservation is dropped.
    pub(super) fn add(&self, event: &Event) -> Reservation {
        self.0.reserve(EVENT_BYTES + event.bytes())
    }

    /// Approximate size of the queue, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.reserved()
    }
}

/// An event that waits to be appended.
pub(super) struct Waiting {
    pub(super) event: Event,
    /// Where to send the result, if anybody waits for it.
    pub(super) done: Option<AckSender>,
    /// Counts the event in the [`Queue`] until it is dropped.
    pub(super) _queued: Reservation,
}

/// Separates the numbered messages that are out of turn: an earlier one was refused, or they are already in
/// the log. `ticks` is the number of the next numbered message. Returns the events in turn, those out of
/// turn, and the number of the next numbered message after those in turn.
pub(super) fn in_turn(waiting: Vec<Waiting>, ticks: u64) -> (Vec<Waiting>, Vec<Waiting>, u64) {
    let mut next = ticks;
    let is_in_turn = |waiting: &Waiting| match waiting.event.tick_number() {
        None => true,
        Some(number) => {
            let is_next = number == next;
            next += u64::from(is_next);
            is_next
        }
    };
    let (in_turn, out_of_turn) = waiting.into_iter().partition(is_in_turn);
    (in_turn, out_of_turn, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_for_as_long_as_it_waits() {
        let queue = Queue::default();
        let small = queue.add(&Event::message("x"));
        let large = queue.add(&Event::message("x".repeat(100_000)));

        let both = queue.bytes();
        drop(large);
        let one = queue.bytes();
        drop(small);

        assert!((100_000..200_000).contains(&both) && (1..10_000).contains(&one));
        assert_eq!(queue.bytes(), 0);
    }
}
