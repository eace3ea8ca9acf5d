//! What the log in memory knows about the times of evicted and lost events, for subscribers that start at a
//! time.

use std::time::{Instant, SystemTime};

use super::{super::record::millis_since_1970, MemoryLog};

impl MemoryLog {
    /// Sets when events were last found to be lost, and when the newest evicted event was appended. `None`:
    /// never, or no event was evicted.
    pub(in crate::event_log) fn set_loss_times(
        &self,
        lost_at: Option<Instant>,
        evicted_at: Option<Instant>,
    ) {
        let mut retained = self.retained.write();
        retained.lost_at = lost_at;
        retained.evicted_at = evicted_at;
    }

    /// When the newest evicted event was appended, in milliseconds since 1970. `None`: no event was evicted.
    pub(in crate::event_log) fn newest_evicted_at(&self, now: SystemTime) -> Option<u64> {
        let evicted_at = self.retained.read().evicted_at?;
        now.checked_sub(evicted_at.elapsed()).map(millis_since_1970)
    }
}
