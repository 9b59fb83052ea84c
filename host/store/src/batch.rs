//! What is known of a batch before any database is asked: whether it contradicts itself, and if not, what must hold of
//! each journal before it is written, and which customer rows it leaves.

use crate::rows::{Batch, CustomerRow, KeyHash, NewEntry, NewKey};
use proviso_ledger::model::{
    ids::{CustomerId, Seq},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::RangeInclusive,
};

/// What must hold of one customer's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPrecondition {
    /// Between which numbers the last entry must be: exactly one number when there are new entries, else at least the
    /// highest that a key or a snapshot names.
    pub heads: RangeInclusive<Seq>,
    /// The number of the last entry afterwards, when there are new ones.
    pub last: Option<Seq>,
}

impl JournalPrecondition {
    /// The highest number in it that names an entry.
    pub fn highest(&self) -> Seq {
        self.last.unwrap_or(*self.heads.start())
    }
}

/// What must hold for a batch to be written.
#[derive(Debug, Default)]
pub struct Preconditions<'a> {
    pub journals: HashMap<&'a CustomerId, JournalPrecondition>,
    /// Keys that must be new, with the entries that they name.
    pub keys: HashMap<(&'a CustomerId, KeyHash), Seq>,
}

impl<'a> Preconditions<'a> {
    /// None when the batch contradicts itself: numbers with gaps, a duplicate key, a key or snapshot of no entry.
    pub fn of(batch: &'a Batch) -> Option<Self> {
        let mut preconditions = Self::default();
        for NewEntry { customer, seq, key_hash, .. } in &batch.entries {
            preconditions.append(customer, *seq)?;
            if let Some(key_hash) = key_hash {
                preconditions.add_key(customer, *key_hash, *seq)?;
            }
        }
        for NewKey { customer, key_hash, seq } in &batch.keys {
            preconditions.require_entry(customer, *seq)?;
            preconditions.add_key(customer, *key_hash, *seq)?;
        }
        for (customer, seq) in &batch.unchanged {
            preconditions.require_head(customer, *seq)?;
        }
        for snapshot in &batch.snapshots {
            preconditions.require_entry(&snapshot.customer, snapshot.seq)?;
        }
        Some(preconditions)
    }

    fn append(&mut self, customer: &'a CustomerId, seq: Seq) -> Option<()> {
        let before = seq.checked_sub(1)?;
        match self.journals.entry(customer) {
            Entry::Vacant(journal) => {
                journal.insert(JournalPrecondition { heads: before..=before, last: Some(seq) });
                Some(())
            }
            Entry::Occupied(mut journal) => {
                let last = &mut journal.get_mut().last;
                (*last == Some(before)).then(|| *last = Some(seq))
            }
        }
    }

    fn require_entry(&mut self, customer: &'a CustomerId, seq: Seq) -> Option<()> {
        let any = JournalPrecondition { heads: 0..=Seq::MAX, last: None };
        let journal = self.journals.entry(customer).or_insert(any);
        if journal.last.is_none() {
            journal.heads = seq.max(*journal.heads.start())..=*journal.heads.end();
        }
        (seq >= 1 && journal.last.is_none_or(|last| seq <= last)).then_some(())
    }

    fn require_head(&mut self, customer: &'a CustomerId, seq: Seq) -> Option<()> {
        let any = JournalPrecondition { heads: 0..=Seq::MAX, last: None };
        let journal = self.journals.entry(customer).or_insert(any);
        if journal.last.is_some() || !journal.heads.contains(&seq) {
            return None;
        }
        journal.heads = seq..=seq;
        Some(())
    }

    fn add_key(&mut self, customer: &'a CustomerId, key_hash: KeyHash, seq: Seq) -> Option<()> {
        self.keys.insert((customer, key_hash), seq).is_none().then_some(())
    }
}

/// The customer rows that batches leave. Of several for one customer the last counts.
#[derive(Debug, Default)]
pub struct CustomerChanges {
    /// To create or replace.
    pub rows: BTreeMap<CustomerId, CustomerRow>,
    /// New due times of other customers.
    pub due: BTreeMap<CustomerId, Option<Timestamp>>,
}

impl CustomerChanges {
    pub fn add(&mut self, rows: Vec<CustomerRow>, due: Vec<(CustomerId, Option<Timestamp>)>) {
        for row in rows {
            self.due.remove(&row.customer);
            self.rows.insert(row.customer.clone(), row);
        }
        for (customer, due_at) in due {
            match self.rows.get_mut(&customer) {
                Some(row) => row.due_at = due_at,
                None => drop(self.due.insert(customer, due_at)),
            }
        }
    }
}
