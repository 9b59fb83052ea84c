//! Reads and changes the [reference data](crate::reference) of a PostgreSQL database.

use super::pool::{Lease, PgQuery, Pool};
use crate::{
    StoreError, columns,
    reference::{self, COUNT_CHANGE, MODULE, REQUEST, REVISION, Statement, TABLES, Value},
    rows::{Commit, KeyHash, Reference, ReferenceChange, StoredRequest},
};
use proviso_ledger::ids::Digest;
use sqlx::{error::ErrorKind, postgres::PgRow};

/// Everything but the modules' bytes, as of one moment.
pub async fn read(pool: &Pool) -> Result<Reference, StoreError> {
    let mut lease = pool.lease().await?;
    lease.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let revision = lease.fetch(sqlx::query(REVISION)).await?;
    let mut tables = [const { Vec::new() }; TABLES.len()];
    for (sql, rows) in TABLES.into_iter().zip(&mut tables) {
        *rows = lease.fetch(sqlx::query(sql)).await?;
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
    rows.first().map(|row| Ok(columns::Columns::blob(row, 0)?.to_vec())).transpose()
}

pub async fn request(pool: &Pool, key_hash: KeyHash) -> Result<Option<StoredRequest>, StoreError> {
    let rows = pool.fetch(|| sqlx::query(REQUEST).bind(key_hash)).await?;
    rows.first().map(|row| columns::request(row, key_hash)).transpose()
}

/// Makes all changes and keeps the request, or does nothing. Counting the change comes first: that row's lock makes
/// the changes of all hosts one line.
pub async fn change(
    pool: &Pool,
    changes: Vec<ReferenceChange>,
    request: Option<StoredRequest>,
) -> Result<Commit, StoreError> {
    let mut lease = pool.lease().await?;
    lease.begin("BEGIN").await?;
    lease.execute(sqlx::query(COUNT_CHANGE)).await?;
    let statements = changes.into_iter().map(reference::change).chain(request.map(reference::keep));
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
