//! Where a subscriber stands in the log in memory.

/// A subscriber's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// It has every event of its selection before this number.
    pub(crate) cursor: u64,
    /// The number after the last id that the client knows: it would resume here if its connection were cut.
    /// Smaller than `cursor` if the events in between were not for it.
    pub(crate) announced: u64,
}

impl Place {
    /// The position of a client whose last id is that of the event before this number.
    pub(crate) fn announced_at(cursor: u64) -> Self {
        let announced = cursor;
        Self { cursor, announced }
    }

    /// Moves the cursor up to this number, if that is later.
    pub(crate) fn at_least(self, cursor: u64) -> Self {
        Self {
            cursor: self.cursor.max(cursor),
            ..self
        }
    }

    /// Whether the client's last id may soon be evicted, because it is of an event before `newer_half`, the
    /// oldest one in the newer half of the history; and a checkpoint at `cursor` would give it a newer id.
    pub(crate) fn is_at_risk(self, cursor: u64, newer_half: u64) -> bool {
        self.announced < cursor.min(newer_half)
    }
}
