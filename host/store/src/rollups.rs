//! What a database keeps of usage totals by time of use. They are derived from the journal, so that any may be missing; what
//! is there is exactly what the entries up to a cursor give. The bodies are opaque here.

use crate::{
    columns::{Columns, bytes, number, seq},
    error::StoreError,
    rows::Commit,
};
use proviso_ledger::model::ids::{CustomerId, Seq};
use std::ops::Range;

/// Where a total is kept: rows that are read together are next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollupId {
    /// How long a slot is.
    pub grain: u8,
    /// What is totalled.
    pub kind: u8,
    /// Which slot, counted from 1970.
    pub slot: i64,
    /// What of it, as a hash.
    pub key: [u8; 16],
}

/// A total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupRow {
    /// Where it is kept.
    pub id: RollupId,
    /// JSON.
    pub body: String,
}

/// How far a customer's totals go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RollupCursor {
    /// The last entry that they take in; 0 for none.
    pub through: Seq,
    /// The format of the bodies; 0 where there are no totals.
    pub format: u32,
}

/// Totals of one grain and kind in neighbouring slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupSpan {
    /// How long a slot is.
    pub grain: u8,
    /// What is totalled.
    pub kind: u8,
    /// Which slots.
    pub slots: Range<i64>,
}

/// Totals that take in more of a customer's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupUpdate {
    /// Whose.
    pub customer: CustomerId,
    /// What they were read at. Where the format is another one, all totals of the customer are dropped first.
    pub from: RollupCursor,
    /// What they are written for.
    pub to: RollupCursor,
    /// Totals that are new or replace the ones at the same place.
    pub rows: Vec<RollupRow>,
}

/// The part of a store that keeps usage totals.
#[async_trait::async_trait]
pub trait RollupStore: Send + Sync {
    /// A customer's totals in these spans, in order, and how far they go, as of one moment.
    async fn rollups(
        &self,
        customer: &CustomerId,
        spans: &[RollupSpan],
    ) -> Result<(RollupCursor, Vec<RollupRow>), StoreError>;

    /// Those of the totals that exist, in order, and how far they go, as of one moment.
    async fn rollups_at(
        &self,
        customer: &CustomerId,
        ids: &[RollupId],
    ) -> Result<(RollupCursor, Vec<RollupRow>), StoreError>;

    /// Writes totals and moves the cursors, of all of the customers or of none: it is a [`Commit::Conflict`] when a cursor is
    /// no longer where an update was read. Each customer is named once.
    async fn put_rollups(&self, updates: Vec<RollupUpdate>) -> Result<Commit, StoreError>;
}

/// `grain, kind, slot, key_hash, body`.
pub fn rollup(row: &impl Columns) -> Result<RollupRow, StoreError> {
    let id = RollupId {
        grain: number(row, 0)?,
        kind: number(row, 1)?,
        slot: row.integer(2)?,
        key: bytes(row, 3)?,
    };
    Ok(RollupRow { id, body: row.text(4)?.to_owned() })
}

/// `seq, format`, from a column on.
pub fn cursor(row: &impl Columns, from: usize) -> Result<RollupCursor, StoreError> {
    Ok(RollupCursor { through: seq(row, from)?, format: number(row, from + 1)? })
}
