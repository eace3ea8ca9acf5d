//! Events that wait to be appended to a store, and their publishers.

use thiserror::Error;
use tokio::sync::oneshot;

use crate::{
    event::{Event, EventId},
    matching::{MemoryBudget, Reservation},
};

/// The log cannot be used now. What was to be appended may have been, all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log cannot be used now")]
pub struct LogUnavailable;

/// Is told of an event's fate: its id, once it is in the log.
pub(crate) type AckSender = oneshot::Sender<Result<EventId, LogUnavailable>>;

/// How much waits to be appended, whether or not anybody still waits for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(MemoryBudget);

/// How much may wait, in bytes, about: also of publishers that have given up. Beyond, publishers are told
/// to come again.
pub(super) const MAX_QUEUED_BYTES: usize = 64 << 20;

/// What an event takes while it waits, beside itself, in bytes, about.
const EVENT_BYTES: usize = 512;

impl Queue {
    /// Counts an event until what is returned is dropped.
    pub(super) fn add(&self, event: &Event) -> Reservation {
        self.0.reserve(EVENT_BYTES + event.bytes())
    }

    /// In bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.reserved()
    }
}

/// An event that waits to be appended.
pub(super) struct Waiting {
    pub(super) event: Event,
    /// Its publisher, if anybody waits for the answer.
    pub(super) done: Option<AckSender>,
    /// Kept until it was.
    pub(super) _queued: Reservation,
}

/// Separates the ticker messages that are out of turn: one before them was refused, or they are in the log
/// already. Also returns the number of the next ticker message after those that are in turn. `ticks` is the
/// number of the next one now.
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
