//! Reads and changes the [catalog](crate::catalog) of a SQLite file.

use super::reads::{all, first};
use crate::{
    catalog::{self, ANSWER, ANSWERS, Argument, COUNT_CHANGE, MODULE, REVISION, Statement, Table},
    columns::{self, Columns, above, corrupt, integer},
    error::StoreError,
    rows::{AuditQuery, AuditRow, CatalogChange, CatalogRows, Commit, KeyHash, StoredAnswer},
};
use proviso_ledger::model::ids::Digest;
use rusqlite::{
    Connection, OptionalExtension, ToSql, TransactionBehavior, ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
    types::ToSqlOutput,
};

/// The rows that revisions above `since` wrote, in one read transaction.
pub fn read(connection: &mut Connection, since: u64) -> Result<CatalogRows, StoreError> {
    let transaction = connection.transaction()?;
    let mut rows = CatalogRows { revision: revision(&transaction)?, ..CatalogRows::default() };
    for table in Table::ALL {
        all(&transaction, table.select(), [integer(since)], |row| table.add_row(&mut rows, row))?;
    }
    Ok(rows)
}

pub fn revision(connection: &Connection) -> Result<u64, StoreError> {
    let revision = first(connection, REVISION, [], |row| columns::number(row, 0))?;
    revision.ok_or_else(|| corrupt("the table progress is empty"))
}

pub fn module(connection: &Connection, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    first(connection, MODULE, [digest.0], |row| Ok(row.blob(0)?.to_vec()))
}

pub fn answer(connection: &Connection, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
    first(connection, ANSWER, [key_hash], |row| columns::answer(row))
}

pub fn answers(
    connection: &Connection,
    after: Option<KeyHash>,
    limit: u32,
) -> Result<Vec<StoredAnswer>, StoreError> {
    all(connection, ANSWERS, (above(after.as_ref()), limit), |row| columns::answer(row))
}

pub fn audit(connection: &Connection, query: &AuditQuery) -> Result<Vec<(u64, AuditRow)>, StoreError> {
    let ([actor, kind], [from, to, after, before, limit]) = catalog::audit_arguments(query);
    let arguments = (actor, kind, from, to, after, before, limit);
    all(connection, catalog::audit(query), arguments, |row| catalog::audit_row(row))
}

/// Makes all changes and stores the answer, or does nothing.
pub fn change(
    connection: &mut Connection,
    base: Option<u64>,
    changes: Vec<CatalogChange>,
    answer: Option<StoredAnswer>,
) -> Result<Commit, StoreError> {
    // Rolled back when it is dropped.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let counted = transaction.query_row(COUNT_CHANGE, [base.map(integer)], |row| row.get::<_, i64>(0));
    let Some(revision) = counted.optional()? else { return Ok(Commit::Conflict) };
    let changes = changes.into_iter().map(|change| catalog::change(change, revision));
    for statement in changes.chain(answer.map(catalog::store_answer)) {
        if !apply(&transaction, statement)? {
            return Ok(Commit::Conflict);
        }
    }
    transaction.commit()?;
    Ok(Commit::Durable)
}

/// False when the statement conflicts.
fn apply(connection: &Connection, statement: Statement) -> Result<bool, StoreError> {
    let Statement { sql, arguments, must_write } = statement;
    let mut prepared = connection.prepare_cached(sql)?;
    // SQLite takes `$2` for a name and numbers parameters as they appear.
    for index in 1..=prepared.parameter_count() {
        let number =
            prepared.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let argument = number.and_then(|number| arguments.get(number.checked_sub(1)?));
        prepared
            .raw_bind_parameter(index, argument.ok_or_else(|| corrupt("a parameter without a value"))?)?;
    }
    match prepared.raw_execute() {
        Ok(written) => Ok(!must_write || written == 1),
        // The plan, policy or module that the row belongs to is missing.
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == SQLITE_CONSTRAINT_FOREIGNKEY =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

impl ToSql for Argument {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(value) => value.to_sql(),
            Self::Blob(value) => value.to_sql(),
            Self::Integer(value) => value.to_sql(),
            Self::Flag(value) => value.to_sql(),
        }
    }
}
