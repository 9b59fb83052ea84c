//! [Usage totals](crate::rollups) in a SQLite file.

use super::{
    reads::{all, first},
    store::SqliteStore,
    writer::Job,
};
use crate::{
    columns::integer,
    error::StoreError,
    rollups::{RollupCursor, RollupId, RollupRow, RollupSpan, RollupStore, RollupUpdate, cursor, rollup},
    rows::Commit,
};
use proviso_ledger::model::ids::CustomerId;
use rusqlite::{Connection, TransactionBehavior};

const CURSOR: &str = "SELECT seq, format FROM rollup_cursors WHERE customer_id = ?1";
const IN_SPAN: &str = "SELECT grain, kind, slot, key_hash, body FROM usage_rollups \
     WHERE customer_id = ?1 AND grain = ?2 AND kind = ?3 AND slot >= ?4 AND slot < ?5 \
     ORDER BY slot, key_hash";
const AT: &str = "SELECT grain, kind, slot, key_hash, body FROM usage_rollups \
     WHERE customer_id = ?1 AND grain = ?2 AND kind = ?3 AND slot = ?4 AND key_hash = ?5";
const DROP: &str = "DELETE FROM usage_rollups WHERE customer_id = ?1";
const PUT: &str = "INSERT INTO usage_rollups (customer_id, grain, kind, slot, key_hash, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (customer_id, grain, kind, slot, key_hash) DO UPDATE SET body = excluded.body";
const MOVE: &str = "INSERT INTO rollup_cursors (customer_id, seq, format) VALUES (?1, ?2, ?3) \
     ON CONFLICT (customer_id) DO UPDATE SET seq = excluded.seq, format = excluded.format";

#[async_trait::async_trait]
impl RollupStore for SqliteStore {
    async fn rollups(
        &self,
        customer: &CustomerId,
        spans: &[RollupSpan],
    ) -> Result<(RollupCursor, Vec<RollupRow>), StoreError> {
        let (customer, spans) = (customer.clone(), spans.to_vec());
        let read = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut rows = Vec::new();
            for RollupSpan { grain, kind, slots } in spans {
                let bounds = (customer.as_str(), grain, kind, slots.start, slots.end);
                rows.extend(all(&transaction, IN_SPAN, bounds, |row| rollup(row))?);
            }
            Ok((cursor_of(&transaction, &customer)?, rows))
        };
        self.reads().readers.read(read).await
    }

    async fn rollups_at(
        &self,
        customer: &CustomerId,
        ids: &[RollupId],
    ) -> Result<(RollupCursor, Vec<RollupRow>), StoreError> {
        let (customer, ids) = (customer.clone(), ids.to_vec());
        let read = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut rows = Vec::new();
            for RollupId { grain, kind, slot, key } in ids {
                let place = (customer.as_str(), grain, kind, slot, key);
                rows.extend(first(&transaction, AT, place, |row| rollup(row))?);
            }
            Ok((cursor_of(&transaction, &customer)?, rows))
        };
        self.reads().readers.read(read).await
    }

    async fn put_rollups(&self, updates: Vec<RollupUpdate>) -> Result<Commit, StoreError> {
        self.write(|reply| Job::PutRollups { updates, reply }).await
    }
}

fn cursor_of(connection: &Connection, customer: &CustomerId) -> Result<RollupCursor, StoreError> {
    let found = first(connection, CURSOR, [customer.as_str()], |row| cursor(row, 0))?;
    Ok(found.unwrap_or_default())
}

/// Writes updates as a whole or not at all.
pub fn put(connection: &mut Connection, updates: &[RollupUpdate]) -> Result<Commit, StoreError> {
    // Rolled back when it is dropped.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert = transaction.prepare_cached(PUT)?;
        for RollupUpdate { customer, from, to, rows } in updates {
            if cursor_of(&transaction, customer)? != *from {
                return Ok(Commit::Conflict);
            }
            if from.format != to.format {
                transaction.prepare_cached(DROP)?.execute([customer.as_str()])?;
            }
            for RollupRow { id: RollupId { grain, kind, slot, key }, body } in rows {
                insert.execute((customer.as_str(), grain, kind, slot, key, body))?;
            }
            transaction.prepare_cached(MOVE)?.execute((customer.as_str(), integer(to.through), to.format))?;
        }
    }
    transaction.commit()?;
    Ok(Commit::Durable)
}
