//! Who waits for an event to be appended to a store, and whose turn it is.

use thiserror::Error;
use tokio::sync::oneshot;

use crate::{
    event::{Event, EventId},
    matching::{Held, Tally},
};

/// The log cannot be used now. What was to be appended may have been, all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log cannot be used now")]
pub struct LogUnavailable;

/// Is told of an event's fate: its id, once it is in the log.
pub(crate) type Done = oneshot::Sender<Result<EventId, LogUnavailable>>;

/// The same of a numbered message; or which number is to come next instead.
pub(super) type TickDone = oneshot::Sender<Result<(), u64>>;

/// Who waits for an event to be appended.
pub(super) enum Waits {
    /// Its publisher, if anybody does.
    Publisher(Option<Done>),
    /// The ticker, for the message of this number. One whose turn it is not is refused: those before
    /// it were, or it is in the log already.
    Ticker { number: u64, done: TickDone },
}

/// How much waits to be appended, whether or not anybody still waits for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(Tally);

/// How much may wait, in bytes, about: also of publishers that have given up. Beyond, publishers are told
/// to come again.
pub(super) const MOST_QUEUED_BYTES: usize = 64 << 20;

/// What an event takes while it waits, beside itself, in bytes, about.
const EVENT_BYTES: usize = 512;

impl Queue {
    /// Counts an event until what is returned is dropped.
    pub(super) fn add(&self, event: &Event) -> Held {
        self.0.hold(EVENT_BYTES + event.bytes())
    }

    /// In bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// An event that waits to be appended.
pub(super) struct Waiting {
    pub(super) event: Event,
    pub(super) waits: Waits,
    /// Kept until it was.
    pub(super) _queued: Held,
}

/// What is to be appended after so many numbered messages, what is not, because it is not its turn,
/// and how many there are then.
pub(super) fn in_turn(waiting: Vec<Waiting>, ticks: u64) -> (Vec<Waiting>, Vec<Waiting>, u64) {
    let mut next = ticks;
    let (in_turn, out_of_turn) = waiting
        .into_iter()
        .partition(|waiting| match waiting.waits {
            Waits::Publisher(_) => true,
            Waits::Ticker { number, .. } => {
                let is_next = number == next;
                next += u64::from(is_next);
                is_next
            }
        });
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
