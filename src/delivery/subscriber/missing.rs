//! Continues after events that are missing in memory: in the archive, after a gap, or with a snapshot.

use super::{
    super::{archive_cursor::ArchiveCursor, position::Position},
    Next, Subscriber,
};
use crate::event::{Gap, wire};

impl Subscriber {
    /// Moves the cursor to `position`, past missing events, or to the head if a snapshot follows. Returns a gap
    /// to send, or [`Next::Nothing`] if it is certain that none of these events was for this subscriber.
    pub(super) fn skip_to(&mut self, position: u64) -> Next {
        let lost = self.position.cursor..position;
        self.position.cursor = position;
        let Some(mut gap) = self.hub.log().gap(lost, &self.selection) else {
            return Next::Nothing;
        };
        self.position.announced = position;
        if self.snapshot.is_on() {
            self.begin_snapshot(&mut gap);
        }
        self.hub.metrics().count_gap(gap.reason);
        Next::Bytes(wire::gap(&gap).bytes(self.framing))
    }

    /// Continues with a snapshot after a gap, and then at the head.
    fn begin_snapshot(&mut self, gap: &mut Gap) {
        self.move_to_head();
        self.snapshot.begin_after(gap, self.hub.log());
    }

    /// Moves the cursor to the head in memory.
    pub(super) fn move_to_head(&mut self) {
        self.position = Position::announced_at(self.hub.log().next());
        self.archive_cursor = None;
    }

    /// Continues in the archive, after the event before the cursor. Returns `false` if there is no archive
    /// (only a log in Redis has one), or if the id of that event is unknown.
    pub(super) fn switch_to_archive(&mut self) -> bool {
        let last = self.hub.log().id_before(self.position.cursor);
        let last = last.filter(|_| self.hub.archive().is_some());
        self.archive_cursor = last.map(|last| ArchiveCursor::new(Some(last.into())));
        self.archive_cursor.is_some()
    }

    /// Returns a gap to send, because presence events (events about active subscriptions) after the cursor
    /// may have been evicted. The cursor does not move, unless a snapshot follows the gap.
    pub(super) fn presence_gap(&mut self) -> Next {
        let mut gap = self.hub.log().gap_of_presence(self.position.cursor);
        self.position.announced = self.position.cursor;
        if self.snapshot.is_on() {
            self.begin_snapshot(&mut gap);
        }
        self.hub.metrics().count_gap(gap.reason);
        Next::Bytes(wire::gap(&gap).bytes(self.framing))
    }
}
