//! What can go wrong in a store, told apart by what a caller can do about it. No SQL type leaves this crate.

use std::path::PathBuf;

/// Why a call failed. Nothing of a failed call was written, unless the call's documentation says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database can't be reached or is busy.
    #[error("the database is unavailable: {detail}")]
    Unavailable {
        /// What the database said.
        detail: String,
    },
    /// The database can't grow any more.
    #[error("the database's disk is full")]
    DiskFull,
    /// What is stored contradicts itself.
    #[error("the database is corrupt: {detail}")]
    Corrupt {
        /// What was found.
        detail: String,
    },
    /// A newer binary has written this database.
    #[error("the database has schema {found}, but this binary knows {known} at most; use a newer binary")]
    NewerSchema {
        /// The schema's number in the database.
        found: i64,
        /// The last number that this binary knows.
        known: i64,
    },
    /// An older binary has written this database, and it was opened only for reading.
    #[error(
        "the database has schema {found}, but this binary reads {known}; start the server once to bring it up"
    )]
    OlderSchema {
        /// The schema's number in the database, 0 when there is none.
        found: i64,
        /// The number that this binary needs.
        known: i64,
    },
    /// Another process writes to this database.
    #[error("another process has this database open: {} is locked", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The server turned this process away: a wrong password, an unknown database, a missing privilege, no TLS.
    #[error("the database refused the connection: {detail}")]
    Refused {
        /// What the server said.
        detail: String,
    },
    /// The server is not one that this binary can use.
    #[error("this database server can't be used: {detail}")]
    Unsupported {
        /// What is wrong with it.
        detail: String,
    },
    /// The server only reads: it is a standby, or was made read-only.
    #[error("the database server takes no writes: it is a standby, or set to read only; name the primary")]
    Standby,
    /// The store was opened only for reading.
    #[error("the database was opened only for reading")]
    ReadOnly,
    /// This kind of database has no archive, and needs none.
    #[error("this database keeps all entries where they are: there is nothing to archive")]
    NoArchive,
    /// This kind of database is not one file.
    #[error("this database is backed up with the server's own means, such as pg_dump or pg_basebackup")]
    NoBackup,
    /// The database to copy to is not empty.
    #[error("the database to copy to is not empty: it holds {found}; name a new one")]
    NotEmpty {
        /// What was found there.
        found: &'static str,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A malformed address of a database.
    #[error("not a database address: {detail}")]
    Address {
        /// What is wrong with it. Repeats nothing of the address.
        detail: String,
    },
}
