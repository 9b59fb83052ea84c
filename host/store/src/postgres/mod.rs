//! The journals of any number of hosts in one PostgreSQL database.
//!
//! Each question and each [commit](commit) is one statement, so one round trip, over a small [pool] of
//! [sessions](server). Nothing is kept here between two calls: what another host wrote is seen at once.

mod archive;
mod claims;
mod commit;
mod heads;
mod migrate;
mod pool;
mod reads;
mod reference;
mod server;

pub use server::PostgresOptions;

use crate::{
    Store, StoreError,
    rows::{
        Batch, Commit, CustomerRow, KeyHash, LoadedCustomer, Reference, ReferenceChange, StoredAnswer,
        StoredEntry, StoredSnapshot,
    },
};
use claims::Claims;
use pool::Pool;
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Seq},
    time::Timestamp,
};
use server::Server;
use std::time::Duration;

/// A [`Store`] on a PostgreSQL server, of version 14 or newer.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
    /// None when it was opened only for reading.
    claims: Option<Claims>,
}

impl PostgresStore {
    /// Opens a database to read and write it, beside other hosts that do, and applies migrations.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server does not answer in time, [`StoreError::Refused`] when it turns us
    /// away, [`StoreError::Unsupported`] and [`StoreError::Standby`] when it is not the right one,
    /// [`StoreError::NewerSchema`] when a newer binary wrote the database.
    pub async fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let server = Server::new(options, true);
        let mut connection = server.connect(server.options.start_timeout).await?;
        migrate::migrate(&mut connection).await?;
        let owner = sqlx::query_scalar("SELECT gen_random_uuid()::text").fetch_one(&mut connection).await?;
        // Its session was made for migrations.
        drop(connection);
        let first = server.connect(server.options.acquire_timeout).await?;
        Ok(Self { pool: Pool::new(server, first), claims: Some(Claims::new(owner)) })
    }

    /// Opens a database to read it, also while hosts write to it, and also on a standby.
    ///
    /// # Errors
    /// As [`PostgresStore::open`], and [`StoreError::OlderSchema`] when it is not this binary's schema.
    pub async fn open_read_only(options: PostgresOptions) -> Result<Self, StoreError> {
        let server = Server::new(options, false);
        let mut connection = server.connect(server.options.start_timeout).await?;
        migrate::check(&mut connection).await?;
        Ok(Self { pool: Pool::new(server, connection), claims: None })
    }

    fn claims(&self) -> Result<&Claims, StoreError> {
        self.claims.as_ref().ok_or(StoreError::ReadOnly)
    }
}

#[async_trait::async_trait]
impl Store for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn load(&self, known: &[(CustomerId, Seq)]) -> Result<Vec<LoadedCustomer>, StoreError> {
        reads::load(&self.pool, known).await
    }

    async fn find_keys(&self, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError> {
        reads::find_keys(&self.pool, keys).await
    }

    async fn keys(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: u32,
    ) -> Result<Vec<(KeyHash, Seq)>, StoreError> {
        reads::keys(&self.pool, customer, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        self.claims()?;
        if batch.is_empty() {
            return Ok(Commit::Durable);
        }
        commit::commit(&self.pool, batch).await
    }

    async fn entries(
        &self,
        customer: &CustomerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        reads::entries(&self.pool, customer, after, limit).await
    }

    async fn entries_before(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        reads::entries_before(&self.pool, customer, before, limit).await
    }

    async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
        reads::seq_at(&self.pool, customer, at).await
    }

    async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
    ) -> Result<Option<StoredSnapshot>, StoreError> {
        reads::snapshot_before(&self.pool, customer, seq).await
    }

    async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        reads::customers(&self.pool, after, limit).await
    }

    async fn customer(&self, customer: &CustomerId) -> Result<Option<CustomerRow>, StoreError> {
        reads::customer(&self.pool, customer).await
    }

    async fn due(&self, at: Timestamp, limit: u32, claim: Duration) -> Result<Vec<CustomerId>, StoreError> {
        match &self.claims {
            Some(claims) => claims.take(&self.pool, at, limit, claim).await,
            None => Claims::look(&self.pool, at, limit).await,
        }
    }

    async fn archive(&self, customer: &CustomerId, through: Seq) -> Result<u64, StoreError> {
        self.claims()?;
        archive::archive(&self.pool, customer, through).await
    }

    async fn reference(&self, since: u64) -> Result<Reference, StoreError> {
        reference::read(&self.pool, since).await
    }

    async fn reference_revision(&self) -> Result<u64, StoreError> {
        reference::revision(&self.pool).await
    }

    async fn change_reference(
        &self,
        base: Option<u64>,
        changes: Vec<ReferenceChange>,
        request: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError> {
        self.claims()?;
        reference::change(&self.pool, base, changes, request).await
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        reference::module(&self.pool, digest).await
    }

    async fn request(&self, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
        reference::request(&self.pool, key_hash).await
    }

    async fn requests(&self, after: Option<KeyHash>, limit: u32) -> Result<Vec<StoredAnswer>, StoreError> {
        reference::requests(&self.pool, after, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        reference::revision(&self.pool).await.map(drop)
    }

    async fn close(&self) {
        if let Some(claims) = &self.claims {
            claims.let_go(&self.pool).await;
        }
        self.pool.close().await;
    }
}
