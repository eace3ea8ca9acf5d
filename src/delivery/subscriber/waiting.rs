//! Waits at the head of the log until there is something to send: a new event, a heartbeat, or the end of the
//! stream. Only for subscribers to which the fan-out does not write.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::Subscriber;
use crate::{
    broadcaster::BroadcasterGone,
    event::{Frame, wire},
};

impl Subscriber {
    /// Call this after [`Next::Wait`](super::Next::Wait). Returns a heartbeat if it is due now. Otherwise
    /// waits until there may be something to do, and returns `None`: then call [`Subscriber::next`] again.
    pub(crate) async fn wait(&mut self) -> Result<Option<Bytes>, BroadcasterGone> {
        let _live = self.live();
        // Any new event ends the wait below, even one for other subscribers. This must not delay the
        // heartbeat, so its interval does not start again at each wait.
        let until_heartbeat = self.until_heartbeat();
        if until_heartbeat.is_zero() {
            self.quiet_since = None;
            return Ok(Some(self.keep_alive().bytes(self.framing)));
        }
        let wait_limit = self.wait_limit(until_heartbeat);
        match timeout(wait_limit, self.state.changed()).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(_)) => Err(BroadcasterGone),
            Err(_) => Ok(None),
        }
    }

    /// Time until the next heartbeat is due. Zero: it is due now.
    pub(super) fn until_heartbeat(&mut self) -> Duration {
        let heartbeat = self.state.borrow().heartbeat;
        let quiet_since = *self.quiet_since.get_or_insert_with(Instant::now);
        heartbeat.saturating_sub(quiet_since.elapsed())
    }

    /// How long to wait: `most`, or less if something is [due](Self::due) earlier.
    pub(super) fn wait_limit(&self, most: Duration) -> Duration {
        let until = |due: Instant| due.saturating_duration_since(Instant::now());
        self.due().map_or(most, |due| until(due).min(most))
    }

    /// Returns the heartbeat for the client. It is a checkpoint, an event that only sets the client's last
    /// event id, if the id that the client has may soon be evicted. Otherwise, or if checkpoints are off, it
    /// is a comment.
    fn keep_alive(&mut self) -> Frame {
        let cursor = self.position.cursor;
        let log = self.hub.log();
        let newer_half = log.newer_half(Instant::now());
        let is_at_risk = self.position.is_at_risk(cursor, newer_half);
        let id = log.id_before(cursor).filter(|_| is_at_risk);
        match id.filter(|_| self.state.borrow().checkpoints) {
            Some(id) => {
                self.position.announced = cursor;
                wire::checkpoint(id)
            }
            None => wire::heartbeat(),
        }
    }
}
