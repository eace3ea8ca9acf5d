//! Finds where a subscriber starts in the log in memory, and describes the events that it misses.

use std::{
    ops::Range,
    time::{Instant, SystemTime},
};

use super::{
    super::{resume_point::ResumePoint, retained::Retained},
    MemoryLog,
};
use crate::{
    event::{EARLIEST, EventId, Gap, GapReason, ResumeFrom},
    matching::Selection,
};

impl MemoryLog {
    /// Tries to find in memory where a subscriber starts. Succeeds for [`ResumeFrom::Now`] and
    /// [`ResumeFrom::Snapshot`], and for [`ResumeFrom::After`] if [`Self::cursor_after`] returns a position.
    /// Otherwise returns `None`, and the archive must decide.
    pub(crate) fn find(
        &self,
        from: &ResumeFrom,
        selection: &Selection,
    ) -> Option<ResumePoint<u64>> {
        let retained = self.retained.read();
        retained.find(from, selection.may_select_presence())
    }

    /// The position after the event with this id. `None` if memory does not know the id, if it has evicted a
    /// later event that the subscriber may select, or if events may be missing right after the id (a hole).
    pub(crate) fn cursor_after(&self, id: EventId, selection: &Selection) -> Option<u64> {
        let retained = self.retained.read();
        retained.cursor_after(id, selection.may_select_presence())
    }

    /// Finds where a subscriber starts. If the log does not know the requested event, or does not retain
    /// every later one, the subscriber starts at the oldest retained event. It first receives a gap with the
    /// reason, unless the log knows that none of the missed events was for it.
    pub(crate) fn resume(&self, from: &ResumeFrom, selection: &Selection) -> ResumePoint<u64> {
        let retained = self.retained.read();
        // `false`: evicted presence events do not matter for the start. If the subscriber wants them, a later
        // `read` reports them as missing, and it then receives a gap.
        if let Some(point) = retained.find(from, false) {
            return point;
        }
        let (oldest, next) = (retained.oldest(), retained.next);
        let all_with_gap = |reason, missed| {
            let last = retained.epoch_history.id_before(oldest);
            ResumePoint::after_gap(oldest, reason, from, last, missed)
        };
        match from {
            ResumeFrom::Now | ResumeFrom::Snapshot | ResumeFrom::Earliest => {
                ResumePoint::at(oldest, false)
            }
            ResumeFrom::Since(since) => {
                let begin = Instant::now().checked_sub(since.age(SystemTime::now()));
                retained.since(from, begin, selection.may_select_presence())
            }
            ResumeFrom::Unknown(_) => all_with_gap(GapReason::Unknown, None),
            ResumeFrom::AfterGiven(given) => match retained.given.get(given.as_str()) {
                Some(position) => ResumePoint::at(position + 1, true),
                None => all_with_gap(GapReason::Unknown, None),
            },
            ResumeFrom::After { id, .. } => match retained.epoch_history.after(*id) {
                None => all_with_gap(GapReason::Epoch, None),
                Some(position) if position > next => all_with_gap(GapReason::Unknown, None),
                Some(position) => match self.missed(&retained, position..oldest, selection) {
                    Some(0) => ResumePoint::at(oldest, false),
                    missed => all_with_gap(GapReason::Evicted, missed),
                },
            },
        }
    }

    /// The gap for a subscriber that missed the events at the positions `lost`. `None` if the log knows that
    /// none of these events was for it.
    pub(crate) fn gap(&self, lost: Range<u64>, selection: &Selection) -> Option<Gap> {
        let retained = self.retained.read();
        let missed = self.missed(&retained, lost.clone(), selection);
        let before = retained.epoch_history.id_before(lost.start);
        let after = retained.epoch_history.id_before(lost.end);
        let is_same = |before: EventId, after: EventId| before.epoch == after.epoch;
        let reason = match before.zip(after) {
            Some((before, after)) if !is_same(before, after) => GapReason::Epoch,
            _ => GapReason::Evicted,
        };
        let requested = before.map_or_else(|| EARLIEST.to_owned(), |id| id.to_string());
        (missed != Some(0)).then(|| Gap::new(reason, &requested, after, missed))
    }

    /// The gap for a subscriber at this cursor that missed only presence events (events about active
    /// subscriptions).
    pub(crate) fn gap_of_presence(&self, cursor: u64) -> Gap {
        let last = self.retained.read().epoch_history.id_before(cursor);
        let requested = last.map_or_else(|| EARLIEST.to_owned(), |id| id.to_string());
        Gap::new(GapReason::Evicted, &requested, last, None)
    }

    /// How many of the events at the missing positions `gone` this selection selects. Known only if all of
    /// them were on the log's own topic, otherwise `None`.
    fn missed(&self, retained: &Retained, gone: Range<u64>, selection: &Selection) -> Option<u64> {
        if gone.start < retained.unknown_audience_before {
            return None;
        }
        let missed = gone.end - gone.start;
        Some(if selection.selects(&self.own) {
            missed
        } else {
            0
        })
    }
}
