//! Snapshots: the current values of the topics that a subscriber asks for, sent before what follows.

use crate::{
    event::Gap,
    event_log::{Cursor, MemoryLog, ResumePoint, ValuesCursor},
};

/// Whether a subscriber receives snapshots, and which values it reads next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshot {
    /// The subscriber did not ask for snapshots.
    Off,
    /// The subscriber reads events. If some are missing, it receives a gap and then a snapshot.
    OnGap,
    /// The subscriber reads the values before its cursor.
    Reading(ValuesCursor),
}

impl Snapshot {
    pub(crate) fn is_on(self) -> bool {
        self != Self::Off
    }

    pub(crate) fn is_reading(self) -> bool {
        matches!(self, Self::Reading(_))
    }

    /// Begins a snapshot after a gap. Removes the id from the gap: a client that is disconnected during the
    /// snapshot must not resume after the gap, because it would lose the other values.
    pub(crate) fn begin_after(&mut self, gap: &mut Gap, log: &MemoryLog) {
        gap.resumed_after = None;
        *self = Self::Reading(log.begin_values());
    }
}

/// The start of a subscriber that asked for snapshots and for `start`. If it would start with a gap, it starts
/// with the gap and then a snapshot of the values before the position `head`. `is_first`: it asked to start
/// with a snapshot.
pub(crate) fn with_snapshot(
    start: ResumePoint<Cursor>,
    is_first: bool,
    head: u64,
    log: &MemoryLog,
) -> (ResumePoint<Cursor>, Snapshot) {
    let mut snapshot = if is_first {
        Snapshot::Reading(log.begin_values())
    } else {
        Snapshot::OnGap
    };
    let Some(mut gap) = start.gap else {
        return (start, snapshot);
    };
    snapshot.begin_after(&mut gap, log);
    let start = ResumePoint {
        cursor: Cursor::Memory(head),
        is_announced: true,
        gap: Some(gap),
    };
    (start, snapshot)
}
