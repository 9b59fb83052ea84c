//! The one task that writes, with the one connection that writes.
//!
//! In come batches, out go answers. Whatever waits when a commit begins goes into one transaction, because a sync to
//! disk costs the same for one batch as for many; then the tail takes it in, and only then the callers are answered. So
//! memory never holds what the file does not, and a failed transaction leaves nothing to undo.

use super::{
    SqliteOptions,
    checkpoint::Checkpointer,
    connect::{self, Lock},
    group::Group,
    merge::{Run, Slice},
    reads::{Known, Reads},
    recover::catch_up,
    reference,
    script::Script,
    tail::{Appended, Pos},
};
use crate::{
    StoreError,
    rows::{Batch, Commit, ReferenceChange, StoredRequest},
};
use sqlx::SqliteConnection;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};

/// A transaction takes in no further batch when it holds this many rows or bytes.
const FULL_ROWS: usize = 1024;
const FULL_BYTES: usize = 4 << 20;

pub type Reply = oneshot::Sender<Result<Commit, StoreError>>;

/// A batch on its way.
#[derive(Debug)]
pub struct CommitJob {
    pub batch: Batch,
    pub known: Known,
    pub reply: Reply,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub enum Job {
    Commit(CommitJob),
    Reference {
        base: Option<u64>,
        changes: Vec<ReferenceChange>,
        request: Option<StoredRequest>,
        reply: Reply,
    },
    Close(oneshot::Sender<()>),
}

/// Where the frozen generation is on its way into the tables.
#[derive(Debug)]
enum Merge {
    Idle,
    /// With the last position that the generation holds.
    Sorting(JoinHandle<Run>, Pos),
    Writing(Run),
}

/// The task's state.
#[derive(Debug)]
pub struct Writer {
    options: SqliteOptions,
    /// None after an error, until a new connection has seen where the file stands.
    connection: Option<SqliteConnection>,
    reads: Reads,
    last_pos: Pos,
    /// Of the reference data; no other process changes it.
    revision: u64,
    merge: Merge,
    checkpointer: Checkpointer,
    // Held until the connection is closed.
    _lock: Lock,
}

impl Writer {
    pub async fn new(
        options: SqliteOptions,
        connection: SqliteConnection,
        reads: Reads,
        last_pos: Pos,
        checkpointer: Checkpointer,
        lock: Lock,
    ) -> Result<Self, StoreError> {
        let connection = Some(connection);
        let revision = reference::revision(&reads.pool).await?;
        Ok(Self {
            options,
            connection,
            reads,
            last_pos,
            revision,
            merge: Merge::Idle,
            checkpointer,
            _lock: lock,
        })
    }

    /// Works until it is told to close or nobody is left to tell it anything.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut next = jobs.recv().await;
        let mut closed = None;
        while let Some(job) = next.take() {
            match job {
                Job::Commit(first) => {
                    let group;
                    (group, next) = gather(first, &mut jobs);
                    self.commit(group).await;
                }
                Job::Reference { base, changes, request, reply } => {
                    // A caller who no longer waits needs no answer, here and below.
                    let _ = reply.send(self.change_reference(base, changes, request).await);
                }
                Job::Close(done) => {
                    closed = Some(done);
                    break;
                }
            }
            if next.is_none() {
                next = jobs.recv().await;
            }
        }
        jobs.close();
        self.close().await;
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    async fn commit(&mut self, jobs: Vec<CommitJob>) {
        let view = self.reads.tail.view();
        let mut group = Group::default();
        let mut waiting = Vec::with_capacity(jobs.len());
        for CommitJob { batch, known, reply } in jobs {
            if batch.revision.is_some_and(|revision| revision != self.revision) {
                drop(reply.send(Ok(Commit::Conflict)));
                continue;
            }
            // Entries may have moved from memory to the tables since the batch was looked up: look again.
            let known = if known.epoch == view.epoch { Ok(known) } else { self.reads.known(&batch).await };
            match known.map(|known| group.admit(&view, &known, batch)) {
                Ok(true) => waiting.push(reply),
                Ok(false) => drop(reply.send(Ok(Commit::Conflict))),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        if waiting.is_empty() {
            return;
        }
        let outcome = self.write(group).await.map(|()| Commit::Durable);
        waiting.into_iter().for_each(|reply| drop(reply.send(outcome.clone())));
    }

    async fn write(&mut self, group: Group) -> Result<(), StoreError> {
        let mut connection = self.connection().await?;
        self.checkpointer.finish(&mut connection).await;
        let mut script = Script::begin();
        let (appended, pages) = group.write(&mut script, self.last_pos);
        let slice = self.add_slice(&mut script, appended.len()).await;
        let last_pos = (self.last_pos..).nth(appended.len()).unwrap_or(Pos::MAX);
        if let Err(error) = script.commit(&mut connection).await {
            connect::close(connection).await;
            return self.after_failure(error, &appended, last_pos).await;
        }
        self.connection = Some(connection);
        self.last_pos = last_pos;
        self.reads.tail.add(&appended);
        self.checkpointer.wrote(pages + slice.map_or(0, Slice::rows));
        if let (Some(slice), Merge::Writing(run)) = (slice, &mut self.merge)
            && run.advance(slice)
        {
            self.end_run();
        }
        Ok(())
    }

    /// A commit that failed may be durable all the same (or may not be). The file knows.
    async fn after_failure(
        &mut self,
        error: StoreError,
        appended: &[Appended],
        last_pos: Pos,
    ) -> Result<(), StoreError> {
        tracing::error!(%error, "a commit failed");
        let connection = self.connection().await.map_err(|_| error.clone())?;
        self.connection = Some(connection);
        if !appended.is_empty() && self.last_pos == last_pos { Ok(()) } else { Err(error) }
    }

    /// The connection, which the caller puts back when all went well; a new one after an error.
    async fn connection(&mut self) -> Result<SqliteConnection, StoreError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut connection = connect::writer(&self.options).await?;
        self.last_pos = catch_up(&mut connection, &self.reads.tail, self.last_pos).await?;
        Ok(connection)
    }

    async fn add_slice(&mut self, script: &mut Script, appended: usize) -> Option<Slice> {
        if let Merge::Sorting(task, up_to) = &mut self.merge
            && task.is_finished()
        {
            let (sorted, up_to) = (task.await, *up_to);
            self.merge = match sorted {
                Ok(run) => Merge::Writing(run),
                Err(error) => {
                    tracing::error!(%error, "sorting the journal's tail failed; it is sorted again");
                    self.sort(up_to)
                }
            };
        }
        match &mut self.merge {
            Merge::Writing(run) => Some(run.add_slice(script, appended)),
            Merge::Sorting(..) => None,
            Merge::Idle => {
                let full = self.reads.tail.view().active().len() >= self.options.index_after;
                if full {
                    self.reads.tail.freeze();
                    self.merge = self.sort(self.last_pos);
                }
                None
            }
        }
    }

    fn sort(&self, up_to: Pos) -> Merge {
        match self.reads.tail.view().frozen() {
            Some(frozen) => Merge::Sorting(spawn_blocking(move || Run::sort(&frozen, up_to)), up_to),
            None => Merge::Idle,
        }
    }

    fn end_run(&mut self) {
        let run = std::mem::replace(&mut self.merge, Merge::Idle);
        let frozen = self.reads.tail.drop_frozen();
        // Freeing that many keys takes longer than a commit may wait.
        drop(spawn_blocking(move || drop((run, frozen))));
    }

    async fn change_reference(
        &mut self,
        base: Option<u64>,
        changes: Vec<ReferenceChange>,
        request: Option<StoredRequest>,
    ) -> Result<Commit, StoreError> {
        let mut connection = self.connection().await?;
        let outcome = reference::change(&mut connection, base, changes, request).await;
        match outcome {
            Ok(_) => self.connection = Some(connection),
            Err(_) => connect::close(connection).await,
        }
        // Asked for, since a change that failed may have been made all the same.
        self.revision = reference::revision(&self.reads.pool).await?;
        outcome
    }

    async fn close(self) {
        self.reads.pool.close().await;
        let connection = match self.connection {
            Some(connection) => Ok(connection),
            None => connect::writer(&self.options).await,
        };
        match connection {
            Ok(mut connection) => {
                self.checkpointer.close(&mut connection).await;
                connect::close(connection).await;
            }
            Err(error) => tracing::warn!(%error, "closing without a last checkpoint"),
        }
    }
}

/// Everything that waits, up to what one transaction should hold; and the job after it, if one was taken out.
fn gather(first: CommitJob, jobs: &mut mpsc::Receiver<Job>) -> (Vec<CommitJob>, Option<Job>) {
    let (mut rows, mut bytes) = weight(&first.batch);
    let mut group = vec![first];
    while rows < FULL_ROWS && bytes < FULL_BYTES {
        match jobs.try_recv() {
            Ok(Job::Commit(job)) => {
                let (more_rows, more_bytes) = weight(&job.batch);
                (rows, bytes) = (rows + more_rows, bytes + more_bytes);
                group.push(job);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

fn weight(batch: &Batch) -> (usize, usize) {
    let rows = batch.entries.len() + batch.keys.len() + batch.snapshots.len() + batch.customers.len();
    let bodies: usize = batch.entries.iter().map(|entry| entry.body.len()).sum();
    let states: usize = batch.snapshots.iter().map(|snapshot| snapshot.state.len()).sum();
    (rows + batch.due.len(), bodies + states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, rows::NewEntry, sqlite::SqliteStore};
    use proviso_ledger::time::Timestamp;

    fn batch(seq: u64) -> Batch {
        let customer = "acme".parse().unwrap();
        let entry =
            NewEntry { customer, seq, at: Timestamp(0), key_hash: None, hash: [0; 32], body: "{}".into() };
        Batch { entries: vec![entry], ..Batch::default() }
    }

    /// A writer as `open` makes it, but not running.
    async fn writer(options: &SqliteOptions) -> Writer {
        SqliteStore::open(options.clone()).await.unwrap().close().await;
        let mut connection = connect::writer(options).await.unwrap();
        let reads = SqliteStore::open_read_only(options.clone()).await.unwrap().reads;
        let last_pos = catch_up(&mut connection, &reads.tail, 0).await.unwrap();
        let checkpointer = Checkpointer::start(connect::checkpointer(&options.path).await.unwrap(), 1000);
        let lock = Lock::take(&options.path).await.unwrap();
        Writer::new(options.clone(), connection, reads, last_pos, checkpointer, lock).await.unwrap()
    }

    #[tokio::test]
    async fn a_commit_that_failed_after_it_was_durable_counts_as_durable() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&SqliteOptions::new(folder.path().join("store.db"))).await;
        let failure = StoreError::Unavailable { detail: "no answer".to_owned() };
        for (seq, reached_the_file) in [(1, true), (2, false)] {
            let mut group = Group::default();
            assert!(group.admit(&writer.reads.tail.view(), &Known::default(), batch(seq)));
            let mut script = Script::begin();
            let (appended, _) = group.write(&mut script, writer.last_pos);
            let mut connection = writer.connection().await.unwrap();
            if reached_the_file {
                script.commit(&mut connection).await.unwrap();
            }
            connect::close(connection).await;
            let last_pos = writer.last_pos + 1;
            let outcome = writer.after_failure(failure.clone(), &appended, last_pos).await;
            assert_eq!(outcome, if reached_the_file { Ok(()) } else { Err(failure.clone()) });
            assert_eq!(writer.reads.head(&"acme".parse().unwrap()).await, Ok(1));
        }
        writer.close().await;
    }
}
