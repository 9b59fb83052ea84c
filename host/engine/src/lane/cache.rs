//! The states a lane has in memory: bounded, least recently used first out. What falls out is loaded again when it is
//! asked for, from its snapshot and the entries after it.

use lru::LruCache;
use proviso_ledger::{
    fold::FoldError,
    journal::Entry,
    model::{
        ids::{CustomerId, Seq},
        time::Timestamp,
    },
    rules::repeat::Standing,
    state::CustomerState,
};
use proviso_store::{LoadedCustomer, StoredSnapshot};
use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc};

/// A state and what the store already has of it.
pub(super) struct Cached {
    /// The state, with all entries of the batch under way folded in. Readers share it, and it is copied when it changes while
    /// one of them still has it.
    pub state: Arc<CustomerState>,
    /// The last entry that the newest stored snapshot holds; 0 when there is none.
    pub snapshot_seq: Seq,
    /// The bytes of the entries after it.
    pub bytes_since_snapshot: usize,
    /// The size of the newest snapshot.
    pub snapshot_bytes: usize,
    /// A lower bound of the next due time that the store has; the outer `None` when it is not known.
    pub stored_due: Option<Option<Timestamp>>,
    /// Refusals of the last minute, oldest first, whose repeats are counted.
    refusals: VecDeque<Standing>,
}

/// The fewest states that are kept: those of a commit in flight and of the open batch.
pub(super) const SMALLEST: usize = 4096;

/// The refusals of a customer whose repeats are counted.
const MOST_REFUSALS: usize = 32;

/// Why a state was not rebuilt.
pub(super) enum NotTaken {
    /// The saved state can't be read: all entries are needed.
    NeedsJournal,
    /// The journal does not fold.
    Journal(FoldError),
}

pub(super) struct Cache {
    states: LruCache<CustomerId, Cached>,
    capacity: usize,
}

impl Cache {
    /// However small it is asked to be, it holds more than two batches touch: states with entries that are not durable
    /// yet must not fall out.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { states: LruCache::unbounded(), capacity: capacity.get().max(SMALLEST) }
    }

    /// Marks a state as used now; says up to which entry it is known, if it is there.
    pub fn touch(&mut self, customer: &CustomerId) -> Option<Seq> {
        self.states.get(customer).map(|cached| cached.state.seq)
    }

    /// A state, which is marked as used now.
    pub fn get_mut(&mut self, customer: &CustomerId) -> Option<&mut Cached> {
        self.states.get_mut(customer)
    }

    /// How many states there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    pub fn remove(&mut self, customer: &CustomerId) {
        self.states.pop(customer);
    }

    /// Rebuilds a state from what is stored, or brings it up to date. Nothing falls out yet: the bound holds again with
    /// [`trim`](Self::trim).
    ///
    /// # Errors
    /// A journal that does not fold. [`NotTaken::NeedsJournal`] when the saved state can't be read: it is a cache, so all
    /// entries say the same.
    pub fn take_in(&mut self, customer: &CustomerId, loaded: LoadedCustomer) -> Result<(), NotTaken> {
        // Taken out first, so that a state that can't be folded is not left half way.
        let mut cached = match (self.states.pop(customer), loaded.snapshot) {
            (Some(cached), None) => cached,
            (_, snapshot) => Cached::begin(customer, snapshot).ok_or(NotTaken::NeedsJournal)?,
        };
        for entry in loaded.tail {
            Arc::make_mut(&mut cached.state)
                .fold(entry.seq, &entry.body, &entry.hash)
                .map_err(NotTaken::Journal)?;
            cached.bytes_since_snapshot += entry.body.len();
        }
        self.states.push(customer.clone(), cached);
        Ok(())
    }

    /// Lets go of the least recently used.
    pub fn trim(&mut self) {
        while self.states.len() > self.capacity {
            self.states.pop_lru();
        }
    }
}

impl Cached {
    /// The state before any entry, or the one that a snapshot holds; none when that can't be read.
    fn begin(customer: &CustomerId, snapshot: Option<StoredSnapshot>) -> Option<Self> {
        let (mut snapshot_seq, mut snapshot_bytes) = (0, 0);
        let state = match snapshot {
            None => CustomerState::new(customer.clone()),
            Some(StoredSnapshot { seq, state, .. }) => {
                (snapshot_seq, snapshot_bytes) = (seq, state.len());
                serde_json::from_str(&state).ok()?
            }
        };
        Some(Self {
            state: Arc::new(state),
            snapshot_seq,
            bytes_since_snapshot: 0,
            snapshot_bytes,
            stored_due: None,
            refusals: VecDeque::new(),
        })
    }

    /// The refusals whose repeats are counted.
    pub fn refusals(&self) -> Vec<Standing> {
        self.refusals.iter().copied().collect()
    }

    /// Takes note of an entry that may be a refusal.
    pub fn note(&mut self, entry: &Entry) {
        let Some(standing) = Standing::of(entry) else { return };
        self.refusals.retain(|other| other.is_open(entry.at));
        if self.refusals.len() >= MOST_REFUSALS {
            self.refusals.pop_front();
        }
        self.refusals.push_back(standing);
    }
}
