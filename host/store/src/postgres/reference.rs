//! Reads and changes the [reference data](crate::reference) of a PostgreSQL database.

use super::pool::{Lease, PgQuery, Pool};
use crate::{
    StoreError,
    columns::{self, Columns, above, integer},
    reference::{self, COUNT_CHANGE, MODULE, REQUEST, REQUESTS, REVISION, Statement, TABLES, Value},
    rows::{Commit, KeyHash, Reference, ReferenceChange, StoredAnswer},
};
use proviso_ledger::model::ids::Digest;
use sqlx::{error::ErrorKind, postgres::PgRow};

/// What was written after a revision but the modules' bytes, as of one moment.
pub async fn read(pool: &Pool, since: u64) -> Result<Reference, StoreError> {
    let mut lease = pool.lease().await?;
    lease.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let revision = lease.fetch(sqlx::query(REVISION)).await?;
    let mut tables = [const { Vec::new() }; TABLES.len()];
    for (sql, rows) in TABLES.into_iter().zip(&mut tables) {
        *rows = lease.fetch(sqlx::query(sql).bind(integer(since))).await?;
    }
    lease.end("COMMIT").await?;
    reference::decode(number(&revision)?, &tables)
}

pub async fn revision(pool: &Pool) -> Result<u64, StoreError> {
    number(&pool.fetch(|| sqlx::query(REVISION)).await?)
}

fn number(rows: &[PgRow]) -> Result<u64, StoreError> {
    let row = rows.first().ok_or_else(|| columns::broken("the table progress is empty"))?;
    columns::number(row, 0)
}

pub async fn module(pool: &Pool, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let rows = pool.fetch(|| sqlx::query(MODULE).bind(digest.0)).await?;
    rows.first().map(|row| Ok(row.blob(0)?.to_vec())).transpose()
}

pub async fn request(pool: &Pool, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
    let rows = pool.fetch(|| sqlx::query(REQUEST).bind(key_hash)).await?;
    rows.first().map(columns::request).transpose()
}

pub async fn requests(
    pool: &Pool,
    after: Option<KeyHash>,
    limit: u32,
) -> Result<Vec<StoredAnswer>, StoreError> {
    let query = || sqlx::query(REQUESTS).bind(above(after.as_ref())).bind(i64::from(limit));
    pool.fetch(query).await?.iter().map(columns::request).collect()
}

/// Makes all changes and keeps the request, or does nothing.
pub async fn change(
    pool: &Pool,
    base: Option<u64>,
    changes: Vec<ReferenceChange>,
    request: Option<StoredAnswer>,
) -> Result<Commit, StoreError> {
    let mut lease = pool.lease().await?;
    lease.begin("BEGIN").await?;
    let counted = lease.fetch(sqlx::query(COUNT_CHANGE).bind(base.map(integer))).await?;
    let Some(revision) = counted.first() else {
        lease.end("ROLLBACK").await?;
        return Ok(Commit::Conflict);
    };
    let revision = revision.integer(0)?;
    let changes = changes.into_iter().map(|change| reference::change(change, revision));
    let statements = changes.chain(request.map(reference::keep));
    for statement in statements {
        if !apply(&mut lease, statement).await? {
            lease.end("ROLLBACK").await?;
            return Ok(Commit::Conflict);
        }
    }
    lease.end("COMMIT").await?;
    Ok(Commit::Durable)
}

/// True when the statement found what it must find and missed what it must miss.
async fn apply(lease: &mut Lease<'_>, statement: Statement) -> Result<bool, StoreError> {
    let Statement { sql, values, must_write } = statement;
    let query: PgQuery<'_> = values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
        Value::Integer(value) => query.bind(value),
        Value::Flag(value) => query.bind(value),
    });
    match lease.execute(query).await {
        Ok(rows) => Ok(!must_write || rows == 1),
        // The plan, policy or module that it belongs to is missing.
        Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::ForeignKeyViolation => Ok(false),
        Err(error) => Err(error.into()),
    }
}
