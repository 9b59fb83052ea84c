//! The journal in one SQLite file.
//!
//! Writing: `commit` hands a batch to the [`writer`], a thread of its own, which decides what conflicts, appends what
//! does not in one transaction ([`group`]), and keeps the newest part of the journal's index in memory ([`tail`]) until it
//! is written to the tables in sorted runs ([`merge`]). Reading ([`reads`]) asks that memory and then the tables. After a
//! crash the memory is rebuilt from the file ([`recover`]).

mod checkpoint;
mod connect;
mod group;
mod merge;
mod reads;
mod recover;
mod reference;
mod tail;
mod writer;

use crate::{
    Store, StoreError,
    rows::{
        Batch, Commit, CustomerRow, KeyHash, LoadedCustomer, Reference, ReferenceChange, StoredAnswer,
        StoredEntry, StoredSnapshot,
    },
};
use connect::Lock;
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Seq},
    time::Timestamp,
};
use reads::Reads;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tail::Tail;
use tokio::sync::{mpsc, oneshot};
use writer::{CommitJob, Job, Writer};

/// Jobs that may wait for the writer before callers have to.
const QUEUE: usize = 1024;

/// How a database file is used. The defaults suit a server.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; its log and its lock lie beside it.
    pub path: PathBuf,
    /// Connections that read.
    pub readers: u32,
    /// Entries that are held in memory before their index rows are written: more make neighbouring rows more likely,
    /// fewer make the start after a crash quicker.
    pub index_after: usize,
    /// Pages in the write-ahead log between two checkpoints. The log is kept to about five times as many.
    pub checkpoint_pages: usize,
    /// Pages of 4 KiB that the file may have at most; none: whatever the disk holds.
    pub max_pages: Option<u32>,
}

impl SqliteOptions {
    /// The defaults for a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 4, index_after: 65_536, checkpoint_pages: 4096, max_pages: None }
    }
}

/// A [`Store`] in one file.
#[derive(Debug)]
pub struct SqliteStore {
    reads: Reads,
    /// None when it was opened only for reading.
    jobs: Option<mpsc::Sender<Job>>,
}

/// Runs what reads a file, on a thread that may wait for it.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(StoreError::Unavailable { detail: error.to_string() }))
}

impl SqliteStore {
    /// Opens a database to read and write, creates it where there is none, and applies migrations. Needs a tokio
    /// runtime, in which its tasks run until it is closed or dropped.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process has it open, [`StoreError::NewerSchema`] when a newer binary wrote
    /// it, and whatever the file system has to say.
    pub async fn open(options: SqliteOptions) -> Result<Self, StoreError> {
        let lock = Lock::take(&options.path).await?;
        let mut connection = connect::migrator(&options.path).await?;
        connect::migrate(&mut connection).await?;
        sqlx::Connection::close(connection).await?;
        let tail = Arc::new(Tail::new());
        let reads = Reads { pool: connect::readers(&options).await?, tail: tail.clone() };
        let writer = in_background(move || Writer::open(options, tail, lock)).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        writer.start(queue)?;
        Ok(Self { reads, jobs: Some(jobs) })
    }

    /// Opens a database to read it, also while another process writes to it. Sees the journal as it is now and, of
    /// what comes later, at least nothing out of order.
    ///
    /// # Errors
    /// [`StoreError::OlderSchema`] and [`StoreError::NewerSchema`] when it is not exactly this binary's schema, and
    /// whatever the file system has to say.
    pub async fn open_read_only(options: SqliteOptions) -> Result<Self, StoreError> {
        let pool = connect::readers(&options).await?;
        let tail = Arc::new(Tail::new());
        connect::check_schema(&mut *pool.acquire().await?).await?;
        let filled = tail.clone();
        let fill = move || recover::catch_up(&mut connect::reader(&options.path)?, &filled, 0);
        in_background(fill).await?;
        Ok(Self { reads: Reads { pool, tail }, jobs: None })
    }

    async fn ask(&self, job: impl FnOnce(writer::Reply) -> Job) -> Result<Commit, StoreError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::ReadOnly)?;
        jobs.send(job(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    fn is_shared(&self) -> bool {
        false
    }

    async fn load(&self, known: &[(CustomerId, Seq)]) -> Result<Vec<LoadedCustomer>, StoreError> {
        self.reads.load(known).await
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
        self.ask(|reply| Job::Commit(CommitJob { batch, reply })).await
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
        let head = self.reads.head(customer).await?;
        let last = before.map_or(head, |before| head.min(before.saturating_sub(1)));
        let first = last.saturating_sub(limit.into()).saturating_add(1);
        let mut entries = self.reads.entries(customer, first..=last).await?;
        entries.reverse();
        Ok(entries)
    }

    async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
        self.reads.seq_at(customer, at).await
    }

    async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
    ) -> Result<Option<StoredSnapshot>, StoreError> {
        self.reads.snapshot_before(customer, seq).await
    }

    async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        self.reads.customers(after, limit).await
    }

    async fn customer(&self, customer: &CustomerId) -> Result<Option<CustomerRow>, StoreError> {
        self.reads.customer(customer).await
    }

    /// There is no other process, so nothing need be claimed.
    async fn due(&self, at: Timestamp, limit: u32, _: Duration) -> Result<Vec<CustomerId>, StoreError> {
        self.reads.due(at, limit).await
    }

    async fn reference(&self, since: u64) -> Result<Reference, StoreError> {
        reference::read(&self.reads.pool, since).await
    }

    async fn reference_revision(&self) -> Result<u64, StoreError> {
        reference::revision(&self.reads.pool).await
    }

    async fn change_reference(
        &self,
        base: Option<u64>,
        changes: Vec<ReferenceChange>,
        request: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError> {
        self.ask(|reply| Job::Reference { base, changes, request, reply }).await
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        reference::module(&self.reads.pool, digest).await
    }

    async fn request(&self, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
        reference::request(&self.reads.pool, key_hash).await
    }

    async fn requests(&self, after: Option<KeyHash>, limit: u32) -> Result<Vec<StoredAnswer>, StoreError> {
        reference::requests(&self.reads.pool, after, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        reference::revision(&self.reads.pool).await.map(drop)
    }

    async fn close(&self) {
        self.reads.pool.close().await;
        let (done, closed) = oneshot::channel();
        // An error either way means that it is closed already.
        if let Some(jobs) = &self.jobs
            && jobs.send(Job::Close(done)).await.is_ok()
        {
            let _ = closed.await;
        }
    }
}
