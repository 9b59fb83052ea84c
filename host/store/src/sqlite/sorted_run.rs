//! Merges an immutable memtable into the index tables: sorted, and in slices that later commits write along.
//!
//! Rows of neighbouring customers share pages, which is what all this is for: unsorted, each entry would dirty a page of
//! its own in both tables. Writing a row twice is harmless, so after a crash within a merge the run is merged again.

use super::memtable::{Memtable, Pos};
use crate::{columns::integer, rows::KeyHash};
use proviso_ledger::model::ids::{CustomerId, Seq};
use rusqlite::Connection;

/// A smaller slice is postponed, since each slice dirties pages at its ends that it shares with its neighbours.
const SMALLEST_SLICE: usize = 16;

/// Index rows written for each entry that a commit appends. An entry has two, so a merge ends well before the next
/// memtable is full.
const ROWS_AN_ENTRY: usize = 3;

/// The index rows of a memtable, sorted, on their way into the tables.
#[derive(Debug)]
pub struct SortedRun {
    entries: Vec<(CustomerId, Seq, Pos)>,
    keys: Vec<(CustomerId, KeyHash, Seq)>,
    /// How many rows are durable, of the entries first and then of the keys.
    merged: usize,
    /// How many rows may be written now.
    due: usize,
    /// Every row up to this position is in this run or was in an earlier one.
    up_to: Pos,
}

/// The part of a run that one transaction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    rows: usize,
}

impl Slice {
    /// How many rows it has, and so how many pages it may dirty at most.
    pub fn rows(self) -> usize {
        self.rows
    }
}

impl SortedRun {
    /// Sorts a memtable, which takes too long for an async thread.
    pub fn new(memtable: &Memtable, up_to: Pos) -> Self {
        let mut entries = Vec::with_capacity(memtable.len());
        let mut keys = Vec::with_capacity(memtable.len());
        memtable.for_each(|customer, part| {
            entries.extend(part.entries.iter().map(|entry| (customer.clone(), entry.seq, entry.pos)));
            keys.extend(part.keys.iter().map(|(hash, seq)| (customer.clone(), *hash, *seq)));
        });
        entries.sort_unstable();
        keys.sort_unstable();
        Self { entries, keys, merged: 0, due: 0, up_to }
    }

    /// How many rows are not yet durable.
    pub fn left(&self) -> usize {
        (self.entries.len() + self.keys.len()).saturating_sub(self.merged)
    }

    /// Writes the rows that are due once `appended` more entries are appended.
    pub fn write_slice(&mut self, transaction: &Connection, appended: usize) -> rusqlite::Result<Slice> {
        self.due += appended * ROWS_AN_ENTRY;
        let rows = if self.due < SMALLEST_SLICE { 0 } else { self.due.min(self.left()) };
        let entries = self.entries.iter().skip(self.merged).take(rows);
        let keys = self.keys.iter().skip(self.merged.saturating_sub(self.entries.len()));
        let keys = keys.take(rows - entries.len());
        let mut insert =
            transaction.prepare_cached("INSERT OR IGNORE INTO entry_index VALUES (?1, ?2, ?3)")?;
        for (customer, seq, pos) in entries {
            insert.execute((customer.as_str(), integer(*seq), pos))?;
        }
        let mut insert =
            transaction.prepare_cached("INSERT OR IGNORE INTO idempotency VALUES (?1, ?2, ?3)")?;
        for (customer, key_hash, seq) in keys {
            insert.execute((customer.as_str(), key_hash, integer(*seq)))?;
        }
        if rows == self.left() {
            transaction.execute("UPDATE progress SET indexed_pos = ?1", [self.up_to])?;
            transaction.execute("DELETE FROM further_keys WHERE pos <= ?1", [self.up_to])?;
        }
        Ok(Slice { rows })
    }

    /// Notes that a slice is durable. Returns whether the run is merged.
    pub fn advance(&mut self, slice: Slice) -> bool {
        self.merged += slice.rows;
        self.due = self.due.saturating_sub(slice.rows);
        self.left() == 0
    }
}
