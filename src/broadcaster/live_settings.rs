//! The settings of ticker, heartbeat and checkpoints, and the range that each of their values is kept in.

use std::time::Duration;

use crate::event_log::TickerSettings;

/// The part of the settings that can change while the Broadcaster runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// The numbered messages.
    pub ticker: TickerSettings,
    /// A subscriber that got nothing for this long is sent a comment: 100 ms to 1 h.
    pub heartbeat: Duration,
    /// Whether an idle subscriber gets a checkpoint instead of the comment when its last id is in the older
    /// half of the history.
    pub checkpoints: bool,
}

impl LiveSettings {
    /// The same with each value in its range: a timer of zero would never let go of the actor.
    pub(crate) fn in_range(mut self) -> Self {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
        self.ticker.interval = self.ticker.interval.clamp(shortest, longest);
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(3600));
        self.heartbeat = self.heartbeat.clamp(shortest, longest);
        self
    }
}
