//! Brings the schema of a file up to what this binary knows, or says why it can't be used. The one use of sqlx here.

use crate::error::StoreError;
use rusqlite::Connection;
use sqlx::{
    ConnectOptions,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{cmp::Ordering, path::Path};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Applies the migrations that are missing. Creates the file when there is none, and puts it into WAL mode, which lasts.
pub async fn migrate(path: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    // `run` takes anything that can be acquired, which makes futures that are not `Send`; this is what it calls.
    let migrated = MIGRATIONS.run_direct(None, &mut connection, false).await;
    sqlx::Connection::close(connection).await?;
    migrated.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::from(error),
        MigrateError::VersionMissing(found) => StoreError::NewerSchema { found, known: newest_known() },
        other => StoreError::Corrupt { detail: other.to_string() },
    })
}

/// Accepts exactly the schema that this binary knows.
pub fn check(connection: &Connection) -> Result<(), StoreError> {
    let (found, known) = (schema(connection)?, newest_known());
    match found.cmp(&known) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(StoreError::OlderSchema { found, known }),
        Ordering::Greater => Err(StoreError::NewerSchema { found, known }),
    }
}

fn newest_known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn schema(connection: &Connection) -> Result<i64, StoreError> {
    let applied = "SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    if !connection.prepare(applied)?.exists([])? {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    Ok(connection.query_row(newest, [], |row| row.get(0))?)
}
