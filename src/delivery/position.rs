//! The position of a subscriber in the log in memory.
//!
//! The cursor and the last id that the client knows are stored separately, because events that are not
//! for the subscriber move only the cursor.

/// A subscriber's cursor in the log, and the position up to which its client knows event ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The subscriber has received every event before this position that its selection includes.
    pub(crate) cursor: u64,
    /// The position after the event whose id is the client's last event id. A client that reconnects resumes
    /// here. Smaller than `cursor` if the events in between were not for this subscriber.
    pub(crate) announced: u64,
}

impl Position {
    /// The position of a client that knows the id of the event right before `cursor`.
    pub(crate) fn announced_at(cursor: u64) -> Self {
        let announced = cursor;
        Self { cursor, announced }
    }

    /// Returns this position with the cursor moved forward to `cursor`, but never back.
    pub(crate) fn at_least(self, cursor: u64) -> Self {
        Self {
            cursor: self.cursor.max(cursor),
            ..self
        }
    }

    /// Whether the client should receive a checkpoint, an event that sets its last event id to the one before
    /// `cursor`. That is the case if the client's last event id is an older one from before `newer_half`,
    /// where the newer half of the history begins. That older event may soon be evicted.
    pub(crate) fn is_at_risk(self, cursor: u64, newer_half: u64) -> bool {
        self.announced < cursor.min(newer_half)
    }
}
