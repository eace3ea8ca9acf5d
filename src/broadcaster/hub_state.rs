//! The state that worker threads need to send to subscribers.

use std::time::Duration;

/// Every worker thread reads it from a `watch` channel. Each event also signals this channel, which wakes the
/// threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubState {
    /// A subscriber that received nothing for this long receives a comment.
    pub(crate) heartbeat: Duration,
    /// Whether an idle subscriber receives a checkpoint instead of the comment when its last id is in the
    /// older half of the history.
    pub(crate) checkpoints: bool,
    /// Whether the server is draining: each stream ends when it has sent all events in memory, and at once if
    /// it still reads the archive.
    pub(crate) draining: bool,
}
