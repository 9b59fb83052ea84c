//! Addresses of databases, such as `sqlite://data/proviso.db`: the one place where they are parsed.

use crate::{
    error::StoreError,
    postgres::{PostgresOptions, PostgresStore},
    sqlite::{self, SqliteOptions, SqliteStore},
    store::Store,
};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// What a process wants to do with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write it, create it where there is none, and bring its schema up to date.
    ReadWrite,
    /// Only read it, also while another process writes to it.
    ReadOnly,
}

/// Names a database. It may hold a password, which neither `Display` nor `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://PATH`, where the path may be relative and the slashes missing.
    Sqlite(PathBuf),
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, whole. What follows the scheme is checked when it is opened, where
    /// an error does not repeat it.
    Postgres(String),
}

impl DatabaseUrl {
    /// Opens the database, on a server with up to `max_connections` connections (None: the default).
    ///
    /// # Errors
    /// [`StoreError::Address`] for a malformed address of a server, else those of `open` and `open_read_only` of
    /// [`SqliteStore`] and [`PostgresStore`].
    pub async fn open(
        &self,
        access: Access,
        max_connections: Option<u32>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteOptions::new(path);
                Ok(match access {
                    Access::ReadWrite => Arc::new(SqliteStore::open(options).await?),
                    Access::ReadOnly => Arc::new(SqliteStore::open_read_only(options).await?),
                })
            }
            Self::Postgres(address) => {
                let mut options = PostgresOptions::new(address)?;
                options.max_connections = max_connections.unwrap_or(options.max_connections);
                Ok(match access {
                    Access::ReadWrite => Arc::new(PostgresStore::open(options).await?),
                    Access::ReadOnly => Arc::new(PostgresStore::open_read_only(options).await?),
                })
            }
        }
    }

    /// Copies the database into a file that is empty or missing, also while a host uses it: what was committed when the copy
    /// began.
    ///
    /// # Errors
    /// [`StoreError::NoBackup`] for a server; a schema that this binary does not know; those of the file system, which
    /// leave a part of the copy.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::backup(path, to).await,
            Self::Postgres(_) => Err(StoreError::NoBackup),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = StoreError;

    fn from_str(address: &str) -> Result<Self, StoreError> {
        // The rest of an address may hold a password, so no error repeats it.
        let invalid = |detail: &str| Err(StoreError::Address { detail: detail.to_owned() });
        let (scheme, rest) = address.split_once(':').unwrap_or(("", address));
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "postgres" | "postgresql" if path != rest => Ok(Self::Postgres(address.to_owned())),
            "sqlite" if path.is_empty() || path == ":memory:" || path.contains(['?', '#']) => invalid(
                "names no file: write sqlite://relative/file.db or sqlite:///absolute/file.db, \
                 without \"?\" and \"#\"",
            ),
            "sqlite" => Ok(Self::Sqlite(path.into())),
            _ => invalid("must begin with sqlite:// or postgres://"),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(address) => match PostgresOptions::new(address) {
                Ok(options) => options.fmt(f),
                Err(_) => f.write_str("postgres://"),
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_files_and_servers_and_hide_passwords() {
        for (address, shown) in [
            ("sqlite:///var/lib/p.db", Some("sqlite:///var/lib/p.db")),
            ("sqlite://data/p.db", Some("sqlite://data/p.db")),
            ("sqlite:p.db", Some("sqlite://p.db")),
            ("postgres://user:secret@host/db", Some("postgres://host:5432/db")),
            ("postgresql://user:secret@host:6432/db", Some("postgres://host:6432/db")),
            ("postgres://user:secret@host:port/db", Some("postgres://")),
            ("sqlite://", None),
            ("sqlite::memory:", None),
            ("postgres:host/db", None),
            ("sqlite://p.db?mode=ro", None),
            ("mysql://user:secret@host/db", None),
            ("p.db", None),
        ] {
            let parsed = address.parse::<DatabaseUrl>();
            let told = format!("{parsed:?}");
            assert_eq!(parsed.ok().map(|url| url.to_string()).as_deref(), shown, "{address}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
