//! The batches that share one transaction: decides which of them conflict, and writes the others.
//!
//! In come batches and an open transaction, out goes what the tail takes in once that is durable. What was appended
//! lately is looked up in the tail, the rest in the index tables, on the connection that writes: its pages are in that
//! connection's cache, and whoever read them elsewhere would have to read them again after each commit.

use super::tail::{Appended, Place, Pos, View};
use crate::{
    StoreError,
    batch::{CustomerChanges, Demands},
    columns::{broken, integer},
    rows::{Batch, KeyHash, NewEntry, NewKey, NewSnapshot},
};
use proviso_ledger::model::ids::{CustomerId, Seq};
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};

/// Batches that go together.
#[derive(Debug, Default)]
pub struct Group {
    heads: HashMap<CustomerId, Seq>,
    taken: HashSet<(CustomerId, KeyHash)>,
    entries: Vec<NewEntry>,
    keys: Vec<NewKey>,
    snapshots: Vec<NewSnapshot>,
    customers: CustomerChanges,
}

/// The bytes that a page holds of entries, for estimates.
const PAGE_BYTES: usize = 4096;

impl Group {
    /// Takes a batch in, unless it conflicts with the journal or with a batch that was taken in before.
    pub fn admit(&mut self, view: &View, transaction: &Connection, batch: Batch) -> Result<bool, StoreError> {
        let Some((heads, taken)) = self.check(view, transaction, &batch)? else { return Ok(false) };
        self.heads.extend(heads);
        self.taken.extend(taken);
        self.entries.extend(batch.entries);
        self.keys.extend(batch.keys);
        self.snapshots.extend(batch.snapshots);
        self.customers.add(batch.customers, batch.due);
        Ok(true)
    }

    /// The heads and keys that the batch adds, none when it conflicts.
    fn check(
        &self,
        view: &View,
        transaction: &Connection,
        batch: &Batch,
    ) -> Result<Option<Additions>, StoreError> {
        let Some(demands) = Demands::of(batch) else { return Ok(None) };
        for (customer, demand) in &demands.journals {
            let head = match self.heads.get(*customer).copied().or_else(|| view.head(customer)) {
                Some(head) => head,
                None => stored_head(transaction, customer)?,
            };
            if !demand.heads.contains(&head) {
                return Ok(None);
            }
        }
        let mut taken = HashSet::with_capacity(demands.keys.len());
        for (customer, hash) in demands.keys.into_keys() {
            let key = (customer.clone(), hash);
            if view.key(customer, &hash).is_some()
                || self.taken.contains(&key)
                || !view.is_whole(customer) && is_stored(transaction, customer, &hash)?
            {
                return Ok(None);
            }
            taken.insert(key);
        }
        let heads = demands.journals.into_iter();
        let heads = heads.filter_map(|(customer, demand)| Some((customer.clone(), demand.last?))).collect();
        Ok(Some((heads, taken)))
    }

    /// Writes everything, with positions from `last_pos` on. Returns what is appended then, and about how many pages are
    /// written.
    pub fn write(&self, transaction: &Connection, last_pos: Pos) -> rusqlite::Result<(Vec<Appended>, usize)> {
        let mut appended = Vec::with_capacity(self.entries.len() + self.keys.len());
        let mut positions = last_pos + 1..;
        let mut next = || positions.next().unwrap_or(Pos::MAX);
        let mut bytes = 0;
        let mut insert = transaction.prepare_cached(ENTRIES)?;
        for NewEntry { customer, seq, at, key_hash, hash, body } in &self.entries {
            let pos = next();
            insert.execute((pos, customer.as_str(), integer(*seq), at.0, key_hash, hash, body))?;
            bytes += body.len() + 128;
            let place = Place { seq: *seq, at: *at, pos };
            appended.push(Appended::Entry { customer: customer.clone(), place, key_hash: *key_hash });
        }
        let mut insert = transaction.prepare_cached(FURTHER_KEYS)?;
        for NewKey { customer, key_hash, seq } in &self.keys {
            insert.execute((next(), customer.as_str(), key_hash, integer(*seq)))?;
            appended.push(Appended::Key { customer: customer.clone(), key_hash: *key_hash, seq: *seq });
        }
        let mut insert = transaction.prepare_cached(SNAPSHOTS)?;
        for NewSnapshot { customer, seq, at, state } in &self.snapshots {
            insert.execute((customer.as_str(), integer(*seq), at.0, state))?;
            bytes += state.len() + PAGE_BYTES;
        }
        let mut insert = transaction.prepare_cached(CUSTOMERS)?;
        for row in self.customers.rows.values() {
            let due_at = row.due_at.map(|at| at.0);
            insert.execute((row.customer.as_str(), row.created_at.0, due_at, row.closed, &row.profile))?;
        }
        let mut update = transaction.prepare_cached(DUE)?;
        for (customer, due_at) in &self.customers.due {
            update.execute((customer.as_str(), due_at.map(|at| at.0)))?;
        }
        let rows = self.customers.rows.len() + self.customers.due.len();
        Ok((appended, bytes / PAGE_BYTES + 2 * rows + 2))
    }
}

type Additions = (HashMap<CustomerId, Seq>, HashSet<(CustomerId, KeyHash)>);

/// The last entry in the index.
fn stored_head(connection: &Connection, customer: &CustomerId) -> Result<Seq, StoreError> {
    let found: Pos = connection.prepare_cached(HEAD)?.query_row([customer.as_str()], |row| row.get(0))?;
    Seq::try_from(found).map_err(broken)
}

fn is_stored(connection: &Connection, customer: &CustomerId, hash: &KeyHash) -> rusqlite::Result<bool> {
    connection.prepare_cached(KEY)?.exists((customer.as_str(), hash))
}

const HEAD: &str = "SELECT coalesce(max(seq), 0) FROM entry_index WHERE customer_id = ?1";
const KEY: &str = "SELECT 1 FROM idempotency WHERE customer_id = ?1 AND key_hash = ?2";
const ENTRIES: &str = "INSERT INTO entries (pos, customer_id, seq, at, key_hash, hash, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const FURTHER_KEYS: &str =
    "INSERT INTO further_keys (pos, customer_id, key_hash, seq) VALUES (?1, ?2, ?3, ?4)";
const SNAPSHOTS: &str = "INSERT INTO snapshots (customer_id, seq, at, state) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT DO UPDATE SET at = excluded.at, state = excluded.state";
const CUSTOMERS: &str = "INSERT INTO customers (customer_id, created_at, due_at, closed, profile) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET created_at = excluded.created_at, \
     due_at = excluded.due_at, closed = excluded.closed, profile = excluded.profile";
const DUE: &str = "UPDATE customers SET due_at = ?2 WHERE customer_id = ?1";
