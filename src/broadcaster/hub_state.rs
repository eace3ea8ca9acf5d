//! What the threads that send to subscribers must know.

use std::time::Duration;

/// Read by every worker thread. It is sent again with each event, which wakes those who wait for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubState {
    /// A subscriber that received nothing for this long receives a comment.
    pub(crate) heartbeat: Duration,
    /// Whether an idle subscriber receives a checkpoint instead of the comment when its last id is in the older
    /// half of the history.
    pub(crate) checkpoints: bool,
    /// Whether every stream ends after the newest event.
    pub(crate) draining: bool,
}
