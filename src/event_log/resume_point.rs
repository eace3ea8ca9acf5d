//! Describes where a new subscriber starts, in memory or in the archive (the whole log in Redis), and what it
//! receives first.

use crate::event::{EventId, Gap, GapReason, ResumeFrom};

/// Where a new subscriber starts, and the gap that it receives first, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResumePoint<C> {
    pub(crate) cursor: C,
    /// Whether the client already knows an id of the event right before `cursor`: it sent one, or the gap
    /// contains one. If not, the first bytes of the stream (the greeting) tell the client the id.
    pub(crate) is_announced: bool,
    /// The gap that the subscriber receives first. `None` if it misses no event, as far as is known when it
    /// starts.
    pub(crate) gap: Option<Gap>,
}

impl<C> ResumePoint<C> {
    /// A resume point without a gap.
    pub(super) fn at(cursor: C, is_announced: bool) -> Self {
        Self {
            cursor,
            is_announced,
            gap: None,
        }
    }

    /// A resume point with a gap. `from` is what the client requested. `last` is the id right before
    /// `cursor`, if known. `missed` is how many events for this subscriber are missing, if known.
    pub(super) fn after_gap(
        cursor: C,
        reason: GapReason,
        from: &ResumeFrom,
        last: Option<EventId>,
        missed: Option<u64>,
    ) -> Self {
        Self {
            cursor,
            is_announced: last.is_some(),
            gap: Some(Gap::new(reason, from, last, missed)),
        }
    }

    pub(super) fn map<D>(self, cursor: impl FnOnce(C) -> D) -> ResumePoint<D> {
        ResumePoint {
            cursor: cursor(self.cursor),
            is_announced: self.is_announced,
            gap: self.gap,
        }
    }
}
