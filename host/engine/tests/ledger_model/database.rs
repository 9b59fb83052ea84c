//! A fresh database of either kind.

use proviso_fixtures::{cluster, host};
use proviso_store::{PostgresOptions, PostgresStore, Store};
use std::sync::Arc;

pub enum Database {
    Sqlite(tempfile::TempDir),
    /// Its name on the cluster.
    Postgres(String),
}

impl Database {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub fn postgres() -> Self {
        Self::Postgres(cluster::shared().create_database())
    }

    pub async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(folder) => host::open(folder.path()).await,
            Self::Postgres(name) => {
                let options = PostgresOptions::new(&cluster::shared().url(name)).unwrap();
                Arc::new(PostgresStore::open(options).await.unwrap())
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres(name) = self {
            cluster::shared().sql("postgres", &format!("drop database {name} with (force)"));
        }
    }
}
