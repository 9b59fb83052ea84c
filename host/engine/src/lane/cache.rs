//! The states a lane has in memory: bounded, least recently used first out. What falls out is loaded again when it is
//! asked for, from its snapshot and the entries after it.

use crate::error::EngineError;
use lru::LruCache;
use proviso_ledger::{
    error::FoldError,
    ids::{CustomerId, Seq},
    state::CustomerState,
    time::Timestamp,
};
use proviso_store::LoadedCustomer;
use std::num::NonZeroUsize;

/// A state and what the store already has of it.
pub(crate) struct Cached {
    /// The state, with all entries of the batch under way folded in.
    pub state: CustomerState,
    /// The entry that the newest stored snapshot holds; 0 when there is none.
    pub snapshot_seq: Seq,
    /// The bytes of the entries after it.
    pub tail_bytes: usize,
    /// The size of the newest snapshot.
    pub snapshot_bytes: usize,
    /// A lower bound of the next due time that the store has; the outer none when it is not known.
    pub stored_due: Option<Option<Timestamp>>,
}

pub(crate) struct Cache {
    states: LruCache<CustomerId, Cached>,
    capacity: usize,
}

impl Cache {
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { states: LruCache::unbounded(), capacity: capacity.get() }
    }

    /// Marks a state as used now; says whether it is there.
    pub fn touch(&mut self, customer: &CustomerId) -> bool {
        self.states.get(customer).is_some()
    }

    pub fn get_mut(&mut self, customer: &CustomerId) -> Option<&mut Cached> {
        self.states.peek_mut(customer)
    }

    pub fn remove(&mut self, customer: &CustomerId) {
        self.states.pop(customer);
    }

    /// Rebuilds a state from what is stored. A batch's own customers never push each other out: the bound holds again
    /// with [`trim`](Self::trim).
    pub fn take_in(&mut self, customer: CustomerId, loaded: LoadedCustomer) -> Result<(), EngineError> {
        let cached =
            rebuild(&customer, loaded).map_err(|error| EngineError::Damaged(customer.clone(), error))?;
        self.states.push(customer, cached);
        Ok(())
    }

    /// Lets go of the least recently used, and of those that nobody knows.
    pub fn trim(&mut self) {
        while self.states.len() > self.capacity {
            self.states.pop_lru();
        }
    }
}

fn rebuild(customer: &CustomerId, loaded: LoadedCustomer) -> Result<Cached, FoldError> {
    let mut cached = Cached {
        state: CustomerState::new(customer.clone()),
        snapshot_seq: 0,
        tail_bytes: 0,
        snapshot_bytes: 0,
        stored_due: None,
    };
    if let Some(snapshot) = loaded.snapshot {
        cached.state = serde_json::from_str(&snapshot.state)
            .map_err(|error| FoldError::Unreadable { seq: snapshot.seq, detail: error.to_string() })?;
        cached.snapshot_seq = snapshot.seq;
        cached.snapshot_bytes = snapshot.state.len();
    }
    for entry in loaded.tail {
        cached.state.fold(entry.seq, &entry.body, &entry.hash)?;
        cached.tail_bytes += entry.body.len();
    }
    Ok(cached)
}
