//! Every question to the journal and its caches.
//!
//! Lists of ids are passed as arrays, and each id is looked up by itself (`LATERAL`): no statement joins two customers'
//! rows.

use super::{
    archive::{self, archived},
    pool::Pool,
};
use crate::{
    columns::{self, Columns, above, corrupt, customer_row, in_order, integer, key_and_seq, seq, snapshot},
    error::StoreError,
    rows::{CustomerRow, KeyHash, LoadedCustomer, StoredEntry, StoredSnapshot},
};
use proviso_ledger::model::{
    ids::{CustomerId, Name, Seq},
    time::Timestamp,
};
use sqlx::postgres::PgRow;

/// Snapshots (without a hash) and entries in one answer, so that both are as of one moment.
const LOAD: &str = concat!(
    "\
WITH wanted AS MATERIALIZED ( \
  SELECT w.index, w.customer_id, greatest(w.seq, s.seq) AS known, s.seq, s.at, s.state \
  FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (customer_id, seq, index) \
  LEFT JOIN LATERAL (SELECT seq, at, state FROM snapshots \
    WHERE customer_id = w.customer_id AND format = $3 AND w.seq = 0 ORDER BY snapshots.seq DESC LIMIT 1) AS s ON true) \
SELECT index, seq, at, NULL::bytea, state FROM wanted WHERE seq IS NOT NULL \
UNION ALL \
SELECT w.index, e.seq, e.at, e.hash, e.body FROM wanted AS w CROSS JOIN LATERAL ( \
  SELECT seq, at, hash, body FROM entries \
  WHERE customer_id = w.customer_id AND entries.seq > w.known ORDER BY entries.seq) AS e \
UNION ALL \
SELECT w.index, e.seq, e.at, e.hash, e.body FROM wanted AS w CROSS JOIN LATERAL (",
    archived!("w.customer_id", "w.known + 1", "9223372036854775807"),
    ") AS e"
);

/// The entries after the known one of each customer, as far as they are not archived: enough for what another host wrote
/// a moment ago, and a third of the work.
const ENTRIES_AFTER: &str = "\
SELECT w.index, e.seq, e.at, e.hash, e.body \
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (customer_id, seq, index) CROSS JOIN LATERAL ( \
  SELECT seq, at, hash, body FROM entries \
  WHERE customer_id = w.customer_id AND entries.seq > w.seq ORDER BY entries.seq) AS e";

/// The entries of one customer between two numbers, which are one page apart.
const ENTRIES: &str = concat!(
    "SELECT seq, at, hash, body FROM entries WHERE customer_id = $1 AND seq BETWEEN $2 AND $3 UNION ALL ",
    archived!("$1", "$2", "$3"),
    " ORDER BY seq"
);

/// Up to `$3` entries of one customer before the number `$2`, newest first.
const ENTRIES_BEFORE: &str = concat!(
    "WITH span AS MATERIALIZED (SELECT last, last - $3 + 1 AS first FROM (SELECT least($2 - 1, \
       (SELECT seq FROM entries WHERE customer_id = $1 ORDER BY seq DESC LIMIT 1)) AS last) AS l) \
     SELECT seq, at, hash, body FROM entries \
     WHERE customer_id = $1 AND seq BETWEEN (SELECT first FROM span) AND (SELECT last FROM span) UNION ALL ",
    archived!("$1", "(SELECT first FROM span)", "(SELECT last FROM span)"),
    " ORDER BY seq DESC"
);

pub async fn load(
    pool: &Pool,
    known: &[(CustomerId, Seq)],
    format: u32,
) -> Result<Vec<LoadedCustomer>, StoreError> {
    if known.is_empty() {
        return Ok(Vec::new());
    }
    if known.iter().all(|(_, seq)| *seq > 0) {
        match load_by(ENTRIES_AFTER, None, pool, known).await {
            // The next entries are archived already.
            Err(StoreError::Corrupt { .. }) => {}
            done => return done,
        }
    }
    load_by(LOAD, Some(format), pool, known).await
}

/// With a format when the statement has a place for it and reads snapshots.
async fn load_by(
    sql: &'static str,
    format: Option<u32>,
    pool: &Pool,
    known: &[(CustomerId, Seq)],
) -> Result<Vec<LoadedCustomer>, StoreError> {
    let mut loaded = vec![LoadedCustomer::default(); known.len()];
    let customers: Vec<_> = known.iter().map(|(customer, _)| customer.as_str()).collect();
    let seqs: Vec<_> = known.iter().map(|(_, seq)| integer(*seq)).collect();
    let query = || {
        let query = sqlx::query(sql).bind(&customers).bind(&seqs);
        match format {
            Some(format) => query.bind(i64::from(format)),
            None => query,
        }
    };
    for row in pool.fetch(query).await? {
        let slot = asked(&mut loaded, &row)?;
        let has_no_hash = sqlx::Row::try_get_raw(&row, 3).is_ok_and(|hash| sqlx::ValueRef::is_null(&hash));
        match format {
            Some(format) if has_no_hash => {
                let (seq, at, state) = (seq(&row, 1)?, Timestamp(row.integer(2)?), row.text(4)?.to_owned());
                slot.snapshot = Some(StoredSnapshot { format, seq, at, state });
            }
            _ => slot.tail.push(columns::entry(&row, 1)?),
        }
    }
    for ((customer, seq), loaded) in known.iter().zip(&mut loaded) {
        let first = loaded.snapshot.as_ref().map_or(*seq, |snapshot| snapshot.seq).saturating_add(1);
        in_order(customer, &mut loaded.tail, first)?;
    }
    Ok(loaded)
}

/// The place of a row's answer, by its first column, which counts from 1.
fn asked<'a, T>(slots: &'a mut [T], row: &PgRow) -> Result<&'a mut T, StoreError> {
    let index: usize = columns::number(row, 0)?;
    let slot = index.checked_sub(1).and_then(|index| slots.get_mut(index));
    slot.ok_or_else(|| corrupt("an answer to what was not asked"))
}

pub async fn find_keys(pool: &Pool, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError> {
    let sql = "SELECT w.index, i.seq \
               FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS w (customer_id, key_hash, index) \
               CROSS JOIN LATERAL (SELECT seq FROM idempotency \
                 WHERE customer_id = w.customer_id AND key_hash = w.key_hash LIMIT 1) AS i";
    let mut found = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let customers: Vec<_> = keys.iter().map(|(customer, _)| customer.as_str()).collect();
    let hashes: Vec<_> = keys.iter().map(|(_, hash)| hash.as_slice()).collect();
    for row in pool.fetch(|| sqlx::query(sql).bind(&customers).bind(&hashes)).await? {
        *asked(&mut found, &row)? = Some(seq(&row, 1)?);
    }
    Ok(found)
}

pub async fn keys(
    pool: &Pool,
    customer: &CustomerId,
    after: Option<KeyHash>,
    limit: u32,
) -> Result<Vec<(KeyHash, Seq)>, StoreError> {
    let sql = "SELECT key_hash, seq FROM idempotency WHERE customer_id = $1 AND key_hash > $2 \
               ORDER BY key_hash LIMIT $3";
    let after = above(after.as_ref());
    let query = || sqlx::query(sql).bind(customer.as_str()).bind(after).bind(i64::from(limit));
    pool.fetch(query).await?.iter().map(key_and_seq).collect()
}

pub async fn entries(
    pool: &Pool,
    customer: &CustomerId,
    after: Seq,
    limit: u32,
) -> Result<Vec<StoredEntry>, StoreError> {
    let first = after.saturating_add(1);
    let last = after.saturating_add(limit.into());
    let query = || sqlx::query(ENTRIES).bind(customer.as_str()).bind(integer(first)).bind(integer(last));
    let mut entries = match after {
        // No entry has a number above this.
        after if i64::try_from(after).is_err() => Vec::new(),
        _ => decode(&pool.fetch(query).await?)?,
    };
    in_order(customer, &mut entries, first)?;
    Ok(entries)
}

pub async fn entries_before(
    pool: &Pool,
    customer: &CustomerId,
    before: Option<Seq>,
    limit: u32,
) -> Result<Vec<StoredEntry>, StoreError> {
    let before = before.map_or(i64::MAX, integer);
    let query = || sqlx::query(ENTRIES_BEFORE).bind(customer.as_str()).bind(before).bind(i64::from(limit));
    decode(&pool.fetch(query).await?)
}

fn decode(rows: &[PgRow]) -> Result<Vec<StoredEntry>, StoreError> {
    rows.iter().map(|row| columns::entry(row, 0)).collect()
}

pub async fn seq_at(pool: &Pool, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
    // A binary search: numbers have no gaps and times never go backwards. The answer is in low..=high; when it is not
    // among the hot entries, it is the number before the first of them, or archived.
    let sql = "WITH RECURSIVE hot AS MATERIALIZED (SELECT \
                 coalesce((SELECT seq FROM entries WHERE customer_id = $1 ORDER BY seq LIMIT 1), 1) AS first, \
                 coalesce((SELECT seq FROM entries WHERE customer_id = $1 ORDER BY seq DESC LIMIT 1), 0) AS last), \
               search (low, high) AS ( \
                 SELECT first - 1, last FROM hot \
                 UNION ALL \
                 SELECT CASE WHEN e.at <= $2 THEN e.seq ELSE low END, \
                        CASE WHEN e.at <= $2 THEN high ELSE e.seq - 1 END \
                 FROM search CROSS JOIN LATERAL (SELECT seq, at FROM entries \
                   WHERE customer_id = $1 AND seq = (low + high + 1) / 2 LIMIT 1) AS e \
                 WHERE low < high) \
               SELECT low, (SELECT first FROM hot) FROM search WHERE low = high";
    let found = pool.fetch(|| sqlx::query(sql).bind(customer.as_str()).bind(at.0)).await?;
    let found = found.first().ok_or_else(|| corrupt(format!("the journal of {customer} has a gap")))?;
    match (seq(found, 0)?, seq(found, 1)?) {
        (low, first) if low < first && first > 1 => archive::seq_at(pool, customer, at).await,
        (low, _) => Ok(low),
    }
}

pub async fn snapshot_before(
    pool: &Pool,
    customer: &CustomerId,
    seq: Seq,
    format: u32,
) -> Result<Option<StoredSnapshot>, StoreError> {
    let sql = "SELECT seq, at, state FROM snapshots WHERE customer_id = $1 AND format = $2 AND seq <= $3 \
               ORDER BY seq DESC LIMIT 1";
    let query = || sqlx::query(sql).bind(customer.as_str()).bind(i64::from(format)).bind(integer(seq));
    pool.fetch(query).await?.first().map(|row| snapshot(row, format)).transpose()
}

pub async fn customers(
    pool: &Pool,
    after: Option<&CustomerId>,
    limit: u32,
) -> Result<Vec<CustomerRow>, StoreError> {
    // Every key is above the empty text.
    let after = after.map_or("", CustomerId::as_str);
    let rows = pool.fetch(|| sqlx::query(columns::CUSTOMERS).bind(after).bind(i64::from(limit))).await?;
    rows.iter().map(customer_row).collect()
}

pub async fn customers_of_plan(
    pool: &Pool,
    plan: &Name,
    version: u32,
    after: Option<&CustomerId>,
    limit: u32,
) -> Result<Vec<CustomerRow>, StoreError> {
    let after = after.map_or("", CustomerId::as_str);
    let query = || {
        let query = sqlx::query(columns::CUSTOMERS_OF_PLAN).bind(plan.as_str()).bind(i64::from(version));
        query.bind(after).bind(i64::from(limit))
    };
    pool.fetch(query).await?.iter().map(customer_row).collect()
}

pub async fn customers_awaiting_payment(
    pool: &Pool,
    after: Option<&CustomerId>,
    limit: u32,
) -> Result<Vec<CustomerRow>, StoreError> {
    let after = after.map_or("", CustomerId::as_str);
    let query = || sqlx::query(columns::CUSTOMERS_AWAITING_PAYMENT).bind(after).bind(i64::from(limit));
    pool.fetch(query).await?.iter().map(customer_row).collect()
}

pub async fn plan_customers(pool: &Pool, plan: &Name) -> Result<Vec<(u32, u64)>, StoreError> {
    let rows = pool.fetch(|| sqlx::query(columns::PLAN_CUSTOMERS).bind(plan.as_str())).await?;
    rows.iter().map(|row| Ok((columns::number(row, 0)?, columns::number(row, 1)?))).collect()
}
