//! The settings of ticker, heartbeat and checkpoints, and the ranges to which they are clamped.

use std::time::Duration;

use crate::event_log::TickerSettings;

/// The settings that can change while the Broadcaster runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// Settings of the ticker, which appends numbered messages at an interval.
    pub ticker: TickerSettings,
    /// An idle subscriber receives a heartbeat (a comment line, or a checkpoint) when it was sent nothing for
    /// this long. Range: 100 ms to 1 h.
    pub heartbeat: Duration,
    /// Whether an idle subscriber receives a checkpoint, an event that only sets its last event id, instead
    /// of a comment. This happens if its last event id is in the older half of the history and so may soon be
    /// evicted.
    pub checkpoints: bool,
}

impl LiveSettings {
    /// Clamps the interval of the ticker and of heartbeats to their ranges. For example, a ticker interval of
    /// zero would keep the actor busy forever.
    pub(crate) fn in_range(mut self) -> Self {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
        self.ticker.interval = self.ticker.interval.clamp(shortest, longest);
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(3600));
        self.heartbeat = self.heartbeat.clamp(shortest, longest);
        self
    }
}
