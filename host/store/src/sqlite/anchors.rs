//! The tables of [checkpoints](crate::anchors) in a SQLite file.

use super::reads::first;
use crate::{
    anchors::{ADD, CheckpointRow, JournalEnd},
    columns::integer,
    error::StoreError,
    rows::Commit,
};
use proviso_ledger::model::ids::CustomerId;
use rusqlite::{Connection, TransactionBehavior};

/// Replaces what an attempt left that was interrupted.
const ADD_END: &str = "INSERT INTO anchors (customer_id, checkpoint, seq, hash) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (customer_id, checkpoint) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";

/// The number of the newest checkpoint, 0 when there is none.
pub fn newest(connection: &Connection) -> Result<i64, StoreError> {
    let newest =
        first(connection, "SELECT coalesce(max(number), 0) FROM checkpoints", [], |row| Ok(row.get(0)?))?;
    Ok(newest.unwrap_or(0))
}

/// Stores ends that the next checkpoint names.
pub fn add_ends(
    connection: &mut Connection,
    number: u64,
    ends: &[(CustomerId, JournalEnd)],
) -> Result<Commit, StoreError> {
    // Rolled back when it is dropped.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert = transaction.prepare_cached(ADD_END)?;
        for (customer, end) in ends {
            insert.execute((customer.as_str(), integer(number), integer(end.seq), end.hash))?;
        }
    }
    transaction.commit()?;
    Ok(Commit::Durable)
}

/// Stores a checkpoint whose ends are stored, if its number is the next one.
pub fn add(connection: &mut Connection, checkpoint: CheckpointRow) -> Result<Commit, StoreError> {
    let CheckpointRow { number, at, statement, catalog, signature, public_key } = checkpoint;
    let row = (integer(number), at.0, statement, catalog, signature, public_key);
    match connection.prepare_cached(ADD)?.execute(row)? {
        0 => Ok(Commit::Conflict),
        _ => Ok(Commit::Durable),
    }
}
