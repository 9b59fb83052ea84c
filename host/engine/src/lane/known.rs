//! What a lane knows of its customers and their keys, and when it asks the store.
//!
//! A lane believes that it alone writes its customers, and that keys are new: the store refuses a commit when that is
//! wrong. After a conflict, news of other hosts, or a repeat of an old key, the lane asks before it decides, for a while.

use super::cache::{Cache, NotTaken};
use crate::{error::EngineError, queue::Job, shared::Shared};
use lru::LruCache;
use proviso_ledger::{
    fold::FoldError,
    model::ids::{CustomerId, Seq},
    state::FORMAT,
};
use proviso_store::{KeyHash, LoadedCustomer, Store, StoreError, StoredEntry};
use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::Arc,
};
use tracing::{error, warn};

/// Recent keys that a lane remembers, for clients that repeat a request soon.
const RECENT_KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(32_767);
/// Entries that are read at a time when a state is folded anew.
const PAGE: u32 = 1_000;
/// Batches before which a lane asks the store after it turned out to know too little.
const RECHECKED_BATCHES: u32 = 64;

pub(super) type KeyOfCustomer = (CustomerId, KeyHash);

pub(super) struct Known {
    shared: Arc<Shared>,
    pub cache: Cache,
    /// The entries that answered the newest keys.
    recent: LruCache<KeyOfCustomer, Seq>,
    /// The batches before which the store is still to be asked for news of the customers.
    recheck_states: u32,
    /// The batches before which it is still to be asked for all keys.
    recheck_keys: u32,
}

/// What the store is to be asked.
struct Questions {
    /// Customers, with the last entry that is known of each.
    states: Vec<(CustomerId, Seq)>,
    keys: Vec<KeyOfCustomer>,
    catalog: bool,
}

/// What the store said before a batch is decided.
#[derive(Default)]
pub(super) struct Lookup {
    /// The entries that answered keys of the batch before.
    pub keys: HashMap<KeyOfCustomer, Seq>,
    /// Whether it was asked for all keys.
    pub has_all_keys: bool,
    /// Customers whose state is as new as the question.
    pub fresh: HashSet<CustomerId>,
    /// Whether the catalog is, too.
    pub has_fresh_catalog: bool,
    /// Customers whose journal does not fold, or is of a newer host.
    pub damaged: HashMap<CustomerId, FoldError>,
}

impl Known {
    pub fn new(shared: Arc<Shared>) -> Self {
        let cache = Cache::new(shared.options.cached_customers_per_lane());
        Self { shared, cache, recent: LruCache::new(RECENT_KEYS), recheck_states: 0, recheck_keys: 0 }
    }

    /// Takes note of a batch that was decided on this.
    pub fn batch_decided(&mut self) {
        self.recheck_states = self.recheck_states.saturating_sub(1);
        self.recheck_keys = self.recheck_keys.saturating_sub(1);
    }

    /// Takes note of a conflict: another host may write the same customers.
    pub fn conflicted(&mut self) {
        self.recheck_states = RECHECKED_BATCHES;
    }

    /// Remembers which entry answered a key.
    pub fn remember(&mut self, key: KeyOfCustomer, seq: Seq) {
        self.recent.put(key, seq);
    }

    /// The stored entry that answered a key.
    pub fn answered(&mut self, key: &KeyOfCustomer, lookup: &Lookup) -> Option<Seq> {
        self.recent.get(key).or_else(|| lookup.keys.get(key)).copied()
    }

    /// Loads the states that the jobs need; with `recheck`, or when it is uncertain, also what other hosts have written
    /// meanwhile for these customers and into the catalog, and the entries of keys. `is_pending` says whether entries of a
    /// customer are on their way to the store, which then can't tell anything newer.
    pub async fn look_up(
        &mut self,
        jobs: &[Job],
        recheck: bool,
        is_pending: impl Fn(&CustomerId) -> bool + Send,
    ) -> Result<Lookup, EngineError> {
        let questions = self.questions(jobs, recheck, is_pending);
        let mut lookup = Lookup {
            has_all_keys: recheck || self.recheck_keys > 0,
            has_fresh_catalog: questions.catalog,
            ..Lookup::default()
        };
        self.ask(questions, &mut lookup).await?;
        Ok(lookup)
    }

    fn questions(
        &mut self,
        jobs: &[Job],
        recheck: bool,
        is_pending: impl Fn(&CustomerId) -> bool,
    ) -> Questions {
        let (all_states, all_keys) = (recheck || self.recheck_states > 0, recheck || self.recheck_keys > 0);
        let mut questions = Questions { states: Vec::new(), keys: Vec::new(), catalog: recheck };
        let mut seen = HashSet::new();
        for Job { request, key_hash, guard, attempts, .. } in jobs {
            let customer = &request.customer;
            let keys = [key_hash, guard].into_iter().flatten().filter(|_| all_keys || *attempts > 0);
            questions.keys.extend(keys.map(|hash| (customer.clone(), *hash)));
            let is_question = request.command.is_question();
            let must_be_fresh = all_states || is_question && self.shared.store.is_shared();
            let known = self.cache.touch(customer);
            let is_known = known.is_some() && (!must_be_fresh || is_pending(customer));
            if !is_known && seen.insert(customer) {
                questions.states.push((customer.clone(), known.unwrap_or(0)));
            }
        }
        questions
    }

    async fn ask(&mut self, questions: Questions, lookup: &mut Lookup) -> Result<(), EngineError> {
        let Questions { states, keys, catalog } = questions;
        let (shared, store) = (&self.shared, &self.shared.store);
        let load =
            async { if states.is_empty() { Ok(Vec::new()) } else { Ok(store.load(&states, FORMAT).await?) } };
        let find = async { if keys.is_empty() { Ok(Vec::new()) } else { Ok(store.find_keys(&keys).await?) } };
        let refresh = async { if catalog { shared.refresh_catalog().await } else { Ok(()) } };
        let (loaded, found, ()) = tokio::try_join!(load, find, refresh)?;
        for ((customer, known), rows) in states.into_iter().zip(loaded) {
            if known > 0 && !rows.tail.is_empty() {
                self.recheck_states = RECHECKED_BATCHES;
            }
            let taken = match self.cache.take_in(&customer, rows) {
                Err(NotTaken::NeedsJournal) => {
                    warn!(%customer, "a saved state can't be read; it is folded anew");
                    let tail = whole_journal(&*self.shared.store, &customer).await?;
                    self.cache.take_in(&customer, LoadedCustomer { snapshot: None, tail })
                }
                taken => taken,
            };
            if let Err(NotTaken::Journal(error)) = taken {
                if error.is_newer() {
                    warn!(%customer, %error, "a newer host wrote for this customer; this one has to be upgraded");
                } else {
                    error!(%customer, %error, "a journal does not fold");
                }
                lookup.damaged.insert(customer.clone(), error);
            }
            lookup.fresh.insert(customer);
        }
        lookup.keys = keys.into_iter().zip(found).filter_map(|(key, seq)| Some((key, seq?))).collect();
        if !lookup.keys.is_empty() {
            self.recheck_keys = RECHECKED_BATCHES;
        }
        Ok(())
    }
}

/// All entries of a customer.
async fn whole_journal(store: &dyn Store, customer: &CustomerId) -> Result<Vec<StoredEntry>, StoreError> {
    let mut entries: Vec<StoredEntry> = Vec::new();
    loop {
        let page = store.entries(customer, entries.last().map_or(0, |last| last.seq), PAGE).await?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}
