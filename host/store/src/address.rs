//! From an address such as `sqlite:///var/lib/proviso/proviso.db` to a store.

use crate::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store, StoreError};
use std::{path::PathBuf, sync::Arc};

/// What a process wants to do with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write it, create it where there is none, and bring its schema up to date.
    ReadWrite,
    /// Only read it, also while another process writes to it.
    ReadOnly,
}

/// Opens the database at `sqlite://PATH`, where the path may be relative (`sqlite://data/proviso.db`), or at
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
///
/// # Errors
/// [`StoreError::Address`] when the address names no database that this crate knows, else what the `open` and
/// `open_read_only` of [`SqliteStore`] and [`PostgresStore`] say.
pub async fn open(address: &str, access: Access) -> Result<Arc<dyn Store>, StoreError> {
    if PostgresOptions::is_meant_by(address) {
        PostgresOptions::new(address)?.open(access).await
    } else {
        SqliteOptions::new(sqlite_path(address)?).open(access).await
    }
}

impl SqliteOptions {
    /// Opens the file.
    ///
    /// # Errors
    /// What [`SqliteStore::open`] and [`SqliteStore::open_read_only`] say.
    pub async fn open(self, access: Access) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match access {
            Access::ReadWrite => Arc::new(SqliteStore::open(self).await?),
            Access::ReadOnly => Arc::new(SqliteStore::open_read_only(self).await?),
        })
    }
}

impl PostgresOptions {
    /// Opens the database.
    ///
    /// # Errors
    /// What [`PostgresStore::open`] and [`PostgresStore::open_read_only`] say.
    pub async fn open(self, access: Access) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match access {
            Access::ReadWrite => Arc::new(PostgresStore::open(self).await?),
            Access::ReadOnly => Arc::new(PostgresStore::open_read_only(self).await?),
        })
    }
}

fn sqlite_path(address: &str) -> Result<PathBuf, StoreError> {
    let refused = |detail: &str| StoreError::Address { detail: detail.to_owned() };
    match address.split_once("://") {
        Some(("sqlite", "")) => Err(refused("there is no path after \"sqlite://\"")),
        Some(("sqlite", path)) if path.contains(['?', '#']) => {
            Err(refused("a path can't hold \"?\" or \"#\" here"))
        }
        Some(("sqlite", path)) => Ok(path.into()),
        // The rest may hold a password.
        Some((scheme, _)) => {
            Err(refused(&format!("\"{scheme}://\" is neither \"sqlite://\" nor \"postgres://\"")))
        }
        None => Err(refused("it must start with \"sqlite://\" or \"postgres://\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_files() {
        for (address, path) in [
            ("sqlite:///var/lib/p.db", Some("/var/lib/p.db")),
            ("sqlite://data/p.db", Some("data/p.db")),
            ("sqlite://", None),
            ("sqlite://p.db?mode=ro", None),
            ("mysql://user:secret@host/db", None),
            ("p.db", None),
        ] {
            let found = sqlite_path(address);
            assert_eq!(found.as_ref().ok().and_then(|found| found.to_str()), path, "{address}");
            assert!(found.err().is_none_or(|error| !error.to_string().contains("secret")), "{address}");
        }
    }
}
