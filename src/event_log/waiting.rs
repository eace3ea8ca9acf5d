//! Holds events that wait to be appended to a file or to Redis, and counts their memory.

use super::append::Append;
use crate::{
    event::Event,
    matching::{MemoryBudget, Reservation},
};

/// Counts the memory of all events that wait to be appended. An event counts even if its publisher no longer
/// waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(MemoryBudget);

/// Memory limit for the events that wait to be appended, in bytes. Once it is reached, publish requests
/// receive status 503, and new subscribers whose subscriptions would be published are refused. Requests that
/// were accepted before and events of the server itself still enter the queue, so the limit can be exceeded.
pub(super) const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Approximate memory that an event in the queue needs in addition to its content, in bytes.
const EVENT_BYTES: usize = 512;

impl Queue {
    /// Counts the memory of an event until the returned reservation is dropped.
    pub(super) fn add(&self, event: &Event) -> Reservation {
        self.0.reserve(EVENT_BYTES + event.bytes())
    }

    /// Approximate memory of the events that wait to be appended, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.reserved()
    }
}

/// Splits events into those to append and those to refuse. An event is refused if it is a numbered message of
/// the ticker and its number is not the next one. This happens if an earlier message was refused, or if the
/// message is already in the log. `ticks` is the next number. The third result is the next number after the
/// append.
pub(super) fn in_turn(waiting: Vec<Append>, ticks: u64) -> (Vec<Append>, Vec<Append>, u64) {
    let mut next = ticks;
    let is_in_turn = |waiting: &Append| match waiting.event.tick_number() {
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
    fn the_queue_counts_an_event_while_it_waits() {
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
