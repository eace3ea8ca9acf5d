//! Which acknowledged events a crash of the machine could lose, and how the next commit must be made because of
//! it. Pure: the time is an argument.

use std::time::Instant;

use super::super::{kind::LogSync, record::Record};

/// What of the log is on the disk. The store has a mark that says whether something may not be: it is set, and
/// synced, before the first such event, so that the next process after a crash knows.
#[derive(Debug, Default)]
pub(super) enum SyncState {
    /// Everything is synced, and the mark is removed.
    #[default]
    AtRest,
    /// Everything is synced, and the mark is still set, because more events are expected.
    Marked,
    /// Acknowledged events are not synced.
    Unsynced(Unsynced),
}

/// Acknowledged events that are not synced, kept in case the store loses them.
#[derive(Debug)]
pub(super) struct Unsynced {
    records: Vec<Record>,
    /// Approximate size in memory, in bytes.
    bytes: usize,
    /// When the first of them was acknowledged.
    since: Instant,
}

/// What a commit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// To append events.
    Append,
    /// Also to sync all events.
    Sync,
    /// To sync all events and remove the mark, because no more events follow for now.
    Rest,
}

/// How a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durability {
    /// Whether everything is on the disk afterwards.
    pub(super) synced: bool,
    /// Whether the mark is set afterwards.
    pub(super) marked: bool,
}

impl SyncState {
    pub(super) fn durability(&self, goal: Goal, sync: LogSync) -> Durability {
        Durability {
            // The commit that sets the mark must be synced.
            synced: goal != Goal::Append || matches!(self, Self::AtRest),
            marked: sync != LogSync::Always && goal != Goal::Rest,
        }
    }

    /// Whether a commit without events does something for this goal.
    pub(super) fn needs_commit(&self, goal: Goal) -> bool {
        match self {
            Self::AtRest => false,
            Self::Marked => goal == Goal::Rest,
            Self::Unsynced(_) => goal != Goal::Append,
        }
    }

    /// Notes that a commit with these records succeeded. `bytes`: their size in memory.
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

    /// When the oldest event that is not synced was acknowledged.
    pub(super) fn since(&self) -> Option<Instant> {
        match self {
            Self::Unsynced(unsynced) => Some(unsynced.since),
            Self::AtRest | Self::Marked => None,
        }
    }

    /// Events that are not synced.
    pub(super) fn records(&self) -> &[Record] {
        match self {
            Self::Unsynced(unsynced) => &unsynced.records,
            Self::AtRest | Self::Marked => &[],
        }
    }

    /// Size of the events that are not synced, in bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Unsynced(unsynced) => unsynced.bytes,
            Self::AtRest | Self::Marked => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::event::Event;

    const WITHIN: LogSync = LogSync::Within(Duration::from_secs(1));

    /// Commits one record, and returns how.
    fn commit(state: &mut SyncState, goal: Goal, sync: LogSync) -> (bool, bool) {
        let durability = state.durability(goal, sync);
        let record = Record::of(&Event::message(""), SystemTime::now());
        state.committed(durability, vec![record], 100, Instant::now());
        (durability.synced, durability.marked)
    }

    #[test]
    fn with_always_each_commit_is_synced_and_no_mark_is_set() {
        let mut state = SyncState::default();
        for _ in 0..2 {
            assert_eq!(
                commit(&mut state, Goal::Sync, LogSync::Always),
                (true, false)
            );
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
