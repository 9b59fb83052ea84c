//! Which database is meant: an address in, a store out. An address may hold a password, so it is never shown whole.

use crate::error::Error;
use proviso_store::{Access, PostgresOptions, SqliteOptions, Store};
use serde::Deserialize;
use std::{fmt, fs, num::NonZeroU32, path::PathBuf, str::FromStr, sync::Arc};

/// A database, by its address.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// The whole address of one on a server.
    Postgres(String),
}

impl Database {
    /// Opens it, with so many connections if it is on a server. To be written, a file is made where there is none.
    pub async fn open(
        &self,
        access: Access,
        connections: Option<NonZeroU32>,
    ) -> Result<Arc<dyn Store>, Error> {
        match self {
            Self::Sqlite(path) => {
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
                Ok(SqliteOptions::new(path).open(access).await?)
            }
            Self::Postgres(address) => {
                let mut options = PostgresOptions::new(address)?;
                options.max_connections = connections.map_or(options.max_connections, NonZeroU32::get);
                Ok(options.open(access).await?)
            }
        }
    }
}

impl FromStr for Database {
    type Err = String;

    fn from_str(address: &str) -> Result<Self, String> {
        // Looked at more closely only where a refusal does not repeat it.
        if PostgresOptions::is_meant_by(address) {
            return Ok(Self::Postgres(address.to_owned()));
        }
        let (scheme, rest) = address.split_once(':').unwrap_or(("", address));
        let path = rest.strip_prefix("//").unwrap_or(rest);
        match scheme {
            "sqlite" if path.is_empty() || path.contains('?') || path == ":memory:" => Err(format!(
                "{address:?} names no file: write sqlite://relative/file.db or sqlite:///absolute/file.db"
            )),
            "sqlite" => Ok(Self::Sqlite(path.into())),
            _ => Err("must begin with sqlite:// or postgres:// (or be left out)".to_owned()),
        }
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
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(address) => match PostgresOptions::new(address) {
                Ok(options) => options.fmt(f),
                Err(_) => f.write_str("postgres://"),
            },
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
