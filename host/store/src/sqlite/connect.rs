//! Opens connections, and holds the lock that keeps a second writing process out.
//!
//! A connection is used by one thread at a time, which Rust sees to, so SQLite's own mutexes are off.

use super::options::SqliteOptions;
use crate::error::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

/// A commit checkpoints by itself only when the write-ahead log has this many pages, which the checkpointer should
/// prevent.
const FALLBACK_CHECKPOINT_PAGES: u32 = 65_536;

/// How long a statement waits for locks of other connections.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than there are statements.
const CACHED_STATEMENTS: usize = 64;

/// The connection that writes.
pub fn writer(options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connection = read_write(&options.path)?;
    // Appends and merges of sorted runs touch neighbouring pages; lookups are spread over the index.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "wal_autocheckpoint", FALLBACK_CHECKPOINT_PAGES)?;
    if let Some(pages) = options.max_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

/// The connection that checkpoints: it writes to the database file, never to the log.
pub fn checkpointer(path: &Path) -> Result<Connection, StoreError> {
    read_write(path)
}

/// A connection that reads.
pub fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Each commit invalidates the caches of other connections, and a larger one takes longer to discard.
    connection.pragma_update(None, "cache_size", -256)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

fn read_write(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Closes a connection. An error is only logged: what is durable stays so.
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

/// How long to wait for a lock: half a second.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

impl Lock {
    /// Takes the lock of the database at `path`. Waits a little for one that is about to be released: by a host that
    /// ends, or by a child of this process between fork and exec.
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

/// Beside the file itself, so that a link to a database leads to the same lock.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push(".lock");
    name.into()
}
