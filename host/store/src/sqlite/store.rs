//! A [`Store`] in one SQLite file.

use super::{
    anchors, catalog,
    connect::Lock,
    memtable::Memtables,
    migrate,
    options::SqliteOptions,
    readers::{Readers, in_background},
    reads::{Reads, all, first},
    recover,
    writer::{CommitJob, Job, Reply, Writer},
};
use crate::{
    anchors::CheckpointStore,
    columns::{Columns as _, corrupt},
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
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait for the writer before callers have to.
const QUEUE: usize = 1024;

/// A [`Store`] in one file.
#[derive(Debug)]
pub struct SqliteStore {
    reads: Reads,
    /// None when it was opened only for reading.
    jobs: Option<mpsc::Sender<Job>>,
    /// The newest format that this host reads. It is the only host, so no table is needed for it.
    reads_format: Mutex<Option<u32>>,
    /// The newest checkpoint that is looked at: one that came later may name entries that this store does not see.
    last_checkpoint: i64,
    adding_checkpoint: tokio::sync::Mutex<()>,
    /// Names this opening; empty when it was opened only for reading.
    opening: String,
}

impl SqliteStore {
    /// Opens a database to read and write, creates it where there is none, and applies migrations. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process has it open, [`StoreError::NewerSchema`] when a newer binary wrote
    /// it, and errors of the file system.
    pub async fn open(options: SqliteOptions) -> Result<Self, StoreError> {
        let lock = Lock::take(&options.path).await?;
        migrate::migrate(&options.path).await?;
        let memtables = Arc::new(Memtables::new());
        let readers = Readers::new(options.path.clone(), options.readers);
        let opening = readers.read(name_opening).await?;
        let reads = Reads { readers, memtables: memtables.clone() };
        let writer = in_background(move || Writer::open(options, memtables, lock)).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        writer.start(queue)?;
        Ok(Self {
            reads,
            jobs: Some(jobs),
            reads_format: Mutex::default(),
            last_checkpoint: i64::MAX,
            adding_checkpoint: tokio::sync::Mutex::default(),
            opening,
        })
    }

    /// Opens a database to read it, also while another process writes to it. It sees the journal as it is now; of what is
    /// appended later it may see a part, but no entry without those before it.
    ///
    /// # Errors
    /// [`StoreError::OlderSchema`] and [`StoreError::NewerSchema`] when it is not exactly this binary's schema, and
    /// errors of the file system.
    pub async fn open_read_only(options: SqliteOptions) -> Result<Self, StoreError> {
        let memtables = Arc::new(Memtables::new());
        let readers = Readers::new(options.path, options.readers);
        let filled = memtables.clone();
        let fill = move |connection: &mut rusqlite::Connection| {
            migrate::check(connection)?;
            // Asked first, so that all entries that it names are seen.
            let last_checkpoint = anchors::newest(connection)?;
            recover::catch_up(connection, &filled, 0)?;
            Ok(last_checkpoint)
        };
        let last_checkpoint = readers.read(fill).await?;
        let reads = Reads { readers, memtables };
        Ok(Self {
            reads,
            jobs: None,
            reads_format: Mutex::default(),
            last_checkpoint,
            adding_checkpoint: tokio::sync::Mutex::default(),
            opening: String::new(),
        })
    }

    pub(super) const fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Held while a checkpoint is added.
    pub(super) const fn adding_checkpoint(&self) -> &tokio::sync::Mutex<()> {
        &self.adding_checkpoint
    }

    pub(super) const fn last_checkpoint(&self) -> i64 {
        self.last_checkpoint
    }

    pub(super) async fn write<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::ReadOnly)?;
        jobs.send(job(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn name_opening(connection: &mut rusqlite::Connection) -> Result<String, StoreError> {
    let name =
        first(connection, "SELECT lower(hex(randomblob(8)))", [], |row| row.text(0).map(str::to_owned))?;
    name.ok_or_else(|| corrupt("a value without a row"))
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn load(
        &self,
        known: &[(CustomerId, Seq)],
        format: u32,
    ) -> Result<Vec<LoadedCustomer>, StoreError> {
        self.reads.load(known, format).await
    }

    async fn find_keys(&self, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError> {
        self.reads.find_keys(keys).await
    }

    async fn keys(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: u32,
    ) -> Result<Vec<(KeyHash, Seq)>, StoreError> {
        self.reads.keys(customer, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        if self.jobs.is_none() {
            return Err(StoreError::ReadOnly);
        }
        if batch.is_empty() {
            return Ok(Commit::Durable);
        }
        self.write(|reply| Job::Commit(CommitJob { batch, reply })).await
    }

    async fn entries(
        &self,
        customer: &CustomerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        self.reads.entries(customer, first..=after.saturating_add(limit.into())).await
    }

    async fn entries_before(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        self.reads.entries_before(customer, before, limit).await
    }

    async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
        self.reads.seq_at(customer, at).await
    }

    async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
        format: u32,
    ) -> Result<Option<StoredSnapshot>, StoreError> {
        self.reads.snapshot_before(customer, seq, format).await
    }

    async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        self.reads.customers(after, limit).await
    }

    async fn customers_of_plan(
        &self,
        plan: &Name,
        version: u32,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        self.reads.customers_of_plan(plan, version, after, limit).await
    }

    async fn customers_awaiting_payment(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        self.reads.customers_awaiting_payment(after, limit).await
    }

    async fn plan_customers(&self, plan: &Name) -> Result<Vec<(u32, u64)>, StoreError> {
        self.reads.plan_customers(plan).await
    }

    /// There is no other process, so nothing need be claimed.
    async fn due(&self, at: Timestamp, limit: u32, _: Duration) -> Result<Vec<CustomerId>, StoreError> {
        self.reads.due(at, limit).await
    }

    async fn catalog(&self, since: u64) -> Result<CatalogRows, StoreError> {
        self.reads.readers.read(move |connection| catalog::read(connection, since)).await
    }

    async fn catalog_revision(&self) -> Result<u64, StoreError> {
        self.reads.readers.read(|connection| catalog::revision(connection)).await
    }

    async fn change_catalog(
        &self,
        base: Option<u64>,
        changes: Vec<CatalogChange>,
        answer: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError> {
        self.write(|reply| Job::ChangeCatalog { base, changes, answer, reply }).await
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let digest = *digest;
        self.reads.readers.read(move |connection| catalog::module(connection, &digest)).await
    }

    async fn answer(&self, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
        self.reads.readers.read(move |connection| catalog::answer(connection, key_hash)).await
    }

    async fn answers(&self, after: Option<KeyHash>, limit: u32) -> Result<Vec<StoredAnswer>, StoreError> {
        self.reads.readers.read(move |connection| catalog::answers(connection, after, limit)).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<(u64, AuditRow)>, StoreError> {
        let query = query.clone();
        self.reads.readers.read(move |connection| catalog::audit(connection, &query)).await
    }

    async fn announce(&self, reads_format: u32) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::ReadOnly)?;
        if jobs.is_closed() {
            return Err(StoreError::Closed);
        }
        *self.reads_format.lock().unwrap_or_else(PoisonError::into_inner) = Some(reads_format);
        Ok(())
    }

    async fn oldest_live_format(&self, _: Duration) -> Result<Option<u32>, StoreError> {
        Ok(*self.reads_format.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn put_rollout_counts(&self, terms: &TermsKey, body: &str) -> Result<(), StoreError> {
        let row = [terms.to_string(), self.opening.clone(), body.to_owned()];
        self.write(|reply| Job::PutRolloutCounts { row, reply }).await.map(drop)
    }

    async fn rollout_counts(&self, terms: &TermsKey) -> Result<Vec<String>, StoreError> {
        let terms = terms.to_string();
        let read = move |connection: &mut rusqlite::Connection| {
            all(connection, rollout::ALL, [&terms], |row| row.text(0).map(str::to_owned))
        };
        self.reads.readers.read(read).await
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
        self.catalog_revision().await.map(drop)
    }

    async fn close(&self) {
        self.reads.readers.close().await;
        let (done, closed) = oneshot::channel();
        // An error either way means that it is closed already.
        if let Some(jobs) = &self.jobs
            && jobs.send(Job::Close(done)).await.is_ok()
        {
            let _ = closed.await;
        }
    }
}
