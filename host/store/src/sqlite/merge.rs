//! Writes a frozen generation of the tail to the index tables, sorted and in slices beside later commits.
//!
//! In comes a generation, out go rows in transactions of others. Rows of neighbouring customers share pages, which is the
//! whole point: one by one, each entry would dirty a page of its own in both tables. Writing a row twice is harmless, so
//! a crash within a run only means that the run is made again.

use super::tail::{Generation, Pos};
use crate::rows::KeyHash;
use proviso_ledger::model::ids::{CustomerId, Seq};
use rusqlite::Connection;

/// A slice below this is put off, since each slice dirties pages at its ends that it shares with its neighbours.
const SMALLEST_SLICE: usize = 16;

/// A frozen generation on its way into the tables.
#[derive(Debug)]
pub struct Run {
    entries: Vec<(CustomerId, Seq, Pos)>,
    keys: Vec<(CustomerId, KeyHash, Seq)>,
    /// How many rows, of the entries first and then of the keys, are durable.
    written: usize,
    /// Rows that may be written now.
    owed: usize,
    /// Every row up to this one is in this run or was in an earlier one.
    up_to: Pos,
}

/// What a transaction writes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    rows: usize,
}

impl Slice {
    /// How many rows it holds, and so how many pages it may dirty at most.
    pub fn rows(self) -> usize {
        self.rows
    }
}

impl Run {
    /// Sorts a generation. Takes a while: not for an async thread.
    pub fn sort(generation: &Generation, up_to: Pos) -> Self {
        let mut entries = Vec::with_capacity(generation.len());
        let mut keys = Vec::with_capacity(generation.len());
        generation.for_each(|customer, recent| {
            entries.extend(recent.places.iter().map(|place| (customer.clone(), place.seq, place.pos)));
            keys.extend(recent.keys.iter().map(|(hash, seq)| (customer.clone(), *hash, *seq)));
        });
        entries.sort_unstable();
        keys.sort_unstable();
        Self { entries, keys, written: 0, owed: 0, up_to }
    }

    /// How many rows are not yet durable.
    pub fn left(&self) -> usize {
        (self.entries.len() + self.keys.len()).saturating_sub(self.written)
    }

    /// Writes what is due after `appended` more entries: three rows for each, so that a run of two rows an entry ends well
    /// before the next generation is full.
    pub fn write_slice(&mut self, transaction: &Connection, appended: usize) -> rusqlite::Result<Slice> {
        self.owed += appended * 3;
        let rows = if self.owed < SMALLEST_SLICE { 0 } else { self.owed.min(self.left()) };
        let entries = self.entries.iter().skip(self.written).take(rows);
        let keys = self.keys.iter().skip(self.written.saturating_sub(self.entries.len()));
        let keys = keys.take(rows - entries.len());
        let mut insert =
            transaction.prepare_cached("INSERT OR IGNORE INTO entry_index VALUES (?1, ?2, ?3)")?;
        for (customer, seq, pos) in entries {
            insert.execute((customer.as_str(), seq.cast_signed(), pos))?;
        }
        let mut insert =
            transaction.prepare_cached("INSERT OR IGNORE INTO idempotency VALUES (?1, ?2, ?3)")?;
        for (customer, key_hash, seq) in keys {
            insert.execute((customer.as_str(), key_hash, seq.cast_signed()))?;
        }
        if rows == self.left() {
            transaction.execute("UPDATE progress SET indexed_pos = ?1", [self.up_to])?;
            transaction.execute("DELETE FROM further_keys WHERE pos <= ?1", [self.up_to])?;
        }
        Ok(Slice { rows })
    }

    /// Notes that a slice is durable. True when the run is complete.
    pub fn advance(&mut self, slice: Slice) -> bool {
        self.written += slice.rows;
        self.owed = self.owed.saturating_sub(slice.rows);
        self.left() == 0
    }
}
