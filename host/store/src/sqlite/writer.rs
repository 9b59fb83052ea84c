//! The one thread that writes, with the one connection that writes.
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
    recover::catch_up,
    reference,
    tail::{Appended, Pos, Tail},
};
use crate::{
    StoreError,
    rows::{Batch, Commit, ReferenceChange, StoredAnswer},
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::{mpsc, oneshot};

/// A transaction takes in no further batch when it holds this many rows or bytes.
const FULL_ROWS: usize = 1024;
const FULL_BYTES: usize = 4 << 20;

pub type Reply = oneshot::Sender<Result<Commit, StoreError>>;

/// A batch on its way.
#[derive(Debug)]
pub struct CommitJob {
    pub batch: Batch,
    pub reply: Reply,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub enum Job {
    Commit(CommitJob),
    Reference {
        base: Option<u64>,
        changes: Vec<ReferenceChange>,
        request: Option<StoredAnswer>,
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

/// The thread's state.
#[derive(Debug)]
pub struct Writer {
    options: SqliteOptions,
    /// None after an error, until a new connection has seen where the file stands.
    connection: Option<Connection>,
    tail: Arc<Tail>,
    last_pos: Pos,
    /// Of the reference data; no other process changes it.
    revision: u64,
    merge: Merge,
    checkpointer: Checkpointer,
    // Held until the connection is closed.
    _lock: Lock,
}

/// What a transaction wrote.
struct Written {
    appended: Vec<Appended>,
    pages: usize,
    slice: Option<Slice>,
}

impl Writer {
    /// Opens a file whose schema is up to date, and brings the tail to where it stands.
    pub fn open(options: SqliteOptions, tail: Arc<Tail>, lock: Lock) -> Result<Self, StoreError> {
        let mut connection = connect::writer(&options)?;
        let last_pos = catch_up(&mut connection, &tail, 0)?;
        let revision = reference::written_revision(&connection)?;
        let checkpoints = connect::checkpointer(&options.path)?;
        let checkpointer = Checkpointer::start(checkpoints, options.checkpoint_pages).map_err(no_thread)?;
        let (connection, merge) = (Some(connection), Merge::Idle);
        Ok(Self { options, connection, tail, last_pos, revision, merge, checkpointer, _lock: lock })
    }

    /// Starts the thread. It ends when it is told to close or nobody is left to tell it anything.
    pub fn start(self, jobs: mpsc::Receiver<Job>) -> Result<(), StoreError> {
        let thread = thread::Builder::new().name("sqlite-writer".to_owned());
        thread.spawn(move || self.run(jobs)).map(drop).map_err(no_thread)
    }

    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut next = jobs.blocking_recv();
        let mut closed = None;
        while let Some(job) = next.take() {
            match job {
                Job::Commit(first) => {
                    let group;
                    (group, next) = gather(first, &mut jobs);
                    self.commit(group);
                }
                Job::Reference { base, changes, request, reply } => {
                    // A caller who no longer waits needs no answer, here and below.
                    let _ = reply.send(self.change_reference(base, changes, request));
                }
                Job::Close(done) => {
                    closed = Some(done);
                    break;
                }
            }
            if next.is_none() {
                next = jobs.blocking_recv();
            }
        }
        jobs.close();
        self.close();
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    fn commit(&mut self, jobs: Vec<CommitJob>) {
        let mut waiting = Vec::with_capacity(jobs.len());
        let mut batches = Vec::with_capacity(jobs.len());
        for CommitJob { batch, reply } in jobs {
            if batch.revision.is_some_and(|revision| revision != self.revision) {
                drop(reply.send(Ok(Commit::Conflict)));
            } else {
                waiting.push(reply);
                batches.push(batch);
            }
        }
        match self.write(batches) {
            Ok(commits) => {
                for (reply, commit) in waiting.into_iter().zip(commits) {
                    drop(reply.send(Ok(commit)));
                }
            }
            Err(error) => waiting.into_iter().for_each(|reply| drop(reply.send(Err(error.clone())))),
        }
    }

    /// Commits those of the batches that do not conflict, and says which.
    fn write(&mut self, batches: Vec<Batch>) -> Result<Vec<Commit>, StoreError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.connection()?;
        self.checkpointer.finish(&connection);
        let mut commits = Vec::with_capacity(batches.len());
        let (mut group, mut appends) = (Group::default(), 0);
        let written = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let view = self.tail.view();
            for batch in batches {
                let rows = batch.entries.len() + batch.keys.len();
                let admitted = group.admit(&view, &transaction, batch)?;
                appends += if admitted { rows } else { 0 };
                commits.push(if admitted { Commit::Durable } else { Commit::Conflict });
            }
            if !commits.contains(&Commit::Durable) {
                return Ok(None);
            }
            let (appended, pages) = group.write(&transaction, self.last_pos)?;
            let slice = self.write_slice(&transaction, appended.len())?;
            transaction.commit()?;
            Ok(Some(Written { appended, pages, slice }))
        })();
        match written {
            Ok(None) => self.connection = Some(connection),
            Ok(Some(written)) => {
                self.connection = Some(connection);
                self.take_in(written);
            }
            Err(error) => {
                connect::close(connection);
                self.after_failure(error, appends)?;
            }
        }
        Ok(commits)
    }

    /// Takes note of what is durable.
    fn take_in(&mut self, Written { appended, pages, slice }: Written) {
        self.last_pos = end_of(self.last_pos, appended.len());
        self.tail.add(&appended);
        self.checkpointer.wrote(pages + slice.map_or(0, Slice::rows));
        if let (Some(slice), Merge::Writing(run)) = (slice, &mut self.merge)
            && run.advance(slice)
        {
            self.end_run();
        }
    }

    /// A commit that failed may be durable all the same (or may not be). The file knows.
    fn after_failure(&mut self, error: StoreError, appended: usize) -> Result<(), StoreError> {
        tracing::error!(%error, "a commit failed");
        let last_pos = end_of(self.last_pos, appended);
        let connection = self.connection().map_err(|_| error.clone())?;
        self.connection = Some(connection);
        if appended > 0 && self.last_pos == last_pos { Ok(()) } else { Err(error) }
    }

    /// The connection, which the caller puts back when all went well; a new one after an error.
    fn connection(&mut self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut connection = connect::writer(&self.options)?;
        self.last_pos = catch_up(&mut connection, &self.tail, self.last_pos)?;
        Ok(connection)
    }

    fn write_slice(&mut self, transaction: &Connection, appended: usize) -> rusqlite::Result<Option<Slice>> {
        self.merge = match std::mem::replace(&mut self.merge, Merge::Idle) {
            Merge::Sorting(thread, up_to) if thread.is_finished() => match thread.join() {
                Ok(run) => Merge::Writing(run),
                Err(_) => {
                    tracing::error!("sorting the journal's tail failed; it is sorted again");
                    self.sort(up_to)
                }
            },
            Merge::Idle if self.tail.view().active().len() >= self.options.index_after => {
                self.tail.freeze();
                self.sort(self.last_pos)
            }
            unchanged => unchanged,
        };
        match &mut self.merge {
            Merge::Writing(run) => run.write_slice(transaction, appended).map(Some),
            Merge::Sorting(..) | Merge::Idle => Ok(None),
        }
    }

    fn sort(&self, up_to: Pos) -> Merge {
        let Some(frozen) = self.tail.view().frozen() else { return Merge::Idle };
        match beside("sqlite-sort", move || Run::sort(&frozen, up_to)) {
            Ok(thread) => Merge::Sorting(thread, up_to),
            Err(error) => {
                tracing::error!(%error, "no thread to sort the journal's tail with; it is tried again");
                Merge::Idle
            }
        }
    }

    fn end_run(&mut self) {
        let run = std::mem::replace(&mut self.merge, Merge::Idle);
        let frozen = self.tail.drop_frozen();
        // Freeing that many keys takes longer than a commit may wait.
        let _ = beside("sqlite-free", move || drop((run, frozen)));
    }

    fn change_reference(
        &mut self,
        base: Option<u64>,
        changes: Vec<ReferenceChange>,
        request: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError> {
        let mut connection = self.connection()?;
        let outcome = reference::change(&mut connection, base, changes, request);
        if outcome.is_err() {
            connect::close(connection);
            connection = self.connection()?;
        }
        // Asked for, since a change that failed may have been made all the same.
        self.revision = reference::written_revision(&connection)?;
        self.connection = Some(connection);
        outcome
    }

    fn close(self) {
        let connection = match self.connection {
            Some(connection) => Ok(connection),
            None => connect::writer(&self.options),
        };
        match connection {
            Ok(connection) => {
                self.checkpointer.close(&connection);
                connect::close(connection);
            }
            Err(error) => tracing::warn!(%error, "closing without a last checkpoint"),
        }
    }
}

/// The last position once so many more rows are appended.
fn end_of(last_pos: Pos, appended: usize) -> Pos {
    (last_pos..).nth(appended).unwrap_or(Pos::MAX)
}

/// Runs what would hold up commits.
fn beside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn no_thread(error: io::Error) -> StoreError {
    StoreError::Unavailable { detail: format!("no thread could be started: {error}") }
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
    use proviso_ledger::model::time::Timestamp;

    fn batch(seq: u64) -> Batch {
        let customer = "acme".parse().unwrap();
        let entry =
            NewEntry { customer, seq, at: Timestamp(0), key_hash: None, hash: [0; 32], body: "{}".into() };
        Batch { entries: vec![entry], ..Batch::default() }
    }

    /// A writer as `open` makes it, but not running.
    async fn writer(options: &SqliteOptions) -> Writer {
        SqliteStore::open(options.clone()).await.unwrap().close().await;
        let lock = Lock::take(&options.path).await.unwrap();
        Writer::open(options.clone(), Arc::new(Tail::new()), lock).unwrap()
    }

    #[tokio::test]
    async fn a_commit_that_failed_after_it_was_durable_counts_as_durable() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&SqliteOptions::new(folder.path().join("store.db"))).await;
        let failure = StoreError::Unavailable { detail: "no answer".to_owned() };
        for (seq, reached_the_file) in [(1, true), (2, false)] {
            let mut group = Group::default();
            let mut connection = writer.connection().unwrap();
            let transaction = connection.transaction().unwrap();
            assert!(group.admit(&writer.tail.view(), &transaction, batch(seq)).unwrap());
            group.write(&transaction, writer.last_pos).unwrap();
            if reached_the_file {
                transaction.commit().unwrap();
            } else {
                transaction.rollback().unwrap();
            }
            connect::close(connection);
            let outcome = writer.after_failure(failure.clone(), 1);
            assert_eq!(outcome, if reached_the_file { Ok(()) } else { Err(failure.clone()) });
            assert_eq!(writer.tail.view().head(&"acme".parse().unwrap()), Some(1));
        }
        writer.close();
    }
}
