//! Keeps [checkpoints](crate::anchors) in a PostgreSQL database.

use super::{catalog::number, pool::Pool, store::PostgresStore};
use crate::{
    anchors::{
        ADD, ANCHORS, Anchor, CHECKPOINTS, CatalogStamp, CheckpointRow, CheckpointStore, JournalEnd,
        JournalRow, NEWEST, anchor, checkpoint, end, stamp,
    },
    catalog::{REVISION, Table},
    columns::{Columns, integer, key},
    error::StoreError,
    rows::Commit,
};
use proviso_ledger::model::ids::CustomerId;
use sqlx::postgres::PgRow;
use std::time::Duration;

/// Ends that are inserted at once.
const CHUNK: usize = 5_000;

const CLAIM: &str = "\
WITH clock AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) \
UPDATE checkpoint_claim SET claimed_until = (SELECT now FROM clock) + $1 \
WHERE id = 1 AND claimed_until <= (SELECT now FROM clock) RETURNING id";

const RELEASE: &str = "UPDATE checkpoint_claim SET claimed_until = 0 WHERE id = 1";

/// A journal's last entry is never archived.
const ENDS: &str = "\
WITH wanted AS MATERIALIZED (SELECT customer_id FROM ( \
    (SELECT customer_id FROM customers WHERE customer_id > $1 ORDER BY customer_id LIMIT $2) UNION \
    (SELECT DISTINCT customer_id FROM anchors WHERE customer_id > $1 ORDER BY customer_id LIMIT $2)) AS known \
  ORDER BY customer_id LIMIT $2) \
SELECT w.customer_id, e.seq, e.hash, a.seq, a.hash FROM wanted AS w \
LEFT JOIN LATERAL (SELECT seq, hash FROM entries WHERE customer_id = w.customer_id \
  ORDER BY entries.seq DESC LIMIT 1) AS e ON true \
LEFT JOIN LATERAL (SELECT seq, hash FROM anchors WHERE customer_id = w.customer_id \
  ORDER BY checkpoint DESC LIMIT 1) AS a ON true \
ORDER BY w.customer_id";

const ADD_ENDS: &str = "INSERT INTO anchors (customer_id, checkpoint, seq, hash) \
     SELECT n.customer_id, $1, n.seq, n.hash FROM unnest($2::text[], $3::bigint[], $4::bytea[]) \
     AS n (customer_id, seq, hash)";

#[async_trait::async_trait]
impl CheckpointStore for PostgresStore {
    async fn claim_checkpoint(&self, claim: Duration) -> Result<bool, StoreError> {
        self.host()?;
        let micros = i64::try_from(claim.as_micros()).unwrap_or(i64::MAX / 2);
        Ok(!self.pool().fetch(|| sqlx::query(CLAIM).bind(micros)).await?.is_empty())
    }

    async fn release_checkpoint(&self) -> Result<(), StoreError> {
        self.host()?;
        self.pool().fetch(|| sqlx::query(RELEASE)).await.map(drop)
    }

    async fn journal_ends(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        // Every key is above the empty text.
        let after = after.map_or("", CustomerId::as_str);
        let query = || sqlx::query(ENDS).bind(after).bind(i64::from(limit));
        let rows = self.pool().fetch(query).await?;
        let decode = |row: &PgRow| {
            let end = optional_end(row, 1)?.unwrap_or(JournalEnd::GONE);
            Ok(JournalRow { customer: key(row, 0)?, end, anchored: optional_end(row, 3)? })
        };
        rows.iter().map(decode).collect()
    }

    async fn catalog_stamps(&self) -> Result<(u64, Vec<CatalogStamp>), StoreError> {
        let mut lease = self.pool().lease().await?;
        lease.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let revision = number(&lease.fetch(sqlx::query(REVISION)).await?)?;
        let mut stamps = Vec::new();
        for table in Table::ALL {
            for row in lease.fetch(sqlx::query(table.select()).bind(0_i64)).await? {
                stamps.push(stamp(table, &row)?);
            }
        }
        lease.end("COMMIT").await?;
        stamps.sort_unstable();
        Ok((revision, stamps))
    }

    async fn add_checkpoint(
        &self,
        checkpoint: CheckpointRow,
        ends: Vec<(CustomerId, JournalEnd)>,
    ) -> Result<Commit, StoreError> {
        self.host()?;
        add(self.pool(), checkpoint, &ends).await
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<CheckpointRow>, StoreError> {
        let query = || sqlx::query(CHECKPOINTS).bind(integer(after)).bind(i64::MAX).bind(i64::from(limit));
        self.pool().fetch(query).await?.iter().map(checkpoint).collect()
    }

    async fn newest_checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        let rows = self.pool().fetch(|| sqlx::query(NEWEST).bind(i64::MAX)).await?;
        rows.first().map(checkpoint).transpose()
    }

    async fn anchors(
        &self,
        after: Option<(&CustomerId, u64)>,
        limit: u32,
    ) -> Result<Vec<Anchor>, StoreError> {
        let (customer, number) = after.map_or(("", 0), |(customer, number)| (customer.as_str(), number));
        let query = || {
            let query = sqlx::query(ANCHORS).bind(customer).bind(integer(number));
            query.bind(i64::MAX).bind(i64::from(limit))
        };
        self.pool().fetch(query).await?.iter().map(anchor).collect()
    }
}

async fn add(
    pool: &Pool,
    checkpoint: CheckpointRow,
    ends: &[(CustomerId, JournalEnd)],
) -> Result<Commit, StoreError> {
    let number = integer(checkpoint.number);
    let mut lease = pool.lease().await?;
    lease.begin("BEGIN").await?;
    let row = sqlx::query(ADD)
        .bind(number)
        .bind(checkpoint.at.0)
        .bind(checkpoint.statement)
        .bind(checkpoint.catalog)
        .bind(checkpoint.signature)
        .bind(checkpoint.public_key);
    let added = match lease.execute(row).await {
        // Another host writes the same number now.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => 0,
        added => added?,
    };
    if added == 0 {
        lease.end("ROLLBACK").await?;
        return Ok(Commit::Conflict);
    }
    for chunk in ends.chunks(CHUNK) {
        let customers: Vec<_> = chunk.iter().map(|(customer, _)| customer.as_str()).collect();
        let seqs: Vec<_> = chunk.iter().map(|(_, end)| integer(end.seq)).collect();
        let hashes: Vec<_> = chunk.iter().map(|(_, end)| end.hash.as_slice()).collect();
        lease.execute(sqlx::query(ADD_ENDS).bind(number).bind(customers).bind(seqs).bind(hashes)).await?;
    }
    lease.execute(sqlx::query(RELEASE)).await?;
    lease.end("COMMIT").await?;
    Ok(Commit::Durable)
}

/// None where the columns are NULL.
fn optional_end(row: &PgRow, from: usize) -> Result<Option<JournalEnd>, StoreError> {
    row.optional(from)?.map(|_| end(row, from)).transpose()
}
