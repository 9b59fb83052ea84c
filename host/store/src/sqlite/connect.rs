//! Opens connections, applies migrations, and holds the lock that keeps a second writing process out.

use super::SqliteOptions;
use crate::StoreError;
use rusqlite::{Connection, OpenFlags};
use sqlx::{
    ConnectOptions, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// A commit checkpoints by itself only when the WAL has this many pages: the checkpointer should have been there
/// long before.
const FALLBACK_CHECKPOINT_PAGES: u32 = 65_536;

/// How long to wait for others of this process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection is used by one thread at a time, which Rust sees to.
const UNSHARED: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Rows that a connection's thread may be ahead of the reader.
const ROW_BUFFER: usize = 256;

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
}

/// The connection that brings the schema up. Creates the file when there is none.
pub async fn migrator(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = options(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    Ok(options.synchronous(SqliteSynchronous::Full).connect().await?)
}

/// The connection that writes. It is rusqlite's, used from one thread: sqlx hands each statement to a thread of the
/// connection and back, and in batches of 32 two thirds of the entries a second were left (`cargo bench -p proviso-store`).
pub fn writer(options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connection = open(&options.path)?;
    // Appends and sorted merges touch neighbours only; what is looked up is spread over the index.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "wal_autocheckpoint", FALLBACK_CHECKPOINT_PAGES)?;
    if let Some(pages) = options.max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The connection that checkpoints: it writes to the database file, never to the journal.
pub fn checkpointer(path: &Path) -> Result<Connection, StoreError> {
    open(path)
}

/// A connection that reads what is not indexed yet.
pub fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | UNSHARED)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | UNSHARED)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Once the schema is up, the file is in WAL mode for good.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Connections that read.
pub async fn readers(options_of: &SqliteOptions) -> Result<SqlitePool, StoreError> {
    let pool = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(options_of.readers)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(None)
        .max_lifetime(None)
        // A ping before each use would double the thread hops of a read.
        .test_before_acquire(false);
    // Each commit makes the caches of other connections worthless, and throwing a large one away takes longer.
    let options = options(&options_of.path).read_only(true).pragma("cache_size", "-256");
    Ok(pool.connect_with(options).await?)
}

/// Brings the schema up to what this binary knows.
pub async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found = schema(connection).await?;
    if found > newest_known() {
        return Err(StoreError::NewerSchema { found, known: newest_known() });
    }
    // `run` takes anything that can be acquired, which makes futures that are not `Send`; this is what it calls.
    MIGRATIONS.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::from(error),
        other => StoreError::Corrupt { detail: other.to_string() },
    })
}

/// Accepts exactly the schema that this binary knows.
pub async fn check_schema(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let (found, known) = (schema(connection).await?, newest_known());
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(StoreError::OlderSchema { found, known }),
        std::cmp::Ordering::Greater => Err(StoreError::NewerSchema { found, known }),
    }
}

fn newest_known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn schema(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let applied = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    if sqlx::query_scalar::<_, i64>(applied).fetch_one(&mut *connection).await? == 0 {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    Ok(sqlx::query_scalar(newest).fetch_one(connection).await?)
}

/// Closes a connection; what is durable stays so, hence an error is only worth a line in the log.
pub fn close(connection: Connection) {
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "closing a database connection failed");
    }
}

/// Held while this process writes to the database.
#[derive(Debug)]
pub struct Lock {
    // The lock lasts as long as the file is open.
    _file: File,
}

impl Lock {
    /// Takes the lock of the database at `path`, or says who has it. One that is about to let go is waited for: a host
    /// that ends, or a child process of this one that has not come to its own program yet.
    pub async fn take(path: &Path) -> Result<Self, StoreError> {
        let lock_path = lock_path(path);
        let unusable = |error: std::io::Error| StoreError::Unavailable {
            detail: format!("{}: {error}", lock_path.display()),
        };
        let file =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(unusable)?;
        for _ in 0..LOCK_ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        Err(StoreError::Locked { path: lock_path })
    }
}

/// For how long a lock is waited for: half a second.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Beside the file itself, so that a link to a database leads to the same lock.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push(".lock");
    name.into()
}
