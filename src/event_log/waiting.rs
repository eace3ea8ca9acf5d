//! Who waits for an event to be appended to a store, and whose turn it is.

use thiserror::Error;
use tokio::sync::oneshot;

use crate::event::{Event, EventId};

/// The log cannot be written. Nothing of the event was done, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log cannot be written")]
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

/// An event that waits to be appended.
pub(super) struct Waiting {
    pub(super) event: Event,
    pub(super) waits: Waits,
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
