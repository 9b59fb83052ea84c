//! Reads and changes the [reference data](crate::reference) of a SQLite file.

use crate::{
    StoreError, columns,
    reference::{self, MODULE, REQUEST, REVISION, Statement, TABLES, Value},
    rows::{Commit, KeyHash, Reference, ReferenceChange, StoredRequest},
};
use proviso_ledger::ids::Digest;
use sqlx::{Connection, SqliteConnection, SqlitePool, error::ErrorKind};

/// Everything but the modules' bytes, in one read snapshot.
pub async fn read(pool: &SqlitePool) -> Result<Reference, StoreError> {
    let mut snapshot = pool.begin().await?;
    let revision = sqlx::query(REVISION).fetch_one(&mut *snapshot).await?;
    let mut tables = [const { Vec::new() }; TABLES.len()];
    for (sql, rows) in TABLES.into_iter().zip(&mut tables) {
        *rows = sqlx::query(sql).fetch_all(&mut *snapshot).await?;
    }
    snapshot.rollback().await?;
    reference::decode(columns::number(&revision, 0)?, &tables)
}

pub async fn revision(pool: &SqlitePool) -> Result<u64, StoreError> {
    columns::number(&sqlx::query(REVISION).fetch_one(pool).await?, 0)
}

pub async fn module(pool: &SqlitePool, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar(MODULE).bind(digest.0.as_slice()).fetch_optional(pool).await?)
}

pub async fn request(pool: &SqlitePool, key_hash: KeyHash) -> Result<Option<StoredRequest>, StoreError> {
    let row = sqlx::query(REQUEST).bind(key_hash.as_slice()).fetch_optional(pool).await?;
    row.map(|row| columns::request(&row, key_hash)).transpose()
}

/// Makes all changes and keeps the request, or does nothing.
pub async fn change(
    connection: &mut SqliteConnection,
    changes: Vec<ReferenceChange>,
    request: Option<StoredRequest>,
) -> Result<Commit, StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let statements = changes.into_iter().map(reference::change).chain(request.map(reference::keep));
    for statement in statements {
        if !apply(&mut transaction, statement).await? {
            transaction.rollback().await?;
            return Ok(Commit::Conflict);
        }
    }
    sqlx::query(reference::COUNT_CHANGE).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Commit::Durable)
}

/// True when the statement found what it must find and missed what it must miss.
async fn apply(connection: &mut SqliteConnection, statement: Statement) -> Result<bool, StoreError> {
    let Statement { sql, values, must_write } = statement;
    let query = values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
        Value::Integer(value) => query.bind(value),
        Value::Flag(value) => query.bind(value),
    });
    match query.execute(connection).await {
        Ok(done) => Ok(!must_write || done.rows_affected() == 1),
        // The plan, policy or module that it belongs to is missing.
        Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::ForeignKeyViolation => Ok(false),
        Err(error) => Err(error.into()),
    }
}
