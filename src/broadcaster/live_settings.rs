//! The settings of ticker, heartbeat and checkpoints, and the ranges to which they are clamped.

use std::time::Duration;

use crate::event_log::TickerSettings;

/// The settings that can change while the Broadcaster runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// The numbered messages.
    pub ticker: TickerSettings,
    /// A subscriber that received nothing for this long receives a comment. Range: 100 ms to 1 h.
    pub heartbeat: Duration,
    /// Whether an idle subscriber receives a checkpoint instead of the comment when its last id is in the
    /// older half of the history.
    pub checkpoints: bool,
}

impl LiveSettings {
    /// Clamps each value to its range. A timer with interval zero would occupy the actor forever.
    pub(crate) fn in_range(mut self) -> Self {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
        self.ticker.interval = self.ticker.interval.clamp(shortest, longest);
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(3600));
        self.heartbeat = self.heartbeat.clamp(shortest, longest);
        self
    }
}
