//! The table of revoked tokens in a log file.

use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
};

use super::super::revocations::Revocations;

/// Maps what is revoked to the time in milliseconds since 1970.
const REVOCATIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("revocations");

pub(super) fn read(db: &Database) -> Result<Revocations, redb::Error> {
    let table = match db.begin_read()?.open_table(REVOCATIONS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Revocations::new()),
        table => table?,
    };
    let mut revocations = Revocations::new();
    for row in table.iter()? {
        let (tokens, at) = row?;
        revocations.insert(tokens.value().to_owned(), at.value());
    }
    Ok(revocations)
}

/// Changes the table from `old` to `new`. The changes are on the disk on return.
pub(super) fn write(
    db: &Database,
    old: &Revocations,
    new: &Revocations,
) -> Result<(), redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    {
        let mut table = txn.open_table(REVOCATIONS)?;
        for tokens in old.keys().filter(|tokens| !new.contains_key(*tokens)) {
            table.remove(&**tokens)?;
        }
        for (tokens, at) in new
            .iter()
            .filter(|(tokens, at)| old.get(*tokens) != Some(at))
        {
            table.insert(&**tokens, at)?;
        }
    }
    txn.commit()?;
    Ok(())
}
