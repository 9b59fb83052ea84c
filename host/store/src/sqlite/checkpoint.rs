//! Moves what is in the write-ahead log to the database file, beside the commits, and keeps the log from growing.
//!
//! A passive checkpoint from a second connection holds up no commit, but while commits go on it never catches up with
//! the last one, and only a log that is checkpointed to its end starts over. So the checkpointer does the bulk, and when
//! the log is long and little is left, it asks the writer to do the rest between two commits.

use super::connect::close;
use crate::StoreError;
use sqlx::{Row, SqliteConnection};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::{sync::Notify, task::JoinHandle};

/// What the writer may have to do itself: few enough pages to cost about as much as a large commit.
const FEW_PAGES: i64 = 512;

/// After this many rounds the writer does the rest, however much it is.
const ROUNDS: u32 = 4;

/// How much of the log is done.
#[derive(Debug, Clone, Copy)]
struct Log {
    pages: i64,
    done: i64,
}

/// The writer's side.
#[derive(Debug)]
pub struct Checkpointer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    every_pages: usize,
    pages: usize,
}

#[derive(Debug, Default)]
struct Shared {
    due: Notify,
    closing: AtomicBool,
    rest_wanted: AtomicBool,
}

impl Checkpointer {
    /// Starts the task on its own connection. It checkpoints each `every_pages` pages and lets the log start over at
    /// four times as many.
    pub fn start(connection: SqliteConnection, every_pages: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let restart_at = i64::try_from(every_pages.saturating_mul(4)).unwrap_or(i64::MAX);
        let task = tokio::spawn(work(connection, Arc::clone(&shared), restart_at));
        Self { shared, task, every_pages, pages: 0 }
    }

    /// Notes about how many pages a commit wrote.
    pub fn wrote(&mut self, pages: usize) {
        self.pages += pages;
        if self.pages >= self.every_pages {
            self.pages = 0;
            self.shared.due.notify_one();
        }
    }

    /// Does the rest of a checkpoint on the writer's own connection, if that is wanted.
    pub async fn finish(&self, connection: &mut SqliteConnection) {
        if !self.shared.rest_wanted.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = checkpoint(connection, PASSIVE).await {
            tracing::warn!(%error, "finishing a checkpoint failed");
        }
    }

    /// Waits for the task's end, then empties the log.
    pub async fn close(self, connection: &mut SqliteConnection) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.due.notify_one();
        if self.task.await.is_err() {
            tracing::warn!("the checkpointer had ended");
        }
        if let Err(error) = checkpoint(connection, TRUNCATE).await {
            tracing::warn!(%error, "the last checkpoint failed; the next start makes up for it");
        }
    }
}

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

async fn work(mut connection: SqliteConnection, shared: Arc<Shared>, restart_at: i64) {
    loop {
        shared.due.notified().await;
        for round in 1..=ROUNDS {
            if shared.closing.load(Ordering::Acquire) {
                return close(connection).await;
            }
            let log = match checkpoint(&mut connection, PASSIVE).await {
                Ok(log) => log,
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint failed; the log grows until one succeeds");
                    break;
                }
            };
            if log.pages < restart_at {
                break;
            }
            if log.pages - log.done <= FEW_PAGES || round == ROUNDS {
                shared.rest_wanted.store(true, Ordering::Release);
                break;
            }
        }
    }
}

async fn checkpoint(connection: &mut SqliteConnection, pragma: &'static str) -> Result<Log, StoreError> {
    let row = sqlx::query(pragma).fetch_one(connection).await?;
    Ok(Log { pages: row.try_get(1)?, done: row.try_get(2)? })
}
