//! Claims of customers that are due, so that one host at a time works on each.
//!
//! A claim is two columns of the customer's row and ends by the database's clock, so that no host's clock matters. It only
//! saves work: what a host writes without one is as correct.

use super::pool::{PgQuery, Pool};
use crate::{columns::key, error::StoreError};
use proviso_ledger::model::{ids::CustomerId, time::Timestamp};
use sqlx::postgres::PgRow;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// The claims of one open store.
#[derive(Debug)]
pub struct Claims {
    owner: String,
    /// No claim is of a customer that is due later.
    latest: AtomicI64,
}

const PAGE: &str = "\
SELECT customer_id FROM customers \
WHERE due_at <= $1 AND (claimed_until IS NULL OR claimed_by = $3 \
  OR claimed_until <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)) \
ORDER BY due_at, customer_id LIMIT $2";

/// Checks the page's conditions again, since another host may have claimed some of it.
const CLAIM: &str = "\
WITH clock AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) \
UPDATE customers SET claimed_by = $3, claimed_until = (SELECT now FROM clock) + $4 \
WHERE customer_id = ANY ($2::text[]) AND due_at <= $1 \
  AND (claimed_until IS NULL OR claimed_by = $3 OR claimed_until <= (SELECT now FROM clock)) \
RETURNING customer_id";

/// Only customers that are due can be claimed, which the index finds.
const RELEASE: &str = "\
UPDATE customers SET claimed_by = NULL, claimed_until = NULL WHERE due_at <= $1 AND claimed_by = $2";

impl Claims {
    pub fn new(owner: String) -> Self {
        Self { owner, latest: AtomicI64::new(i64::MIN) }
    }

    /// Claims up to `limit` customers, earliest first, that no other host has claimed.
    pub async fn take(
        &self,
        pool: &Pool,
        at: Timestamp,
        limit: u32,
        claim: Duration,
    ) -> Result<Vec<CustomerId>, StoreError> {
        let micros = i64::try_from(claim.as_micros()).unwrap_or(i64::MAX / 2);
        self.latest.fetch_max(at.0, Ordering::Relaxed);
        loop {
            let query = || page(at, limit, &self.owner);
            let page = keys(&pool.fetch(query).await?)?;
            if page.is_empty() {
                return Ok(page);
            }
            let customers: Vec<_> = page.iter().map(CustomerId::as_str).collect();
            let claim = || sqlx::query(CLAIM).bind(at.0).bind(&customers).bind(&self.owner).bind(micros);
            let claimed: HashSet<_> = keys(&pool.fetch(claim).await?)?.into_iter().collect();
            // When others have claimed the whole page, the next one leaves it out.
            if !claimed.is_empty() {
                return Ok(page.into_iter().filter(|customer| claimed.contains(customer)).collect());
            }
        }
    }

    /// The customers that are due, without a claim.
    pub async fn list(pool: &Pool, at: Timestamp, limit: u32) -> Result<Vec<CustomerId>, StoreError> {
        let sql =
            "SELECT customer_id FROM customers WHERE due_at <= $1 ORDER BY due_at, customer_id LIMIT $2";
        keys(&pool.fetch(|| sqlx::query(sql).bind(at.0).bind(i64::from(limit))).await?)
    }

    /// Releases the claims of customers that are still due.
    pub async fn release(&self, pool: &Pool) {
        let latest = self.latest.load(Ordering::Relaxed);
        if latest == i64::MIN {
            return;
        }
        let query = || sqlx::query(RELEASE).bind(latest).bind(&self.owner);
        if let Err(error) = pool.fetch(query).await {
            tracing::warn!(%error, "claims of customers that are due were not released; they end by themselves");
        }
    }
}

fn page(at: Timestamp, limit: u32, owner: &str) -> PgQuery<'_> {
    sqlx::query(PAGE).bind(at.0).bind(i64::from(limit)).bind(owner)
}

fn keys(rows: &[PgRow]) -> Result<Vec<CustomerId>, StoreError> {
    rows.iter().map(|row| key(row, 0)).collect()
}
