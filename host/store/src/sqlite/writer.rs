//! The one thread that writes, with the one connection that writes.
//!
//! Whatever waits when a commit begins goes into one transaction, because a sync to disk costs the same for one batch as
//! for many. Once it is durable its rows are added to the memtable, and only then the callers are answered. So memory
//! never holds what the file does not, and a failed transaction leaves nothing to undo.

use super::{
    anchors, catalog,
    checkpoint::Checkpointer,
    connect::{self, Lock},
    group::Group,
    memtable::{Appended, Memtables, Pos},
    options::SqliteOptions,
    recover::catch_up,
    redemptions, rollups,
    sorted_run::{Slice, SortedRun},
};
use crate::{
    anchors::{CheckpointRow, JournalEnd},
    error::StoreError,
    redemptions::{Claimed, RedemptionClaim, RedemptionRow},
    rollout,
    rollups::RollupUpdate,
    rows::{Batch, CatalogChange, Commit, StoredAnswer},
};
use proviso_ledger::model::ids::{CustomerId, Name};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::{mpsc, oneshot};

/// A transaction gets no further batch once it has this many rows or bytes.
const FULL_ROWS: usize = 1024;
const FULL_BYTES: usize = 4 << 20;

/// Where a job's outcome is sent.
pub type Reply<T = Commit> = oneshot::Sender<Result<T, StoreError>>;

/// A batch to commit.
#[derive(Debug)]
pub struct CommitJob {
    pub batch: Batch,
    pub reply: Reply,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub enum Job {
    Commit(CommitJob),
    ChangeCatalog {
        base: Option<u64>,
        changes: Vec<CatalogChange>,
        answer: Option<StoredAnswer>,
        reply: Reply,
    },
    AddAnchors {
        number: u64,
        ends: Vec<(CustomerId, JournalEnd)>,
        reply: Reply,
    },
    AddCheckpoint {
        checkpoint: CheckpointRow,
        reply: Reply,
    },
    /// Terms, opening and body.
    PutRolloutCounts {
        row: [String; 3],
        reply: Reply,
    },
    PutRollups {
        updates: Vec<RollupUpdate>,
        reply: Reply,
    },
    ClaimRedemption {
        claim: RedemptionClaim,
        reply: Reply<Claimed>,
    },
    AddRedemptions {
        promotion: Name,
        rows: Vec<RedemptionRow>,
        reply: Reply,
    },
    Close(oneshot::Sender<()>),
}

/// How far the flush of the immutable memtable is.
#[derive(Debug)]
enum Flush {
    /// There is no immutable memtable.
    Idle,
    /// No thread could be started to sort the memtable, whose last position this is.
    Unsorted(Pos),
    /// With the memtable's last position.
    Sorting(JoinHandle<SortedRun>, Pos),
    Merging(SortedRun),
}

/// The thread's state.
#[derive(Debug)]
pub struct Writer {
    options: SqliteOptions,
    /// None after an error, until a new connection has read what is durable.
    connection: Option<Connection>,
    memtables: Arc<Memtables>,
    last_pos: Pos,
    /// The catalog's. No other process changes it.
    revision: u64,
    flush: Flush,
    checkpointer: Checkpointer,
    // Released after the connection is closed.
    _lock: Lock,
}

/// What a transaction wrote.
struct Written {
    appended: Vec<Appended>,
    pages: usize,
    slice: Option<Slice>,
}

impl Writer {
    /// Opens a file whose schema is up to date, and fills the memtable from it.
    pub fn open(options: SqliteOptions, memtables: Arc<Memtables>, lock: Lock) -> Result<Self, StoreError> {
        let mut connection = connect::writer(&options)?;
        let last_pos = catch_up(&mut connection, &memtables, 0)?;
        let revision = catalog::revision(&connection)?;
        let checkpoints = connect::checkpointer(&options.path)?;
        let checkpointer = Checkpointer::start(checkpoints, options.checkpoint_pages).map_err(no_thread)?;
        let (connection, flush) = (Some(connection), Flush::Idle);
        Ok(Self { options, connection, memtables, last_pos, revision, flush, checkpointer, _lock: lock })
    }

    /// Starts the thread. It ends at [`Job::Close`] or when all senders of jobs are dropped.
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
                    let waiting;
                    (waiting, next) = gather(first, &mut jobs);
                    self.commit(waiting);
                }
                Job::ChangeCatalog { base, changes, answer, reply } => {
                    // Here and below, sending fails when the caller no longer waits.
                    let _ = reply.send(self.change_catalog(base, changes, answer));
                }
                Job::AddAnchors { number, ends, reply } => {
                    let _ = reply
                        .send(self.write_with(|connection| anchors::add_ends(connection, number, &ends)));
                }
                Job::AddCheckpoint { checkpoint, reply } => {
                    let _ = reply.send(self.write_with(|connection| anchors::add(connection, checkpoint)));
                }
                Job::PutRolloutCounts { row, reply } => {
                    let put = |connection: &mut Connection| {
                        connection.prepare_cached(rollout::PUT)?.execute(row)?;
                        Ok(Commit::Durable)
                    };
                    let _ = reply.send(self.write_with(put));
                }
                Job::PutRollups { updates, reply } => {
                    let _ = reply.send(self.put_rollups(&updates));
                }
                Job::ClaimRedemption { claim, reply } => {
                    let _ = reply.send(self.write_with(|connection| redemptions::claim(connection, &claim)));
                }
                Job::AddRedemptions { promotion, rows, reply } => {
                    let add = |connection: &mut Connection| redemptions::add(connection, &promotion, &rows);
                    let _ = reply.send(self.write_with(add));
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
        self.checkpointer.do_rest(&connection);
        let mut commits = Vec::with_capacity(batches.len());
        let (mut group, mut appends) = (Group::default(), 0);
        let written = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let view = self.memtables.view();
            for batch in batches {
                let rows = batch.entries.len() + batch.keys.len();
                let added = group.add(&view, &transaction, batch)?;
                appends += if added { rows } else { 0 };
                commits.push(if added { Commit::Durable } else { Commit::Conflict });
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
                self.note_durable(written);
            }
            Err(error) => {
                connect::close(connection);
                self.after_failure(error, appends)?;
            }
        }
        Ok(commits)
    }

    fn note_durable(&mut self, Written { appended, pages, slice }: Written) {
        self.last_pos = pos_after(self.last_pos, appended.len());
        self.memtables.add(&appended);
        self.checkpointer.wrote(pages + slice.map_or(0, Slice::rows));
        if let (Some(slice), Flush::Merging(run)) = (slice, &mut self.flush)
            && run.advance(slice)
        {
            self.end_flush();
        }
    }

    /// A commit that failed may be durable or not; the file tells. Ok when it is.
    fn after_failure(&mut self, error: StoreError, appended: usize) -> Result<(), StoreError> {
        tracing::error!(%error, "a commit failed");
        let last_pos = pos_after(self.last_pos, appended);
        let connection = self.connection().map_err(|_| error.clone())?;
        self.connection = Some(connection);
        if appended > 0 && self.last_pos == last_pos { Ok(()) } else { Err(error) }
    }

    /// Takes the connection, which the caller puts back unless it failed; opens a new one after an error.
    fn connection(&mut self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut connection = connect::writer(&self.options)?;
        self.last_pos = catch_up(&mut connection, &self.memtables, self.last_pos)?;
        Ok(connection)
    }

    /// Starts a flush when one is due, and writes the next slice of the one in progress.
    fn write_slice(&mut self, transaction: &Connection, appended: usize) -> rusqlite::Result<Option<Slice>> {
        self.flush = match std::mem::replace(&mut self.flush, Flush::Idle) {
            Flush::Sorting(thread, up_to) if thread.is_finished() => match thread.join() {
                Ok(run) => Flush::Merging(run),
                Err(_) => {
                    tracing::error!("sorting a memtable failed; it is sorted again");
                    self.sort(up_to)
                }
            },
            Flush::Unsorted(up_to) => self.sort(up_to),
            Flush::Idle if self.memtables.view().active().len() >= self.options.memtable_entries => {
                self.memtables.rotate();
                self.sort(self.last_pos)
            }
            unchanged => unchanged,
        };
        match &mut self.flush {
            Flush::Merging(run) => run.write_slice(transaction, appended).map(Some),
            Flush::Idle | Flush::Unsorted(_) | Flush::Sorting(..) => Ok(None),
        }
    }

    fn sort(&self, up_to: Pos) -> Flush {
        let Some(memtable) = self.memtables.view().immutable() else { return Flush::Idle };
        match spawn("sqlite-sort", move || SortedRun::new(&memtable, up_to)) {
            Ok(thread) => Flush::Sorting(thread, up_to),
            Err(error) => {
                tracing::error!(%error, "no thread could be started to sort a memtable; the next commit tries again");
                Flush::Unsorted(up_to)
            }
        }
    }

    fn end_flush(&mut self) {
        let run = std::mem::replace(&mut self.flush, Flush::Idle);
        let memtable = self.memtables.take_immutable();
        // Freeing that many keys takes longer than a commit should wait.
        let _ = spawn("sqlite-free", move || drop((run, memtable)));
    }

    fn change_catalog(
        &mut self,
        base: Option<u64>,
        changes: Vec<CatalogChange>,
        answer: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError> {
        let mut connection = self.connection()?;
        let outcome = catalog::change(&mut connection, base, changes, answer);
        if outcome.is_err() {
            connect::close(connection);
            connection = self.connection()?;
        }
        // Read anew, since a change that failed may be durable.
        self.revision = catalog::revision(&connection)?;
        self.connection = Some(connection);
        outcome
    }

    /// Writes what neither the memtable nor the catalog's revision depends on.
    fn write_with<T>(
        &mut self,
        write: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection()?;
        let outcome = write(&mut connection);
        match outcome {
            Ok(_) => self.connection = Some(connection),
            // The next job opens a new one.
            Err(_) => connect::close(connection),
        }
        outcome
    }

    /// Writes usage totals, whose rows go to as many pages as to a commit's.
    fn put_rollups(&mut self, updates: &[RollupUpdate]) -> Result<Commit, StoreError> {
        let rows = updates.iter().map(|update| update.rows.len() + 1).sum();
        if let Some(connection) = &self.connection {
            self.checkpointer.do_rest(connection);
        }
        let commit = self.write_with(|connection| rollups::put(connection, updates))?;
        self.checkpointer.wrote(rows);
        Ok(commit)
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

/// The last position once this many more rows are appended.
fn pos_after(last_pos: Pos, appended: usize) -> Pos {
    (last_pos..).nth(appended).unwrap_or(Pos::MAX)
}

/// Runs on a thread of its own what would delay commits.
fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn no_thread(error: io::Error) -> StoreError {
    StoreError::Unavailable { detail: format!("no thread could be started: {error}") }
}

/// The commits that wait, up to what one transaction should have, and the job that was received after them, if any.
fn gather(first: CommitJob, jobs: &mut mpsc::Receiver<Job>) -> (Vec<CommitJob>, Option<Job>) {
    let (mut rows, mut bytes) = weight(&first.batch);
    let mut waiting = vec![first];
    while rows < FULL_ROWS && bytes < FULL_BYTES {
        match jobs.try_recv() {
            Ok(Job::Commit(job)) => {
                let (more_rows, more_bytes) = weight(&job.batch);
                (rows, bytes) = (rows + more_rows, bytes + more_bytes);
                waiting.push(job);
            }
            Ok(other) => return (waiting, Some(other)),
            Err(_) => break,
        }
    }
    (waiting, None)
}

/// Rows and bytes.
fn weight(batch: &Batch) -> (usize, usize) {
    let rows = batch.entries.len() + batch.keys.len() + batch.snapshots.len() + batch.customers.len();
    let bodies: usize = batch.entries.iter().map(|entry| entry.body.len()).sum();
    let states: usize = batch.snapshots.iter().map(|snapshot| snapshot.state.len()).sum();
    (rows + batch.due.len(), bodies + states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rows::NewEntry, sqlite::migrate::migrate};
    use proviso_ledger::model::time::Timestamp;

    fn batch(seq: u64) -> Batch {
        let customer = "acme".parse().unwrap();
        let entry =
            NewEntry { customer, seq, at: Timestamp(0), key_hash: None, hash: [0; 32], body: "{}".into() };
        Batch { entries: vec![entry], ..Batch::default() }
    }

    /// A writer whose thread is not started.
    async fn writer(options: &SqliteOptions) -> Writer {
        let lock = Lock::take(&options.path).await.unwrap();
        migrate(&options.path).await.unwrap();
        Writer::open(options.clone(), Arc::new(Memtables::new()), lock).unwrap()
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
            assert!(group.add(&writer.memtables.view(), &transaction, batch(seq)).unwrap());
            group.write(&transaction, writer.last_pos).unwrap();
            if reached_the_file {
                transaction.commit().unwrap();
            } else {
                transaction.rollback().unwrap();
            }
            connect::close(connection);
            let outcome = writer.after_failure(failure.clone(), 1);
            assert_eq!(outcome, if reached_the_file { Ok(()) } else { Err(failure.clone()) });
            assert_eq!(writer.memtables.view().head(&"acme".parse().unwrap()), Some(1));
        }
        writer.close();
    }

    #[tokio::test]
    async fn a_memtable_that_could_not_be_sorted_is_kept_until_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = SqliteOptions::new(folder.path().join("store.db"));
        options.memtable_entries = 1;
        let mut writer = writer(&options).await;
        assert_eq!(writer.write(vec![batch(1)]), Ok(vec![Commit::Durable]));
        // As when no thread could be started.
        writer.memtables.rotate();
        writer.flush = Flush::Unsorted(writer.last_pos);
        // Each commit finds the active memtable full, and the unsorted one still there.
        for seq in 2..=4 {
            assert_eq!(writer.write(vec![batch(seq), batch(1)]), Ok(vec![Commit::Durable, Commit::Conflict]));
        }
        writer.close();
        let connection = connect::reader(&options.path).unwrap();
        let indexed = "SELECT indexed_pos FROM progress";
        let indexed: Pos = connection.query_row(indexed, [], |row| row.get(0)).unwrap();
        let stored = "SELECT count(*) FROM entry_index WHERE pos <= ?1";
        let stored: Pos = connection.query_row(stored, [indexed], |row| row.get(0)).unwrap();
        assert_eq!(stored, indexed, "every entry up to the indexed one is in the index");
    }
}
