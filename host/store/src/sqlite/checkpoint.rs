//! Moves what is in the write-ahead log to the database file, beside the commits, and keeps the log from growing.
//!
//! A passive checkpoint from a second connection holds up no commit, but while commits go on it never catches up with
//! the last one, and only a log that is checkpointed to its end starts over. So the checkpointer does the bulk, and when
//! the log is long and little is left, it asks the writer to do the rest between two commits.

use super::connect::close;
use crate::StoreError;
use rusqlite::Connection;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

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
    thread: JoinHandle<()>,
    every_pages: usize,
    pages: usize,
}

#[derive(Debug, Default)]
struct Shared {
    due: AtomicBool,
    closing: AtomicBool,
    rest_wanted: AtomicBool,
}

impl Checkpointer {
    /// Starts a thread with its own connection. It checkpoints each `every_pages` pages and lets the log start over at
    /// four times as many.
    pub fn start(connection: Connection, every_pages: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let restart_at = i64::try_from(every_pages.saturating_mul(4)).unwrap_or(i64::MAX);
        let of_thread = shared.clone();
        let work = move || work(connection, &of_thread, restart_at);
        let thread = thread::Builder::new().name("sqlite-checkpoint".to_owned()).spawn(work)?;
        Ok(Self { shared, thread, every_pages, pages: 0 })
    }

    /// Notes about how many pages a commit wrote.
    pub fn wrote(&mut self, pages: usize) {
        self.pages += pages;
        if self.pages >= self.every_pages {
            self.pages = 0;
            self.shared.due.store(true, Ordering::Release);
            self.thread.thread().unpark();
        }
    }

    /// Does the rest of a checkpoint on the writer's own connection, if that is wanted.
    pub fn finish(&self, connection: &Connection) {
        if !self.shared.rest_wanted.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = checkpoint(connection, PASSIVE) {
            tracing::warn!(%error, "finishing a checkpoint failed");
        }
    }

    /// Waits for the thread's end, then empties the log.
    pub fn close(self, connection: &Connection) {
        self.shared.closing.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::warn!("the checkpointer had ended");
        }
        if let Err(error) = checkpoint(connection, TRUNCATE) {
            tracing::warn!(%error, "the last checkpoint failed; the next start makes up for it");
        }
    }
}

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

fn work(connection: Connection, shared: &Shared, restart_at: i64) {
    while !shared.closing.load(Ordering::Acquire) {
        if shared.due.swap(false, Ordering::AcqRel) {
            move_pages(&connection, shared, restart_at);
        } else {
            thread::park();
        }
    }
    close(connection);
}

fn move_pages(connection: &Connection, shared: &Shared, restart_at: i64) {
    for round in 1..=ROUNDS {
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
        let log = match checkpoint(connection, PASSIVE) {
            Ok(log) => log,
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; the log grows until one succeeds");
                return;
            }
        };
        if log.pages < restart_at {
            return;
        }
        if log.pages - log.done <= FEW_PAGES || round == ROUNDS {
            shared.rest_wanted.store(true, Ordering::Release);
            return;
        }
    }
}

fn checkpoint(connection: &Connection, pragma: &'static str) -> Result<Log, StoreError> {
    let read = |row: &rusqlite::Row<'_>| Ok(Log { pages: row.get(1)?, done: row.get(2)? });
    Ok(connection.query_row(pragma, [], read)?)
}
