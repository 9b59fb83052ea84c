//! What can be said of a batch before any database is asked: whether it contradicts itself, and if not, what it asks of
//! each journal and which customer rows it leaves.

use crate::rows::{Batch, CustomerRow, KeyHash, NewEntry, NewKey};
use proviso_ledger::model::{
    ids::{CustomerId, Seq},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::RangeInclusive,
};

/// What a batch asks of one customer's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What the number of the last entry may be before: exactly one when there are new entries, else at least the
    /// highest that a key or a snapshot is of.
    pub heads: RangeInclusive<Seq>,
    /// The number of the last entry afterwards, when there are new ones.
    pub last: Option<Seq>,
}

impl Demand {
    /// The highest number in it that means an entry.
    pub fn highest(&self) -> Seq {
        self.last.unwrap_or(*self.heads.start())
    }
}

/// What a batch asks of the database.
#[derive(Debug, Default)]
pub struct Demands<'a> {
    pub journals: HashMap<&'a CustomerId, Demand>,
    /// Keys that must be new, with the entries that they are of.
    pub keys: HashMap<(&'a CustomerId, KeyHash), Seq>,
}

impl<'a> Demands<'a> {
    /// None when the batch contradicts itself: numbers with gaps, a key twice, a key or snapshot of nothing.
    pub fn of(batch: &'a Batch) -> Option<Self> {
        let mut demands = Self::default();
        for NewEntry { customer, seq, key_hash, .. } in &batch.entries {
            demands.append(customer, *seq)?;
            if let Some(key_hash) = key_hash {
                demands.take(customer, *key_hash, *seq)?;
            }
        }
        for NewKey { customer, key_hash, seq } in &batch.keys {
            demands.need(customer, *seq)?;
            demands.take(customer, *key_hash, *seq)?;
        }
        for snapshot in &batch.snapshots {
            demands.need(&snapshot.customer, snapshot.seq)?;
        }
        Some(demands)
    }

    fn append(&mut self, customer: &'a CustomerId, seq: Seq) -> Option<()> {
        let before = seq.checked_sub(1)?;
        match self.journals.entry(customer) {
            Entry::Vacant(journal) => {
                journal.insert(Demand { heads: before..=before, last: Some(seq) });
                Some(())
            }
            Entry::Occupied(mut journal) => {
                let last = &mut journal.get_mut().last;
                (*last == Some(before)).then(|| *last = Some(seq))
            }
        }
    }

    fn need(&mut self, customer: &'a CustomerId, seq: Seq) -> Option<()> {
        let none = Demand { heads: 0..=Seq::MAX, last: None };
        let journal = self.journals.entry(customer).or_insert(none);
        if journal.last.is_none() {
            journal.heads = seq.max(*journal.heads.start())..=Seq::MAX;
        }
        (seq >= 1 && journal.last.is_none_or(|last| seq <= last)).then_some(())
    }

    fn take(&mut self, customer: &'a CustomerId, key_hash: KeyHash, seq: Seq) -> Option<()> {
        self.keys.insert((customer, key_hash), seq).is_none().then_some(())
    }
}

/// The customer rows that batches leave, one for each customer: the last word counts.
#[derive(Debug, Default)]
pub struct CustomerChanges {
    /// To create or replace.
    pub rows: BTreeMap<CustomerId, CustomerRow>,
    /// New due times of others.
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
