//! Fetches events from the archive (the whole log in Redis) for a subscriber whose next events are no longer
//! in memory.
//!
//! The subscriber returns to memory as soon as memory has every event after its cursor. While it waits for
//! the archive, it receives heartbeats like any other subscriber.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{
    super::{
        archive_cursor::{ArchiveBatch, ArchiveCursor},
        position::Position,
    },
    Subscriber,
};
use crate::{broadcaster::BroadcasterGone, event::wire};

/// Pause before the archive is read again, after a read that failed or found nothing new.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

impl Subscriber {
    /// Call this after [`Next::Archive`](super::Next::Archive). Returns bytes to send: the next events from
    /// the archive, or a heartbeat if the archive takes too long. They are empty if there is nothing to send,
    /// for example because the subscriber now reads from memory. In each case, call [`Subscriber::next`]
    /// afterwards.
    pub(crate) async fn fetch(&mut self) -> Result<Bytes, BroadcasterGone> {
        if self.switch_to_memory() {
            return Ok(Bytes::new());
        }
        let until_heartbeat = self.until_heartbeat();
        let wait_limit = self.wait_limit(until_heartbeat);
        let most = self.topics_at_a_time();
        let Some((archive_cursor, archive)) = self.archive_cursor.as_mut().zip(self.hub.archive())
        else {
            return Ok(Bytes::new());
        };
        let fetched = async {
            let fetched = archive_cursor.fetch(archive).await;
            let is_all = fetched == Ok(false);
            if fetched.is_err() || (is_all && archive_cursor.after().is_some()) {
                // Either the archive cannot be read, or it has no item after the cursor, and memory will soon
                // have the next event. Wait before the next attempt.
                sleep(RETRY_INTERVAL).await;
            }
            fetched
        };
        let fetched = tokio::select! {
            fetched = timeout(wait_limit, fetched) => fetched,
            draining = self.state.wait_for(|state| state.draining) => {
                draining.map_err(|_| BroadcasterGone)?;
                return Ok(Bytes::new());
            }
        };
        match fetched {
            Ok(Ok(false)) if archive_cursor.after().is_none() => {
                // The archive is empty, so continue with the oldest event in memory.
                self.position = Position::announced_at(self.hub.log().extent().oldest);
                self.archive_cursor = None;
                Ok(Bytes::new())
            }
            Ok(_) => Ok(self.take_older(most)),
            Err(_) if wait_limit < until_heartbeat => Ok(Bytes::new()),
            Err(_) => {
                self.quiet_since = None;
                let checkpoints = self.state.borrow().checkpoints;
                let id = checkpoints.then(|| archive_cursor.announce()).flatten();
                let sign = id.map_or_else(wire::heartbeat, wire::checkpoint);
                Ok(sign.bytes(self.framing))
            }
        }
    }

    /// Switches to memory if memory has every event after the archive cursor that the subscriber may want.
    /// Returns whether it did.
    fn switch_to_memory(&mut self) -> bool {
        let after = self.archive_cursor.as_ref().and_then(ArchiveCursor::after);
        let here = after.and_then(|id| self.hub.log().cursor_after(id, &self.selection));
        let Some((cursor, mut archive_cursor)) =
            here.and_then(|cursor| Some((cursor, self.archive_cursor.take()?)))
        else {
            return false;
        };
        self.position = Position {
            cursor,
            // If the client does not know the id at the cursor, its last event id is older, and its position
            // may be unknown. With position 0, its next heartbeat is a checkpoint, an event that sets a newer
            // id.
            announced: archive_cursor.announce().map_or(cursor, |_| 0),
        };
        true
    }

    /// Encodes the items fetched from the archive, until at least `most` topics were matched or no item is
    /// left. Returns the bytes to send, which may be empty.
    fn take_older(&mut self, most: usize) -> Bytes {
        let Some(archive_cursor) = &mut self.archive_cursor else {
            return Bytes::new();
        };
        let ArchiveBatch {
            bytes,
            events,
            gaps,
        } = archive_cursor.take(
            most,
            self.hub.log(),
            (&self.selection, &mut self.snapshot),
            self.framing,
        );
        if self.snapshot.is_reading() {
            self.move_to_head();
        }
        self.is_catching_up = true;
        self.hub.metrics().deliveries.inc_by(events);
        for reason in gaps {
            self.hub.metrics().count_gap(reason);
        }
        if !bytes.is_empty() {
            self.quiet_since = None;
        }
        bytes
    }
}
