//! The position of a subscriber in the log in memory.
//!
//! The cursor and the last id that the client knows are stored separately. An event that is not for the
//! subscriber moves only the cursor.

/// A subscriber's cursor in the log, and the position up to which its client knows event ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The position of the next event to read. The subscriber needs no earlier event: each was sent, was
    /// reported by a gap, or was not requested.
    pub(crate) cursor: u64,
    /// Where a client that reconnects now would resume: the position after the event with its last event id.
    /// Less than `cursor` if the events in between were not for this subscriber. 0 if unknown: when the
    /// subscriber switched from the archive (the whole log in Redis) to memory, the last events that it had
    /// read there were not for it. With 0, the next heartbeat is a checkpoint.
    pub(crate) announced: u64,
}

impl Position {
    /// The position of a client whose last event id is that of the event right before `cursor`. So
    /// `announced` equals `cursor`.
    pub(crate) fn announced_at(cursor: u64) -> Self {
        let announced = cursor;
        Self { cursor, announced }
    }

    /// Returns this position with the later of its own cursor and `cursor`. `announced` stays the same.
    pub(crate) fn at_least(self, cursor: u64) -> Self {
        Self {
            cursor: self.cursor.max(cursor),
            ..self
        }
    }

    /// Whether the client needs a checkpoint, an event that only sets its last event id. This is so if its
    /// last event id is from before position `newer_half` and so may soon be evicted: the newer half of the
    /// history begins there. Returns `false` if the id before `cursor`, which the checkpoint would have, is
    /// not newer.
    pub(crate) fn is_at_risk(self, cursor: u64, newer_half: u64) -> bool {
        self.announced < cursor.min(newer_half)
    }
}
