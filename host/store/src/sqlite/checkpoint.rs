//! Copies what is in the write-ahead log to the database file, beside the commits, and keeps the log from growing.
//!
//! A passive checkpoint on a second connection delays no commit, but while commits go on it never reaches the last one,
//! and only a log that is checkpointed to its end is overwritten from its start. So the checkpointer does most of it, and
//! when the log is long and little is left, it asks the writer to do the rest between two commits.

use super::connect::close;
use crate::error::StoreError;
use rusqlite::Connection;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// What is left to the writer at most: it costs about as much as a large commit.
const FEW_PAGES: i64 = 512;

/// After this many rounds the writer does the rest, however many pages it is.
const ROUNDS: u32 = 4;

/// What a checkpoint left.
#[derive(Debug, Clone, Copy)]
struct Log {
    pages: i64,
    checkpointed: i64,
}

/// The writer's side.
#[derive(Debug)]
pub struct Checkpointer {
    flags: Arc<Flags>,
    thread: JoinHandle<()>,
    every_pages: usize,
    pages: usize,
}

/// What the writer and the checkpointer tell each other.
#[derive(Debug, Default)]
struct Flags {
    due: AtomicBool,
    closing: AtomicBool,
    /// The writer is to do the rest.
    rest_wanted: AtomicBool,
}

impl Checkpointer {
    /// Starts a thread with its own connection. It checkpoints after each `every_pages` pages and has the log overwritten
    /// at four times as many.
    pub fn start(connection: Connection, every_pages: usize) -> io::Result<Self> {
        let flags = Arc::new(Flags::default());
        let restart_at = i64::try_from(every_pages.saturating_mul(4)).unwrap_or(i64::MAX);
        let of_thread = flags.clone();
        let work = move || run(connection, &of_thread, restart_at);
        let thread = thread::Builder::new().name("sqlite-checkpoint".to_owned()).spawn(work)?;
        Ok(Self { flags, thread, every_pages, pages: 0 })
    }

    /// Counts the pages that a commit wrote, as estimated.
    pub fn wrote(&mut self, pages: usize) {
        self.pages += pages;
        if self.pages >= self.every_pages {
            self.pages = 0;
            self.flags.due.store(true, Ordering::Release);
            self.thread.thread().unpark();
        }
    }

    /// Does the rest of a checkpoint on the writer's own connection, if the checkpointer asked for it.
    pub fn do_rest(&self, connection: &Connection) {
        if !self.flags.rest_wanted.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = checkpoint(connection, PASSIVE) {
            tracing::warn!(%error, "doing the rest of a checkpoint failed");
        }
    }

    /// Waits until the thread has ended, then empties the log.
    pub fn close(self, connection: &Connection) {
        self.flags.closing.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::warn!("the checkpointer had panicked");
        }
        if let Err(error) = checkpoint(connection, TRUNCATE) {
            tracing::warn!(%error, "the last checkpoint failed; the next start does it");
        }
    }
}

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

fn run(connection: Connection, flags: &Flags, restart_at: i64) {
    while !flags.closing.load(Ordering::Acquire) {
        if flags.due.swap(false, Ordering::AcqRel) {
            checkpoint_all(&connection, flags, restart_at);
        } else {
            thread::park();
        }
    }
    close(connection);
}

fn checkpoint_all(connection: &Connection, flags: &Flags, restart_at: i64) {
    for round in 1..=ROUNDS {
        if flags.closing.load(Ordering::Acquire) {
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
        if log.pages - log.checkpointed <= FEW_PAGES || round == ROUNDS {
            flags.rest_wanted.store(true, Ordering::Release);
            return;
        }
    }
}

fn checkpoint(connection: &Connection, pragma: &'static str) -> Result<Log, StoreError> {
    let read = |row: &rusqlite::Row<'_>| Ok(Log { pages: row.get(1)?, checkpointed: row.get(2)? });
    Ok(connection.query_row(pragma, [], read)?)
}
