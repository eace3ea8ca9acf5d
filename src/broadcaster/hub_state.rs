//! The settings and the drain flag that worker threads need while they serve streams.

use std::time::Duration;

/// The settings and the drain flag that every worker thread reads from a `watch` channel. Each new event also
/// signals this channel, to wake the threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubState {
    /// An idle subscriber receives a heartbeat (a comment line, or a checkpoint) when it was sent nothing for
    /// this long.
    pub(crate) heartbeat: Duration,
    /// Whether an idle subscriber receives a checkpoint, an event that only sets its last event id, instead
    /// of a comment. This happens if its last event id is in the older half of the history and so may soon be
    /// evicted.
    pub(crate) checkpoints: bool,
    /// Whether the server is draining. Each stream that reads from memory then ends at the head, after all
    /// its events. Each stream that still reads older events from Redis ends immediately.
    pub(crate) draining: bool,
}
