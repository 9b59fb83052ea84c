//! The engine: the one way to write (load, decide, commit, reply) and the use cases around it.
//!
//! In come commands and questions in the ledger's words; out come durable outcomes. It joins the pure ledger with the
//! policies that decide and the store that keeps, and knows nothing of HTTP, SQL or Wasm itself.

mod archive;
pub mod catalog;
mod changes;
mod clock;
pub mod command;
mod customer_terms;
mod decide;
mod error;
mod explain;
mod keys;
mod lane;
mod plan_terms;
mod plans;
mod policies;
mod precondition;
mod queue;
mod reads;
mod refresh;
mod shared;
mod sweeper;
mod terms;
mod verify;

pub use archive::{Archived, archive};
pub use changes::{Field, OverrideChange, ProfileChange, customer_tag, plan_tag, standing_override};
pub use clock::Clock;
pub use error::EngineError;
pub use plan_terms::PlanTermsChange;
pub use plans::PlanChange;
pub use policies::Uploaded;
pub use precondition::{Expected, Tag};
pub use proviso_store::{StoreError, StoredRequest};
pub use reads::{CustomerSummary, EntitlementAnswer, GroupBy, LedgerPage, UsageGroup};
pub use shared::{Options, Totals};
pub use terms::TermsInput;
pub use verify::{Difference, Verification, verify};

use crate::{
    catalog::Catalog,
    command::{Command, Reply, Request},
    explain::Asked,
    queue::{Job, Queue},
    shared::Shared,
};
use proviso_ledger::{
    ids::{CustomerId, Digest, IdempotencyKey},
    state::CustomerState,
    time::Timestamp,
};
use proviso_policy::Runtime;
use proviso_store::{ReferenceChange, Store};
use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
};

/// A running engine. Dropping it without [`Engine::close`] abandons what waits.
pub struct Engine {
    shared: Arc<Shared>,
    /// What waits for each lane.
    queues: Vec<Arc<Queue>>,
    lanes: Mutex<Vec<JoinHandle<()>>>,
    /// Held while a secret that is not known is looked up.
    guesses: tokio::sync::Mutex<()>,
    /// What runs beside the lanes.
    background: OnceLock<[AbortHandle; 2]>,
}

impl Engine {
    /// Starts lanes, sweeper and refresher over a store. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the catalog can't be read.
    pub async fn start(
        store: Arc<dyn Store>,
        runtime: Arc<Runtime>,
        clock: Clock,
        options: Options,
    ) -> Result<Arc<Self>, EngineError> {
        let catalog = Catalog::default().updated(store.reference(0).await?)?;
        let shared = Arc::new(Shared::new(store, runtime, clock, options.clone(), catalog));
        let queue = options.queue.max(1);
        let queues: Vec<_> = (0..options.lanes.get()).map(|_| Arc::new(Queue::new(queue))).collect();
        let lanes =
            queues.iter().map(|queue| tokio::spawn(lane::keep(shared.clone(), queue.clone()))).collect();
        let engine = Arc::new(Self {
            shared,
            queues,
            lanes: Mutex::new(lanes),
            guesses: tokio::sync::Mutex::default(),
            background: OnceLock::new(),
        });
        let sweeper = tokio::spawn(sweeper::run(Arc::downgrade(&engine), options.sweep_every));
        let refresher = tokio::spawn(refresh::run(Arc::downgrade(&engine), options.refresh_every));
        engine.background.get_or_init(|| [sweeper.abort_handle(), refresher.abort_handle()]);
        Ok(engine)
    }

    /// Carries a request out and answers once that is durable.
    ///
    /// # Errors
    /// See [`EngineError`]. A refusal of a charge is no error: it is an entry.
    pub async fn execute(&self, request: Request) -> Result<Reply, EngineError> {
        let (customer, asked) = (request.customer.clone(), Asked::from(&request.command));
        match self.decided(request).await {
            Ok(reply) => Ok(reply),
            Err(error) => self.explained(&customer, asked, error).await,
        }
    }

    /// The lane's own reply.
    async fn decided(&self, request: Request) -> Result<Reply, EngineError> {
        let (reply, answer) = oneshot::channel();
        let key_hash = request.idempotency.as_ref().map(|(key, _)| lane::key_hash(key));
        self.queue(&request.customer)?.push(Job { request, key_hash, attempts: 0, reply })?;
        answer.await.map_err(|_| EngineError::Internal("a lane dropped a request".to_owned()))?
    }

    /// The customer's state now, with all that is due written.
    ///
    /// # Errors
    /// An unknown customer, or the store's.
    pub async fn state(&self, customer: &CustomerId) -> Result<Arc<CustomerState>, EngineError> {
        let request = Request { customer: customer.clone(), command: Command::Read, idempotency: None };
        match self.decided(request).await? {
            Reply::State(state) => Ok(state),
            _ => Err(EngineError::Internal("a read that answers with no state".to_owned())),
        }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Plans, policies and API keys as they are now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// What was written since the start.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.shared.totals
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// The store's.
    pub async fn ping(&self) -> Result<(), EngineError> {
        Ok(self.shared.store.ping().await?)
    }

    /// Finishes what was accepted, then lets go of the database. Later requests fail.
    pub async fn close(&self) {
        self.background.get().into_iter().flatten().for_each(AbortHandle::abort);
        self.queues.iter().for_each(|queue| queue.close());
        let lanes = std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
        for lane in lanes {
            let _ = lane.await;
        }
        self.shared.store.close().await;
    }

    /// Changes the catalog between two decisions. `make` is handed the time at which the change takes effect.
    async fn change<T>(
        &self,
        make: impl Fn(&Catalog, Timestamp) -> Result<(Vec<ReferenceChange>, T), EngineError>,
    ) -> Result<T, EngineError> {
        match self.change_once(None, make).await? {
            Changed::Made(value) => Ok(value),
            Changed::Replayed(_) => Err(EngineError::Internal("a replay without a key".to_owned())),
        }
    }

    /// Changes the catalog once for an idempotency key: the answer is kept in the same transaction.
    async fn change_once<T>(
        &self,
        once: Option<Once<'_, T>>,
        make: impl Fn(&Catalog, Timestamp) -> Result<(Vec<ReferenceChange>, T), EngineError>,
    ) -> Result<Changed<T>, EngineError> {
        self.shared.refresh_catalog().await?;
        let _gate = self.shared.gate.write().await;
        // Another host may have changed it in between: its rows win, and this change is made anew on top of them.
        for _ in 0..8 {
            let at = self.shared.clock.now();
            if let Some(stored) = self.answered_change(once.as_ref()).await? {
                return Ok(Changed::Replayed(stored));
            }
            let catalog = self.shared.catalog.load_full();
            let (changes, value) = make(&catalog, at)?;
            let request = once.as_ref().map(|once| once.stored(&value, at));
            if changes.is_empty() && request.is_none() {
                return Ok(Changed::Made(value));
            }
            let commit = self.shared.store.change_reference(Some(catalog.revision), changes, request).await?;
            self.shared.read_catalog().await?;
            if commit == proviso_store::Commit::Durable {
                return Ok(Changed::Made(value));
            }
        }
        Err(EngineError::Contention)
    }

    /// The answer to an earlier change with this key.
    async fn answered_change<T>(
        &self,
        once: Option<&Once<'_, T>>,
    ) -> Result<Option<StoredRequest>, EngineError> {
        let Some(once) = once else { return Ok(None) };
        match self.shared.store.request(once.key_hash()).await? {
            Some(stored) if stored.request_hash != once.request.0 => Err(EngineError::IdempotencyKeyReused),
            stored => Ok(stored),
        }
    }

    fn queue(&self, customer: &CustomerId) -> Result<&Queue, EngineError> {
        // The same lane on every host and after every start, so that a test can be replayed.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(customer);
        let place = hash.checked_rem(self.queues.len() as u64).and_then(|place| usize::try_from(place).ok());
        let queue = place.and_then(|place| self.queues.get(place));
        queue.map(Arc::as_ref).ok_or_else(|| EngineError::Internal("an engine without lanes".to_owned()))
    }
}

/// A change to be made once for an idempotency key, and how its answer is rendered, so that a repeat gets the same.
pub struct Once<'a, T> {
    /// The caller's key.
    pub key: IdempotencyKey,
    /// The digest of the request, with its route.
    pub request: Digest,
    /// The HTTP status and body of the answer.
    pub render: &'a (dyn Fn(&T) -> (u16, String) + Send + Sync),
}

/// How such a change ended.
#[derive(Debug)]
pub enum Changed<T> {
    /// It was made.
    Made(T),
    /// It was made before, and this was answered.
    Replayed(StoredRequest),
}

impl<T> Once<'_, T> {
    fn key_hash(&self) -> proviso_store::KeyHash {
        lane::key_hash(&self.key)
    }

    fn stored(&self, value: &T, at: Timestamp) -> StoredRequest {
        let (status, body) = (self.render)(value);
        StoredRequest { key_hash: self.key_hash(), request_hash: self.request.0, at, status, body }
    }
}
