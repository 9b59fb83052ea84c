//! Old entries: moves them from the hot table to segments of many entries, and reads them from there.
//!
//! A move and each read is one statement, so a reader sees an entry in exactly one of the two. Segments are found by
//! their first number: the last one that begins at or below a number has it, if it reaches that far.

use super::pool::Pool;
use crate::{columns, error::StoreError};
use proviso_ledger::model::{
    ids::{CustomerId, Seq},
    time::Timestamp,
};

/// One segment for each 256 numbers, so that reading a page of entries unpacks one or two.
const MOVE: &str = "\
WITH moved AS ( \
  DELETE FROM entries WHERE customer_id = $1 AND seq <= $2 \
    AND seq < (SELECT seq FROM entries WHERE customer_id = $1 ORDER BY seq DESC LIMIT 1) \
  RETURNING seq, at, hash, body), \
segments AS ( \
  INSERT INTO archived_entries (customer_id, first_seq, last_seq, first_at, last_at, entries) \
  SELECT $1, min(seq), max(seq), min(at), max(at), \
    json_agg(json_build_array(seq, at, encode(hash, 'hex'), body) ORDER BY seq)::text \
  FROM moved GROUP BY (seq - 1) / 256) \
SELECT count(*) FROM moved";

/// The archived entries of `$customer` from `$lowest` to `$highest`, as columns `seq, at, hash, body`.
macro_rules! archived {
    ($customer:literal, $lowest:literal, $highest:literal) => {
        concat!(
            "SELECT (e.value ->> 0)::bigint AS seq, (e.value ->> 1)::bigint AS at, \
               decode(e.value ->> 2, 'hex') AS hash, e.value ->> 3 AS body \
             FROM archived_entries AS a CROSS JOIN LATERAL json_array_elements(a.entries::json) AS e (value) \
             WHERE a.customer_id = ", $customer, " AND a.first_seq <= ", $highest, " AND a.last_seq >= ", $lowest,
            " AND a.first_seq >= coalesce((SELECT first_seq FROM archived_entries WHERE customer_id = ", $customer,
            " AND first_seq <= ", $lowest, " ORDER BY first_seq DESC LIMIT 1), 0) \
             AND (e.value ->> 0)::bigint BETWEEN ", $lowest, " AND ", $highest
        )
    };
}
pub(super) use archived;

pub async fn archive(pool: &Pool, customer: &CustomerId, through: Seq) -> Result<u64, StoreError> {
    let query = || sqlx::query(MOVE).bind(customer.as_str()).bind(columns::integer(through));
    let rows = pool.fetch(query).await?;
    columns::number(rows.first().ok_or_else(|| columns::corrupt("a count without a row"))?, 0)
}

/// The number of the last archived entry at or before `at`, 0 when there is none.
pub async fn seq_at(pool: &Pool, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
    let sql = "SELECT (SELECT max((e.value ->> 0)::bigint) FROM json_array_elements(a.entries::json) AS e (value) \
                       WHERE (e.value ->> 1)::bigint <= $2) \
               FROM archived_entries AS a WHERE a.customer_id = $1 AND a.first_at <= $2 \
               ORDER BY a.first_seq DESC LIMIT 1";
    let rows = pool.fetch(|| sqlx::query(sql).bind(customer.as_str()).bind(at.0)).await?;
    rows.first().map_or(Ok(0), |row| columns::seq(row, 0))
}
