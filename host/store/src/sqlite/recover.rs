//! Brings the tail in memory to where the file is: at the start, and after a commit whose end is unknown.

use super::tail::{Appended, Place, Pos, Tail};
use crate::{
    StoreError,
    columns::{broken, bytes, key, seq},
};
use proviso_ledger::time::Timestamp;
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteRow};

/// Rows that are read at once.
const PAGE: i64 = 8192;

/// Takes in whatever lies after `last_pos` and is not in the index tables yet, in one read snapshot. Returns the last
/// position in the file.
pub async fn catch_up(
    connection: &mut SqliteConnection,
    tail: &Tail,
    last_pos: Pos,
) -> Result<Pos, StoreError> {
    let mut snapshot = connection.begin().await?;
    let indexed: Pos =
        sqlx::query_scalar("SELECT indexed_pos FROM progress").fetch_one(&mut *snapshot).await?;
    let mut last_pos = last_pos.max(indexed);
    let mut found = Vec::new();
    loop {
        let sql = "SELECT pos, customer_id, seq, key_hash, at FROM entries WHERE pos > ?1 \
                   UNION ALL SELECT pos, customer_id, seq, key_hash, NULL FROM further_keys WHERE pos > ?1 \
                   ORDER BY pos LIMIT ?2";
        let rows = sqlx::query(sql).bind(last_pos).bind(PAGE).fetch_all(&mut *snapshot).await?;
        let Some(last) = rows.last() else { break };
        last_pos = last.try_get(0)?;
        for row in &rows {
            found.push(decode(row)?);
        }
    }
    snapshot.rollback().await?;
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

fn decode(row: &SqliteRow) -> Result<Appended, StoreError> {
    let (pos, customer, seq) = (row.try_get(0)?, key(row, 1)?, seq(row, 2)?);
    let key_hash = row.try_get::<Option<&[u8]>, _>(3)?.map(|_| bytes(row, 3)).transpose()?;
    match (row.try_get::<Option<i64>, _>(4)?, key_hash) {
        (Some(at), key_hash) => {
            Ok(Appended::Entry { customer, place: Place { seq, at: Timestamp(at), pos }, key_hash })
        }
        (None, Some(key_hash)) => Ok(Appended::Key { customer, key_hash, seq }),
        (None, None) => Err(broken("a further key without a hash")),
    }
}
