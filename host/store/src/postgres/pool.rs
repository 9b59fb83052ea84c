//! Queries in, rows out, over a few connections that are kept open.
//!
//! sqlx's own pool asks the server whether a connection is alive each time it is used or put back, which would double
//! the round trips of a commit. Here nothing is asked: a connection that turns out to be dead is replaced and the
//! query sent again, and whoever can't have that must say so. A connection whose last word is unknown, also because
//! nobody waited for it, is never used again.

use super::{
    heads::Heads,
    server::{Server, survives},
};
use crate::StoreError;
use sqlx::{
    PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

pub type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// How much longer than a statement may take its answer is waited for: longer only when nobody is there any more.
const GRACE: Duration = Duration::from_secs(3);

/// Connections to one server.
#[derive(Debug)]
pub struct Pool {
    server: Server,
    permits: Semaphore,
    /// The last one used is used first, so that few stay warm rather than many lukewarm.
    idle: Mutex<Vec<PgConnection>>,
    /// What is known of the journals; forgotten whenever a connection is made.
    pub heads: Heads,
}

impl Pool {
    pub fn new(server: Server, first: PgConnection) -> Self {
        let permits = Semaphore::new(usize::try_from(server.options.max_connections.max(1)).unwrap_or(1));
        Self { server, permits, idle: Mutex::new(vec![first]), heads: Heads::default() }
    }

    /// A connection to oneself, as soon as one is free.
    pub async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let patience = self.server.options.acquire_timeout;
        let permit = match timeout(patience, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| StoreError::Closed)?,
            Err(_) => return Err(unavailable(format!("no connection was free within {patience:?}"))),
        };
        let idle = self.idle().pop();
        let mut lease = Lease { connection: idle, in_transaction: false, pool: self, _permit: permit };
        if lease.is_lost() {
            lease.connect().await?;
        }
        Ok(lease)
    }

    /// The rows of a query that may be sent twice.
    pub async fn fetch<'q>(&self, query: impl Fn() -> PgQuery<'q> + Send) -> Result<Vec<PgRow>, StoreError> {
        let mut lease = self.lease().await?;
        match lease.fetch(query()).await {
            Err(_) if lease.is_lost() => {
                lease.renew().await?;
                Ok(lease.fetch(query()).await?)
            }
            done => Ok(done?),
        }
    }

    /// Waits for whoever has a connection, and closes all.
    pub async fn close(&self) {
        let everyone = self.server.options.max_connections.max(1);
        // An error means that it is closed already.
        let Ok(_permits) = self.permits.acquire_many(everyone).await else { return };
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            if let Err(error) = sqlx::Connection::close(connection).await {
                tracing::debug!(%error, "closing a database connection failed");
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is one's own until this is dropped.
#[derive(Debug)]
pub struct Lease<'a> {
    /// None while it is used, and when it is lost.
    connection: Option<PgConnection>,
    in_transaction: bool,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// Whether the connection is gone, and with it the outcome of the last statement unknown.
    pub fn is_lost(&self) -> bool {
        self.connection.is_none()
    }

    /// A new connection for one that is lost. The idle ones have most likely met the same fate.
    pub async fn renew(&mut self) -> Result<(), StoreError> {
        self.pool.idle().clear();
        self.in_transaction = false;
        self.connect().await
    }

    async fn connect(&mut self) -> Result<(), StoreError> {
        let server = &self.pool.server;
        let connection = server.connect(server.options.acquire_timeout).await?;
        self.pool.heads.forget();
        self.connection = Some(connection);
        Ok(())
    }

    pub async fn fetch(&mut self, query: PgQuery<'_>) -> sqlx::Result<Vec<PgRow>> {
        let mut connection = self.take()?;
        let outcome = self.bounded(query.fetch_all(&mut connection)).await;
        self.put_back(connection, outcome)
    }

    /// How many rows a statement wrote.
    pub async fn execute(&mut self, query: PgQuery<'_>) -> sqlx::Result<u64> {
        let mut connection = self.take()?;
        let outcome = self.bounded(query.execute(&mut connection)).await;
        Ok(self.put_back(connection, outcome)?.rows_affected())
    }

    /// Begins a transaction, on a new connection when this one proves dead. One that is not ended is rolled back by
    /// closing the connection.
    pub async fn begin(&mut self, begin: &'static str) -> Result<(), StoreError> {
        match self.say(begin).await {
            Err(_) if self.is_lost() => {
                self.renew().await?;
                self.say(begin).await?;
            }
            done => done?,
        }
        self.in_transaction = true;
        Ok(())
    }

    /// `COMMIT` or `ROLLBACK`.
    pub async fn end(&mut self, end: &'static str) -> sqlx::Result<()> {
        self.say(end).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn say(&mut self, sql: &'static str) -> sqlx::Result<()> {
        let mut connection = self.take()?;
        let outcome = self.bounded(sqlx::raw_sql(sql).execute(&mut connection)).await;
        self.put_back(connection, outcome).map(drop)
    }

    fn take(&mut self) -> sqlx::Result<PgConnection> {
        self.connection.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    }

    fn put_back<T>(&mut self, connection: PgConnection, outcome: sqlx::Result<T>) -> sqlx::Result<T> {
        if outcome.as_ref().err().is_none_or(survives) {
            self.connection = Some(connection);
        }
        outcome
    }

    async fn bounded<T>(&self, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        let patience = self.pool.server.options.statement_timeout + GRACE;
        timeout(patience, work).await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| !self.in_transaction) {
            self.pool.idle().push(connection);
        }
    }
}

pub fn unavailable(detail: impl Into<String>) -> StoreError {
    StoreError::Unavailable { detail: detail.into() }
}
