//! Reads and changes the [catalog](crate::catalog) of a PostgreSQL database.

use super::pool::{Lease, PgQuery, Pool};
use crate::{
    catalog::{self, ANSWER, ANSWERS, Argument, COUNT_CHANGE, MODULE, REVISION, Statement, Table},
    columns::{self, Columns, above, integer},
    error::StoreError,
    rows::{AuditQuery, AuditRow, CatalogChange, CatalogRows, Commit, KeyHash, StoredAnswer},
};
use proviso_ledger::model::ids::Digest;
use sqlx::{error::ErrorKind, postgres::PgRow};

/// The rows that revisions above `since` wrote, as of one moment.
pub async fn read(pool: &Pool, since: u64) -> Result<CatalogRows, StoreError> {
    let mut lease = pool.lease().await?;
    lease.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let revision = number(&lease.fetch(sqlx::query(REVISION)).await?)?;
    let mut rows = CatalogRows { revision, ..CatalogRows::default() };
    for table in Table::ALL {
        for row in lease.fetch(sqlx::query(table.select()).bind(integer(since))).await? {
            table.add_row(&mut rows, &row)?;
        }
    }
    lease.end("COMMIT").await?;
    Ok(rows)
}

pub async fn revision(pool: &Pool) -> Result<u64, StoreError> {
    number(&pool.fetch(|| sqlx::query(REVISION)).await?)
}

/// The revision.
pub fn number(rows: &[PgRow]) -> Result<u64, StoreError> {
    let row = rows.first().ok_or_else(|| columns::corrupt("the table progress is empty"))?;
    columns::number(row, 0)
}

pub async fn module(pool: &Pool, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let rows = pool.fetch(|| sqlx::query(MODULE).bind(digest.0)).await?;
    rows.first().map(|row| Ok(row.blob(0)?.to_vec())).transpose()
}

pub async fn answer(pool: &Pool, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
    let rows = pool.fetch(|| sqlx::query(ANSWER).bind(key_hash)).await?;
    rows.first().map(columns::answer).transpose()
}

pub async fn answers(
    pool: &Pool,
    after: Option<KeyHash>,
    limit: u32,
) -> Result<Vec<StoredAnswer>, StoreError> {
    let query = || sqlx::query(ANSWERS).bind(above(after.as_ref())).bind(i64::from(limit));
    pool.fetch(query).await?.iter().map(columns::answer).collect()
}

pub async fn audit(pool: &Pool, query: &AuditQuery) -> Result<Vec<(u64, AuditRow)>, StoreError> {
    let (texts, numbers) = catalog::audit_arguments(query);
    let bound = || {
        let query = texts
            .iter()
            .fold(sqlx::query(catalog::audit(query)), |query, text| query.bind((*text).to_owned()));
        numbers.iter().fold(query, |query, number| query.bind(*number))
    };
    pool.fetch(bound).await?.iter().map(catalog::audit_row).collect()
}

/// Makes all changes and stores the answer, or does nothing.
pub async fn change(
    pool: &Pool,
    base: Option<u64>,
    changes: Vec<CatalogChange>,
    answer: Option<StoredAnswer>,
) -> Result<Commit, StoreError> {
    let mut lease = pool.lease().await?;
    lease.begin("BEGIN").await?;
    let counted = lease.fetch(sqlx::query(COUNT_CHANGE).bind(base.map(integer))).await?;
    let Some(revision) = counted.first() else {
        lease.end("ROLLBACK").await?;
        return Ok(Commit::Conflict);
    };
    let revision = revision.integer(0)?;
    let changes = changes.into_iter().map(|change| catalog::change(change, revision));
    let statements = changes.chain(answer.map(catalog::store_answer));
    for statement in statements {
        if !apply(&mut lease, statement).await? {
            lease.end("ROLLBACK").await?;
            return Ok(Commit::Conflict);
        }
    }
    lease.end("COMMIT").await?;
    Ok(Commit::Durable)
}

/// False when the statement conflicts.
async fn apply(lease: &mut Lease<'_>, statement: Statement) -> Result<bool, StoreError> {
    let Statement { sql, arguments, must_write } = statement;
    let query: PgQuery<'_> = arguments.into_iter().fold(sqlx::query(sql), |query, argument| match argument {
        Argument::Text(value) => query.bind(value),
        Argument::Blob(value) => query.bind(value),
        Argument::Integer(value) => query.bind(value),
        Argument::Flag(value) => query.bind(value),
    });
    match lease.execute(query).await {
        Ok(rows) => Ok(!must_write || rows == 1),
        // The plan, policy or module that the row belongs to is missing.
        Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::ForeignKeyViolation => Ok(false),
        Err(error) => Err(error.into()),
    }
}
