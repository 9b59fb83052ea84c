//! The newest part of the journal's index, in memory: which entries were appended where, and under which keys.
//!
//! It holds only what is durable already, so nothing in it can be rolled back, and no bodies.
//!
//! There is one active memtable, and at most one immutable one. New rows go into the active one; when it is full it
//! becomes the immutable one, its [sorted run](super::sorted_run) is merged into the index tables, and only then it is
//! dropped. So a reader that takes a [`View`] first and reads the tables second misses nothing: what the view lacks is in
//! the tables. For one customer, the tables hold the entries from 1 up to some number, and the view those that follow.

use crate::rows::KeyHash;
use proviso_ledger::model::{
    ids::{CustomerId, Seq},
    time::Timestamp,
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Enough that growing a shard's map never takes long.
const SHARDS: usize = 64;

/// The number of a row in `entries` or `further_keys`, which share one sequence.
pub type Pos = i64;

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
pub struct EntryPos {
    pub seq: Seq,
    pub at: Timestamp,
    pub pos: Pos,
}

/// A row that became durable.
#[derive(Debug, Clone)]
pub enum Appended {
    Entry { customer: CustomerId, entry: EntryPos, key_hash: Option<KeyHash> },
    Key { customer: CustomerId, key_hash: KeyHash, seq: Seq },
}

/// What one memtable holds of one customer.
#[derive(Debug, Default)]
pub struct CustomerPart {
    /// In order, without gaps.
    pub entries: Vec<EntryPos>,
    pub keys: HashMap<KeyHash, Seq>,
}

type Shard = RwLock<HashMap<CustomerId, CustomerPart>>;

/// Shared by the readers and the one writer. An immutable one no longer changes.
#[derive(Debug)]
pub struct Memtable {
    hasher: RandomState,
    shards: Vec<Shard>,
    rows: AtomicUsize,
}

impl Memtable {
    fn new() -> Self {
        let shards = std::iter::repeat_with(Shard::default).take(SHARDS).collect();
        Self { hasher: RandomState::new(), shards, rows: AtomicUsize::new(0) }
    }

    fn shard(&self, customer: &CustomerId) -> Option<&Shard> {
        let hash = usize::try_from(self.hasher.hash_one(customer) % SHARDS as u64).ok()?;
        self.shards.get(hash)
    }

    fn with<T>(&self, customer: &CustomerId, ask: impl FnOnce(&CustomerPart) -> Option<T>) -> Option<T> {
        let shard = self.shard(customer)?.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(customer).and_then(ask)
    }

    fn add(&self, appended: &Appended) {
        let (Appended::Entry { customer, .. } | Appended::Key { customer, .. }) = appended;
        let Some(shard) = self.shard(customer) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let part = match shard.get_mut(customer) {
            Some(part) => part,
            None => shard.entry(customer.clone()).or_default(),
        };
        match appended {
            Appended::Entry { entry, key_hash, .. } => {
                part.entries.push(*entry);
                part.keys.extend(key_hash.map(|hash| (hash, entry.seq)));
            }
            Appended::Key { key_hash, seq, .. } => {
                part.keys.insert(*key_hash, *seq);
            }
        }
        self.rows.fetch_add(1, Ordering::Relaxed);
    }

    /// How many entries and further keys it holds.
    pub fn len(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Visits every customer, in no order.
    pub fn for_each(&self, mut visit: impl FnMut(&CustomerId, &CustomerPart)) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().for_each(|(customer, part)| visit(customer, part));
        }
    }
}

/// Both memtables. Rows that became durable before it was taken and are not in it are in the tables.
#[derive(Debug, Clone)]
pub struct View {
    active: Arc<Memtable>,
    immutable: Option<Arc<Memtable>>,
}

impl View {
    pub fn active(&self) -> &Memtable {
        &self.active
    }

    pub fn immutable(&self) -> Option<Arc<Memtable>> {
        self.immutable.clone()
    }

    fn oldest_first(&self) -> impl DoubleEndedIterator<Item = &Memtable> {
        self.immutable.as_deref().into_iter().chain([&*self.active])
    }

    /// The customer's last entry, if it is in here.
    pub fn head(&self, customer: &CustomerId) -> Option<Seq> {
        let last = |part: &CustomerPart| part.entries.last().map(|entry| entry.seq);
        self.oldest_first().rev().find_map(|memtable| memtable.with(customer, last))
    }

    /// Whether the customer's whole journal is in here, so that the tables need not be read.
    pub fn has_whole(&self, customer: &CustomerId) -> bool {
        let first = |part: &CustomerPart| part.entries.first().map(|entry| entry.seq);
        self.oldest_first().find_map(|memtable| memtable.with(customer, first)) == Some(1)
    }

    /// The entry that answered a key.
    pub fn key(&self, customer: &CustomerId, key_hash: &KeyHash) -> Option<Seq> {
        let find = |part: &CustomerPart| part.keys.get(key_hash).copied();
        self.oldest_first().rev().find_map(|memtable| memtable.with(customer, find))
    }

    /// All keys of a customer in here, in no order.
    pub fn keys(&self, customer: &CustomerId) -> Vec<(KeyHash, Seq)> {
        let mut found = Vec::new();
        for memtable in self.oldest_first() {
            memtable.with(customer, |part| {
                found.extend(part.keys.iter().map(|(key_hash, seq)| (*key_hash, *seq)));
                Some(())
            });
        }
        found
    }

    /// The entries in here whose numbers are in `range`, in order.
    pub fn entries(&self, customer: &CustomerId, range: &RangeInclusive<Seq>) -> Vec<EntryPos> {
        let mut found = Vec::new();
        for memtable in self.oldest_first() {
            memtable.with(customer, |part| {
                let from = part.entries.partition_point(|entry| entry.seq < *range.start());
                found.extend(part.entries.iter().skip(from).take_while(|entry| range.contains(&entry.seq)));
                Some(())
            });
        }
        found
    }

    /// The last entry in here at or before `at`.
    pub fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Option<Seq> {
        let last = |part: &CustomerPart| {
            let count = part.entries.partition_point(|entry| entry.at <= at);
            part.entries.get(count.checked_sub(1)?).map(|entry| entry.seq)
        };
        self.oldest_first().rev().find_map(|memtable| memtable.with(customer, last))
    }
}

/// The memtables as they change, shared by all readers and the one writer.
#[derive(Debug)]
pub struct Memtables(RwLock<View>);

impl Memtables {
    pub fn new() -> Self {
        Self(RwLock::new(View { active: Arc::new(Memtable::new()), immutable: None }))
    }

    /// The memtables as they are now. Rows that are added later show in it, as long as its active memtable is active.
    pub fn view(&self) -> View {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds rows, which must be durable.
    pub fn add<'a>(&self, appended: impl IntoIterator<Item = &'a Appended>) {
        let active = self.view().active;
        appended.into_iter().for_each(|row| active.add(row));
    }

    /// Makes the active memtable the immutable one, which must not exist, and starts a new one.
    pub fn rotate(&self) {
        let mut view = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let full = std::mem::replace(&mut view.active, Arc::new(Memtable::new()));
        view.immutable = Some(full);
    }

    /// Removes the immutable memtable, whose rows are durable in the tables. Dropping it may take time.
    pub fn take_immutable(&self) -> Option<Arc<Memtable>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).immutable.take()
    }
}
