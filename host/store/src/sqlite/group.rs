//! Group commit: decides which of several batches conflict, and writes the others in one transaction.
//!
//! What was appended lately is looked up in the memtables, the rest in the index tables, on the connection that writes:
//! its cache has their pages, while any other connection would have to read them again after each commit.

use super::{
    memtable::{Appended, EntryPos, Pos, View},
    reads::stored_head,
};
use crate::{
    batch::{CustomerChanges, Preconditions},
    columns::integer,
    error::StoreError,
    rows::{Batch, KeyHash, NewEntry, NewKey, NewSnapshot},
};
use proviso_ledger::model::ids::{CustomerId, Seq};
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};

/// Batches that are committed together.
#[derive(Debug, Default)]
pub struct Group {
    /// The last entries that these batches leave.
    heads: HashMap<CustomerId, Seq>,
    /// The keys that they add.
    new_keys: HashSet<(CustomerId, KeyHash)>,
    entries: Vec<NewEntry>,
    keys: Vec<NewKey>,
    snapshots: Vec<NewSnapshot>,
    customers: CustomerChanges,
}

/// The bytes of entries in a page, for estimates.
const PAGE_BYTES: usize = 4096;

impl Group {
    /// Adds a batch, unless it conflicts with the journal or with a batch that was added before.
    pub fn add(&mut self, view: &View, transaction: &Connection, batch: Batch) -> Result<bool, StoreError> {
        let Some((heads, new_keys)) = self.check(view, transaction, &batch)? else { return Ok(false) };
        self.heads.extend(heads);
        self.new_keys.extend(new_keys);
        self.entries.extend(batch.entries);
        self.keys.extend(batch.keys);
        self.snapshots.extend(batch.snapshots);
        self.customers.add(batch.customers, batch.due);
        Ok(true)
    }

    /// The heads and keys that the batch leaves; None when it conflicts.
    fn check(
        &self,
        view: &View,
        transaction: &Connection,
        batch: &Batch,
    ) -> Result<Option<Additions>, StoreError> {
        let Some(preconditions) = Preconditions::of(batch) else { return Ok(None) };
        for (customer, journal) in &preconditions.journals {
            let head = match self.heads.get(*customer).copied().or_else(|| view.head(customer)) {
                Some(head) => head,
                None => stored_head(transaction, customer)?,
            };
            if !journal.heads.contains(&head) {
                return Ok(None);
            }
        }
        let mut new_keys = HashSet::with_capacity(preconditions.keys.len());
        for (customer, hash) in preconditions.keys.into_keys() {
            let key = (customer.clone(), hash);
            if view.key(customer, &hash).is_some()
                || self.new_keys.contains(&key)
                || !view.has_whole(customer) && is_stored(transaction, customer, &hash)?
            {
                return Ok(None);
            }
            new_keys.insert(key);
        }
        let heads = preconditions.journals.into_iter();
        let heads = heads.filter_map(|(customer, journal)| Some((customer.clone(), journal.last?))).collect();
        Ok(Some((heads, new_keys)))
    }

    /// Writes everything, with positions after `last_pos`. Returns the appended rows, and an estimate of the written
    /// pages.
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
            let entry = EntryPos { seq: *seq, at: *at, pos };
            appended.push(Appended::Entry { customer: customer.clone(), entry, key_hash: *key_hash });
        }
        let mut insert = transaction.prepare_cached(FURTHER_KEYS)?;
        for NewKey { customer, key_hash, seq } in &self.keys {
            insert.execute((next(), customer.as_str(), key_hash, integer(*seq)))?;
            appended.push(Appended::Key { customer: customer.clone(), key_hash: *key_hash, seq: *seq });
        }
        let mut insert = transaction.prepare_cached(SNAPSHOTS)?;
        for NewSnapshot { customer, format, seq, at, state } in &self.snapshots {
            insert.execute((customer.as_str(), format, integer(*seq), at.0, state))?;
            bytes += state.len() + PAGE_BYTES;
        }
        let mut insert = transaction.prepare_cached(CUSTOMERS)?;
        for row in self.customers.rows.values() {
            let due_at = row.due_at.map(|at| at.0);
            let (plan, version) = row.plan.as_ref().map(|(plan, version)| (plan.as_str(), *version)).unzip();
            let (customer, created_at) = (row.customer.as_str(), row.created_at.0);
            let (closed, awaits_payment) = (row.closed, row.awaits_payment);
            insert.execute((
                customer,
                created_at,
                due_at,
                closed,
                &row.profile,
                plan,
                version,
                awaits_payment,
            ))?;
        }
        let mut update = transaction.prepare_cached(DUE)?;
        for (customer, due_at) in &self.customers.due {
            update.execute((customer.as_str(), due_at.map(|at| at.0)))?;
        }
        let rows = self.customers.rows.len() + self.customers.due.len();
        Ok((appended, bytes / PAGE_BYTES + 2 * rows + 2))
    }
}

/// Last entries and keys.
type Additions = (HashMap<CustomerId, Seq>, HashSet<(CustomerId, KeyHash)>);

fn is_stored(connection: &Connection, customer: &CustomerId, hash: &KeyHash) -> rusqlite::Result<bool> {
    connection.prepare_cached(KEY)?.exists((customer.as_str(), hash))
}

const KEY: &str = "SELECT 1 FROM idempotency WHERE customer_id = ?1 AND key_hash = ?2";
const ENTRIES: &str = "INSERT INTO entries (pos, customer_id, seq, at, key_hash, hash, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const FURTHER_KEYS: &str =
    "INSERT INTO further_keys (pos, customer_id, key_hash, seq) VALUES (?1, ?2, ?3, ?4)";
const SNAPSHOTS: &str = "INSERT INTO snapshots (customer_id, format, seq, at, state) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET at = excluded.at, state = excluded.state";
const CUSTOMERS: &str = "INSERT INTO customers \
     (customer_id, created_at, due_at, closed, profile, plan_id, plan_version, awaits_payment) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET created_at = excluded.created_at, \
     due_at = excluded.due_at, closed = excluded.closed, profile = excluded.profile, plan_id = excluded.plan_id, \
     plan_version = excluded.plan_version, awaits_payment = excluded.awaits_payment";
const DUE: &str = "UPDATE customers SET due_at = ?2 WHERE customer_id = ?1";
