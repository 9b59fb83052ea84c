//! A store in a few maps, simple enough to be right. The real ones are compared with it.

use proviso_ledger::model::{
    ids::{CustomerId, Digest, Seq},
    time::Timestamp,
};
use proviso_store::{
    Batch, Commit, CustomerRow, KeyHash, LoadedCustomer, NewEntry, NewSnapshot, Store, StoredEntry,
    StoredSnapshot,
};
use std::{collections::BTreeMap, time::Duration};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub journals: BTreeMap<CustomerId, Vec<NewEntry>>,
    pub keys: BTreeMap<(CustomerId, KeyHash), Seq>,
    /// By customer, format and last entry.
    pub snapshots: BTreeMap<(CustomerId, u32, Seq), NewSnapshot>,
    pub customers: BTreeMap<CustomerId, CustomerRow>,
    /// The catalog's.
    pub revision: u64,
}

impl Model {
    pub fn head(&self, customer: &CustomerId) -> Seq {
        self.journals.get(customer).map_or(0, |entries| entries.len() as Seq)
    }

    pub fn commit(&mut self, batch: &Batch) -> Commit {
        let mut next = self.clone();
        if next.try_commit(batch) {
            *self = next;
            Commit::Durable
        } else {
            Commit::Conflict
        }
    }

    fn try_commit(&mut self, batch: &Batch) -> bool {
        if batch.revision.is_some_and(|revision| revision != self.revision) {
            return false;
        }
        for entry in &batch.entries {
            let fresh = entry.key_hash.is_none_or(|hash| self.add_key(&entry.customer, hash, entry.seq));
            if entry.seq != self.head(&entry.customer) + 1 || !fresh {
                return false;
            }
            self.journals.entry(entry.customer.clone()).or_default().push(entry.clone());
        }
        for key in &batch.keys {
            if !self.exists(&key.customer, key.seq) || !self.add_key(&key.customer, key.key_hash, key.seq) {
                return false;
            }
        }
        for snapshot in &batch.snapshots {
            if !self.exists(&snapshot.customer, snapshot.seq) {
                return false;
            }
            let key = (snapshot.customer.clone(), snapshot.format, snapshot.seq);
            self.snapshots.insert(key, snapshot.clone());
        }
        for row in &batch.customers {
            self.customers.insert(row.customer.clone(), row.clone());
        }
        for (customer, due_at) in &batch.due {
            if let Some(row) = self.customers.get_mut(customer) {
                row.due_at = *due_at;
            }
        }
        true
    }

    fn add_key(&mut self, customer: &CustomerId, hash: KeyHash, seq: Seq) -> bool {
        self.keys.insert((customer.clone(), hash), seq).is_none()
    }

    fn exists(&self, customer: &CustomerId, seq: Seq) -> bool {
        (1..=self.head(customer)).contains(&seq)
    }

    pub fn entries(&self, customer: &CustomerId) -> Vec<StoredEntry> {
        self.journals.get(customer).into_iter().flatten().map(stored).collect()
    }

    pub fn keys_after(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: usize,
    ) -> Vec<(KeyHash, Seq)> {
        let own = self
            .keys
            .iter()
            .filter(|((of, key), _)| of == customer && after.is_none_or(|after| *key > after));
        own.map(|((_, key), seq)| (*key, *seq)).take(limit).collect()
    }

    pub fn snapshot_before(&self, customer: &CustomerId, seq: Seq, format: u32) -> Option<StoredSnapshot> {
        let range = (customer.clone(), format, 0)..=(customer.clone(), format, seq);
        let (_, NewSnapshot { seq, at, state, .. }) = self.snapshots.range(range).next_back()?;
        Some(StoredSnapshot { format, seq: *seq, at: *at, state: state.clone() })
    }

    pub fn load(&self, customer: &CustomerId, format: u32) -> LoadedCustomer {
        let snapshot = self.snapshot_before(customer, Seq::MAX, format);
        let folded = snapshot.as_ref().map_or(0, |snapshot| snapshot.seq as usize);
        LoadedCustomer { snapshot, tail: self.entries(customer).split_off(folded) }
    }

    pub fn load_after(&self, customer: &CustomerId, known: Seq, format: u32) -> LoadedCustomer {
        match usize::try_from(known).unwrap() {
            0 => self.load(customer, format),
            known => LoadedCustomer { snapshot: None, tail: self.entries(customer).split_off(known) },
        }
    }

    /// Asks a store everything about `customers` and compares each answer.
    pub async fn check(&self, store: &dyn Store, customers: &[CustomerId]) {
        for format in [FORMAT, OTHER_FORMAT] {
            let expected: Vec<_> = customers.iter().map(|customer| self.load(customer, format)).collect();
            assert_eq!(store.load(&unknown(customers), format).await.unwrap(), expected, "load of {format}");
        }
        for back in [0, 1, 7] {
            let known = |customer| (CustomerId::clone(customer), self.head(customer).saturating_sub(back));
            let known: Vec<_> = customers.iter().map(known).collect();
            let expected: Vec<_> =
                known.iter().map(|(customer, seq)| self.load_after(customer, *seq, FORMAT)).collect();
            assert_eq!(store.load(&known, FORMAT).await.unwrap(), expected, "load of all but {back}");
        }

        let mut keys: Vec<_> = self.keys.keys().cloned().collect();
        keys.extend(customers.iter().map(|customer| (customer.clone(), [0xff; 16])));
        let expected: Vec<_> = keys.iter().map(|key| self.keys.get(key).copied()).collect();
        assert_eq!(store.find_keys(&keys).await.unwrap(), expected, "find_keys");

        for customer in customers {
            self.check_one(store, customer).await;
        }
        let rows: Vec<_> = self.customers.values().cloned().collect();
        assert_eq!(store.customers(None, 1000).await.unwrap(), rows, "customers");
        let mut due: Vec<_> =
            rows.iter().filter_map(|row| Some((row.due_at?, row.customer.clone()))).collect();
        due.sort();
        for at in due.iter().map(|(at, _)| *at).chain([Timestamp(0)]) {
            let expected: Vec<_> =
                due.iter().filter(|(due_at, _)| *due_at <= at).map(|(_, id)| id.clone()).collect();
            assert_eq!(store.due(at, 1000, CLAIM).await.unwrap(), expected, "due at {at:?}");
        }
    }

    async fn check_one(&self, store: &dyn Store, customer: &CustomerId) {
        let entries = self.entries(customer);
        let head = self.head(customer);
        for (after, limit) in
            [(0, 1000), (0, 3), (head / 2, 2), (head, 5), (head + 3, 5), (Seq::MAX, 5), (0, 0)]
        {
            let page: Vec<_> = entries.iter().filter(|e| e.seq > after).take(limit).cloned().collect();
            let found = store.entries(customer, after, limit as u32).await.unwrap();
            assert_eq!(found, page, "{limit} entries of {customer} after {after}");
        }
        for (before, limit) in [(None, 1000), (None, 2), (Some(head / 2 + 1), 2), (Some(1), 5), (Some(0), 5)]
        {
            let below = entries.iter().rev().filter(|e| before.is_none_or(|before| e.seq < before));
            let page: Vec<_> = below.take(limit).cloned().collect();
            let found = store.entries_before(customer, before, limit as u32).await.unwrap();
            assert_eq!(found, page, "{limit} entries of {customer} before {before:?}");
        }
        for at in entries.iter().flat_map(|e| [e.at.0 - 1, e.at.0, e.at.0 + 1]).chain([0]).map(Timestamp) {
            let last = entries.iter().rev().find(|e| e.at <= at).map_or(0, |e| e.seq);
            assert_eq!(store.seq_at(customer, at).await.unwrap(), last, "{customer} at {at:?}");
        }
        for (seq, format) in
            [0, 1, head / 2, head, Seq::MAX].map(|seq| [(seq, FORMAT), (seq, OTHER_FORMAT)]).as_flattened()
        {
            let found = store.snapshot_before(customer, *seq, *format).await.unwrap();
            let expected = self.snapshot_before(customer, *seq, *format);
            assert_eq!(found, expected, "snapshot of {customer} before {seq} in {format}");
        }
        let middle = self.keys_after(customer, None, 2).last().map(|(key, _)| *key);
        for (after, limit) in [(None, 1000), (None, 2), (middle, 1000), (Some([0xff; 16]), 5)] {
            let found = store.keys(customer, after, limit as u32).await.unwrap();
            assert_eq!(
                found,
                self.keys_after(customer, after, limit),
                "{limit} keys of {customer} after {after:?}"
            );
        }
    }
}

fn stored(entry: &NewEntry) -> StoredEntry {
    StoredEntry { seq: entry.seq, at: entry.at, hash: entry.hash, body: entry.body.clone() }
}

/// How long a test's claims last.
pub const CLAIM: Duration = Duration::from_secs(60);

/// Of the snapshots that the tests write.
pub const FORMAT: u32 = 1;
pub const OTHER_FORMAT: u32 = 2;

/// How one asks for customers of whom nothing is known yet.
pub fn unknown(customers: &[CustomerId]) -> Vec<(CustomerId, Seq)> {
    customers.iter().map(|customer| (customer.clone(), 0)).collect()
}

// Rows that the tests write: equal arguments give equal rows.

pub fn customer(name: &str) -> CustomerId {
    name.parse().unwrap()
}

pub fn key(name: &str) -> KeyHash {
    *Digest::of(name.as_bytes()).0.first_chunk().unwrap()
}

/// Two entries of each customer share one time.
pub fn time(seq: Seq) -> Timestamp {
    Timestamp(1_790_000_000_000_000 + (seq.min(1 << 32) / 2) as i64 * 10)
}

pub fn entry(customer: &CustomerId, seq: Seq, key_hash: Option<KeyHash>) -> NewEntry {
    let body = format!("{{\"entry\":\"{customer} {seq}\"}}");
    let hash = Digest::of(body.as_bytes()).0;
    NewEntry { customer: customer.clone(), seq, at: time(seq), key_hash, hash, body }
}

pub fn snapshot(customer: &CustomerId, seq: Seq) -> NewSnapshot {
    let state = format!("{{\"state\":\"{customer} {seq}\"}}");
    NewSnapshot { customer: customer.clone(), format: FORMAT, seq, at: time(seq), state }
}

pub fn row(customer: &CustomerId, due_at: Option<i64>) -> CustomerRow {
    CustomerRow {
        customer: customer.clone(),
        created_at: time(1),
        due_at: due_at.map(Timestamp),
        closed: due_at.is_none(),
        profile: format!("{{\"due\":{}}}", due_at.unwrap_or(0)),
    }
}
