//! The idempotency keys in a log file, numbered in the order of their first use.

use std::ops::Range;

use redb::{Database, ReadableDatabase as _, StorageError, TableDefinition, TableError};

use super::super::key_index::UsedKey;

const KEYS: TableDefinition<u64, &[u8]> = TableDefinition::new("keys");

/// Name of the row in the table `about` that has the number of the next idempotency key. Absent until a key
/// is stored.
pub(super) const NEXT_KEY_NUMBER: &str = "next_key";

/// The changes of the idempotency keys.
#[derive(Debug)]
pub(in crate::event_log) struct KeyBatch<'a> {
    /// The number of the first key in `used`. The others have the numbers that follow.
    pub(in crate::event_log) first: u64,
    pub(in crate::event_log) used: &'a [UsedKey],
    /// Numbers of the keys that are forgotten. Some may be removed already.
    pub(in crate::event_log) forgotten: Range<u64>,
}

/// The idempotency keys of a file, oldest first.
#[derive(Debug)]
pub(in crate::event_log) struct StoredKeys {
    /// The number of the first key. The others have the numbers that follow.
    pub(in crate::event_log) first: u64,
    pub(in crate::event_log) used: Vec<UsedKey>,
}

/// Reads the keys. `next`: the number that the next one will have; `None`: none was ever stored.
pub(super) fn read(db: &Database, next: Option<u64>) -> Result<StoredKeys, redb::Error> {
    let next = next.unwrap_or(0);
    let table = match db.begin_read()?.open_table(KEYS) {
        // A file of a version without idempotency keys.
        Err(TableError::TableDoesNotExist(_)) => {
            return Ok(StoredKeys {
                first: next,
                used: Vec::new(),
            });
        }
        table => table?,
    };
    let mut used = Vec::new();
    for row in table.range(0..)? {
        let (number, bytes) = row?;
        let number = number.value();
        let key = UsedKey::from_bytes(bytes.value())
            .ok_or_else(|| corrupted(format!("idempotency key {number} is malformed")))?;
        used.push(key);
    }
    let first = next.checked_sub(used.len() as u64);
    let first =
        first.ok_or_else(|| corrupted("its idempotency keys are not numbered".to_owned()))?;
    Ok(StoredKeys { first, used })
}

impl KeyBatch<'_> {
    pub(super) fn write(
        &self,
        txn: &redb::WriteTransaction,
        about: &mut redb::Table<'_, &str, u64>,
    ) -> Result<(), redb::Error> {
        if self.used.is_empty() && self.forgotten.is_empty() {
            return Ok(());
        }
        let mut table = txn.open_table(KEYS)?;
        for (number, key) in (self.first..).zip(self.used) {
            table.insert(number, &key.to_bytes()[..])?;
        }
        table.retain_in(self.forgotten.clone(), |_, _| false)?;
        about.insert(NEXT_KEY_NUMBER, self.first + self.used.len() as u64)?;
        Ok(())
    }
}

pub(super) fn corrupted(what: String) -> redb::Error {
    StorageError::Corrupted(what).into()
}
