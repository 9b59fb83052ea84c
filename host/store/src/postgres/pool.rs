//! A few connections that are kept open.
//!
//! sqlx's own pool asks the server whether a connection is alive each time it is used or put back, which would double the
//! round trips of a commit. This one does not: a connection that turns out to be dead is replaced and the query sent
//! again, unless the caller can't allow that. A connection whose last statement's outcome is unknown, also because its
//! caller stopped waiting, is never used again.

use super::{
    heads::{Generation, Heads, ServerStart},
    server::{Server, survives},
};
use crate::error::StoreError;
use sqlx::{
    PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

pub type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// How much longer than the statement timeout to wait for an answer: a server that is alive answers by then.
const GRACE: Duration = Duration::from_secs(3);

/// Connections to one server.
#[derive(Debug)]
pub struct Pool {
    server: Server,
    permits: Semaphore,
    /// The one used last is used first, so that a few stay in the server's caches.
    idle: Mutex<Vec<Session>>,
    pub heads: Heads,
}

/// A connection, and which others it belongs to.
#[derive(Debug)]
struct Session {
    connection: PgConnection,
    generation: Generation,
}

impl Pool {
    /// Begins with one connection.
    pub fn new(server: Server, (connection, start): (PgConnection, ServerStart)) -> Self {
        let permits = Semaphore::new(usize::try_from(server.options.max_connections.max(1)).unwrap_or(1));
        let heads = Heads::default();
        let first = Session { connection, generation: heads.join(start) };
        Self { server, permits, idle: Mutex::new(vec![first]), heads }
    }

    /// A connection for the caller alone, as soon as one is free.
    pub async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let patience = self.server.options.acquire_timeout;
        let permit = match timeout(patience, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| StoreError::Closed)?,
            Err(_) => return Err(unavailable(format!("no connection was free within {patience:?}"))),
        };
        let Session { connection, generation } = match self.idle_session() {
            Some(session) => session,
            None => self.connect().await?,
        };
        let connection = Some(connection);
        Ok(Lease { connection, generation, in_transaction: false, pool: self, _permit: permit })
    }

    /// Drops those of older generations: their server has most likely been replaced.
    fn idle_session(&self) -> Option<Session> {
        let mut idle = self.idle();
        idle.retain(|session| self.heads.is_current(session.generation));
        idle.pop()
    }

    async fn connect(&self) -> Result<Session, StoreError> {
        let (connection, start) = self.server.connect(self.server.options.acquire_timeout).await?;
        Ok(Session { connection, generation: self.heads.join(start) })
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

    /// Waits until all connections are idle, and closes them.
    pub async fn close(&self) {
        let everyone = self.server.options.max_connections.max(1);
        // An error means that it is closed already.
        let Ok(_permits) = self.permits.acquire_many(everyone).await else { return };
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for Session { connection, .. } in idle {
            if let Err(error) = sqlx::Connection::close(connection).await {
                tracing::debug!(%error, "closing a database connection failed");
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that only the holder uses, until this is dropped.
#[derive(Debug)]
pub struct Lease<'a> {
    /// None while it is used, and when it is lost.
    connection: Option<PgConnection>,
    /// The connection's, also when it is lost.
    generation: Generation,
    in_transaction: bool,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// Whether the connection is lost, and with it the outcome of the last statement unknown.
    pub fn is_lost(&self) -> bool {
        self.connection.is_none()
    }

    /// The generation of the connection.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Replaces a lost connection by a new one.
    pub async fn renew(&mut self) -> Result<(), StoreError> {
        let Session { connection, generation } = self.pool.connect().await?;
        self.in_transaction = false;
        (self.connection, self.generation) = (Some(connection), generation);
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

    /// Begins a transaction, on a new connection when this one turns out to be dead. A transaction that is not ended is
    /// rolled back by closing the connection.
    pub async fn begin(&mut self, begin: &'static str) -> Result<(), StoreError> {
        match self.run(begin).await {
            Err(_) if self.is_lost() => {
                self.renew().await?;
                self.run(begin).await?;
            }
            done => done?,
        }
        self.in_transaction = true;
        Ok(())
    }

    /// `COMMIT` or `ROLLBACK`.
    pub async fn end(&mut self, end: &'static str) -> sqlx::Result<()> {
        self.run(end).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
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
        } else {
            self.pool.heads.end(self.generation);
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
            self.pool.idle().push(Session { connection, generation: self.generation });
        }
    }
}

pub fn unavailable(detail: impl Into<String>) -> StoreError {
    StoreError::Unavailable { detail: detail.into() }
}
