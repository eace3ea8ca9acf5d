//! The position of a subscriber in the log in memory.
//!
//! The cursor and the last id that the client knows are kept apart, because events that are not for the
//! subscriber move only the cursor.

/// A subscriber's cursor, and the position up to which its client knows ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The subscriber has received every event of its selection before this position.
    pub(crate) cursor: u64,
    /// The position after the last id that the client knows. A client that reconnects resumes here. Smaller
    /// than `cursor` if the events in between were not for this subscriber.
    pub(crate) announced: u64,
}

impl Position {
    /// The position of a client that knows the id of the event right before `cursor`.
    pub(crate) fn announced_at(cursor: u64) -> Self {
        let announced = cursor;
        Self { cursor, announced }
    }

    /// Moves the cursor forward to `cursor`, but never back.
    pub(crate) fn at_least(self, cursor: u64) -> Self {
        Self {
            cursor: self.cursor.max(cursor),
            ..self
        }
    }

    /// Whether a checkpoint at `cursor` is useful: it would give the client a newer id, and the id that the
    /// client has may soon be evicted because its event is before `newer_half`. That is the position where
    /// the newer half of the history begins.
    pub(crate) fn is_at_risk(self, cursor: u64, newer_half: u64) -> bool {
        self.announced < cursor.min(newer_half)
    }
}
