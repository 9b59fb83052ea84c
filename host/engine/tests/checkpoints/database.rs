//! A database of either kind that is opened, copied, and edited behind the hosts' backs.

use proviso_fixtures::cluster;
use proviso_ledger::{journal::ChainHash, model::ids::hex};
use proviso_store::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store};
use std::{path::PathBuf, sync::Arc};

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
            Self::Sqlite(_) => Arc::new(SqliteStore::open(SqliteOptions::new(self.file())).await.unwrap()),
            Self::Postgres(_) => Arc::new(PostgresStore::open(self.options()).await.unwrap()),
        }
    }

    pub async fn open_read_only(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(_) => {
                Arc::new(SqliteStore::open_read_only(SqliteOptions::new(self.file())).await.unwrap())
            }
            Self::Postgres(_) => Arc::new(PostgresStore::open_read_only(self.options()).await.unwrap()),
        }
    }

    /// As a backup would be; no host may have it open.
    pub async fn copy(&self) -> Self {
        match self {
            Self::Sqlite(_) => {
                let copy = Self::sqlite();
                std::fs::copy(self.file(), copy.file()).unwrap();
                copy
            }
            Self::Postgres(name) => {
                let copy = Self::postgres();
                let Self::Postgres(to) = &copy else { unreachable!() };
                cluster::shared().sql("postgres", &format!("drop database {to}"));
                cluster::shared().sql("postgres", &format!("create database {to} template {name}"));
                copy
            }
        }
    }

    pub fn sql(&self, statements: &[&str]) {
        match self {
            Self::Sqlite(_) => {
                let connection = rusqlite::Connection::open(self.file()).unwrap();
                statements.iter().for_each(|sql| connection.execute_batch(sql).unwrap());
            }
            Self::Postgres(name) => {
                statements.iter().for_each(|sql| drop(cluster::shared().sql(name, sql)));
            }
        }
    }

    pub fn set_entry(&self, customer: &str, seq: u64, hash: &ChainHash, body: &str) {
        match self {
            Self::Sqlite(_) => {
                let connection = rusqlite::Connection::open(self.file()).unwrap();
                let sql = "update entries set hash = ?3, body = ?4 where customer_id = ?1 and seq = ?2";
                let seq = i64::try_from(seq).unwrap();
                assert_eq!(connection.execute(sql, (customer, seq, hash, body)).unwrap(), 1);
            }
            Self::Postgres(name) => {
                let (hash, body) = (hex(hash), body.replace('\'', "''"));
                let sql = format!(
                    "update entries set hash = '\\x{hash}', body = '{body}' \
                     where customer_id = '{customer}' and seq = {seq}"
                );
                cluster::shared().sql(name, &sql);
            }
        }
    }

    fn file(&self) -> PathBuf {
        let Self::Sqlite(folder) = self else { panic!("this is no file") };
        folder.path().join("proviso.db")
    }

    fn options(&self) -> PostgresOptions {
        let Self::Postgres(name) = self else { panic!("this is no server") };
        PostgresOptions::new(&cluster::shared().url(name)).unwrap()
    }
}
