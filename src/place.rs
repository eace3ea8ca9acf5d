//! Where a subscriber stands in the log in memory.

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// It has every event of its selection before this number.
    pub(crate) cursor: u64,
    /// It would resume at this one if it were cut off: some in between were not for it.
    pub(crate) told: u64,
}

impl Place {
    /// The place of a client whose last id is that before this number.
    pub(crate) fn told_of(cursor: u64) -> Self {
        let told = cursor;
        Self { cursor, told }
    }

    /// The same, or this one where that is later.
    pub(crate) fn at_least(self, cursor: u64) -> Self {
        Self {
            cursor: self.cursor.max(cursor),
            told: self.told,
        }
    }
}
