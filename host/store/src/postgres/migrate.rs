//! Brings the schema of a database up to what this binary knows, or says why it can't be used.

use crate::{columns::corrupt, error::StoreError};
use sqlx::{
    PgConnection,
    migrate::{MigrateError, Migrator},
};
use std::cmp::Ordering;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Applies the migrations that are missing. Of several hosts that start at once one does, and the others wait for it.
pub async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    match compare(connection).await? {
        (Ordering::Equal, ..) => return Ok(()),
        (Ordering::Greater, found, known) => return Err(StoreError::NewerSchema { found, known }),
        (Ordering::Less, ..) => {}
    }
    // Also while waiting for another host, whose migrations may take long.
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut *connection).await?;
    // `run` takes anything that can be acquired, which makes futures that are not `Send`; this is what it calls.
    MIGRATIONS.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::from(error),
        MigrateError::VersionMissing(found) => StoreError::NewerSchema { found, known: newest_known() },
        other => corrupt(other),
    })
}

/// Accepts exactly the schema that this binary knows.
pub async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    match compare(connection).await? {
        (Ordering::Equal, ..) => Ok(()),
        (Ordering::Less, found, known) => Err(StoreError::OlderSchema { found, known }),
        (Ordering::Greater, found, known) => Err(StoreError::NewerSchema { found, known }),
    }
}

/// The schema's number, the one that this binary knows, and how the first compares with the second.
async fn compare(connection: &mut PgConnection) -> Result<(Ordering, i64, i64), StoreError> {
    let exists = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let found = if sqlx::query_scalar(exists).fetch_one(&mut *connection).await? {
        sqlx::query_scalar(newest).fetch_one(connection).await?
    } else {
        0
    };
    let known = newest_known();
    Ok((found.cmp(&known), found, known))
}

fn newest_known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}
