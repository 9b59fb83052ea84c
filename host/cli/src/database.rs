//! Which database is meant, and how a verb opens it.

use crate::error::Error;
use proviso_store::{Access, DatabaseUrl, Store, StoreError};
use serde::Deserialize;
use std::{
    fmt, fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// A database, by its address. It may hold a password, which is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Database(DatabaseUrl);

impl Database {
    /// A file.
    pub fn file(path: PathBuf) -> Self {
        Self(DatabaseUrl::Sqlite(path))
    }

    /// Opens it, with so many connections if it is on a server. To be written, a file and its folder are made where there are
    /// none.
    pub async fn open(
        &self,
        access: Access,
        connections: Option<NonZeroU32>,
    ) -> Result<Arc<dyn Store>, Error> {
        if let DatabaseUrl::Sqlite(path) = &self.0 {
            match (access, path.parent()) {
                (Access::ReadWrite, Some(folder)) => {
                    fs::create_dir_all(folder).map_err(Error::file(folder))?;
                }
                (Access::ReadOnly, _) if !path.exists() => {
                    return Err(Error::content(path)("there is no database"));
                }
                _ => {}
            }
        }
        Ok(self.0.open(access, connections.map(NonZeroU32::get)).await?)
    }

    /// Copies it into a file that is empty or missing, also while a host uses it.
    pub async fn backup(&self, to: &Path) -> Result<(), Error> {
        match &self.0 {
            DatabaseUrl::Sqlite(path) if !path.exists() => Err(Error::content(path)("there is no database")),
            database => Ok(database.backup(to).await?),
        }
    }
}

impl FromStr for Database {
    type Err = StoreError;

    fn from_str(address: &str) -> Result<Self, StoreError> {
        address.parse().map(Self)
    }
}

impl TryFrom<String> for Database {
    type Error = StoreError;

    fn try_from(address: String) -> Result<Self, StoreError> {
        address.parse()
    }
}

/// Without user and password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
