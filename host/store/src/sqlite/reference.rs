//! Reads and changes the [reference data](crate::reference) of a SQLite file.

use crate::{
    StoreError,
    columns::{self, above, broken, integer},
    reference::{self, MODULE, REQUEST, REQUESTS, REVISION, Statement, TABLES, Value},
    rows::{Commit, KeyHash, Reference, ReferenceChange, StoredAnswer},
};
use proviso_ledger::model::ids::Digest;
use rusqlite::{
    Connection, OptionalExtension, ToSql, TransactionBehavior, ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
    types::ToSqlOutput,
};
use sqlx::SqlitePool;

/// What was written after a revision but the modules' bytes, in one read snapshot.
pub async fn read(pool: &SqlitePool, since: u64) -> Result<Reference, StoreError> {
    let mut snapshot = pool.begin().await?;
    let revision = sqlx::query(REVISION).fetch_one(&mut *snapshot).await?;
    let mut tables = [const { Vec::new() }; TABLES.len()];
    for (sql, rows) in TABLES.into_iter().zip(&mut tables) {
        *rows = sqlx::query(sql).bind(integer(since)).fetch_all(&mut *snapshot).await?;
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

pub async fn request(pool: &SqlitePool, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
    let row = sqlx::query(REQUEST).bind(key_hash.as_slice()).fetch_optional(pool).await?;
    row.as_ref().map(columns::request).transpose()
}

pub async fn requests(
    pool: &SqlitePool,
    after: Option<KeyHash>,
    limit: u32,
) -> Result<Vec<StoredAnswer>, StoreError> {
    let query = sqlx::query(REQUESTS).bind(above(after.as_ref())).bind(limit);
    query.fetch_all(pool).await?.iter().map(columns::request).collect()
}

/// The revision, as the writer sees it.
pub fn written_revision(connection: &Connection) -> Result<u64, StoreError> {
    connection.query_row_and_then(REVISION, [], |row| columns::number(row, 0))
}

/// Makes all changes and keeps the request, or does nothing.
pub fn change(
    connection: &mut Connection,
    base: Option<u64>,
    changes: Vec<ReferenceChange>,
    request: Option<StoredAnswer>,
) -> Result<Commit, StoreError> {
    // Dropping it undoes what it did.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let counted =
        transaction.query_row(reference::COUNT_CHANGE, [base.map(integer)], |row| row.get::<_, i64>(0));
    let Some(revision) = counted.optional()? else { return Ok(Commit::Conflict) };
    let changes = changes.into_iter().map(|change| reference::change(change, revision));
    for statement in changes.chain(request.map(reference::keep)) {
        if !apply(&transaction, statement)? {
            return Ok(Commit::Conflict);
        }
    }
    transaction.commit()?;
    Ok(Commit::Durable)
}

/// True when the statement found what it must find and missed what it must miss.
fn apply(connection: &Connection, statement: Statement) -> Result<bool, StoreError> {
    let Statement { sql, values, must_write } = statement;
    let mut prepared = connection.prepare_cached(sql)?;
    // SQLite takes `$2` for a name and counts parameters as they come.
    for place in 1..=prepared.parameter_count() {
        let number =
            prepared.parameter_name(place).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        prepared.raw_bind_parameter(place, value.ok_or_else(|| broken("a parameter without a value"))?)?;
    }
    match prepared.raw_execute() {
        Ok(written) => Ok(!must_write || written == 1),
        // The plan, policy or module that it belongs to is missing.
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == SQLITE_CONSTRAINT_FOREIGNKEY =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(value) => value.to_sql(),
            Self::Blob(value) => value.to_sql(),
            Self::Integer(value) => value.to_sql(),
            Self::Flag(value) => value.to_sql(),
        }
    }
}
