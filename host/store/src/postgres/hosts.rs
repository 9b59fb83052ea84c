//! Which hosts are alive on this database, and the newest format that each reads.

use super::pool::Pool;
use crate::{
    columns::{Columns, corrupt},
    error::StoreError,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The row of one open store.
#[derive(Debug)]
pub struct Announcement {
    host: String,
    /// Whether there may be a row.
    made: AtomicBool,
}

/// Rows of hosts that ended without removing them are removed by others after a day.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

const ANNOUNCE: &str = "\
WITH clock AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now), \
stale AS (DELETE FROM hosts WHERE seen_at < (SELECT now FROM clock) - $3 AND host_id <> $1) \
INSERT INTO hosts (host_id, reads_format, seen_at) SELECT $1, $2, now FROM clock \
ON CONFLICT (host_id) DO UPDATE SET reads_format = excluded.reads_format, seen_at = excluded.seen_at";

const OLDEST: &str = "\
SELECT min(reads_format) FROM hosts \
WHERE seen_at >= (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) - $1";

impl Announcement {
    pub fn new(host: String) -> Self {
        Self { host, made: AtomicBool::new(false) }
    }

    pub async fn make(&self, pool: &Pool, reads_format: u32) -> Result<(), StoreError> {
        self.made.store(true, Ordering::Relaxed);
        let query =
            || sqlx::query(ANNOUNCE).bind(&self.host).bind(i64::from(reads_format)).bind(micros(STALE));
        pool.fetch(query).await.map(drop)
    }

    pub async fn withdraw(&self, pool: &Pool) {
        if !self.made.load(Ordering::Relaxed) {
            return;
        }
        let query = || sqlx::query("DELETE FROM hosts WHERE host_id = $1").bind(&self.host);
        if let Err(error) = pool.fetch(query).await {
            tracing::warn!(%error, "this host still counts as alive until its announcement is too old");
        }
    }
}

/// The lowest format that was announced within `max_age`.
pub async fn oldest_live_format(pool: &Pool, max_age: Duration) -> Result<Option<u32>, StoreError> {
    let rows = pool.fetch(|| sqlx::query(OLDEST).bind(micros(max_age))).await?;
    let row = rows.first().ok_or_else(|| corrupt("a minimum without a row"))?;
    row.optional(0)?.map(|format| u32::try_from(format).map_err(corrupt)).transpose()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
