//! Decides when the ticker's next message is due. The ticker publishes numbered messages for tests and demos.
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Settings of the ticker, which publishes numbered messages for tests and demos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickerSettings {
    /// Whether the ticker publishes messages.
    pub enabled: bool,
    /// Time from one message to the next: 1 ms to 24 h.
    pub interval: Duration,
    /// The text of each message. Each `{n}` in it is replaced by the message's number.
    pub message: String,
}

/// Maximum lateness of the ticker at which it still publishes every missed message. If it is later, it
/// publishes one message and skips the other missed deadlines. Timers are usually late by 1 or 2 ms, so with
/// the shortest interval, 1 ms, a lower limit would skip deadlines all the time.
pub(crate) const MAX_LATENESS: Duration = Duration::from_millis(20);

/// A message of the ticker that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) number: u64,
    pub(crate) message: String,
    /// How long after its deadline the message was produced.
    pub(crate) lateness: Duration,
}

/// Produces one message for each interval, with consecutive numbers.
#[derive(Debug)]
pub(crate) struct Ticker {
    settings: TickerSettings,
    /// The number of the next message.
    next: u64,
    /// The last deadline whose message was produced or skipped. Before the first deadline: when the ticker
    /// was created or switched on.
    last: Instant,
}

impl Ticker {
    /// Creates a ticker. Its first message has the number `next` and is due one interval after `now`.
    pub(crate) fn new(settings: TickerSettings, next: u64, now: Instant) -> Self {
        Self {
            settings,
            next,
            last: now,
        }
    }

    /// The current settings.
    pub(crate) fn settings(&self) -> &TickerSettings {
        &self.settings
    }

    /// When the next message is due. `None` while the ticker is switched off.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.settings
            .enabled
            .then(|| self.last + self.settings.interval)
    }

    /// Returns the next message if it is due at `now`. Call this until it returns `None`, because several
    /// messages may be due. A late call does not delay later deadlines. If a call is more than 20 ms late
    /// ([`MAX_LATENESS`]), it returns one message for all missed deadlines, so that there is no burst.
    /// Numbers are never skipped.
    pub(crate) fn fire(&mut self, now: Instant) -> Option<Tick> {
        let due = self.due().filter(|due| *due <= now)?;
        let lateness = now - due;
        self.last = due + self.skipped(lateness);
        let number = self.next;
        self.next += 1;
        Some(Tick {
            number,
            message: self.settings.message.replace("{n}", &number.to_string()),
            lateness,
        })
    }

    /// Sets the number of the next message. Call this when the log has refused the message with this number
    /// and all later ones.
    pub(crate) fn go_on_from(&mut self, number: u64) {
        self.next = number;
    }

    /// How far the next deadline moves because a call was late. Not at all if it was late by at most
    /// [`MAX_LATENESS`], otherwise by all whole intervals in `late`.
    fn skipped(&self, late: Duration) -> Duration {
        if late <= MAX_LATENESS {
            return Duration::ZERO;
        }
        let into_interval = late.as_nanos() % self.settings.interval.as_nanos();
        late - Duration::from_nanos(into_interval as u64)
    }

    /// Changes the settings. The numbers continue. If the ticker was off, the first interval starts at `now`.
    /// Otherwise the new interval starts at the last deadline, even if the old, longer interval has not
    /// ended.
    pub(crate) fn change(&mut self, settings: TickerSettings, now: Instant) {
        if settings.enabled && !self.settings.enabled {
            self.last = now;
        }
        self.settings = settings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(interval: Duration) -> TickerSettings {
        TickerSettings {
            enabled: true,
            interval,
            message: "{n}".into(),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn message(tick: Option<Tick>) -> Option<String> {
        tick.map(|tick| tick.message)
    }

    #[test]
    fn the_first_message_is_number_zero_one_interval_after_the_start() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(SECOND), 0, start);

        assert_eq!(ticker.fire(start + SECOND - MS), None);
        assert_eq!(message(ticker.fire(start + SECOND)), Some("0".into()));
        assert_eq!(ticker.fire(start + SECOND), None, "not due again");
        assert_eq!(ticker.due(), Some(start + 2 * SECOND));
    }

    #[test]
    fn lateness_does_not_add_up() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(SECOND), 0, start);

        for n in 1..=100 {
            assert!(ticker.fire(start + n * SECOND + 300 * MS).is_some());
        }

        assert_eq!(ticker.due(), Some(start + 101 * SECOND));
    }

    #[test]
    fn missed_deadlines_are_skipped_and_numbers_are_not() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(SECOND), 0, start);
        ticker.fire(start + SECOND);

        let late = ticker.fire(start + 5 * SECOND + 500 * MS);

        assert_eq!(
            late,
            Some(Tick {
                number: 1,
                message: "1".into(),
                lateness: 3 * SECOND + 500 * MS
            })
        );
        assert_eq!(ticker.due(), Some(start + 6 * SECOND));
        assert_eq!(message(ticker.fire(start + 6 * SECOND)), Some("2".into()));
    }

    #[test]
    fn a_timer_that_is_a_little_late_loses_no_message() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(MS), 0, start);

        let fired: Vec<_> = std::iter::from_fn(|| ticker.fire(start + 20 * MS)).collect();

        assert_eq!(fired.len(), 20);
        assert_eq!(ticker.due(), Some(start + 21 * MS));
    }

    #[test]
    fn a_timer_that_is_very_late_makes_no_burst() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(MS), 0, start);

        let fired: Vec<_> = std::iter::from_fn(|| message(ticker.fire(start + 500 * MS))).collect();

        assert_eq!(fired, ["0"]);
        assert_eq!(ticker.due(), Some(start + 501 * MS));
    }

    #[test]
    fn a_lateness_of_years_does_not_overflow() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(MS), 0, start);
        let awake = start + Duration::from_secs(10 * 365 * 86400);

        assert!(ticker.fire(awake).is_some());
        assert!(ticker.due().unwrap() <= awake + MS);
    }

    #[test]
    fn a_new_interval_takes_effect_within_an_old_one_without_skipping_a_number() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(SECOND), 0, start);
        ticker.fire(start + SECOND);

        ticker.change(every(100 * MS), start + SECOND + 500 * MS);

        assert_eq!(ticker.due(), Some(start + SECOND + 100 * MS));
        assert_eq!(
            message(ticker.fire(start + SECOND + 500 * MS)),
            Some("1".into())
        );
        assert_eq!(ticker.due(), Some(start + SECOND + 600 * MS));
    }

    #[test]
    fn a_ticker_that_is_switched_off_is_silent_and_later_continues_its_numbers() {
        let start = Instant::now();
        let mut ticker = Ticker::new(every(SECOND), 0, start);
        ticker.fire(start + SECOND);

        let off = TickerSettings {
            enabled: false,
            ..every(SECOND)
        };
        ticker.change(off, start + SECOND);
        assert_eq!(ticker.due(), None);
        assert_eq!(ticker.fire(start + 10 * SECOND), None);

        ticker.change(every(SECOND), start + 10 * SECOND);
        assert_eq!(ticker.fire(start + 10 * SECOND), None);
        assert_eq!(message(ticker.fire(start + 11 * SECOND)), Some("1".into()));
    }

    #[test]
    fn each_placeholder_in_the_message_becomes_the_number() {
        let start = Instant::now();
        let settings = TickerSettings {
            message: "{n} and {n}, {x}".into(),
            ..every(SECOND)
        };
        let mut ticker = Ticker::new(settings, 0, start);

        assert_eq!(
            message(ticker.fire(start + SECOND)),
            Some("0 and 0, {x}".into())
        );
    }
}
