//! Brings the memtable to where the file is: at the start, and after a commit whose outcome is unknown.

use super::memtable::{Appended, EntryPos, Memtables, Pos};
use crate::{
    columns::{Columns, bytes, corrupt, key, seq},
    error::StoreError,
};
use proviso_ledger::model::time::Timestamp;
use rusqlite::{Connection, Row, types::ValueRef};

/// Adds the rows after `last_pos` that are not in the index tables yet, read in one transaction. Returns the last
/// position in the file.
pub fn catch_up(
    connection: &mut Connection,
    memtables: &Memtables,
    last_pos: Pos,
) -> Result<Pos, StoreError> {
    let transaction = connection.transaction()?;
    let indexed: Pos = transaction.query_row("SELECT indexed_pos FROM progress", [], |row| row.get(0))?;
    let mut last_pos = last_pos.max(indexed);
    let mut found = Vec::new();
    {
        let sql = "SELECT pos, customer_id, seq, key_hash, at FROM entries WHERE pos > ?1 \
                   UNION ALL SELECT pos, customer_id, seq, key_hash, NULL FROM further_keys WHERE pos > ?1 \
                   ORDER BY pos";
        let mut statement = transaction.prepare(sql)?;
        let mut rows = statement.query([last_pos])?;
        while let Some(row) = rows.next()? {
            last_pos = row.get(0)?;
            found.push(decode(row)?);
        }
    }
    transaction.finish()?;
    // Only now, so that an error above leaves the memtable as it was.
    add(memtables, &found)?;
    Ok(last_pos)
}

fn add(memtables: &Memtables, found: &[Appended]) -> Result<(), StoreError> {
    let view = memtables.view();
    for appended in found {
        if let Appended::Entry { customer, entry, .. } = appended
            && view.head(customer).is_some_and(|head| head.checked_add(1) != Some(entry.seq))
        {
            return Err(corrupt(format!("entry {} of {customer} does not follow the one before", entry.seq)));
        }
        memtables.add([appended]);
    }
    Ok(())
}

fn decode(row: &Row<'_>) -> Result<Appended, StoreError> {
    let (pos, customer, seq) = (row.get(0)?, key(row, 1)?, seq(row, 2)?);
    let has_key = row.get_ref(3)? != ValueRef::Null;
    let key_hash = has_key.then(|| bytes(row, 3)).transpose()?;
    match (row.optional(4)?, key_hash) {
        (Some(at), key_hash) => {
            Ok(Appended::Entry { customer, entry: EntryPos { seq, at: Timestamp(at), pos }, key_hash })
        }
        (None, Some(key_hash)) => Ok(Appended::Key { customer, key_hash, seq }),
        (None, None) => Err(corrupt("a further key without a hash")),
    }
}
