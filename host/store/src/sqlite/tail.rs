//! The journal's tail in memory: what was appended lately and is not yet in the index tables.
//!
//! In come entries and keys that are durable already, out come their places. It never holds what could still be
//! rolled back, and never the entries' bodies.
//!
//! There are two generations. New entries go into the active one; when it is full it is frozen, a [run](super::merge)
//! writes it to the tables, and only then it is dropped. So a reader that asks a [`View`] first and the tables second
//! misses nothing: whatever the view has not is in the tables by then. For one customer, the tables hold the entries
//! from 1 up to some number, and the view goes on from there.

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

/// Enough that a shard's map never takes long to grow.
const SHARDS: usize = 64;

/// The number of a row in `entries` or `further_keys`: one sequence for both.
pub type Pos = i64;

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub seq: Seq,
    pub at: Timestamp,
    pub pos: Pos,
}

/// Something that became durable.
#[derive(Debug, Clone)]
pub enum Appended {
    Entry { customer: CustomerId, place: Place, key_hash: Option<KeyHash> },
    Key { customer: CustomerId, key_hash: KeyHash, seq: Seq },
}

/// What one customer has in one generation.
#[derive(Debug, Default)]
pub struct Recent {
    /// In order, without gaps.
    pub places: Vec<Place>,
    pub keys: HashMap<KeyHash, Seq>,
}

type Shard = RwLock<HashMap<CustomerId, Recent>>;

/// One generation. Readers and the one writer share it; a frozen one no longer changes.
#[derive(Debug)]
pub struct Generation {
    hasher: RandomState,
    shards: Vec<Shard>,
    entries: AtomicUsize,
}

impl Generation {
    fn new() -> Self {
        let shards = std::iter::repeat_with(Shard::default).take(SHARDS).collect();
        Self { hasher: RandomState::new(), shards, entries: AtomicUsize::new(0) }
    }

    fn shard(&self, customer: &CustomerId) -> Option<&Shard> {
        let hash = usize::try_from(self.hasher.hash_one(customer) % SHARDS as u64).ok()?;
        self.shards.get(hash)
    }

    fn with<T>(&self, customer: &CustomerId, ask: impl FnOnce(&Recent) -> Option<T>) -> Option<T> {
        let shard = self.shard(customer)?.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(customer).and_then(ask)
    }

    fn add(&self, appended: &Appended) {
        let (Appended::Entry { customer, .. } | Appended::Key { customer, .. }) = appended;
        let Some(shard) = self.shard(customer) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let recent = match shard.get_mut(customer) {
            Some(recent) => recent,
            None => shard.entry(customer.clone()).or_default(),
        };
        match appended {
            Appended::Entry { place, key_hash, .. } => {
                recent.places.push(*place);
                recent.keys.extend(key_hash.map(|hash| (hash, place.seq)));
            }
            Appended::Key { key_hash, seq, .. } => {
                recent.keys.insert(*key_hash, *seq);
            }
        }
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// How many entries and further keys it holds.
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Hands every customer to `take`, in no order.
    pub fn for_each(&self, mut take: impl FnMut(&CustomerId, &Recent)) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().for_each(|(customer, recent)| take(customer, recent));
        }
    }
}

/// Both generations as of one moment. What became durable before it was taken and is not in here is in the tables.
#[derive(Debug, Clone)]
pub struct View {
    active: Arc<Generation>,
    frozen: Option<Arc<Generation>>,
}

impl View {
    /// The active generation.
    pub fn active(&self) -> &Generation {
        &self.active
    }

    /// The frozen generation.
    pub fn frozen(&self) -> Option<Arc<Generation>> {
        self.frozen.clone()
    }

    fn generations(&self) -> impl DoubleEndedIterator<Item = &Generation> {
        self.frozen.as_deref().into_iter().chain([&*self.active])
    }

    /// The customer's last entry, if it is in here.
    pub fn head(&self, customer: &CustomerId) -> Option<Seq> {
        let last = |recent: &Recent| recent.places.last().map(|place| place.seq);
        self.generations().rev().find_map(|generation| generation.with(customer, last))
    }

    /// Whether all that this customer ever wrote is in here.
    pub fn is_whole(&self, customer: &CustomerId) -> bool {
        let first = |recent: &Recent| recent.places.first().map(|place| place.seq);
        self.generations().find_map(|generation| generation.with(customer, first)) == Some(1)
    }

    /// The entry that answered a key.
    pub fn key(&self, customer: &CustomerId, key_hash: &KeyHash) -> Option<Seq> {
        let find = |recent: &Recent| recent.keys.get(key_hash).copied();
        self.generations().rev().find_map(|generation| generation.with(customer, find))
    }

    /// All keys of a customer in here, in no order.
    pub fn keys(&self, customer: &CustomerId) -> Vec<(KeyHash, Seq)> {
        let mut found = Vec::new();
        for generation in self.generations() {
            generation.with(customer, |recent| {
                found.extend(recent.keys.iter().map(|(key_hash, seq)| (*key_hash, *seq)));
                Some(())
            });
        }
        found
    }

    /// The entries in here that lie in `range`, in order.
    pub fn places(&self, customer: &CustomerId, range: &RangeInclusive<Seq>) -> Vec<Place> {
        let mut found = Vec::new();
        for generation in self.generations() {
            generation.with(customer, |recent| {
                let from = recent.places.partition_point(|place| place.seq < *range.start());
                let inside = recent.places.iter().skip(from).take_while(|place| range.contains(&place.seq));
                found.extend(inside);
                Some(())
            });
        }
        found
    }

    /// The last entry in here at or before `at`.
    pub fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Option<Seq> {
        let last = |recent: &Recent| {
            let count = recent.places.partition_point(|place| place.at <= at);
            recent.places.get(count.checked_sub(1)?).map(|place| place.seq)
        };
        self.generations().rev().find_map(|generation| generation.with(customer, last))
    }
}

/// The tail itself, shared by all who read and the one who writes.
#[derive(Debug)]
pub struct Tail(RwLock<View>);

impl Tail {
    pub fn new() -> Self {
        Self(RwLock::new(View { active: Arc::new(Generation::new()), frozen: None }))
    }

    /// Both generations as they are now.
    pub fn view(&self) -> View {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in what is durable.
    pub fn add<'a>(&self, appended: impl IntoIterator<Item = &'a Appended>) {
        let active = self.view().active;
        appended.into_iter().for_each(|row| active.add(row));
    }

    /// Freezes the active generation and starts a new one; only when none is frozen.
    pub fn freeze(&self) {
        let mut view = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let full = std::mem::replace(&mut view.active, Arc::new(Generation::new()));
        view.frozen = Some(full);
    }

    /// Lets go of the frozen generation, which is durable in the tables. The caller drops it where that may take time.
    pub fn drop_frozen(&self) -> Option<Arc<Generation>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).frozen.take()
    }
}
