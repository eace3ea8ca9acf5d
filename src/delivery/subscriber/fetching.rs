//! Fetches events from the archive for a subscriber whose next events are no longer in memory.
//!
//! It returns to memory as soon as memory has every event after its id. While it waits for the archive, it
//! receives heartbeats like any other subscriber.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{
    super::{
        older::{Older, Sending},
        place::Place,
    },
    Subscriber,
};
use crate::{broadcaster::BroadcasterGone, event::wire};

/// Pause before the archive is read again if it failed or had nothing new.
const ASK_AGAIN: Duration = Duration::from_millis(250);

impl Subscriber {
    /// Fetches the next events from the archive, after [`Next::Older`](super::Next::Older), unless memory has
    /// them by now. Returns the bytes to send, which may be empty.
    pub(crate) async fn fetch(&mut self) -> Result<Bytes, BroadcasterGone> {
        if self.goes_on_in_memory() {
            return Ok(Bytes::new());
        }
        let until_heartbeat = self.until_heartbeat();
        let patience = self.patience(until_heartbeat);
        let most = self.topics_at_a_time();
        let Some((older, archive)) = self.older.as_mut().zip(self.hub.archive.as_ref()) else {
            return Ok(Bytes::new());
        };
        let fetched = async {
            let fetched = older.fetch(archive).await;
            let is_all = fetched == Ok(false);
            if fetched.is_err() || (is_all && older.after().is_some()) {
                // Either the archive cannot be read, or it has nothing more and memory will soon have the
                // next event.
                sleep(ASK_AGAIN).await;
            }
            fetched
        };
        let fetched = tokio::select! {
            fetched = timeout(patience, fetched) => fetched,
            draining = self.state.wait_for(|news| news.draining) => {
                draining.map_err(|_| BroadcasterGone)?;
                return Ok(Bytes::new());
            }
        };
        match fetched {
            Ok(Ok(false)) if older.after().is_none() => {
                // The archive is empty, so continue with the oldest event in memory.
                self.place = Place::announced_at(self.hub.log.extent().oldest);
                self.older = None;
                Ok(Bytes::new())
            }
            Ok(_) => Ok(self.take_older(most)),
            Err(_) if patience < until_heartbeat => Ok(Bytes::new()),
            Err(_) => {
                self.quiet_since = None;
                let checkpoints = self.state.borrow().checkpoints;
                let id = checkpoints.then(|| older.announce()).flatten();
                let sign = id.map_or_else(wire::heartbeat, wire::checkpoint);
                Ok(sign.bytes(self.framing))
            }
        }
    }

    /// Switches to memory if memory has every event after the archive cursor. Returns whether it did.
    fn goes_on_in_memory(&mut self) -> bool {
        let after = self.older.as_ref().and_then(Older::after);
        let here = after.and_then(|id| self.hub.log.cursor_after(id, &self.selection));
        let Some((cursor, mut older)) = here.and_then(|cursor| Some((cursor, self.older.take()?)))
        else {
            return false;
        };
        self.place = Place {
            cursor,
            // If the client knows only an older id, that id is not in memory. Position 0 marks it as at risk
            // of eviction, so the next heartbeat is a checkpoint.
            announced: older.announce().map_or(cursor, |_| 0),
        };
        true
    }

    /// Processes fetched items, until about `most` topics were matched, and returns the bytes to send.
    fn take_older(&mut self, most: usize) -> Bytes {
        let Some(older) = &mut self.older else {
            return Bytes::new();
        };
        let Sending {
            bytes,
            events,
            gaps,
        } = older.take(most, &self.hub.log, &self.selection, self.framing);
        self.behind = true;
        self.hub.metrics.deliveries.inc_by(events);
        for reason in gaps {
            self.hub.metrics.count_gap(reason);
        }
        if !bytes.is_empty() {
            self.quiet_since = None;
        }
        bytes
    }
}
