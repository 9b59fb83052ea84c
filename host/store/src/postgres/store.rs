//! A [`Store`] on a PostgreSQL server.

use super::{
    archive, catalog,
    claims::Claims,
    commit,
    hosts::{self, Announcement},
    migrate,
    pool::Pool,
    reads,
    server::{PostgresOptions, Server},
};
use crate::{
    anchors::CheckpointStore,
    columns::Columns,
    error::StoreError,
    redemptions::RedemptionStore,
    rollout,
    rollups::RollupStore,
    rows::{
        AuditQuery, AuditRow, Batch, CatalogChange, CatalogRows, Commit, CustomerRow, KeyHash,
        LoadedCustomer, StoredAnswer, StoredEntry, StoredSnapshot,
    },
    store::Store,
};
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Name, Seq},
    terms::TermsKey,
    time::Timestamp,
};
use std::time::Duration;

/// A [`Store`] on a PostgreSQL server, of version 14 or newer.
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
    /// None when it was opened only for reading.
    host: Option<Host>,
}

/// What other hosts see of this store.
#[derive(Debug)]
pub(super) struct Host {
    id: String,
    claims: Claims,
    announcement: Announcement,
}

impl PostgresStore {
    /// Opens a database to read and write it, beside other hosts that do, and applies migrations.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server does not answer in time, [`StoreError::Refused`] when it refuses the
    /// session, [`StoreError::Unsupported`] and [`StoreError::Standby`] when it is not one to write to,
    /// [`StoreError::NewerSchema`] when a newer binary wrote the database.
    pub async fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let server = Server::new(options, true);
        let (mut connection, _) = server.connect(server.options.start_timeout).await?;
        migrate::migrate(&mut connection).await?;
        let id: String =
            sqlx::query_scalar("SELECT gen_random_uuid()::text").fetch_one(&mut connection).await?;
        // Its settings are those of migrations.
        drop(connection);
        let first = server.connect(server.options.acquire_timeout).await?;
        let host =
            Host { id: id.clone(), claims: Claims::new(id.clone()), announcement: Announcement::new(id) };
        Ok(Self { pool: Pool::new(server, first), host: Some(host) })
    }

    /// Opens a database to read it, also while hosts write to it, and also on a standby.
    ///
    /// # Errors
    /// As [`PostgresStore::open`], and [`StoreError::OlderSchema`] when it is not this binary's schema.
    pub async fn open_read_only(options: PostgresOptions) -> Result<Self, StoreError> {
        let server = Server::new(options, false);
        let mut first = server.connect(server.options.start_timeout).await?;
        migrate::check(&mut first.0).await?;
        Ok(Self { pool: Pool::new(server, first), host: None })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn host(&self) -> Result<&Host, StoreError> {
        self.host.as_ref().ok_or(StoreError::ReadOnly)
    }
}

#[async_trait::async_trait]
impl Store for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn load(
        &self,
        known: &[(CustomerId, Seq)],
        format: u32,
    ) -> Result<Vec<LoadedCustomer>, StoreError> {
        reads::load(&self.pool, known, format).await
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
        self.host()?;
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
        format: u32,
    ) -> Result<Option<StoredSnapshot>, StoreError> {
        reads::snapshot_before(&self.pool, customer, seq, format).await
    }

    async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        reads::customers(&self.pool, after, limit).await
    }

    async fn customers_of_plan(
        &self,
        plan: &Name,
        version: u32,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        reads::customers_of_plan(&self.pool, plan, version, after, limit).await
    }

    async fn customers_awaiting_payment(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        reads::customers_awaiting_payment(&self.pool, after, limit).await
    }

    async fn plan_customers(&self, plan: &Name) -> Result<Vec<(u32, u64)>, StoreError> {
        reads::plan_customers(&self.pool, plan).await
    }

    async fn due(&self, at: Timestamp, limit: u32, claim: Duration) -> Result<Vec<CustomerId>, StoreError> {
        match &self.host {
            Some(host) => host.claims.take(&self.pool, at, limit, claim).await,
            None => Claims::list(&self.pool, at, limit).await,
        }
    }

    async fn archive(&self, customer: &CustomerId, through: Seq) -> Result<u64, StoreError> {
        self.host()?;
        archive::archive(&self.pool, customer, through).await
    }

    async fn catalog(&self, since: u64) -> Result<CatalogRows, StoreError> {
        catalog::read(&self.pool, since).await
    }

    async fn catalog_revision(&self) -> Result<u64, StoreError> {
        catalog::revision(&self.pool).await
    }

    async fn change_catalog(
        &self,
        base: Option<u64>,
        changes: Vec<CatalogChange>,
        answer: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError> {
        self.host()?;
        catalog::change(&self.pool, base, changes, answer).await
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        catalog::module(&self.pool, digest).await
    }

    async fn answer(&self, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
        catalog::answer(&self.pool, key_hash).await
    }

    async fn answers(&self, after: Option<KeyHash>, limit: u32) -> Result<Vec<StoredAnswer>, StoreError> {
        catalog::answers(&self.pool, after, limit).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<(u64, AuditRow)>, StoreError> {
        catalog::audit(&self.pool, query).await
    }

    async fn announce(&self, reads_format: u32) -> Result<(), StoreError> {
        self.host()?.announcement.make(&self.pool, reads_format).await
    }

    async fn oldest_live_format(&self, max_age: Duration) -> Result<Option<u32>, StoreError> {
        hosts::oldest_live_format(&self.pool, max_age).await
    }

    async fn put_rollout_counts(&self, terms: &TermsKey, body: &str) -> Result<(), StoreError> {
        let (terms, host) = (terms.to_string(), &self.host()?.id);
        self.pool.fetch(|| sqlx::query(rollout::PUT).bind(&terms).bind(host).bind(body)).await.map(drop)
    }

    async fn rollout_counts(&self, terms: &TermsKey) -> Result<Vec<String>, StoreError> {
        let terms = terms.to_string();
        let rows = self.pool.fetch(|| sqlx::query(rollout::ALL).bind(&terms)).await?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    fn checkpoint_store(&self) -> Option<&dyn CheckpointStore> {
        Some(self)
    }

    fn rollup_store(&self) -> Option<&dyn RollupStore> {
        Some(self)
    }

    fn redemption_store(&self) -> Option<&dyn RedemptionStore> {
        Some(self)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        catalog::revision(&self.pool).await.map(drop)
    }

    async fn close(&self) {
        if let Some(Host { claims, announcement, .. }) = &self.host {
            claims.release(&self.pool).await;
            announcement.withdraw(&self.pool).await;
        }
        self.pool.close().await;
    }
}
