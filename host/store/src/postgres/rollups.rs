//! Keeps [usage totals](crate::rollups) in a PostgreSQL database.

use super::store::PostgresStore;
use crate::{
    columns::{Columns, integer},
    error::StoreError,
    rollups::{RollupCursor, RollupId, RollupRow, RollupSpan, RollupStore, RollupUpdate, cursor, rollup},
    rows::Commit,
};
use proviso_ledger::model::ids::CustomerId;
use sqlx::postgres::PgRow;

/// One statement, so that totals and cursor are as of one moment; the cursor's row has the grain -1.
const IN_SPANS: &str = "\
SELECT r.grain, r.kind, r.slot, r.key_hash, r.body \
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS s (grain, kind, first, last) \
CROSS JOIN LATERAL (SELECT grain, kind, slot, key_hash, body FROM usage_rollups \
  WHERE customer_id = $1 AND usage_rollups.grain = s.grain AND usage_rollups.kind = s.kind \
    AND slot >= s.first AND slot < s.last) AS r \
UNION ALL SELECT -1, seq, format, NULL, NULL FROM rollup_cursors WHERE customer_id = $1";

const AT: &str = "\
SELECT r.grain, r.kind, r.slot, r.key_hash, r.body \
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[]) AS s (grain, kind, slot, key_hash) \
CROSS JOIN LATERAL (SELECT grain, kind, slot, key_hash, body FROM usage_rollups \
  WHERE customer_id = $1 AND usage_rollups.grain = s.grain AND usage_rollups.kind = s.kind \
    AND usage_rollups.slot = s.slot AND usage_rollups.key_hash = s.key_hash) AS r \
UNION ALL SELECT -1, seq, format, NULL, NULL FROM rollup_cursors WHERE customer_id = $1";

/// In order of the keys, so that hosts that write the same customers wait for each other and don't deadlock.
const BEGIN_CURSORS: &str = "\
INSERT INTO rollup_cursors (customer_id, seq, format) \
SELECT n.customer_id, 0, 0 FROM unnest($1::text[]) AS n (customer_id) ORDER BY n.customer_id \
ON CONFLICT (customer_id) DO NOTHING";

const LOCK_CURSORS: &str = "\
SELECT customer_id FROM rollup_cursors WHERE customer_id = ANY ($1::text[]) ORDER BY customer_id FOR UPDATE";

const MOVE_CURSORS: &str = "\
UPDATE rollup_cursors AS c SET seq = n.seq, format = n.format \
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) \
  AS n (customer_id, from_seq, from_format, seq, format) \
WHERE c.customer_id = n.customer_id AND c.seq = n.from_seq AND c.format = n.from_format";

const DROP: &str = "DELETE FROM usage_rollups WHERE customer_id = ANY ($1::text[])";

const PUT: &str = "\
INSERT INTO usage_rollups (customer_id, grain, kind, slot, key_hash, body) \
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::text[]) \
ON CONFLICT (customer_id, grain, kind, slot, key_hash) DO UPDATE SET body = excluded.body";

#[async_trait::async_trait]
impl RollupStore for PostgresStore {
    async fn rollups(
        &self,
        customer: &CustomerId,
        spans: &[RollupSpan],
    ) -> Result<(RollupCursor, Vec<RollupRow>), StoreError> {
        let grains: Vec<_> = spans.iter().map(|span| i64::from(span.grain)).collect();
        let kinds: Vec<_> = spans.iter().map(|span| i64::from(span.kind)).collect();
        let firsts: Vec<_> = spans.iter().map(|span| span.slots.start).collect();
        let lasts: Vec<_> = spans.iter().map(|span| span.slots.end).collect();
        let query = || {
            let query = sqlx::query(IN_SPANS).bind(customer.as_str()).bind(&grains).bind(&kinds);
            query.bind(&firsts).bind(&lasts)
        };
        decode(&self.pool().fetch(query).await?)
    }

    async fn rollups_at(
        &self,
        customer: &CustomerId,
        ids: &[RollupId],
    ) -> Result<(RollupCursor, Vec<RollupRow>), StoreError> {
        let grains: Vec<_> = ids.iter().map(|id| i64::from(id.grain)).collect();
        let kinds: Vec<_> = ids.iter().map(|id| i64::from(id.kind)).collect();
        let slots: Vec<_> = ids.iter().map(|id| id.slot).collect();
        let keys: Vec<_> = ids.iter().map(|id| id.key.as_slice()).collect();
        let query = || {
            let query = sqlx::query(AT).bind(customer.as_str()).bind(&grains).bind(&kinds);
            query.bind(&slots).bind(&keys)
        };
        decode(&self.pool().fetch(query).await?)
    }

    async fn put_rollups(&self, updates: Vec<RollupUpdate>) -> Result<Commit, StoreError> {
        self.host()?;
        let customers: Vec<_> = updates.iter().map(|update| update.customer.as_str()).collect();
        let cursors = |pick: fn(&RollupUpdate) -> i64| updates.iter().map(pick).collect::<Vec<_>>();
        let anew = |update: &&RollupUpdate| update.from.format != update.to.format;
        let dropped: Vec<_> = updates.iter().filter(anew).map(|update| update.customer.as_str()).collect();
        let mut lease = self.pool().lease().await?;
        lease.begin("BEGIN").await?;
        lease.execute(sqlx::query(BEGIN_CURSORS).bind(&customers)).await?;
        lease.fetch(sqlx::query(LOCK_CURSORS).bind(&customers)).await?;
        let moved = sqlx::query(MOVE_CURSORS)
            .bind(&customers)
            .bind(cursors(|update| integer(update.from.through)))
            .bind(cursors(|update| i64::from(update.from.format)))
            .bind(cursors(|update| integer(update.to.through)))
            .bind(cursors(|update| i64::from(update.to.format)));
        if lease.execute(moved).await? != customers.len() as u64 {
            lease.end("ROLLBACK").await?;
            return Ok(Commit::Conflict);
        }
        if !dropped.is_empty() {
            lease.execute(sqlx::query(DROP).bind(&dropped)).await?;
        }
        let rows: Vec<_> =
            updates.iter().flat_map(|update| update.rows.iter().map(|row| (&update.customer, row))).collect();
        if !rows.is_empty() {
            let numbers = |pick: fn(&RollupId) -> i64| rows.iter().map(|(_, row)| pick(&row.id)).collect();
            let (grains, kinds, slots): (Vec<i64>, Vec<i64>, Vec<i64>) =
                (numbers(|id| id.grain.into()), numbers(|id| id.kind.into()), numbers(|id| id.slot));
            let put = sqlx::query(PUT)
                .bind(rows.iter().map(|(customer, _)| customer.as_str()).collect::<Vec<_>>())
                .bind(grains)
                .bind(kinds)
                .bind(slots)
                .bind(rows.iter().map(|(_, row)| row.id.key.as_slice()).collect::<Vec<_>>())
                .bind(rows.iter().map(|(_, row)| row.body.as_str()).collect::<Vec<_>>());
            lease.execute(put).await?;
        }
        lease.end("COMMIT").await?;
        Ok(Commit::Durable)
    }
}

fn decode(rows: &[PgRow]) -> Result<(RollupCursor, Vec<RollupRow>), StoreError> {
    let (mut at, mut found) = (RollupCursor::default(), Vec::with_capacity(rows.len()));
    for row in rows {
        if row.integer(0)? < 0 {
            at = cursor(row, 1)?;
        } else {
            found.push(rollup(row)?);
        }
    }
    found.sort_unstable_by_key(|row| row.id);
    Ok((at, found))
}
