//! Tracks which acknowledged events a crash could lose, and decides whether the next commit is synced. Pure:
//! the time is an argument.
//!
//! redb does not make a commit visible in the file until a later commit is synced. So a crash of the process
//! alone (SIGKILL) also loses the events that are not synced, although the machine continues.

use std::time::{Duration, Instant};

use super::super::record::Record;

/// Whether all acknowledged events are synced to disk. The file has a flag, the mark, which says that some
/// may not be. It is set and synced before any event is acknowledged without a sync. If a process finds the
/// mark when it starts, events may be lost.
#[derive(Debug, Default)]
pub(super) enum SyncState {
    /// All events are synced. The mark, a flag in the file that says otherwise, is not set.
    #[default]
    AtRest,
    /// All events are synced, but the mark (the flag for unsynced events) is still set. The next events can
    /// therefore be acknowledged without a sync.
    Marked,
    /// Some acknowledged events are not synced. The mark, a flag in the file that says so, is set.
    Unsynced(Unsynced),
}

/// Acknowledged events that are not synced to disk. They stay in memory, so that they can be written again if
/// the file loses them, as it does after a failed sync. Until then, they are nowhere else.
#[derive(Debug)]
pub(super) struct Unsynced {
    records: Vec<Record>,
    /// Approximate memory of `records`, in bytes.
    bytes: usize,
    /// When the oldest of these events was committed without a sync.
    since: Instant,
}

/// What a commit must achieve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Append events. They may be synced by a later commit.
    Append,
    /// Append events, and sync all events to disk.
    Sync,
    /// Append events, sync all events, and remove the mark (the file's flag for unsynced events). For a
    /// flush, or before the thread ends.
    Rest,
}

/// How a commit is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durability {
    /// Whether the commit is synced to disk. Such a commit also syncs all events of earlier commits.
    pub(super) synced: bool,
    /// Whether the mark is set after the commit. The mark is the flag in the file for events that may not be
    /// synced.
    pub(super) marked: bool,
}

impl SyncState {
    pub(super) fn durability(&self, goal: Goal, sync_interval: Option<Duration>) -> Durability {
        Durability {
            // The first commit after `AtRest` sets the mark, so it must be synced. Otherwise a crash could
            // lose the mark together with events, and the next process would not notice the loss.
            synced: goal != Goal::Append || matches!(self, Self::AtRest),
            marked: sync_interval.is_some() && goal != Goal::Rest,
        }
    }

    /// Whether a commit is necessary for this goal even if there are no events to append.
    pub(super) fn needs_commit(&self, goal: Goal) -> bool {
        match self {
            Self::AtRest => false,
            Self::Marked => goal == Goal::Rest,
            Self::Unsynced(_) => goal != Goal::Append,
        }
    }

    /// Updates the state after a successful commit of `records`, which use about `bytes` bytes of memory.
    pub(super) fn committed(
        &mut self,
        durability: Durability,
        records: Vec<Record>,
        bytes: usize,
        now: Instant,
    ) {
        match (durability, &mut *self) {
            (
                Durability {
                    synced: true,
                    marked,
                },
                _,
            ) => {
                *self = if marked { Self::Marked } else { Self::AtRest };
            }
            (_, Self::Unsynced(unsynced)) => {
                unsynced.records.extend(records);
                unsynced.bytes += bytes;
            }
            _ => {
                let since = now;
                *self = Self::Unsynced(Unsynced {
                    records,
                    bytes,
                    since,
                });
            }
        }
    }

    /// When the oldest event that is not synced was committed. `None` if all events are synced.
    pub(super) fn since(&self) -> Option<Instant> {
        match self {
            Self::Unsynced(unsynced) => Some(unsynced.since),
            Self::AtRest | Self::Marked => None,
        }
    }

    /// The acknowledged events that are not synced to disk.
    pub(super) fn records(&self) -> &[Record] {
        match self {
            Self::Unsynced(unsynced) => &unsynced.records,
            Self::AtRest | Self::Marked => &[],
        }
    }

    /// Approximate memory of the acknowledged events that are not synced, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Unsynced(unsynced) => unsynced.bytes,
            Self::AtRest | Self::Marked => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::event::Event;

    const WITHIN: Option<Duration> = Some(Duration::from_secs(1));

    /// Commits one record. Returns whether the commit was synced, and whether the mark (the flag for unsynced
    /// events) is set afterwards.
    fn commit(state: &mut SyncState, goal: Goal, sync_interval: Option<Duration>) -> (bool, bool) {
        let durability = state.durability(goal, sync_interval);
        let record = Record::of(&Event::message(""), SystemTime::now());
        state.committed(durability, vec![record], 100, Instant::now());
        (durability.synced, durability.marked)
    }

    #[test]
    fn with_always_each_commit_is_synced_and_no_mark_is_set() {
        let mut state = SyncState::default();
        for _ in 0..2 {
            assert_eq!(commit(&mut state, Goal::Sync, None), (true, false));
            assert!(matches!(state, SyncState::AtRest));
        }
    }

    #[test]
    fn with_an_interval_the_mark_is_synced_first_and_removed_last() {
        let mut state = SyncState::default();
        assert!(!state.needs_commit(Goal::Rest));
        assert_eq!(commit(&mut state, Goal::Append, WITHIN), (true, true));
        assert!(state.needs_commit(Goal::Rest) && !state.needs_commit(Goal::Sync));
        assert_eq!(commit(&mut state, Goal::Append, WITHIN), (false, true));
        assert_eq!(commit(&mut state, Goal::Append, WITHIN), (false, true));
        assert_eq!((state.records().len(), state.bytes()), (2, 200));
        assert!(state.needs_commit(Goal::Sync) && !state.needs_commit(Goal::Append));
        assert_eq!(commit(&mut state, Goal::Sync, WITHIN), (true, true));
        assert_eq!((state.records().len(), state.since()), (0, None));
        assert_eq!(commit(&mut state, Goal::Rest, WITHIN), (true, false));
        assert!(!state.needs_commit(Goal::Rest));
    }
}
