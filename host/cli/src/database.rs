//! Which database is meant. An address may hold a password, so it is never shown whole.

use crate::error::Error;
use proviso_store::{Access, DatabaseUrl, Store, StoreError};
use serde::Deserialize;
use std::{fmt, fs, num::NonZeroU32, path::PathBuf, str::FromStr, sync::Arc};

/// A database, by its address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Database(DatabaseUrl);

impl Database {
    /// The database in a file.
    pub fn file(path: PathBuf) -> Self {
        Self(DatabaseUrl::Sqlite(path))
    }

    /// Opens it, with so many connections if it is on a server. To be written, a file is made where there is none.
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
                    let detail = "there is no database".to_owned();
                    return Err(Error::Content { path: path.clone(), detail });
                }
                _ => {}
            }
        }
        Ok(self.0.open(access, connections.map(NonZeroU32::get)).await?)
    }
}

impl FromStr for Database {
    type Err = String;

    fn from_str(address: &str) -> Result<Self, String> {
        address.parse().map(Self).map_err(|error| match error {
            StoreError::Address { detail } => detail,
            other => other.to_string(),
        })
    }
}

impl TryFrom<String> for Database {
    type Error = String;

    fn try_from(address: String) -> Result<Self, String> {
        address.parse()
    }
}

/// Without user and password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
