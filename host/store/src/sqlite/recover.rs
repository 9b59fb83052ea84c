//! Brings the tail in memory to where the file is: at the start, and after a commit whose end is unknown.

use super::tail::{Appended, Place, Pos, Tail};
use crate::{
    StoreError,
    columns::{Columns, broken, bytes, key, seq},
};
use proviso_ledger::model::time::Timestamp;
use rusqlite::{Connection, Row, types::ValueRef};

/// Takes in whatever lies after `last_pos` and is not in the index tables yet, in one read snapshot. Returns the last
/// position in the file.
pub fn catch_up(connection: &mut Connection, tail: &Tail, last_pos: Pos) -> Result<Pos, StoreError> {
    let snapshot = connection.transaction()?;
    let indexed: Pos = snapshot.query_row("SELECT indexed_pos FROM progress", [], |row| row.get(0))?;
    let mut last_pos = last_pos.max(indexed);
    let mut found = Vec::new();
    {
        let sql = "SELECT pos, customer_id, seq, key_hash, at FROM entries WHERE pos > ?1 \
                   UNION ALL SELECT pos, customer_id, seq, key_hash, NULL FROM further_keys WHERE pos > ?1 \
                   ORDER BY pos";
        let mut statement = snapshot.prepare(sql)?;
        let mut rows = statement.query([last_pos])?;
        while let Some(row) = rows.next()? {
            last_pos = row.get(0)?;
            found.push(decode(row)?);
        }
    }
    snapshot.finish()?;
    // Only now, so that an error above leaves the tail as it was.
    take_in(tail, &found)?;
    Ok(last_pos)
}

fn take_in(tail: &Tail, found: &[Appended]) -> Result<(), StoreError> {
    let view = tail.view();
    for appended in found {
        if let Appended::Entry { customer, place, .. } = appended
            && view.head(customer).is_some_and(|head| head.checked_add(1) != Some(place.seq))
        {
            return Err(broken(format!("entry {} of {customer} does not follow the one before", place.seq)));
        }
        tail.add([appended]);
    }
    Ok(())
}

fn decode(row: &Row<'_>) -> Result<Appended, StoreError> {
    let (pos, customer, seq) = (row.get(0)?, key(row, 1)?, seq(row, 2)?);
    let has_key = row.get_ref(3)? != ValueRef::Null;
    let key_hash = has_key.then(|| bytes(row, 3)).transpose()?;
    match (row.optional(4)?, key_hash) {
        (Some(at), key_hash) => {
            Ok(Appended::Entry { customer, place: Place { seq, at: Timestamp(at), pos }, key_hash })
        }
        (None, Some(key_hash)) => Ok(Appended::Key { customer, key_hash, seq }),
        (None, None) => Err(broken("a further key without a hash")),
    }
}
