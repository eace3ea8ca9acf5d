//! The reasons to suspect that acknowledged events are missing from a log file.

use thiserror::Error;

/// Why acknowledged events may be missing from a log file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(in crate::event_log) enum Loss {
    #[error(
        "was not synced when its last process ended, so that events acknowledged then may be missing"
    )]
    Unsynced,
    #[error(
        "does not match {0}: it was damaged, or replaced by an older copy, and acknowledged events may be \
         missing"
    )]
    Mismatch(String),
    #[error(
        "cannot be checked for loss: {0}, which records the last acknowledged event, is missing"
    )]
    Unrecorded(String),
    #[error(
        "cannot be checked for loss: {0}, which records the last acknowledged event, is damaged"
    )]
    Damaged(String),
}
