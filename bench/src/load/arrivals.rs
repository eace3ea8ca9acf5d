//! Records when each message arrived first and last. The table of messages has a fixed size, so that counting
//! a delivery allocates nothing.

use std::{ops::Range, time::Duration};

/// Size of the table in messages, larger than any run needs. Messages that do not fit into the table are
/// still checked for losses, but have no spread (time from the first to the last delivery).
const MESSAGES: usize = 1 << 19;

#[derive(Debug, Clone, Copy, Default)]
struct Message {
    subscribers: u32,
    /// Time of the first delivery, in microseconds since the start of the run.
    first: u32,
    last: u32,
}

/// For each message: the number of subscribers that received it, and the times of the first and last
/// delivery.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// The message number of the first entry in the table.
    base: u64,
    messages: Vec<Message>,
}

impl Arrivals {
    pub(crate) fn new(base: u64) -> Self {
        Self {
            base,
            messages: vec![Message::default(); MESSAGES],
        }
    }

    /// Records that one more subscriber received this message at the time `now`.
    #[inline]
    pub(crate) fn count(&mut self, number: u64, now: u32) {
        let at = number.wrapping_sub(self.base);
        let Some(message) = self.messages.get_mut(at as usize) else {
            return;
        };
        if message.subscribers == 0 {
            message.first = now;
        }
        message.subscribers += 1;
        message.last = now;
    }

    /// Adds the records of another thread.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.messages.is_empty() {
            *self = other;
            return;
        }
        for (at, part) in other.messages.into_iter().enumerate() {
            let at = (other.base + at as u64).wrapping_sub(self.base);
            let Some(whole) = self.messages.get_mut(at as usize) else {
                continue;
            };
            if whole.subscribers == 0 {
                *whole = part;
            } else if part.subscribers > 0 {
                whole.subscribers += part.subscribers;
                whole.first = whole.first.min(part.first);
                whole.last = whole.last.max(part.last);
            }
        }
    }

    /// The sorted spreads of messages: the times from their first to their last delivery. Includes only
    /// messages that exactly this number of subscribers received, and whose first delivery was in the time
    /// range `during`.
    pub(crate) fn spreads(&self, subscribers: usize, during: Range<Duration>) -> Spreads {
        let during = micros(during.start)..micros(during.end);
        let mut spreads: Vec<_> = self
            .messages
            .iter()
            .filter(|message| message.subscribers as usize == subscribers)
            .filter(|message| subscribers > 0 && during.contains(&message.first))
            .map(|message| message.last - message.first)
            .collect();
        spreads.sort_unstable();
        Spreads(spreads)
    }
}

/// A time since the start of the run, in microseconds. After about an hour, it stays at the maximum of `u32`.
pub(crate) fn micros(since_start: Duration) -> u32 {
    u32::try_from(since_start.as_micros()).unwrap_or(u32::MAX)
}

/// Spreads in microseconds, sorted.
#[derive(Debug)]
pub(crate) struct Spreads(Vec<u32>);

impl Spreads {
    /// A quantile in milliseconds; `share` is between 0 and 1. `None` if there are no spreads.
    pub(crate) fn at(&self, share: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let spread = self.0[(last as f64 * share).ceil() as usize];
        Some(f64::from(spread) / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Range<Duration> = Duration::ZERO..Duration::from_secs(60);

    #[test]
    fn a_spread_is_from_the_first_to_the_last_of_all_threads() {
        let mut one = Arrivals::new(7);
        let mut other = Arrivals::new(8);
        one.count(7, 1_000);
        one.count(8, 2_000);
        one.count(8, 2_500);
        other.count(8, 1_500);
        other.count(9, 3_000);

        one.merge(other);

        assert_eq!(one.spreads(3, ALWAYS).at(1.0), Some(1.0));
        assert_eq!(
            one.spreads(3, ALWAYS).0.len(),
            1,
            "the other messages did not reach all three subscribers"
        );
    }

    #[test]
    fn only_messages_that_first_arrived_in_the_time_range_have_a_spread() {
        let mut arrivals = Arrivals::new(0);
        for number in 0..10 {
            let now = number as u32 * 100_000;
            arrivals.count(number, now);
            arrivals.count(number, now + 1_000 * (number as u32 + 1));
        }

        let spreads = arrivals.spreads(2, Duration::from_millis(300)..Duration::from_millis(600));

        assert_eq!(spreads.0, [4_000, 5_000, 6_000]);
        assert_eq!(spreads.at(0.5), Some(5.0));
        assert_eq!(spreads.at(0.99), Some(6.0));
    }

    #[test]
    fn numbers_outside_the_table_are_ignored() {
        let mut arrivals = Arrivals::new(100);

        arrivals.count(99, 1);
        arrivals.count(100 + MESSAGES as u64, 1);

        assert_eq!(arrivals.spreads(1, ALWAYS).at(0.5), None);
    }
}
